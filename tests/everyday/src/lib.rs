//! Everyday commands, as data, each run inside the boundary in every mode: nothing that should work is refused.
//!
//! A row is a TOML table in `tables/`. A row that is expected to be refused says why, and fails when it works.
//! It must never run a row's `run` outside the boundary; `setup` and `after` run on the fixture's own host.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test support: a broken row stops the test and says which"
)]

mod beside;
mod row;
mod server;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::needs::has;
use ringfence_contained_tests::{Fixture, Outcome, free_port, skip};

use beside::Beside;
pub use row::{Expectation, Row, rows};
use server::Server;

/// The modes of a workspace in which every row is run.
pub const MODES: [&str; 3] = ["review", "pair", "direct"];
/// Variable that names the directory of programs that are installed for these tests alone.
const TOOLS: &str = "RINGFENCE_TOOLS_DIR";
/// Makes every command of a row count.
const STRICT: &str = "set -e\n";

/// Runs every row of a table in one mode and fails with all that went wrong.
///
/// # Panics
/// If a row does not do what it says.
pub fn run_table(table: &str, mode: &str) {
    let rows = rows(table);
    assert!(!rows.is_empty(), "an empty table proves nothing");
    let only = std::env::var("RINGFENCE_EVERYDAY").unwrap_or_default();
    let chosen = rows.iter().filter(|row| row.id.contains(&only));
    let failures: Vec<String> = chosen.filter_map(|row| attempt(row, mode)).collect();
    assert!(failures.is_empty(), "{} in {mode}:\n{}", failures.len(), failures.join("\n"));
}

/// What the words in braces of a row stand for.
struct Words(Vec<(&'static str, String)>);

impl Words {
    fn put_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (word, value)| text.replace(word, value))
    }
}

/// The words that are the same in every mode; `None` after saying that the row is skipped.
fn words(row: &Row) -> Option<Words> {
    let tools = std::env::var(TOOLS).unwrap_or_default();
    if tools.is_empty() && row.needs.iter().any(|program| program.contains("{tools}")) {
        skip(&row.id, &format!("{TOOLS} names no directory"));
        return None;
    }
    let mut words = Words(vec![("{tools}", tools), ("{free}", free_port().to_string())]);
    let needs: Vec<String> = row.needs.iter().map(|program| words.put_in(program)).collect();
    if !has(&row.id, &needs) {
        return None;
    }
    if row.rust {
        let Some(rust) = toolchain() else {
            skip(&row.id, "there is no Rust toolchain");
            return None;
        };
        words.0.push(("{rust}", rust));
    }
    Some(words)
}

/// One row in one mode; what went wrong, if anything did.
fn attempt(row: &Row, mode: &str) -> Option<String> {
    let mut words = words(row)?;
    let fixture = Fixture::new();
    let server = row.server.then(Server::start);
    let port = server.as_ref().map_or(0, Server::port).to_string();
    words.0.push(("{port}", port));
    let prepared = fixture.unprotected(&words.put_in(&format!("{STRICT}{}", row.setup)));
    if prepared.code != 0 {
        return Some(format!("{}: its set-up fails: {prepared:?}", row.id));
    }
    let beside = (!row.beside.is_empty()).then(|| Beside::start(&fixture, row, &words));
    let beside = match beside.transpose() {
        Ok(beside) => beside,
        Err(why) => return Some(format!("{}: {why}", row.id)),
    };
    let flags = row.flags.iter().map(|flag| words.put_in(flag));
    let job = fixture.job().flags(["--workspace", mode]).flags(flags);
    let job = job.directory(fixture.project().join(&row.directory).canonicalize().unwrap());
    let job = job.patience(Duration::from_secs(row.patience));
    let outcome = job.sh(&format!("{STRICT}{}", words.put_in(&row.run)));
    drop(beside);
    let judged = judge(row, mode, &fixture, &outcome);
    judged.err().map(|why| format!("{}: {why}\n  {outcome:?}", row.id))
}

fn judge(row: &Row, mode: &str, fixture: &Fixture, outcome: &Outcome) -> Result<(), String> {
    match row.expectation(mode) {
        Expectation::Refused { why, says } => {
            if outcome.code == 0 {
                return Err(format!("it works, but the table says it cannot: {why}"));
            }
            // The message is what the person sees: it must name what was refused.
            let text = outcome.text();
            let told = says.split('|').any(|part| text.contains(part));
            return told.then_some(()).ok_or(format!("no clear message ({says:?})"));
        }
        Expectation::Works => {}
    }
    if outcome.code != 0 {
        return Err(format!("it fails with {}", outcome.code));
    }
    let denials = fixture.ledger().denials();
    if !denials.is_empty() && row.denied.is_empty() {
        return Err(format!("something was denied: {denials:?}"));
    }
    afterwards(row, mode, fixture)
}

/// What the host sees when the run is over and its changes are applied.
fn afterwards(row: &Row, mode: &str, fixture: &Fixture) -> Result<(), String> {
    if mode == "review" {
        // What is held back for its name makes `apply` end with 1; that is no fault of the row.
        let applied = fixture.ringfence(&["apply"]);
        if applied.code > 1 {
            return Err(format!("apply fails: {applied:?}"));
        }
    }
    for script in row.after(mode) {
        let seen = fixture.unprotected(&format!("{STRICT}{script}"));
        if seen.code != 0 {
            return Err(format!("afterwards on the host: {script}\n  {seen:?}"));
        }
    }
    Ok(())
}

/// Where the Rust toolchain lies; a fixture's home has none.
fn toolchain() -> Option<String> {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let place = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
    (asked.status.success() && Path::new(&place).is_dir()).then_some(place)
}
