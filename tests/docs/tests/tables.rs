//! Parts of the documents that are data elsewhere: they are generated, and compared here.
//!
//! `UPDATE_DOCS=1 cargo test -p ringfence-docs-tests --test tables` writes them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use ringfence_docs_tests::tree;
use ringfence_model::residual::RESIDUAL_RISKS;
use ringfence_policy::PROTECTED;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const WRITE: &str = "UPDATE_DOCS";
/// Test names shown in one row; the rest is a number.
const NAMES_SHOWN: usize = 4;

fn read(path: &str) -> String {
    tree::text(Path::new(path)).unwrap_or_else(|| panic!("{path} is not there"))
}

/// Compares a whole page with what it should be, or writes it.
fn settle(path: &str, wanted: &str) {
    if env::var_os(WRITE).is_some() {
        fs::write(tree::root().join(path), wanted).unwrap();
    }
    let stale = tree::text(Path::new(path)).as_deref() != Some(wanted);
    assert!(!stale, "{path} is stale: {WRITE}=1 cargo test -p ringfence-docs-tests --test tables");
}

/// Replaces what stands between the `begin: NAME` line and the next `end` line of a page.
fn replaced(path: &str, name: &str, inner: &str) -> String {
    let page = read(path);
    let start =
        page.find(&format!("<!-- begin: {name}")).unwrap_or_else(|| panic!("{path}: no {name}"));
    let start = start + page[start..].find('\n').unwrap() + 1;
    let end =
        start + page[start..].find("<!-- end -->").unwrap_or_else(|| panic!("{path}: no end"));
    format!("{}{inner}{}", &page[..start], &page[end..])
}

#[test]
fn gv4_the_threat_model_shows_the_residual_risks() {
    let mut table = String::from("\n| id | what is not contained | when |\n|---|---|---|\n");
    for risk in RESIDUAL_RISKS {
        writeln!(table, "| `{}` | {} | {} |", risk.id, risk.what, risk.when.words()).unwrap();
    }
    table.push('\n');
    settle("THREAT-MODEL.md", &replaced("THREAT-MODEL.md", "residual risks", &table));
}

#[test]
fn gv4_every_residual_risk_that_a_page_names_exists() {
    let known: BTreeSet<_> = RESIDUAL_RISKS.iter().map(|risk| risk.id).collect();
    for path in tree::with_extension("md").unwrap() {
        let text = tree::text(&path).unwrap();
        for (at, _) in text.match_indices("RR-") {
            let rest = &text[at..];
            let end =
                rest.find(|c: char| !c.is_ascii_uppercase() && c != '-').unwrap_or(rest.len());
            assert!(known.contains(&rest[..end]), "{}: {}", path.display(), &rest[..end]);
        }
    }
}

#[test]
fn the_definition_page_shows_the_protected_paths() {
    let mut table = String::from("\n| path | who acts on it |\n|---|---|\n");
    for row in PROTECTED {
        let slash = if row.directory { "/" } else { "" };
        writeln!(table, "| `{}{slash}` | {} |", row.path, row.why).unwrap();
    }
    table.push('\n');
    settle("docs/definition.md", &replaced("docs/definition.md", "protected paths", &table));
}

/// Every property name of a JSON schema.
fn properties(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
    if let Some(object) = schema.as_object() {
        let names = object.get("properties").and_then(serde_json::Value::as_object);
        found.extend(names.into_iter().flat_map(|names| names.keys().cloned()));
    }
    match schema {
        serde_json::Value::Object(object) => {
            object.values().for_each(|value| properties(value, found))
        }
        serde_json::Value::Array(array) => array.iter().for_each(|value| properties(value, found)),
        _ => {}
    }
}

#[test]
fn pb3_the_definition_page_explains_every_key() {
    let mut keys = BTreeSet::new();
    properties(&ringfence_policy::schema(), &mut keys);
    assert!(keys.len() > 25, "the schema has only {} keys", keys.len());
    let page = read("docs/definition.md");
    for key in keys {
        let shown = page.contains(&format!("`{key}`")) || page.contains(&format!("`[{key}]`"));
        assert!(shown, "docs/definition.md does not explain `{key}`");
    }
}

#[test]
fn the_agents_page_names_every_profile() {
    let page = read("docs/agents.md");
    for name in ringfence_policy::profile_names() {
        assert!(page.contains(&format!("`{name}`")), "docs/agents.md does not name profile {name}");
    }
}

/// `const` lines of a `limits.rs` with their comments: name, value, words.
fn limits_of(text: &str) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    let mut words = String::new();
    let mut pending: Option<String> = None;
    for line in text.lines() {
        let line = line.trim();
        if let Some(mut open) = pending.take() {
            open.push(' ');
            open.push_str(line);
            pending = Some(open);
        } else if let Some(comment) = line.strip_prefix("///") {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(comment.trim());
        } else if line.starts_with("pub const ") || line.starts_with("pub(crate) const ") {
            pending = Some(line.to_owned());
        } else {
            words.clear();
        }
        if let Some(whole) = pending.take_if(|open| open.ends_with(';')) {
            let (head, value) = whole.split_once('=').expect("a value");
            let name = head.split("const ").nth(1).unwrap().split(':').next().unwrap();
            let value = value.trim().trim_end_matches(';').to_owned();
            found.push((name.trim().to_owned(), value, std::mem::take(&mut words)));
        }
    }
    found
}

#[test]
fn the_limits_page_is_what_the_code_says() {
    let mut page = String::from(
        "# Limits\n\nEvery limit of the code, by crate. This page is generated; what a definition can set is in\n\
         [definition.md](definition.md#limits).\n",
    );
    let mut sources = tree::with_extension("rs").unwrap();
    sources.retain(|path| path.ends_with("limits.rs") && path.starts_with("crates"));
    for path in &sources {
        let rows = limits_of(&tree::text(path).unwrap());
        if rows.is_empty() {
            continue;
        }
        let title =
            path.parent().unwrap().display().to_string().replace("crates/", "").replace("/src", "");
        write!(page, "\n## {title}\n\n| limit | value | |\n|---|---|---|\n").unwrap();
        for (name, value, words) in rows {
            assert!(!words.is_empty(), "{}: {name} has no words", path.display());
            let words = words.replace('|', r"\|");
            writeln!(page, "| `{name}` | `{value}` | {words} |").unwrap();
        }
    }
    settle("docs/limits.md", &page);
}

/// Every test of the repository: name to the file that it stands in.
fn tests() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for path in tree::with_extension("rs").unwrap() {
        let text = tree::text(&path).unwrap();
        let mut marked = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                marked = true;
            } else if marked && let Some(name) = function(line) {
                found.insert(name.to_owned(), path.display().to_string());
                marked = false;
            } else if function(line).is_some_and(|name| is_proptest(&text, name)) {
                found.insert(function(line).unwrap().to_owned(), path.display().to_string());
            }
        }
    }
    found
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// Functions of `proptest!` take `x in …` arguments.
fn is_proptest(text: &str, name: &str) -> bool {
    text.contains("proptest!") && text.contains(&format!("fn {name}(")) && {
        let after = text.split(&format!("fn {name}(")).nth(1).unwrap_or_default();
        after.split(')').next().unwrap_or_default().contains(" in ")
    }
}

/// Whether a test's name carries an id: `f10_f11_…` carries F10 and F11.
fn carries(name: &str, id: &str) -> bool {
    let id = id.to_lowercase();
    name.split('_').any(|part| part == id)
}

#[test]
fn every_attack_has_tests_or_a_reason() {
    let tests = tests();
    assert!(tests.len() > 100, "only {} tests were found", tests.len());
    let mut page = String::new();
    let mut bare = Vec::new();
    for line in read("docs/cve.md").lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let id = cells.get(1).copied().unwrap_or_default();
        let is_row =
            cells.len() == 6 && id.len() == 3 && id[1..].bytes().all(|b| b.is_ascii_digit());
        if !is_row {
            writeln!(page, "{line}").unwrap();
            continue;
        }
        let names: Vec<_> = tests.keys().filter(|name| carries(name, id)).collect();
        // A row may name tests by hand that carry another id.
        let excused = ["later:", "n/a:", "`"].iter().any(|word| cells[4].starts_with(word));
        let last = if names.is_empty() {
            if !excused {
                bare.push(id.to_owned());
            }
            cells[4].to_owned()
        } else {
            let shown = names.iter().take(NAMES_SHOWN).map(|name| format!("`{name}`"));
            let mut text = shown.collect::<Vec<_>>().join(", ");
            if names.len() > NAMES_SHOWN {
                write!(text, " and {} more", names.len() - NAMES_SHOWN).unwrap();
            }
            text
        };
        writeln!(page, "| {id} | {} | {} | {last} |", cells[2], cells[3]).unwrap();
    }
    if env::var_os(WRITE).is_some() {
        settle("docs/cve.md", &page);
    }
    assert!(bare.is_empty(), "rows of docs/cve.md without a test or a reason: {}", bare.join(" "));
}

#[test]
fn every_test_and_benchmark_that_a_page_names_exists() {
    let tests = tests();
    for page in ["docs/cve.md", "SPECIFICATION.md"] {
        for line in read(page).lines().filter(|line| line.starts_with("| ")) {
            let cells: Vec<_> = line.split('|').collect();
            let last = cells.get(cells.len().saturating_sub(2)).copied().unwrap_or_default();
            for name in last.split('`').skip(1).step_by(2) {
                let exists = if name.contains('/') {
                    tree::root().join(name).exists()
                } else {
                    tests.contains_key(name)
                };
                assert!(exists, "{page}: there is no test or file `{name}`");
            }
        }
    }
}
