//! The journal of a `pair` workspace: what every change replaced, kept before the change happens, so
//! that all of them can be taken back.
//!
//! The agent works on the project's own files. Whoever owns the run tells the journal of each call
//! that is about to change something ([`Journal::writing`], [`Journal::removing`], …); the journal
//! keeps what is there, writes an [`Entry`], and only then lets the call go on. A call that turns out
//! to have changed nothing is written down as such ([`Act::Void`]). Taking back is reading the entries
//! from the last to the first and putting each thing back as it was ([`restore`]). What taking back
//! itself replaces is kept in the same way, so it can be taken back, too.
//!
//! What was made since the last mark is in no moment that could be gone back to: nothing of it is kept.
//!
//! All paths are relative to the workspace (those of its repository, where that lies elsewhere, begin
//! with [`REPOSITORY`]) and resolved: no part of them may be a link. Everything is
//! reached beneath a held directory. The journal must never be kept where the agent can reach it.

mod entry;
mod known;
mod net;
mod pending;
mod read;
mod restore;
mod roots;
mod settle;
mod spot;
mod store;
mod write;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::beneath::{Meta, is_within, look_open, read_link};
use crate::change::Node;

pub use entry::{Act, Entry, Identity, Kept, Path, State};
pub use net::{Net, net};
pub use read::{Log, ReadError, marks, read};
pub use restore::{NotRestored, Restored, restore};
pub use roots::{REPOSITORY, Roots};
pub use store::Store;

use known::Known;
use pending::{Expected, Pending};
use spot::Spot;
use store::How;
use write::Writer;

/// Whoever takes back or names a moment, among the threads that change something.
pub const TAKING_BACK: u32 = 0;

/// A journal that is written.
#[derive(Debug)]
pub struct Journal {
    roots: Roots,
    /// Paths at and below which nothing is written down and nothing is put back.
    held: Vec<Vec<u8>>,
    store: Store,
    writer: Writer,
    known: Known,
    pending: Vec<Pending>,
}

impl Journal {
    /// Begins a journal, or goes on with one: `log` is its file and what it holds, `store` is its
    /// directory of kept files, `held` are paths of the workspace that the agent cannot change.
    ///
    /// # Errors
    /// The torn last line of a file cannot be cut off.
    pub fn new(
        roots: Roots,
        store: Store,
        file: std::fs::File,
        log: &Log,
        held: Vec<Vec<u8>>,
    ) -> io::Result<Self> {
        Ok(Self {
            roots,
            held,
            store,
            writer: Writer::new(file, log)?,
            known: Known::default(),
            pending: Vec::new(),
        })
    }

    /// A file is about to be opened for writing, or made, by the thread `by`.
    ///
    /// # Errors
    /// What is there cannot be kept, or the entry cannot be written: the call must not happen.
    pub fn writing(&mut self, by: u32, path: &[u8]) -> io::Result<()> {
        let Some((spot, there)) = self.turn(by, path)? else { return Ok(()) };
        match there {
            None => self.absent(by, spot, true),
            Some(meta) if meta.node == Node::File => self.content(&spot, &meta),
            // Nothing else changes by being opened.
            Some(_) => Ok(()),
        }
    }

    /// Something new is about to be made where nothing is; whether that is so: else the call will fail.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn making(&mut self, by: u32, path: &[u8]) -> io::Result<bool> {
        self.naming(by, path, true)
    }

    /// A file is about to get a further name where nothing is; whether that is so.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn linking(&mut self, by: u32, path: &[u8]) -> io::Result<bool> {
        self.naming(by, path, false)
    }

    fn naming(&mut self, by: u32, path: &[u8], new: bool) -> io::Result<bool> {
        match self.turn(by, path)? {
            Some((spot, None)) => self.absent(by, spot, new).map(|()| true),
            Some((_, Some(_))) | None => Ok(false),
        }
    }

    /// A name is about to go.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn removing(&mut self, by: u32, path: &[u8]) -> io::Result<()> {
        match self.turn(by, path)? {
            Some((spot, Some(meta))) => self.going(by, spot, &meta),
            Some((_, None)) | None => Ok(()),
        }
    }

    fn going(&mut self, by: u32, spot: Spot, meta: &Meta) -> io::Result<()> {
        if let Some(number) = self.removed(&spot, meta)? {
            let expected = Expected::Gone(Identity::from(meta));
            self.wait(by, Some((number, number)), spot, expected);
        }
        Ok(())
    }

    /// Keeps what is about to lose its name: the entry's number, where one is needed.
    fn removed(&mut self, spot: &Spot, meta: &Meta) -> io::Result<Option<u64>> {
        let identity = Identity::from(meta);
        // A directory may hold what somebody else put there.
        if meta.node != Node::Dir && self.known.made(identity) {
            return Ok(None);
        }
        let was = match meta.node {
            Node::File => State::File(self.keep(spot, meta, How::Name)?),
            Node::Symlink => {
                let target = Path(read_link(spot.parent.as_fd(), &spot.name)?);
                State::Link { target, identity }
            }
            Node::Dir => State::Dir { mode: meta.mode, identity },
            Node::Fifo | Node::Socket | Node::Device => State::Special { identity },
        };
        self.known.left(&spot.path);
        self.before(spot, was).map(Some)
    }

    /// A name is about to be moved over another, or the two are about to change places.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn moving(&mut self, by: u32, from: &[u8], to: &[u8], exchange: bool) -> io::Result<()> {
        let (Some((source, moved)), Some((target, there))) =
            (self.turn(by, from)?, self.turn(by, to)?)
        else {
            return Ok(());
        };
        let Some(meta) = moved else {
            // Another call may be making it right now: what it would replace is kept.
            return there.map_or(Ok(()), |there| self.going(by, target, &there));
        };
        let identity = Identity::from(&meta);
        // Two names of one file: rename(2) does nothing.
        if there.is_some_and(|there| there.device == meta.device) {
            return Ok(());
        }
        let replaced = match there {
            Some(there) if exchange => {
                // Each holds the other's place: without the one the other cannot go back.
                self.known.keep_from_now(identity);
                self.known.keep_from_now(Identity::from(&there));
                None
            }
            Some(there) => self.removed(&target, &there)?,
            None => None,
        };
        let number = self.writer.write(Act::Moved {
            from: Path(from.to_vec()),
            to: Path(to.to_vec()),
            identity,
            made: self.known.made(identity),
            exchange,
        })?;
        self.known.moved(from, to);
        // It failed where what should go is still there; that what should come is not says nothing,
        // for a person's own save may have taken its place already.
        let (first, spot, goes) = match (replaced, there) {
            (Some(first), Some(there)) => (first, target, Identity::from(&there)),
            _ => (number, source, identity),
        };
        self.wait(by, Some((first, number)), spot, Expected::Gone(goes));
        Ok(())
    }

    /// Permission bits are about to change.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn mode(&mut self, by: u32, path: &[u8]) -> io::Result<()> {
        let Some((spot, Some(meta))) = self.turn(by, path)? else { return Ok(()) };
        let identity = Identity::from(&meta);
        if meta.node == Node::Symlink || self.known.made(identity) {
            return Ok(());
        }
        let act = Act::Mode { path: Path(path.to_vec()), mode: meta.mode, identity };
        let number = self.writer.write(act)?;
        let expected = Expected::Mode(identity, meta.mode);
        self.wait(by, Some((number, number)), spot, expected);
        Ok(())
    }

    /// A file is about to be opened for writing that is not at the name by which it was opened once:
    /// through a descriptor. What was kept of it as a further name becomes a copy.
    ///
    /// # Errors
    /// As [`Journal::writing`]; `EACCES` for a file of the workspace's file system that has other
    /// names than the kept ones, for they would change unseen.
    pub fn writing_open(&mut self, file: BorrowedFd<'_>) -> io::Result<()> {
        let meta = look_open(file)?;
        let mut here = false;
        for root in self.roots.all() {
            here |= look_open(root)?.device.0 == meta.device.0;
        }
        if meta.node != Node::File || !here {
            return Ok(());
        }
        let kept = self.known.kept_whole(Identity::from(&meta));
        for number in &kept {
            self.store.detach(*number)?;
            self.known.drop_whole(*number);
        }
        match meta.links.saturating_sub(kept.len() as u64) {
            0 => Ok(()),
            _ => Err(rustix::io::Errno::ACCESS.into()),
        }
    }

    /// Names a moment; from now on everything is kept anew. Its entry's number.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn mark(&mut self, name: &str, unix_s: i64) -> io::Result<u64> {
        self.over_a_moment();
        self.known.forget();
        self.writer.write(Act::Mark { name: name.to_owned(), unix_s })
    }

    /// A program has this file open for writing while a moment is named: it is kept as it is now,
    /// whatever its permission bits say. Where it cannot be read, taking back names it.
    ///
    /// # Errors
    /// As [`Journal::writing`].
    pub fn open_over_a_moment(&mut self, path: &[u8]) -> io::Result<()> {
        let Some((spot, Some(meta))) = self.turn(TAKING_BACK, path)? else { return Ok(()) };
        if meta.node != Node::File {
            return Ok(());
        }
        let kept = match self.keep(&spot, &meta, How::Content) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Kept { missing: Some(error.to_string()), ..Kept::of(&meta) }
            }
            kept => kept?,
        };
        self.kept(&spot, kept)
    }

    /// The content of a file is about to change.
    fn content(&mut self, spot: &Spot, meta: &Meta) -> io::Result<()> {
        let identity = Identity::from(meta);
        if self.known.made(identity) || self.known.kept(identity) || !spot.is_writable(meta)? {
            return Ok(());
        }
        let kept = self.keep(spot, meta, How::Content)?;
        self.kept(spot, kept)
    }

    fn kept(&mut self, spot: &Spot, kept: Kept) -> io::Result<()> {
        let identity = kept.identity;
        self.before(spot, State::File(kept))?;
        self.known.keep(identity);
        Ok(())
    }

    /// Something is about to be where nothing is.
    fn absent(&mut self, by: u32, spot: Spot, new: bool) -> io::Result<()> {
        let entries = match self.known.absent(&spot.path) {
            true => None,
            false => {
                let number = self.before(&spot, State::Absent)?;
                self.known.nothing(&spot.path);
                Some((number, number))
            }
        };
        let since = new.then(settle::tick);
        self.wait(by, entries, spot, Expected::Made { since });
        Ok(())
    }

    fn before(&mut self, spot: &Spot, was: State) -> io::Result<u64> {
        self.writer.write(Act::Before { path: Path(spot.path.clone()), was })
    }

    /// Keeps a file's content for the entry that is written next.
    fn keep(&mut self, spot: &Spot, meta: &Meta, how: How) -> io::Result<Kept> {
        let identity = Identity::from(meta);
        let number = self.writer.next();
        let kept = self.store.keep(spot.parent.as_fd(), &spot.name, number, how)?;
        if kept.itself {
            self.known.keep_whole(identity, number);
        }
        Ok(Kept { itself: kept.itself, missing: kept.missing, ..Kept::of(meta) })
    }

    /// A thread is about to change something at a path: what its last call came to is known now. The
    /// name, and what is there; `None` where the call cannot change anything.
    fn turn(&mut self, by: u32, path: &[u8]) -> io::Result<Option<(Spot, Option<Meta>)>> {
        self.settle(by)?;
        if self.holds(path) {
            return Ok(None);
        }
        let spot = match Spot::of(&self.roots, path) {
            Err(error) if will_fail(&error) => return Ok(None),
            spot => spot?,
        };
        self.disturb(&spot);
        match spot.look() {
            Err(error) if will_fail(&error) => Ok(None),
            there => Ok(Some((spot, there?))),
        }
    }

    /// Whether a path is held.
    #[must_use]
    pub fn holds(&self, path: &[u8]) -> bool {
        self.held.iter().any(|held| is_within(path, held))
    }

    fn spot(&self, path: &[u8]) -> io::Result<Spot> {
        Spot::of(&self.roots, path)
    }
}

/// Errors that the kernel gives to the call itself: its directory is not there, or may not be
/// entered. (A link in a resolved path is none of them: somebody put it there a moment ago.)
fn will_fail(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::ACCESS)
    )
}
