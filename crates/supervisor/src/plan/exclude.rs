//! The names that hold what is missing, hidden from the host's git while they are there: without
//! that a person's `git add -A` beside a running agent would take them.
//!
//! They are lines of `info/exclude`, git's own list of what is untracked on purpose in one clone
//! (gitignore(5)). The file is the project's and the agent may change it: it is reached without
//! following a link, and exactly what was added is taken away again.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_model::id::RunId;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::{Deserialize, Serialize};

use crate::limits::GIT_IGNORE_BYTES;

/// Lines in the exclude list of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excluded {
    /// The repository's directory.
    repository: PathBuf,
    /// What is added at the end.
    lines: String,
}

impl Excluded {
    /// Lines for `names`, one each, for the time of a run; `None` where the repository has no list.
    #[must_use]
    pub fn plan(repository: &Path, names: &str, run: &RunId) -> Option<Self> {
        if names.is_empty() {
            return None;
        }
        let repository = repository.to_owned();
        let own = Self { repository, lines: String::new() };
        let (_, text) = own.open().ok()?;
        let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        Some(Self {
            lines: format!("{start}# held by ringfence while {run} runs:\n{names}"),
            ..own
        })
    }

    /// Adds them.
    ///
    /// # Errors
    /// What the file system says; nothing is lost by that.
    pub fn add(&self) -> io::Result<()> {
        let (mut file, _) = self.open()?;
        file.write_all(self.lines.as_bytes())
    }

    /// Takes them away, as far as they are there.
    pub fn take_away(&self) {
        let Ok((mut file, text)) = self.open() else { return };
        if let Some((before, after)) = text.split_once(&self.lines) {
            let rest = format!("{before}{after}");
            let written = file.rewind().and_then(|()| file.write_all(rest.as_bytes()));
            let _ = written.and_then(|()| file.set_len(rest.len() as u64));
        }
    }

    /// The list and its text; the next write goes to its end.
    fn open(&self) -> io::Result<(File, String)> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let repository = rustix::fs::open(&self.repository, flags, Mode::empty())?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(repository, "info/exclude", flags, Mode::empty(), resolve)?;
        let mut file = File::from(file);
        let metadata = file.metadata()?;
        // A file with another name is that one, too.
        let plain = metadata.is_file() && metadata.nlink() == 1;
        if !plain || metadata.len() > GIT_IGNORE_BYTES as u64 {
            return Err(io::Error::other("it is no plain list"));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok((file, text))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_added_is_taken_away_whatever_came_between() {
        for before in ["", "# mine\n*.log\n", "no end of line"] {
            let repository = tempfile::tempdir().unwrap();
            let list = repository.path().join("info/exclude");
            fs::create_dir(repository.path().join("info")).unwrap();
            fs::write(&list, before).unwrap();
            let one = Excluded::plan(repository.path(), "/.a\n/.b\n", &RunId::new(1, 1)).unwrap();
            one.add().unwrap();
            let two = Excluded::plan(repository.path(), "/.c\n", &RunId::new(2, 2)).unwrap();
            two.add().unwrap();
            let text = fs::read_to_string(&list).unwrap();
            assert!(text.starts_with(before) && text.ends_with("/.c\n"), "{text}");
            one.take_away();
            let text = fs::read_to_string(&list).unwrap();
            assert!(!text.contains("/.a") && text.contains("/.c"), "{text}");
            two.take_away();
            two.take_away();
            assert_eq!(fs::read_to_string(&list).unwrap(), before);
        }
    }

    /// F07: a list that leads elsewhere, or is another file as well, is left alone.
    #[test]
    fn f07_a_list_that_is_no_plain_file_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let (repository, other) = (place.path().join("r"), place.path().join("other"));
        fs::create_dir_all(repository.join("info")).unwrap();
        fs::write(&other, "mine\n").unwrap();
        let plan = || Excluded::plan(&repository, "/.a\n", &RunId::new(1, 1));
        assert_eq!(plan(), None, "there is none");
        let list = repository.join("info/exclude");
        std::os::unix::fs::symlink(&other, &list).unwrap();
        assert_eq!(plan(), None, "a link");
        fs::remove_file(&list).unwrap();
        fs::hard_link(&other, &list).unwrap();
        assert_eq!(plan(), None, "a further name");
        assert_eq!(fs::read_to_string(&other).unwrap(), "mine\n");
    }
}
