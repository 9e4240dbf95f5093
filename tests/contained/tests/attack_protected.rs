//! Every protected path under every operation, in a workspace that is the project itself: FS3, F08,
//! F10, F11, S07, S08, S28.
//!
//! The paths are the product's own list, so that a new row is attacked from its first day.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ringfence_contained_tests::Fixture;
use ringfence_contained_tests::operations::{Operation, PLANTED, other_case, perform, prepare};
use ringfence_contained_tests::protected::{PROTECTED, Protected};

/// What a refused change may answer.
const REFUSALS: [&str; 5] = ["EROFS", "EACCES", "EPERM", "EBUSY", "EXDEV"];

/// Makes a protected path with some content.
fn make(project: &Path, row: &Protected) {
    let place = project.join(row.path);
    if row.directory {
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("existing"), "ORIGINAL\n").unwrap();
    } else if place.symlink_metadata().is_err() {
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // A definition has to be one, so that the run starts.
        let text = if row.path == "ringfence.toml" { "version = 1\n" } else { "# ORIGINAL\n" };
        fs::write(place, text).unwrap();
    }
}

fn unmake(project: &Path, row: &Protected) {
    let place = project.join(row.path);
    match place.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(place).unwrap(),
        Ok(_) => fs::remove_file(place).unwrap(),
        Err(_) => {}
    }
}

/// Content, mode and identity of everything at and below the protected paths.
fn snapshot(project: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for row in PROTECTED {
        record(&project.join(row.path), row.path, &mut all);
    }
    all
}

fn record(place: &Path, name: &str, all: &mut BTreeMap<String, String>) {
    let Ok(metadata) = place.symlink_metadata() else {
        return;
    };
    let content = if metadata.is_file() { fs::read(place).unwrap() } else { Vec::new() };
    let text = format!(
        "ino {} mode {:o} links {} {:?}",
        metadata.ino(),
        metadata.mode(),
        if metadata.is_dir() { 0 } else { metadata.nlink() },
        String::from_utf8_lossy(&content)
    );
    all.insert(name.to_owned(), text);
    if metadata.is_dir() {
        for entry in fs::read_dir(place).unwrap() {
            let entry = entry.unwrap();
            let below = format!("{name}/{}", entry.file_name().to_string_lossy());
            record(&entry.path(), &below, all);
        }
    }
}

fn kind(row: &Protected) -> &'static str {
    if row.directory { "dir" } else { "file" }
}

/// All attempts that make sense, as a batch.
fn attempts(project: &Path, exists: bool) -> Vec<String> {
    let mut all = Vec::new();
    for row in PROTECTED {
        for operation in Operation::ALL.into_iter().filter(|o| o.applies(exists, row.directory)) {
            all.push(format!(
                "{} {}\tprotected\t{}\t{}\t{}\t{}",
                operation.name(),
                row.path,
                operation.name(),
                project.display(),
                row.path,
                kind(row)
            ));
        }
    }
    all
}

fn attack(exists: bool) {
    let fixture = Fixture::new();
    let project = fixture.project();
    for row in PROTECTED {
        if exists { make(&project, row) } else { unmake(&project, row) }
    }
    let before = snapshot(&project);
    assert_eq!(before.is_empty(), !exists);
    let attempts = attempts(&project, exists);
    let inside = fixture.job().flags(["--workspace", "direct"]).batch(&attempts);
    assert_eq!(inside.code, 0, "{inside:?}");
    assert_eq!(inside.answers().len(), attempts.len(), "{inside:?}");
    let mut open = Vec::new();
    for (id, answer) in inside.answers() {
        // Where a missing name is held, it is there for the agent.
        let held = !exists && answer == "EEXIST";
        if !held && !REFUSALS.contains(&answer) {
            open.push(format!("{id}: {answer}"));
        }
    }
    assert!(open.is_empty(), "not refused:\n{}", open.join("\n"));
    assert_eq!(snapshot(&project), before, "the host's protected paths changed");
}

/// FS3, F10, S07: nothing that exists can be changed, replaced, moved or linked.
#[test]
fn fs3_s07_existing_protected_paths_hold() {
    attack(true);
}

/// FS3, F11, S08: nothing that is missing can be made, and nothing is left on the host.
#[test]
fn fs3_f11_s08_missing_protected_paths_hold() {
    attack(false);
}

/// The control group: without a boundary every one of these operations works.
#[test]
fn fs3_control_group_every_operation_works_outside() {
    let directory = tempfile::tempdir().unwrap();
    let mut number = 0;
    for exists in [true, false] {
        for row in PROTECTED {
            for operation in Operation::ALL.into_iter().filter(|o| o.applies(exists, row.directory))
            {
                number += 1;
                let project = directory.path().join(number.to_string());
                fs::create_dir(&project).unwrap();
                if exists {
                    make(&project, row);
                }
                prepare(&project).unwrap();
                let before = snapshot(&project);
                perform(operation, &project, row.path, row.directory)
                    .unwrap_or_else(|error| panic!("{} {}: {error}", operation.name(), row.path));
                assert_ne!(snapshot(&project), before, "{} {}", operation.name(), row.path);
            }
        }
    }
    assert!(number > 400, "only {number} attempts were generated");
}

/// FS3: another spelling of a protected name does not reach it.
#[test]
fn fs3_another_case_does_not_reach_a_protected_path() {
    let fixture = Fixture::new();
    let project = fixture.project();
    for row in PROTECTED {
        make(&project, row);
    }
    let before = snapshot(&project);
    let attempts: Vec<String> = PROTECTED
        .iter()
        .map(|row| {
            let upper = other_case(row.path);
            format!("{upper}\tprotected\tcreate\t{}\t{upper}\t{}", project.display(), kind(row))
        })
        .collect();
    let inside = fixture.job().flags(["--workspace", "direct"]).batch(&attempts);
    assert_eq!(inside.answers().len(), attempts.len(), "{inside:?}");
    assert_eq!(snapshot(&project), before);
}

/// FS3: odd spellings of a path are the path.
#[test]
fn fs3_odd_spellings_of_a_protected_path_are_the_path() {
    let fixture = Fixture::new();
    let project = fixture.project();
    let before = snapshot(&project);
    let inside = fixture.job().flags(["--workspace", "direct"]).sh(
        "for p in .git//config ./.git/./config .git/../.git/config src/../.git/config \"$PWD/.git/config\" \
            /proc/self/cwd/.git/config /proc/self/root\"$PWD\"/.git/config /dev/fd/../cwd/.git/config; do
            echo PLANTED >> \"$p\"; echo \"$?\"; done 2>/dev/null
         cd .git && echo PLANTED >> config; echo $?; cd hooks && echo PLANTED > pre-commit; echo $?",
    );
    assert_eq!(snapshot(&project), before, "{inside:?}");
    let succeeded = inside.stdout.lines().filter(|line| *line == "0").count();
    assert_eq!(succeeded, 0, "{inside:?}");
}

/// FS3: what is not protected can be changed, so that the refusals above are about the paths.
#[test]
fn fs3_control_group_other_paths_can_be_changed() {
    let fixture = Fixture::new();
    let project = fixture.project();
    let attempts: Vec<String> = Operation::ALL
        .into_iter()
        .filter(|operation| operation.applies(true, false))
        .map(|o| format!("{0}\tprotected\t{0}\t{1}\tplain-{0}\tfile", o.name(), project.display()))
        .collect();
    for operation in Operation::ALL {
        fs::write(project.join(format!("plain-{}", operation.name())), "plain").unwrap();
    }
    let inside = fixture.job().flags(["--workspace", "direct"]).batch(&attempts);
    for (id, answer) in inside.answers() {
        assert_eq!(answer, "DONE", "{id}");
    }
    let written = fs::read_to_string(project.join("plain-append")).unwrap();
    assert!(written.ends_with(PLANTED), "{written}");
}

/// S28: `--unprotect` opens one path and no other, and it is in the ledger.
#[test]
fn s28_unprotect_opens_one_path_only() {
    let fixture = Fixture::new();
    let script = "echo one > .envrc; echo $?; echo two > .mcp.json; echo $?; exit 0";
    let job = fixture.job().flags(["--workspace", "direct", "--unprotect", ".envrc"]);
    let inside = job.sh(script);
    let codes: Vec<&str> = inside.stdout.lines().collect();
    assert_eq!(codes[0], "0", "{inside:?}");
    assert_ne!(codes[1], "0", "{inside:?}");
    assert!(fixture.project().join(".envrc").exists());
    assert!(!fixture.project().join(".mcp.json").exists());
    assert!(fixture.ledger().the("start").to_string().contains(".envrc"));
}

/// FS3, F13: a writable grant is a writable tree too: the same names are protected at its top.
#[test]
fn fs3_f13_a_writable_grant_protects_the_same_names() {
    let fixture = Fixture::new();
    let sibling = fixture.sibling();
    for row in PROTECTED {
        make(&sibling, row);
    }
    let before = snapshot(&sibling);
    let attempts = attempts(&sibling, true);
    let granted = sibling.to_str().unwrap();
    let inside = fixture.job().flags(["--rw", granted]).batch(&attempts);
    assert_eq!(inside.answers().len(), attempts.len(), "{inside:?}");
    assert_eq!(snapshot(&sibling), before, "protected paths of the grant changed");
}
