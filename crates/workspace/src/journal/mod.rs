//! The journal of a `pair` workspace: what every change replaced, kept before the change happens, so
//! that all of them can be taken back.
//!
//! The agent works on the project's own files. Whoever owns the run tells the journal of each call
//! that is about to change something ([`Journal::writing`], [`Journal::removing`], …); the journal
//! keeps what is there, writes an [`Entry`], and only then lets the call go on. Taking back is reading
//! the entries from the last to the first and putting each thing back as it was ([`restore`]). What
//! taking back itself replaces is kept in the same way, so it can be taken back, too.
//!
//! All paths are relative to the workspace and resolved: no part of them may be a link. Everything is
//! reached beneath a held directory. The journal must never be kept where the agent can reach it.

mod entry;
mod net;
mod read;
mod restore;
mod store;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::OFlags;

use crate::beneath::{Meta, is_within, look, open_at, open_root, read_link, split};
use crate::change::Node;

pub use entry::{Act, Entry, Kept, Path, State};
pub use net::{Net, net};
pub use read::{ReadError, marks, read};
pub use restore::{NotRestored, Restored, restore};
pub use store::{How, Store};

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    root: OwnedFd,
    store: Store,
    file: File,
    next: u64,
    /// Files whose content has been kept since the last mark, by device and inode.
    kept: HashSet<(u64, u64)>,
    /// Paths at which nothing was, as it was written since the last mark: once is enough.
    absent: HashSet<Vec<u8>>,
}

impl Journal {
    /// Begins a journal, or goes on with one: `file` is open for appending, `entries` is what it
    /// holds, `store` is its directory of kept files.
    ///
    /// # Errors
    /// The workspace cannot be opened.
    pub fn new(
        root: &std::path::Path,
        store: Store,
        file: File,
        entries: &[Entry],
    ) -> io::Result<Self> {
        let next = entries.last().map_or(1, |entry| entry.number + 1);
        let (kept, absent) = (HashSet::new(), HashSet::new());
        Ok(Self { root: open_root(root)?, store, file, next, kept, absent })
    }

    /// A file is about to be opened for writing, or made.
    ///
    /// # Errors
    /// The entry cannot be written: the call must not happen.
    pub fn writing(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match look(parent.as_fd(), &name)? {
            None => self.absent(path),
            Some(meta) if meta.node == Node::File => {
                if self.kept.contains(&meta.device) {
                    return Ok(());
                }
                let kept = self.keep(&parent, &name, &meta, How::Content);
                self.kept.insert(meta.device);
                self.before(path, State::File(kept))
            }
            // Nothing else changes by being opened.
            Some(_) => Ok(()),
        }
    }

    /// Something is about to be made where nothing is.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn making(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match look(parent.as_fd(), &name)? {
            None => self.absent(path),
            // The call will fail.
            Some(_) => Ok(()),
        }
    }

    /// A name is about to go, or to stand for something else.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn removing(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let Some(meta) = look(parent.as_fd(), &name)? else { return Ok(()) };
        self.absent.remove(path);
        let was = match meta.node {
            Node::File => State::File(self.keep(&parent, &name, &meta, How::Name)),
            Node::Symlink => State::Link { target: Path(read_link(parent.as_fd(), &name)?) },
            Node::Dir => State::Dir { mode: meta.mode },
            Node::Fifo | Node::Socket | Node::Device => State::Special,
        };
        self.before(path, was)
    }

    /// A name is about to be moved over another, or the two are about to change places.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn moving(&mut self, from: &[u8], to: &[u8], exchange: bool) -> io::Result<()> {
        let (parent, name) = self.parent(from)?;
        let Some(meta) = look(parent.as_fd(), &name)? else { return Ok(()) };
        if from == to {
            return Ok(());
        }
        let (target, target_name) = self.parent(to)?;
        match look(target.as_fd(), &target_name)? {
            // Two names of one file: rename(2) does nothing.
            Some(there) if there.device == meta.device => return Ok(()),
            Some(_) if !exchange => self.removing(to)?,
            _ => {}
        }
        let (from, to) = (from.to_vec(), to.to_vec());
        let act = Act::Moved {
            from: Path(from.clone()),
            to: Path(to.clone()),
            identity: meta.device,
            exchange,
        };
        self.write(act)?;
        // Whether the call succeeds is not known here: what is made at either name is written down anew.
        self.absent.retain(|path| !is_within(path, &from) && !is_within(path, &to));
        Ok(())
    }

    /// Permission bits are about to change.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn mode(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match look(parent.as_fd(), &name)? {
            Some(meta) if meta.node != Node::Symlink => {
                self.write(Act::Mode { path: Path(path.to_vec()), mode: meta.mode })
            }
            _ => Ok(()),
        }
    }

    /// Names a moment; from now on everything is kept anew. Its entry's number.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn mark(&mut self, name: &str, unix_s: i64) -> io::Result<u64> {
        self.forget();
        self.write(Act::Mark { name: name.to_owned(), unix_s })?;
        Ok(self.next - 1)
    }

    /// From now on everything is kept anew.
    fn forget(&mut self) {
        self.kept.clear();
        self.absent.clear();
    }

    fn absent(&mut self, path: &[u8]) -> io::Result<()> {
        if self.absent.insert(path.to_vec()) {
            self.before(path, State::Absent)?;
        }
        Ok(())
    }

    fn before(&mut self, path: &[u8], was: State) -> io::Result<()> {
        self.write(Act::Before { path: Path(path.to_vec()), was })
    }

    /// Keeps a file's content for the entry that is written next.
    fn keep(&self, dir: &OwnedFd, name: &[u8], meta: &Meta, how: How) -> Kept {
        let kept = self.store.keep(dir.as_fd(), name, self.next, how);
        Kept {
            itself: kept == Ok(true),
            missing: kept.err(),
            mode: meta.mode,
            size: meta.size,
            owner: meta.owner,
            identity: meta.device,
        }
    }

    fn write(&mut self, act: Act) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Entry { number: self.next, act })?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.next += 1;
        Ok(())
    }

    fn parent(&self, path: &[u8]) -> io::Result<(OwnedFd, Vec<u8>)> {
        let (above, name) = split(path);
        // To reach through, not to list: a directory may be writable and not readable.
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = match above {
            b"" => self.root.try_clone()?,
            above => open_at(self.root.as_fd(), above, flags)?,
        };
        Ok((parent, name.to_vec()))
    }
}
