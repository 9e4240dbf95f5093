//! Every command that a document shows is run against the built program; every definition in it is
//! checked; every link leads somewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use ringfence_contained_tests::needs::has;
use ringfence_docs_tests::blocks::{self, Block};
use ringfence_docs_tests::session::{Stage, Step, fits, steps};
use ringfence_docs_tests::tree;
use ringfence_model::provenance::Layer;
use ringfence_policy::DefinitionText;
use std::env;
use std::path::{Path, PathBuf};

/// Names the program under test, if it is not the one that cargo built.
const OVERRIDE: &str = "RINGFENCE_BIN";

fn binary() -> PathBuf {
    let path = env::var_os(OVERRIDE).map_or_else(
        || env::current_exe().unwrap().ancestors().nth(2).unwrap().join("ringfence"),
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "no program at {}: `cargo build`, or name it in {OVERRIDE}",
        path.display()
    );
    path
}

fn documents() -> Vec<(PathBuf, String)> {
    let all = tree::with_extension("md").unwrap();
    all.into_iter().map(|path| (path.clone(), tree::text(&path).expect("a text"))).collect()
}

fn blocks_of(path: &Path, text: &str) -> Vec<Block> {
    blocks::parse(text)
        .unwrap_or_else(|line| panic!("{}:{line}: the fence is not closed", path.display()))
}

/// The steps of a block, hidden ones first; none when it is not run.
fn runnable(path: &Path, block: &Block) -> Vec<Step> {
    let place = format!("{}:{}", path.display(), block.line);
    if let Some(reason) = block.note("no-run") {
        assert!(reason.len() > 5, "{place}: `no-run` without a reason");
        return Vec::new();
    }
    let needs: Vec<_> = block.note("needs").unwrap_or_default().split_whitespace().collect();
    if !has(&place, &needs) {
        return Vec::new();
    }
    let hidden = block.note("setup").map(|command| Step {
        command: command.to_owned(),
        output: Vec::new(),
        line: block.line,
        hidden: true,
    });
    hidden.into_iter().chain(steps(&block.text, block.line)).collect()
}

fn run_document(path: &Path, text: &str, faults: &mut Vec<String>) -> usize {
    let all: Vec<Step> = blocks_of(path, text)
        .iter()
        .filter(|block| block.kind == "console")
        .flat_map(|block| runnable(path, block))
        .collect();
    if all.is_empty() {
        return 0;
    }
    let stage = Stage::new(&binary()).unwrap();
    let outcomes = stage.run(&all).unwrap();
    assert_eq!(outcomes.len(), all.len(), "{}: the shell stopped early", path.display());
    for (index, (step, outcome)) in all.iter().zip(&outcomes).enumerate() {
        let place = format!("{}:{}: $ {}", path.display(), step.line, step.command);
        let excused = all.get(index + 1).is_some_and(|next| next.command == "echo $?");
        let lines: Vec<_> = outcome.output.lines().collect();
        if outcome.code != 0 && !excused {
            faults.push(format!("{place}\nended with {}:\n{}", outcome.code, outcome.output));
        } else if !step.output.is_empty() && !fits(&step.output, &lines) {
            let shown = step.output.join("\n");
            faults.push(format!("{place}\nshown:\n{shown}\nprinted:\n{}", outcome.output));
        }
    }
    all.len()
}

#[test]
fn every_command_does_what_the_document_shows() {
    let mut faults = Vec::new();
    let mut count = 0;
    for (path, text) in documents() {
        count += run_document(&path, &text, &mut faults);
    }
    assert!(faults.is_empty(), "{} faults\n\n{}", faults.len(), faults.join("\n\n"));
    assert!(count > 10, "only {count} commands were found in the documents");
}

#[test]
fn pb3_every_definition_in_a_document_is_valid() {
    let mut count = 0;
    for (path, text) in documents() {
        for block in blocks_of(&path, &text).iter().filter(|block| block.kind == "toml") {
            let place = format!("{}:{}", path.display(), block.line);
            let layer = match block.note("layer") {
                None => Layer::Project,
                Some("organisation") => Layer::Organisation,
                Some("user") => Layer::User,
                Some(other) => panic!("{place}: no layer {other}"),
            };
            // A fragment is shown without the line that every file begins with.
            let whole = if block.text.contains("version = 1") {
                block.text.clone()
            } else {
                format!("version = 1\n{}", block.text)
            };
            let file = Path::new("ringfence.toml");
            let definition = DefinitionText { file, bytes: whole.as_bytes() };
            if let Err(problems) = ringfence_policy::check(&definition, layer) {
                panic!("{place}:\n{problems}");
            }
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} definitions were found in the documents");
}

#[test]
fn every_json_line_in_a_document_parses() {
    for (path, text) in documents() {
        for block in blocks_of(&path, &text).iter().filter(|block| block.kind == "json") {
            let whole = serde_json::from_str::<serde_json::Value>(&block.text);
            let mut lines = block.text.lines().map(serde_json::from_str::<serde_json::Value>);
            assert!(
                whole.is_ok() || lines.all(|line| line.is_ok()),
                "{}:{}",
                path.display(),
                block.line
            );
        }
    }
}

#[test]
fn blocks_of_commands_are_console_blocks() {
    for (path, text) in documents() {
        for block in blocks_of(&path, &text) {
            let shell = ["sh", "bash", "shell"].contains(&block.kind.as_str());
            assert!(
                !shell,
                "{}:{}: write it as a `console` block, so that it is run",
                path.display(),
                block.line
            );
        }
    }
}

/// A heading's anchor, as code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if fenced {
            continue;
        }
        for (index, _) in line.match_indices("](") {
            if let Some(end) = line[index + 2..].find(')') {
                found.push(line[index + 2..index + 2 + end].to_owned());
            }
        }
    }
    found
}

/// Options of a command, as its help lists them.
fn options(command: &[&str]) -> Vec<String> {
    let output = std::process::Command::new(binary()).args(command).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let words = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .flat_map(str::split_whitespace);
    let options = words
        .filter_map(|word| word.strip_prefix("--"))
        .map(|name| name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned());
    options.filter(|name| !["help", "version"].contains(&name.as_str())).collect()
}

#[test]
fn the_command_line_page_explains_every_command_and_option() {
    let page = tree::text("docs/cli.md".as_ref()).unwrap();
    let help = std::process::Command::new(binary()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let listed = help
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with([' ', '-']));
    let more = help.lines().find_map(|line| line.strip_prefix("More: ")).unwrap_or_default();
    let more = more.split('(').next().unwrap_or_default().split(',').map(str::trim);
    let commands: Vec<_> =
        listed.filter_map(|line| line.split_whitespace().next()).chain(more).collect();
    assert!(commands.len() > 10, "{help}");
    for command in commands {
        assert!(
            page.contains(&format!("`ringfence {command}")),
            "docs/cli.md does not explain {command}"
        );
    }
    let run = options(&["run"]);
    assert!(run.len() > 10, "{run:?}");
    for option in run {
        assert!(
            page.contains(&format!("`--{option}")),
            "docs/cli.md does not explain --{option} of run"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    for (path, text) in documents() {
        for link in links(&text).iter().filter(|link| !link.contains("://")) {
            let place = format!("{}: link to {link}", path.display());
            let (file, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(tree::root().join(&target).exists(), "{place}: there is no such file");
            if !fragment.is_empty() {
                let other = tree::text(&target).expect("a text");
                let headings = other.lines().filter(|line| line.starts_with('#'));
                let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#')));
                assert!(anchors.any(|own| own == fragment), "{place}: there is no such heading");
            }
        }
    }
}
