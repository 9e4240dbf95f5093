//! Every table in every mode. `RINGFENCE_EVERYDAY=WORD` runs only the rows whose names contain the word.

use ringfence_everyday_tests::{MODES, rows, run_table};

const GIT: &str = include_str!("../tables/git.toml");
const SYSTEM: &str = include_str!("../tables/system.toml");
const BUILD: &str = include_str!("../tables/build.toml");
const NET: &str = include_str!("../tables/net.toml");

#[test]
fn git_in_review() {
    run_table(GIT, "review");
}

#[test]
fn git_in_pair() {
    run_table(GIT, "pair");
}

#[test]
fn git_in_direct() {
    run_table(GIT, "direct");
}

#[test]
fn the_system_in_review() {
    run_table(SYSTEM, "review");
}

#[test]
fn the_system_in_pair() {
    run_table(SYSTEM, "pair");
}

#[test]
fn the_system_in_direct() {
    run_table(SYSTEM, "direct");
}

#[test]
fn builds_in_review() {
    run_table(BUILD, "review");
}

#[test]
fn builds_in_pair() {
    run_table(BUILD, "pair");
}

#[test]
fn builds_in_direct() {
    run_table(BUILD, "direct");
}

#[test]
fn servers_in_review() {
    run_table(NET, "review");
}

#[test]
fn servers_in_pair() {
    run_table(NET, "pair");
}

#[test]
fn servers_in_direct() {
    run_table(NET, "direct");
}

/// A mode or a table that is added without a test would be run by nobody.
#[test]
fn every_mode_has_its_tests() {
    assert_eq!(MODES, ["review", "pair", "direct"]);
    let all: usize = [GIT, SYSTEM, BUILD, NET].iter().map(|table| rows(table).len()).sum();
    assert!(all >= 115, "{all} rows");
}
