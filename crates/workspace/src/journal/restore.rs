//! Taking back: the entries after a mark, from the last to the first, each put back as it was.
//!
//! What is there is kept before it is replaced, like any change, so that nothing is ever lost by
//! taking back. What cannot be put back is told, and the rest is put back all the same.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ringfence_model::text::visible_bytes;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use super::entry::{Act, Entry, Identity, Kept, Path, State};
use super::spot::Spot;
use super::store::copy_content;
use super::{Journal, TAKING_BACK};
use crate::beneath::{Meta, c_name, chmod_exact, look_open, open_file, read_link};
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
    let mut back = Back { journal, again: HashMap::new() };
    let result = back.all(entries, since);
    // What was put back is the workspace's own again: it is kept anew when it changes.
    journal.known.forget();
    result
}

/// A taking back that goes on.
struct Back<'a> {
    journal: &'a mut Journal,
    /// What could only be put back as another file, directory or link than it was. What has several
    /// names may be itself under one and another under the next.
    again: HashMap<Identity, HashSet<Identity>>,
}

impl Back<'_> {
    fn all(&mut self, entries: &[Entry], since: u64) -> io::Result<Restored> {
        let mut done = Restored::default();
        for entry in entries.iter().rev().take_while(|entry| entry.number > since) {
            let Some(path) = entry.act.path() else { continue };
            let why = match self.one(entry) {
                Ok(true) => {
                    done.restored += 1;
                    continue;
                }
                Ok(false) => continue,
                Err(Left::Why(why)) => why,
                Err(Left::Io(error)) => error.to_string(),
                Err(Left::Journal(error)) => return Err(error),
            };
            done.left.push(NotRestored { path: path.to_vec(), why });
        }
        Ok(done)
    }

    fn one(&mut self, entry: &Entry) -> Done {
        for path in entry.act.paths() {
            if self.journal.holds(path) {
                return Err(Left::Why("it is protected".to_owned()));
            }
        }
        match &entry.act {
            Act::Mark { .. } | Act::Void { .. } => Ok(false),
            Act::Before { path, was } => self.put_back(&path.0, was, entry.number),
            Act::Moved { from, to, identity, made, exchange } => {
                let moved = Moved { from, to, made: *made, exchange: *exchange };
                let again = self.again.get(identity);
                moved.back(self.journal, |now| is(*identity, again, now))
            }
            Act::Mode { path, mode, identity } => {
                let again = self.again.get(identity);
                mode_back(self.journal, &path.0, *mode, |now| is(*identity, again, now))
            }
        }
    }

    fn put_back(&mut self, path: &[u8], was: &State, number: u64) -> Done {
        let spot = match self.journal.spot(path) {
            Ok(spot) => spot,
            // Where the directory is gone, a thing that was not there is not there.
            Err(_) if *was == State::Absent => return Ok(false),
            Err(error) => return Err(Left::Io(error)),
        };
        let now = spot.look()?;
        let place = Place { spot, now };
        let journal = &mut *self.journal;
        let done = match was {
            State::Absent => return place.remove(journal),
            State::File(kept) => {
                let again = self.again.get(&kept.identity);
                let same = now.filter(|now| is(kept.identity, again, now));
                place.file(journal, kept, same, number)
            }
            State::Link { target, .. } => place.link(journal, target),
            State::Dir { mode, .. } => place.dir(journal, *mode),
            State::Special { .. } if now.is_some() => Ok(false),
            State::Special { .. } => {
                Err(Left::Why("it was a named pipe or a socket, which is not kept".to_owned()))
            }
        }?;
        if let (Some(was), Some(now)) = (was.identity(), place.spot.look()?) {
            self.again.entry(was).or_default().insert(Identity::from(&now));
        }
        Ok(done)
    }
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

/// Whether what is there is what was there once, or stands for it.
fn is(was: Identity, again: Option<&HashSet<Identity>>, now: &Meta) -> bool {
    let now = Identity::from(now);
    now == was || again.is_some_and(|again| again.contains(&now))
}

/// One name of the workspace, and what is there now.
struct Place {
    spot: Spot,
    now: Option<Meta>,
}

impl Place {
    /// Takes away what is there; a directory only if it is empty.
    fn remove(&self, journal: &mut Journal) -> Done {
        let Some(now) = self.now else { return Ok(false) };
        let directory = now.node == Node::Dir;
        let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
        if directory && !crate::beneath::names(self.open()?.as_fd(), 1)?.is_empty() {
            let why = "it holds what the agent did not make".to_owned();
            return Err(Left::Why(why));
        }
        journal.removing(TAKING_BACK, &self.spot.path).map_err(Left::Journal)?;
        rustix::fs::unlinkat(&self.spot.parent, c_name(&self.spot.name)?, flags)?;
        Ok(true)
    }

    fn open(&self) -> io::Result<OwnedFd> {
        crate::beneath::open_dir(self.spot.parent.as_fd(), &self.spot.name)
    }

    fn file(&self, journal: &mut Journal, kept: &Kept, same: Option<Meta>, number: u64) -> Done {
        if let Some(why) = &kept.missing {
            return Err(Left::Why(format!("its content was not kept: {why}")));
        }
        let Some(now) = same else {
            // Whether it can be read says nothing about a file that only lost its name.
            let content = match kept.itself {
                true => None,
                false => Some(journal.store.content(number)?),
            };
            self.remove(journal)?;
            journal.making(TAKING_BACK, &self.spot.path).map_err(Left::Journal)?;
            return match content {
                None => self.name_file(journal, kept, number),
                Some(content) => self.make_file(&content, kept),
            };
        };
        // The same file: its further names go back with it.
        let same = journal.store.look(number)?.is_some_and(|kept| kept.device == now.device)
            || same_content(
                &mut open_file(self.spot.parent.as_fd(), &self.spot.name)?,
                &mut journal.store.content(number)?,
            )?;
        if !same {
            self.overwrite(journal, &now, number)?;
        }
        Ok(mode_back(journal, &self.spot.path, kept.mode, |_| true)? || !same)
    }

    fn overwrite(&self, journal: &mut Journal, now: &Meta, number: u64) -> Result<(), Left> {
        journal.known.keep_anew();
        journal.open_over_a_moment(&self.spot.path).map_err(Left::Journal)?;
        let (parent, name) = (self.spot.parent.as_fd(), &self.spot.name);
        if now.mode & 0o200 == 0 {
            // Written through a descriptor that was open before it had these bits.
            chmod_exact(parent, name, Some(now.device), now.mode | 0o200)?;
        }
        // A program may put something else there meanwhile: a pipe must not keep us waiting, and
        // what was not looked at must not be cut off.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(parent, c_name(name)?, flags, Mode::empty())?;
        if look_open(&to)?.device != now.device {
            return Err(Left::Why("it was replaced meanwhile".to_owned()));
        }
        rustix::fs::ftruncate(&to, 0)?;
        Ok(copy_content(journal.store.content(number)?, to)?)
    }

    /// The file itself, with all that it was linked to.
    fn name_file(&self, journal: &Journal, kept: &Kept, number: u64) -> Done {
        journal.store.name(number, self.spot.parent.as_fd(), &self.spot.name)?;
        chmod_exact(self.spot.parent.as_fd(), &self.spot.name, None, kept.mode)?;
        Ok(true)
    }

    /// A file of its own, whole or not at all, with the bits and the owner that it had.
    fn make_file(&self, content: &File, kept: &Kept) -> Done {
        let mut made = None;
        let draft = temporary(|name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::RUSR | Mode::WUSR;
            made = Some(rustix::fs::openat(&self.spot.parent, name, flags, mode)?);
            Ok(())
        })?;
        let Some(fd) = made else { return Err(io::Error::other("no file was made").into()) };
        let finished = copy_content(content, &fd)
            .and_then(|()| own_as_root(&fd, kept.owner))
            .and_then(|()| Ok(rustix::fs::fchmod(&fd, Mode::from_raw_mode(kept.mode & 0o1777))?))
            .and_then(|()| {
                let name = c_name(&self.spot.name)?;
                let flags = RenameFlags::NOREPLACE;
                Ok(rustix::fs::renameat_with(
                    &self.spot.parent,
                    &*draft,
                    &self.spot.parent,
                    name,
                    flags,
                )?)
            });
        if finished.is_err() {
            let _ = rustix::fs::unlinkat(&self.spot.parent, &*draft, AtFlags::empty());
        }
        finished?;
        Ok(true)
    }

    fn link(&self, journal: &mut Journal, target: &Path) -> Done {
        if self.now.is_some_and(|now| now.node == Node::Symlink)
            && read_link(self.spot.parent.as_fd(), &self.spot.name)? == target.0
        {
            return Ok(false);
        }
        self.remove(journal)?;
        journal.making(TAKING_BACK, &self.spot.path).map_err(Left::Journal)?;
        let name = c_name(&self.spot.name)?;
        rustix::fs::symlinkat(c_name(&target.0)?, &self.spot.parent, &name)?;
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = look_open(&self.spot.parent)?.owner;
            let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            rustix::fs::chownat(&self.spot.parent, &name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(true)
    }

    fn dir(&self, journal: &mut Journal, mode: u32) -> Done {
        if self.now.is_some_and(|now| now.node == Node::Dir) {
            return Ok(false);
        }
        self.remove(journal)?;
        journal.making(TAKING_BACK, &self.spot.path).map_err(Left::Journal)?;
        rustix::fs::mkdirat(&self.spot.parent, c_name(&self.spot.name)?, Mode::RWXU)?;
        let made = self.open()?;
        own_as_root(&made, look_open(&self.spot.parent)?.owner)?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(mode & 0o1777))?;
        Ok(true)
    }
}

/// As root, what is made belongs to whom it belonged.
fn own_as_root<F: AsFd>(fd: F, owner: (u32, u32)) -> io::Result<()> {
    if rustix::process::geteuid().is_root() { own(fd.as_fd(), owner) } else { Ok(()) }
}

/// A move to take back.
struct Moved<'a> {
    from: &'a Path,
    to: &'a Path,
    /// Whether it was made since the last mark.
    made: bool,
    exchange: bool,
}

impl Moved<'_> {
    /// `is` tells what was moved.
    fn back(&self, journal: &mut Journal, is: impl Fn(&Meta) -> bool) -> Done {
        let to = journal.spot(&self.to.0)?;
        if !to.look()?.is_some_and(|now| is(&now)) {
            return match self.made {
                // It was made and removed again, which is no change.
                true => Ok(false),
                false => Err(Left::Why("what was moved there is not there any more".to_owned())),
            };
        }
        let from = journal.spot(&self.from.0)?;
        if from.look()?.is_some() != self.exchange {
            let now = if self.exchange { "nothing" } else { "something else" };
            let from = visible_bytes(&self.from.0);
            return Err(Left::Why(format!("there is {now} now where it was moved from: {from}")));
        }
        journal
            .moving(TAKING_BACK, &self.to.0, &self.from.0, self.exchange)
            .map_err(Left::Journal)?;
        let flags = if self.exchange { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        let (to_name, from_name) = (c_name(&to.name)?, c_name(&from.name)?);
        rustix::fs::renameat_with(&to.parent, to_name, &from.parent, from_name, flags)?;
        Ok(true)
    }
}

/// `is` tells what had these bits.
fn mode_back(journal: &mut Journal, path: &[u8], mode: u32, is: impl Fn(&Meta) -> bool) -> Done {
    let spot = journal.spot(path)?;
    match spot.look()? {
        Some(now) if !is(&now) => {
            Err(Left::Why("another is there now: its permission bits stay".to_owned()))
        }
        Some(now) if now.node != Node::Symlink && now.mode != mode => {
            journal.mode(TAKING_BACK, path).map_err(Left::Journal)?;
            chmod_exact(spot.parent.as_fd(), &spot.name, Some(now.device), mode)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
