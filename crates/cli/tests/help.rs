//! The command line as a person meets it: the first page is short, every verb explains itself.
#![allow(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::process::{Command, Output};

fn ringfence(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_first_page_has_at_most_twelve_verbs() {
    let output = ringfence(&["--help"]);
    assert!(output.status.success());
    let text = text(&output);
    let commands = text.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs: Vec<&str> = commands.lines().filter(|line| line.starts_with("  ")).collect();
    assert!((8..=12).contains(&verbs.len()), "{verbs:?}");
}

#[test]
fn every_verb_explains_itself() {
    for verb in [
        "run",
        "exec",
        "shell",
        "attach",
        "wait",
        "init",
        "doctor",
        "demo",
        "ps",
        "inspect",
        "logs",
        "why",
        "allow",
        "kill",
        "diff",
        "apply",
        "discard",
        "rm",
        "prune",
        "policy",
        "trust",
        "audit",
        "wrap",
        "unwrap",
        "completions",
    ] {
        let output = ringfence(&[verb, "--help"]);
        assert!(output.status.success(), "{verb}");
        assert!(text(&output).contains("Usage:"), "{verb}");
    }
}

#[test]
fn wrong_words_are_a_usage_error() {
    for words in [&["fly"][..], &["run"][..], &["run", "--no-sandbox", "--", "true"][..]] {
        assert_eq!(ringfence(words).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn the_version_is_told() {
    assert!(text(&ringfence(&["--version"])).contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(text(&ringfence(&["completions", shell])).contains("discard"), "{shell}");
    }
}
