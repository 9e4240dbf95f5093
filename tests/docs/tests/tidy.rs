//! The repository's shape: headers, sizes, unsafe code, words that must not stand anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use ringfence_docs_tests::tree;
use std::path::{Path, PathBuf};

/// Lines above which a source file needs a row in [`LONG`].
const REVIEW_LINES: usize = 600;
/// Lines that no source file has.
const MOST_LINES: usize = 1000;
/// Source files that may pass [`REVIEW_LINES`], each with a reason.
const LONG: [(&str, &str); 1] =
    [("crates/sys/src/seccomp/table.rs", "a table: one row per system call")];

/// Words that stand nowhere, spelled backwards so that they do not stand here either: hosts of
/// package registries, and places of the machine that this was written on.
const NOWHERE: [&str; 12] = [
    "gro.sjmpn.yrtsiger",
    "moc.sjmpn",
    "gro.ipyp",
    "gro.detsohnohtyp",
    "oi.setarc.citats",
    "oi.setarc.xedni",
    "//oi.setarc",
    "gro.naibed.bed",
    "moc.utnubu.evihcra",
    "gnalog.yxorp",
    "niam/krow/",
    "derahs/krow/",
];
/// Other products of the kind, backwards; only the page that measures against them names them.
const PRODUCTS: [&str; 10] = [
    "kcoldnas",
    "liajerif",
    "parwelbbub",
    "parwb",
    "liajsn",
    "xoborez",
    "liaj-ia",
    "llehsnepo",
    "xobdnasorcim",
    "liajptth",
];
/// The page that may name [`PRODUCTS`].
const MEASURES: &str = "docs/benchmarks.md";
/// Names that a lock file is made of.
const LOCKS: [&str; 2] = ["Cargo.lock", "fuzz/Cargo.lock"];

fn sources() -> Vec<(PathBuf, String)> {
    let all = tree::with_extension("rs").unwrap();
    all.into_iter().map(|path| (path.clone(), tree::text(&path).expect("a text"))).collect()
}

fn backwards(word: &str) -> String {
    word.chars().rev().collect()
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for (path, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("//! ") && first.len() > 15,
            "{} does not open with `//!`",
            path.display()
        );
    }
}

#[test]
fn no_source_file_is_too_long() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        let excused = LONG.iter().any(|(file, _)| path == Path::new(file));
        let most = if excused { MOST_LINES } else { REVIEW_LINES };
        assert!(lines <= most, "{} has {lines} lines, {most} are the most", path.display());
    }
}

#[test]
fn unsafe_code_stands_in_one_crate() {
    let mut roots = 0;
    for (path, text) in sources() {
        let is_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
        let is_sys = path.starts_with("crates/sys");
        // The attacks of the acceptance suite are raw system calls.
        let attacks = path.starts_with("tests/contained/src/bin");
        if is_root && !is_sys && !attacks && !path.starts_with("fuzz") {
            let forbids = text.contains("#![forbid(unsafe_code)]");
            assert!(forbids, "{} does not forbid unsafe code", path.display());
            roots += 1;
        }
        let begins = ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"];
        let has = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            begins.iter().any(|begin| code.contains(begin)) && !code.contains('"')
        });
        assert!(!has || is_sys || attacks, "{} has unsafe code", path.display());
    }
    assert!(roots > 10, "only {roots} crate roots were found");
}

#[test]
fn crates_are_alike() {
    let manifests = tree::files().unwrap();
    let manifests = manifests.iter().filter(|path| path.ends_with("Cargo.toml"));
    for path in manifests.filter(|path| path.starts_with("crates") || path.starts_with("tests")) {
        let text = tree::text(path).unwrap();
        for line in [
            "[lints]\nworkspace = true",
            "edition.workspace = true",
            "license.workspace = true",
            "description = ",
        ] {
            assert!(text.contains(line), "{} lacks `{}`", path.display(), line.replace('\n', " "));
        }
        // Versions stand in one place; what has a version here would drift.
        let parsed: toml::Table = toml::from_str(&text).unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in
                parsed.get(section).and_then(toml::Value::as_table).into_iter().flatten()
            {
                let pinned = value.is_str() || value.get("version").is_some();
                assert!(!pinned, "{}: {name} has a version of its own", path.display());
            }
        }
    }
}

#[test]
fn words_that_stand_nowhere() {
    for path in tree::files().unwrap() {
        if LOCKS.iter().any(|lock| path == Path::new(lock)) {
            continue;
        }
        let Some(text) = tree::text(&path) else {
            continue;
        };
        let text = text.to_lowercase();
        for word in NOWHERE.map(backwards) {
            assert!(!text.contains(&word), "{} names {word}", path.display());
        }
        for word in PRODUCTS.map(backwards) {
            let may = path == Path::new(MEASURES);
            assert!(
                may || !text.contains(&word),
                "{} names another product: {word}",
                path.display()
            );
        }
    }
}

/// Code of the crates that decide or keep evidence: time and files are given to them.
#[test]
fn what_decides_reads_no_clock_and_opens_nothing() {
    let forbidden = [
        "SystemTime::now",
        "Instant::now",
        "fs::read",
        "fs::write",
        "fs::canonicalize",
        "File::open",
        "TcpStream",
        "UdpSocket",
        "UnixStream",
        "process::Command",
        "env::var",
    ];
    for (path, text) in sources() {
        let decides = ["policy", "authority", "ledger", "model"]
            .iter()
            .any(|name| path.starts_with(Path::new("crates").join(name).join("src")));
        if !decides {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (index, line) in code.lines().enumerate() {
            let line_code = line.split("//").next().unwrap_or_default();
            for word in forbidden {
                assert!(!line_code.contains(word), "{}:{}: {word}", path.display(), index + 1);
            }
        }
    }
}
