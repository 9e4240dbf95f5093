//! File attempts from standard input: `ID<TAB>VERB<TAB>PATH[<TAB>PATH]` a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use ringfence_contained_tests::operations::{Operation, perform, prepare};

use crate::answer::say;

/// Runs the batch; each attempt is independent of the others' results.
pub fn run() {
    for line in io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split('\t').collect();
        if let [id, verb, arguments @ ..] = words.as_slice() {
            say(id, &attempt(verb, arguments));
        }
    }
}

fn attempt(verb: &str, arguments: &[&str]) -> io::Result<()> {
    match (verb, arguments) {
        ("read", [path]) => File::open(path)?.read(&mut [0; 1]).map(drop),
        ("list", [path]) => fs::read_dir(path).map(drop),
        ("stat", [path]) => fs::metadata(path).map(drop),
        ("lstat", [path]) => fs::symlink_metadata(path).map(drop),
        ("write", [path]) => OpenOptions::new().write(true).open(path)?.write_all(b"attack"),
        // For what must not be written even where the boundary fails.
        ("open-write", [path]) => OpenOptions::new().write(true).open(path).map(drop),
        ("create", [path]) => OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?
            .write_all(b"attack"),
        ("mkdir", [path]) => fs::create_dir(path),
        ("rmdir", [path]) => fs::remove_dir(path),
        ("unlink", [path]) => fs::remove_file(path),
        ("rename", [from, to]) => fs::rename(from, to),
        ("link", [from, to]) => fs::hard_link(from, to),
        ("symlink", [target, path]) => symlink(target, path),
        ("chmod", [mode, path]) => {
            let mode = u32::from_str_radix(mode, 8).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
        }
        // One row of the protected-path generator: operation, project, path, "dir" or "file".
        ("protected", [operation, project, path, kind]) => {
            let operation = Operation::named(operation).expect("a known operation");
            let project = Path::new(project);
            prepare(project)?;
            perform(operation, project, path, *kind == "dir")
        }
        _ => panic!("unknown attempt {verb} {arguments:?}"),
    }
}
