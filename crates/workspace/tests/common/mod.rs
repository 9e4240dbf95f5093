//! What the workspace's tests share: a project, a layer, real overlay mounts, trees as values.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout)] // Not every test file uses all; a failed set-up may panic.

use ringfence_workspace::apply::LeftOut;
use ringfence_workspace::{ApplyOptions, Change, Layer, Report, Selection};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub struct Fixture {
    pub tmp: tempfile::TempDir,
    pub started: SystemTime,
}

impl Fixture {
    /// A project made by a shell script, and an empty layer over it.
    pub fn new(project: &str) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        for dir in ["lower", "upper", "work", "merged", "outside"] {
            std::fs::create_dir(tmp.path().join(dir)).unwrap();
        }
        let fixture = Self { started: UNIX_EPOCH, tmp };
        fixture.shell("lower", project);
        // Everything so far is older than this; file systems stamp with a clock that runs behind.
        Self { started: SystemTime::now(), ..fixture }
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.tmp.path().join(path)
    }

    pub fn shell(&self, dir: &str, script: &str) {
        let status = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.at(dir))
            .env("LC_ALL", "C")
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }

    /// Runs a script in the project behind a real overlay; `false` where that is not possible.
    pub fn overlay(&self, script: &str) -> bool {
        if !overlay_works() {
            return false;
        }
        let (result, errors) = self.try_overlay(script);
        assert!(result, "{script}: {errors}");
        true
    }

    fn try_overlay(&self, script: &str) -> (bool, String) {
        let mount = "mount -t overlay overlay -o userxattr,lowerdir=lower,upperdir=upper,workdir=work merged";
        let output = Command::new("unshare")
            .args(["-Urm", "sh", "-ec", &format!("{mount}; cd merged; {script}")])
            .current_dir(self.tmp.path())
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub fn layer(&self) -> Layer {
        Layer::open(&self.at("upper"), &self.at("lower"), self.started).unwrap()
    }

    pub fn changes(&self) -> Vec<Change> {
        self.layer().changes().unwrap()
    }

    /// `letter path` of all changes.
    pub fn listed(&self) -> Vec<String> {
        self.changes().iter().map(|c| format!("{} {}", c.kind.letter(), c.shown())).collect()
    }

    pub fn apply(&self, host_executed: &[&str]) -> Report {
        self.apply_paths(Selection::All, host_executed)
    }

    pub fn apply_paths(&self, selection: Selection, host_executed: &[&str]) -> Report {
        let host_executed = host_executed.iter().map(|path| path.as_bytes().to_vec()).collect();
        self.layer().apply(&ApplyOptions { selection, host_executed, mounted: false }).unwrap()
    }

    /// Writes to the project until the file system's clock has passed the start of the run.
    pub fn edit_on_host(&self, path: &str, content: &str) {
        let path = self.at("lower").join(path);
        loop {
            std::fs::write(&path, content).unwrap();
            let meta = std::fs::metadata(&path).unwrap();
            let at = Duration::new(meta.ctime() as u64, meta.ctime_nsec() as u32);
            if UNIX_EPOCH + at > self.started {
                return;
            }
        }
    }

    pub fn tree(&self, dir: &str) -> Tree {
        tree(&self.at(dir))
    }
}

/// Whether this machine lets this user mount an overlay in a user namespace.
pub fn overlay_works() -> bool {
    static WORKS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *WORKS.get_or_init(|| {
        let tmp = tempfile::tempdir().unwrap();
        for dir in ["lower", "upper", "work", "merged", "outside"] {
            std::fs::create_dir(tmp.path().join(dir)).unwrap();
        }
        let (works, why) = Fixture { tmp, started: UNIX_EPOCH }.try_overlay("true");
        if !works {
            println!("no overlay mounts here, so layers are made by hand only: {why}");
        }
        works
    })
}

/// A tree as a value: type, permission bits, content or target of each entry.
pub type Tree = BTreeMap<Vec<u8>, (char, u32, Vec<u8>)>;

pub fn tree(root: &Path) -> Tree {
    let mut out = Tree::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let mode = meta.permissions().mode() & 0o7777;
            let value = if meta.is_dir() {
                todo.push(path);
                ('d', mode, Vec::new())
            } else if meta.is_symlink() {
                ('l', 0, std::fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else if meta.is_file() {
                ('f', mode, std::fs::read(&path).unwrap())
            } else {
                ('?', mode, Vec::new())
            };
            out.insert(name, value);
        }
    }
    out
}

pub fn paths(list: &[LeftOut]) -> Vec<String> {
    list.iter().map(|left| left.change.shown()).collect()
}

pub fn os(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}
