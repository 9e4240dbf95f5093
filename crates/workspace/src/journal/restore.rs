//! Taking back: the entries after a mark, from the last to the first, each put back as it was.
//!
//! What is there is kept before it is replaced, like any change, so that nothing is ever lost by
//! taking back. What cannot be put back is told, and the rest is put back all the same.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::Journal;
use super::entry::{Act, Entry, Kept, Path, State};
use super::store::copy_content;
use crate::beneath::{Meta, c_name, chmod_exact, look, look_open, open_file, read_link};
use crate::change::Node;
use crate::compare::same_content;
use crate::land::{own, temporary};

/// What was not put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRestored {
    /// Where.
    pub path: Vec<u8>,
    /// Why.
    pub why: String,
}

/// What came of taking back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Things that were put back.
    pub restored: u64,
    /// What was not.
    pub left: Vec<NotRestored>,
}

/// Takes back everything after the entry `since` (0: everything).
///
/// # Errors
/// What is there cannot be kept or written down: nothing more is taken back.
pub fn restore(journal: &mut Journal, entries: &[Entry], since: u64) -> io::Result<Restored> {
    let result = take_back(journal, entries, since);
    // What was put back is the workspace's own again: it is kept anew when it changes.
    journal.forget();
    result
}

fn take_back(journal: &mut Journal, entries: &[Entry], since: u64) -> io::Result<Restored> {
    let mut done = Restored::default();
    for entry in entries.iter().rev().take_while(|entry| entry.number > since) {
        let (path, result) = match &entry.act {
            Act::Mark { .. } => continue,
            Act::Before { path, was } => (path, put_back(journal, &path.0, was, entry.number)),
            Act::Moved { from, to, identity, exchange } => {
                (to, move_back(journal, from, to, *identity, *exchange))
            }
            Act::Mode { path, mode } => (path, mode_back(journal, &path.0, *mode)),
        };
        match result {
            Ok(true) => done.restored += 1,
            Ok(false) => {}
            Err(Left::Why(why)) => done.left.push(NotRestored { path: path.0.clone(), why }),
            Err(Left::Io(error)) => {
                let why = error.to_string();
                done.left.push(NotRestored { path: path.0.clone(), why });
            }
            Err(Left::Journal(error)) => return Err(error),
        }
    }
    Ok(done)
}

/// Why one thing was not put back.
enum Left {
    Why(String),
    Io(io::Error),
    /// What is there could not be kept: nothing may go on.
    Journal(io::Error),
}

impl From<io::Error> for Left {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Errno> for Left {
    fn from(error: Errno) -> Self {
        Self::Io(error.into())
    }
}

/// Whether anything had to be done.
type Done = Result<bool, Left>;

fn put_back(journal: &mut Journal, path: &[u8], was: &State, number: u64) -> Done {
    let (parent, name) = match journal.parent(path) {
        Ok(place) => place,
        // Where the directory is gone, a thing that was not there is not there.
        Err(_) if *was == State::Absent => return Ok(false),
        Err(error) => return Err(Left::Io(error)),
    };
    let now = look(parent.as_fd(), &name)?;
    let place = Place { parent, name, path, now };
    match was {
        State::Absent => place.remove(journal),
        State::File(kept) => place.file(journal, kept, number),
        State::Link { target } => place.link(journal, target),
        State::Dir { mode } => place.dir(journal, *mode),
        State::Special => match now {
            Some(_) => Ok(false),
            None => Err(Left::Why("it was a named pipe or a socket, which is not kept".to_owned())),
        },
    }
}

/// One name of the workspace, and what is there now.
struct Place<'a> {
    parent: OwnedFd,
    name: Vec<u8>,
    path: &'a [u8],
    now: Option<Meta>,
}

impl Place<'_> {
    /// Takes away what is there; a directory only if it is empty.
    fn remove(&self, journal: &mut Journal) -> Done {
        let Some(now) = self.now else { return Ok(false) };
        let directory = now.node == Node::Dir;
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if directory && !crate::beneath::names(self.open()?.as_fd(), 1)?.is_empty() {
            let why = "it holds what the agent did not make".to_owned();
            return Err(Left::Why(why));
        }
        journal.removing(self.path).map_err(Left::Journal)?;
        rustix::fs::unlinkat(&self.parent, c_name(&self.name)?, flags)?;
        Ok(true)
    }

    fn open(&self) -> io::Result<OwnedFd> {
        crate::beneath::open_dir(self.parent.as_fd(), &self.name)
    }

    fn file(&self, journal: &mut Journal, kept: &Kept, number: u64) -> Done {
        if let Some(why) = &kept.missing {
            return Err(Left::Why(format!("its content was not kept: {why}")));
        }
        let mut content = journal.store.content(number)?;
        let Some(now) = self.now.filter(|now| now.device == kept.identity) else {
            self.remove(journal)?;
            journal.making(self.path).map_err(Left::Journal)?;
            return match kept.itself {
                true => self.name_file(journal, kept, number),
                false => self.make_file(&content, kept),
            };
        };
        // The same file: its further names go back with it.
        let same = look_open(&content)?.device == now.device
            || same_content(&mut open_file(self.parent.as_fd(), &self.name)?, &mut content)?;
        if same && now.mode == kept.mode {
            return Ok(false);
        }
        if !same {
            self.overwrite(journal, number)?;
        }
        chmod_exact(self.parent.as_fd(), &self.name, Some(now.device), kept.mode)?;
        Ok(true)
    }

    fn overwrite(&self, journal: &mut Journal, number: u64) -> Result<(), Left> {
        journal.kept.clear();
        journal.writing(self.path).map_err(Left::Journal)?;
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(&self.parent, c_name(&self.name)?, flags, Mode::empty())?;
        Ok(copy_content(journal.store.content(number)?, to)?)
    }

    /// The file itself, with all that it was linked to.
    fn name_file(&self, journal: &Journal, kept: &Kept, number: u64) -> Done {
        journal.store.name(number, self.parent.as_fd(), &self.name)?;
        chmod_exact(self.parent.as_fd(), &self.name, None, kept.mode)?;
        Ok(true)
    }

    /// A file of its own, whole or not at all, with the bits and the owner that it had.
    fn make_file(&self, content: &File, kept: &Kept) -> Done {
        let mut made = None;
        let draft = temporary(|name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            made = Some(rustix::fs::openat(&self.parent, name, flags, mode)?);
            Ok(())
        })?;
        let Some(fd) = made else { return Err(io::Error::other("no file was made").into()) };
        let finished = copy_content(content, &fd)
            .and_then(|()| own_as_root(&fd, kept.owner))
            .and_then(|()| Ok(rustix::fs::fchmod(&fd, Mode::from_raw_mode(kept.mode & 0o1777))?))
            .and_then(|()| {
                let name = c_name(&self.name)?;
                let flags = RenameFlags::NOREPLACE;
                Ok(rustix::fs::renameat_with(&self.parent, &*draft, &self.parent, name, flags)?)
            });
        if finished.is_err() {
            let _ = rustix::fs::unlinkat(&self.parent, &*draft, AtFlags::empty());
        }
        finished?;
        Ok(true)
    }

    fn link(&self, journal: &mut Journal, target: &Path) -> Done {
        if self.now.is_some_and(|now| now.node == Node::Symlink)
            && read_link(self.parent.as_fd(), &self.name)? == target.0
        {
            return Ok(false);
        }
        self.remove(journal)?;
        journal.making(self.path).map_err(Left::Journal)?;
        let name = c_name(&self.name)?;
        rustix::fs::symlinkat(c_name(&target.0)?, &self.parent, &name)?;
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = look_open(&self.parent)?.owner;
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(&self.parent, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(true)
    }

    fn dir(&self, journal: &mut Journal, mode: u32) -> Done {
        if self.now.is_some_and(|now| now.node == Node::Dir) {
            return Ok(false);
        }
        self.remove(journal)?;
        journal.making(self.path).map_err(Left::Journal)?;
        rustix::fs::mkdirat(&self.parent, c_name(&self.name)?, Mode::RWXU)?;
        let made = self.open()?;
        own_as_root(&made, look_open(&self.parent)?.owner)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode & 0o1777))?;
        Ok(true)
    }
}

/// As root, what is made belongs to whom it belonged.
fn own_as_root<F: AsFd>(fd: F, owner: (u32, u32)) -> io::Result<()> {
    if rustix::process::geteuid().is_root() { own(fd.as_fd(), owner) } else { Ok(()) }
}

fn move_back(
    journal: &mut Journal,
    from: &Path,
    to: &Path,
    identity: (u64, u64),
    exchange: bool,
) -> Done {
    let (to_parent, to_name) = journal.parent(&to.0)?;
    let (from_parent, from_name) = journal.parent(&from.0)?;
    let now = look(to_parent.as_fd(), &to_name)?;
    let free = look(from_parent.as_fd(), &from_name)?.is_none();
    // Everything after the move is back as it was: a former name that is there was never left, for
    // the call failed. After an exchange both are there in any case, and only what they are tells.
    let moved = match exchange {
        true => now.is_some_and(|now| now.device == identity) && !free,
        false => now.is_some() && free,
    };
    if !moved {
        return Ok(false);
    }
    journal.moving(&to.0, &from.0, exchange).map_err(Left::Journal)?;
    let flags = if exchange { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
    let (to_name, from_name) = (c_name(&to_name)?, c_name(&from_name)?);
    rustix::fs::renameat_with(&to_parent, to_name, &from_parent, from_name, flags)?;
    Ok(true)
}

fn mode_back(journal: &mut Journal, path: &[u8], mode: u32) -> Done {
    let (parent, name) = journal.parent(path)?;
    match look(parent.as_fd(), &name)? {
        Some(now) if now.node != Node::Symlink && now.mode != mode => {
            journal.mode(path).map_err(Left::Journal)?;
            chmod_exact(parent.as_fd(), &name, Some(now.device), mode)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
