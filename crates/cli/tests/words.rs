//! The command line as it is typed: help, version, unknown words. Nothing is started here.
//!
//! That this file exists also makes `cargo test` build the program itself, which the acceptance
//! suites need.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::{Command, Output};

fn ringfence(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringfence")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_first_page_of_help_has_at_most_twelve_verbs() {
    let output = ringfence(&["--help"]);
    assert!(output.status.success());
    let help = text(&output.stdout);
    let verbs: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!((8..=12).contains(&verbs.len()), "{verbs:?}");
    for verb in verbs {
        let own = ringfence(&[verb, "--help"]);
        assert!(own.status.success() && !own.stdout.is_empty(), "{verb}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    let output = ringfence(&["--version"]);
    assert_eq!(text(&output.stdout), format!("ringfence {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn unknown_words_are_refused_with_code_2() {
    for arguments in [&["rum"][..], &["run", "--no-sandbox", "true"], &["run"], &["policy"], &[]] {
        let output = ringfence(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}
