//! The names that hold what is missing, hidden from the host's git while they are there: without
//! that a person's `git add -A` beside a running agent would take them.
//!
//! They are lines of `info/exclude`, git's own list of what is untracked on purpose in one clone
//! (gitignore(5)). The file is the project's and the agent may change it: it is reached without
//! following a link, and exactly what was added is taken away again.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_model::id::RunId;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
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
        let List { text, .. } = own.open().ok().filter(List::is_alone)?;
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
        let mut list = self.open()?;
        match list.is_alone() {
            true => list.file.write_all(self.lines.as_bytes()),
            false => Err(io::Error::other("it is another file, too")),
        }
    }

    /// Takes them away, as far as they are there.
    pub fn take_away(&self) {
        let Ok(list) = self.open() else { return };
        if let Some((before, after)) = list.text.split_once(&self.lines) {
            let rest = format!("{before}{after}");
            let _ = if list.is_alone() { list.overwrite(&rest) } else { list.replace(&rest) };
        }
    }

    /// The list and its text; the next write goes to its end.
    fn open(&self) -> io::Result<List> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let repository = rustix::fs::open(&self.repository, flags, Mode::empty())?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let directory = rustix::fs::openat2(repository, "info", flags, Mode::empty(), resolve)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&directory, LIST, flags, Mode::empty())?);
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() > GIT_IGNORE_BYTES as u64 {
            return Err(io::Error::other("it is no plain list"));
        }
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(List { directory, file, metadata, text })
    }
}

const LIST: &str = "exclude";

/// A repository's list, opened.
struct List {
    directory: OwnedFd,
    file: File,
    metadata: Metadata,
    text: String,
}

impl List {
    /// Whether it has no other name.
    fn is_alone(&self) -> bool {
        self.metadata.nlink() == 1
    }

    fn overwrite(mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)
    }

    /// Puts another file in its place: what a workspace was taken back with may be the kept file itself.
    fn replace(&self, text: &str) -> io::Result<()> {
        let draft = format!("{LIST}.ringfence-{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(self.metadata.mode() & 0o777);
        let mut file = File::from(rustix::fs::openat(&self.directory, &draft, flags, mode)?);
        let done = file
            .write_all(text.as_bytes())
            .and_then(|()| file.set_permissions(self.metadata.permissions()))
            .and_then(|()| {
                let owner = (Some(self.metadata.uid()), Some(self.metadata.gid()));
                std::os::unix::fs::fchown(&file, owner.0, owner.1)
            })
            .and_then(|()| {
                Ok(rustix::fs::renameat(&self.directory, &draft, &self.directory, LIST)?)
            });
        if done.is_err() {
            let _ = rustix::fs::unlinkat(&self.directory, &draft, AtFlags::empty());
        }
        done
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

    #[test]
    fn a_kept_file_that_was_put_back_is_not_changed() {
        let place = tempfile::tempdir().unwrap();
        let (kept, list) = (place.path().join("kept"), place.path().join("info/exclude"));
        fs::create_dir(place.path().join("info")).unwrap();
        fs::write(&list, "# mine\n").unwrap();
        let own = Excluded::plan(place.path(), "/.a\n", &RunId::new(1, 1)).unwrap();
        own.add().unwrap();
        fs::hard_link(&list, &kept).unwrap();
        own.take_away();
        assert_eq!(fs::read_to_string(&list).unwrap(), "# mine\n");
        assert!(fs::read_to_string(&kept).unwrap().contains("/.a"));
        assert_eq!(fs::read_dir(place.path().join("info")).unwrap().count(), 1);
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
