//! A tree with its journal, and the moves of a program.

#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ringfence_workspace::journal::{self, Journal, Restored, Roots, Store};
use rustix::fs::{CWD, RenameFlags};

/// The program's only thread.
pub const THREAD: u32 = 1;

/// A tree, its journal, and the moves of a program that has all its calls looked at.
pub struct Desk {
    _base: tempfile::TempDir,
    pub root: PathBuf,
    pub store: PathBuf,
    pub log: PathBuf,
    pub journal: Journal,
}

impl Desk {
    pub fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let (root, store, log) = (at("root"), at("store"), at("journal.jsonl"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&store).unwrap();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("a"), "a, as it was").unwrap();
        fs::write(root.join("d/b"), "b, as it was").unwrap();
        symlink("a", root.join("l")).unwrap();
        let journal = open(&root, &store, &log);
        Self { _base: base, root, store, log, journal }
    }

    pub fn entries(&self) -> Vec<journal::Entry> {
        log(&self.log).entries
    }

    pub fn restore(&mut self, since: u64) -> Restored {
        let entries = self.entries();
        journal::restore(&mut self.journal, &entries, since).unwrap()
    }

    pub fn act(&mut self, act: &Act) {
        let at = |path: &str| self.root.join(path);
        let journal = &mut self.journal;
        // A call whose parent directory is not there fails before it changes anything.
        match act {
            Act::Write(path, text) => {
                let _ = journal.writing(THREAD, path.as_bytes());
                let _ = fs::write(at(path), text);
            }
            Act::Append(path, text) => {
                let _ = journal.writing(THREAD, path.as_bytes());
                let file = fs::OpenOptions::new().append(true).create(true).open(at(path));
                let _ = file.map(|mut file| file.write_all(text.as_bytes()));
            }
            Act::Remove(path) => {
                let _ = journal.removing(THREAD, path.as_bytes());
                let _ = fs::remove_file(at(path)).or_else(|_| fs::remove_dir(at(path)));
            }
            Act::Rename(from, to) => {
                let _ = journal.moving(THREAD, from.as_bytes(), to.as_bytes(), false);
                let _ = fs::rename(at(from), at(to));
            }
            Act::Exchange(one, other) => {
                let _ = journal.moving(THREAD, one.as_bytes(), other.as_bytes(), true);
                let _ =
                    rustix::fs::renameat_with(CWD, at(one), CWD, at(other), RenameFlags::EXCHANGE);
            }
            Act::MakeDir(path) => {
                let _ = journal.making(THREAD, path.as_bytes());
                let _ = fs::create_dir(at(path));
            }
            Act::Symlink(path, target) => {
                let _ = journal.making(THREAD, path.as_bytes());
                let _ = symlink(target, at(path));
            }
            Act::Link(from, to) => {
                let _ = journal.linking(THREAD, to.as_bytes());
                let _ = fs::hard_link(at(from), at(to));
            }
            Act::Mode(path, mode) => {
                // Of a file with several names, the bits go back under the name that changed them.
                let one_name = |meta: fs::Metadata| meta.is_dir() || meta.nlink() == 1;
                let Ok(meta) = fs::symlink_metadata(at(path)) else { return };
                // An ordinary user must still be able to enter a directory.
                let mode = if meta.is_dir() { mode | 0o100 } else { *mode };
                if !meta.is_symlink() && one_name(meta) {
                    let _ = journal.mode(THREAD, path.as_bytes());
                    let _ = fs::set_permissions(at(path), fs::Permissions::from_mode(mode));
                }
            }
        }
    }
}

pub fn open(root: &Path, store: &Path, log: &Path) -> Journal {
    let file = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
    let held = vec![b"held".to_vec()];
    Journal::new(
        Roots::open(root, None).unwrap(),
        Store::open(store).unwrap(),
        file,
        &self::log(log),
        held,
    )
    .unwrap()
}

pub fn log(path: &Path) -> journal::Log {
    journal::read(std::io::BufReader::new(fs::File::open(path).unwrap())).unwrap()
}

#[derive(Clone, Debug)]
pub enum Act {
    Write(&'static str, String),
    Append(&'static str, String),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    Exchange(&'static str, &'static str),
    MakeDir(&'static str),
    Symlink(&'static str, &'static str),
    Link(&'static str, &'static str),
    Mode(&'static str, u32),
}

/// Every name with its kind, mode and content; which names are one file does not count.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                todo.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), (meta.mode(), content));
        }
    }
    all
}
