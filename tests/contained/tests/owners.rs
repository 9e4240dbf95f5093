//! Root in a project that belongs to somebody else: the agent acts as that owner in the project, and as
//! root's own in what ringfence keeps for it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use ringfence_contained_tests::{Fixture, is_root, write_script};

/// An account without a name.
const OWNER: u32 = 4711;

fn all_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_owned()];
    for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(all_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// A project of [`OWNER`]'s, but for one file of root's; a package cache of root's.
fn foreign() -> Fixture {
    let fixture = Fixture::new();
    for path in all_below(&fixture.project()) {
        chown(path, Some(OWNER), Some(OWNER)).unwrap();
    }
    let kept = fixture.project().join("roots-own");
    fs::write(&kept, "CANARY-ROOT\n").unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o600)).unwrap();
    let cache = fixture.home().join(".npm/_cacache");
    fs::create_dir_all(&cache).unwrap();
    fs::write(cache.join("package"), "genuine\n").unwrap();
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o700)).unwrap();
    let bin = fixture.home().join(".local/bin");
    fs::create_dir_all(&bin).unwrap();
    write_script(&bin.join("npm"), "#!/bin/sh\n");
    fixture
}

const WORK: &str = "set -e
cat .git/HEAD src/main.txt > /dev/null
echo more >> README.md; mkdir made; echo new > made/file; rm src/main.txt
mkdir -p ~/.config/tool; echo mine > ~/.config/tool/settings
grep -qx genuine ~/.npm/_cacache/package; echo changed > ~/.npm/_cacache/package; mkdir ~/.npm/_cacache/sub
test \"$(stat -c %u . README.md made/file ~ ~/.config/tool/settings ~/.npm/_cacache/package | sort -u)\" = \"$(id -u)\"
git status --short > /dev/null
cat roots-own 2>&1 || echo refused";

#[test]
fn root_works_in_a_project_of_somebody_elses() {
    if !is_root() {
        return;
    }
    for mode in ["review", "pair", "direct"] {
        let fixture = foreign();
        let path = format!("{}/.local/bin:/usr/bin:/bin", fixture.home().display());
        let job = fixture.job().env("PATH", path).flags(["--workspace", mode]);
        assert!(job.unprotected_sh("cat roots-own").stdout.contains("CANARY-ROOT"));
        let outcome = job.sh(WORK);
        assert_eq!(outcome.code, 0, "{mode}: {outcome:?}");
        assert!(outcome.stdout.ends_with("refused\n"), "{mode}: {outcome:?}");
        assert!(!outcome.text().contains("CANARY-ROOT"), "{mode}: {outcome:?}");
        if mode == "review" {
            let applied = fixture.ringfence(&["apply"]);
            assert_eq!(applied.code, 0, "{applied:?}");
        }
        let project = fixture.project();
        assert_eq!(fs::read_to_string(project.join("README.md")).unwrap(), "a project\nmore\n");
        assert!(!project.join("src/main.txt").exists(), "{mode}");
        let strangers: Vec<_> = all_below(&project)
            .into_iter()
            .filter(|path| !path.ends_with("roots-own"))
            .filter(|path| path.symlink_metadata().unwrap().uid() != OWNER)
            .collect();
        assert!(strangers.is_empty(), "{mode}: {strangers:?}");
        let package = fixture.home().join(".npm/_cacache/package");
        assert_eq!(fs::read_to_string(package).unwrap(), "genuine\n");
    }
}

/// A kept home is used from projects of different owners, one after the other.
#[test]
fn a_kept_home_goes_from_one_owner_s_project_to_the_next() {
    if !is_root() {
        return;
    }
    let fixture = foreign();
    let named = fixture.job().flags(["--name", "kept", "--workspace", "review"]);
    let first = named.clone().sh("mkdir -m 700 ~/own && echo kept > ~/own/file");
    assert_eq!(first.code, 0, "{first:?}");
    let sibling = fixture.sibling();
    assert_eq!(fs::metadata(&sibling).unwrap().uid(), 0, "it is root's");
    let second = named.directory(&sibling).sh("cat ~/own/file && echo more >> ~/own/file");
    assert_eq!((second.code, second.stdout.as_str()), (0, "kept\n"), "{second:?}");
}
