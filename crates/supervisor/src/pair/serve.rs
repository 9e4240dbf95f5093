//! The keeper's process: hears of each call that is about to change a file, keeps what it replaces,
//! and lets it go on.
//!
//! What cannot be written into the journal must not happen: such a call is answered with an error. It
//! never decides what the agent may do; mounts, Landlock and the filter do that.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use ringfence_model::boundary::Boundary;
use ringfence_model::event::Event;
use ringfence_sys::fdpass;
use ringfence_sys::seccomp::changes::{Changing, read_change};
use ringfence_sys::seccomp::inode::is_inode;
use ringfence_sys::seccomp::notify::{Listener, Notification, NotifyError};
use ringfence_sys::seccomp::remote::RemoteError;
use ringfence_workspace::journal::Journal;
use rustix::event::{PollFd, PollFlags, poll};

use super::desk::Place;
use super::message::{FromKeeper, ToKeeper};
use super::resolve::Resolver;
use crate::{exec_seen, inodes};

/// What the keeper works with.
pub struct Desk {
    /// The supervisor.
    pub link: OwnedFd,
    /// The journal on disk.
    pub place: Place,
    /// The workspace.
    pub workspace: PathBuf,
    /// Paths in it that hold missing names: the agent cannot change them, and they go at the end.
    pub placeholders: HashSet<Vec<u8>>,
    /// In tier landlock: the plan, by which changes of modes and times are made here (`inodes`).
    pub alone: Option<Boundary>,
}

/// Why the keeper ends.
enum Over {
    /// The supervisor is gone, or says nothing that can be understood.
    Supervisor,
}

struct Keeper {
    desk: Desk,
    journal: Journal,
    listeners: Vec<Listener>,
    resolver: Option<Resolver>,
    /// Questions that came while a record was waited for.
    waiting: VecDeque<ToKeeper>,
    /// Whether the supervisor has been told that the journal cannot be written.
    told: bool,
}

/// Serves until the supervisor hangs up.
///
/// # Errors
/// The journal cannot be opened.
pub fn serve(desk: Desk) -> io::Result<()> {
    let journal = desk.place.journal(&desk.workspace)?;
    let mut keeper = Keeper {
        desk,
        journal,
        listeners: Vec::new(),
        resolver: None,
        waiting: VecDeque::new(),
        told: false,
    };
    while keeper.turn().is_ok() {}
    Ok(())
}

impl Keeper {
    fn turn(&mut self) -> Result<(), Over> {
        while let Some(question) = self.waiting.pop_front() {
            self.answer(question)?;
        }
        let mut fds = vec![PollFd::new(&self.desk.link, PollFlags::IN)];
        fds.extend(self.listeners.iter().map(|l| PollFd::new(l, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Err(Over::Supervisor),
        }
        let seen: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if seen.first().is_some_and(|seen| !seen.is_empty()) {
            let question = self.hear()?;
            self.answer(question)?;
            // The list of listeners may be another one now.
            return Ok(());
        }
        for (index, seen) in seen.iter().skip(1).enumerate().rev() {
            if seen.contains(PollFlags::IN) {
                self.notified(index)?;
            } else if !seen.is_empty() {
                self.listeners.remove(index);
            }
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<ToKeeper, Over> {
        let (bytes, descriptors) =
            fdpass::receive(self.desk.link.as_fd()).map_err(|_| Over::Supervisor)?;
        let message = serde_json::from_slice(&bytes).map_err(|_| Over::Supervisor)?;
        for descriptor in descriptors {
            let listener = Listener::new(descriptor).map_err(|_| Over::Supervisor)?;
            listener.wake_in_place();
            self.listeners.push(listener);
        }
        Ok(message)
    }

    fn say(&self, message: &FromKeeper) -> Result<(), Over> {
        let bytes = serde_json::to_vec(message).map_err(|_| Over::Supervisor)?;
        fdpass::send(self.desk.link.as_fd(), &bytes, &[]).map_err(|_| Over::Supervisor)
    }

    fn answer(&mut self, question: ToKeeper) -> Result<(), Over> {
        let (id, outcome) = match question {
            ToKeeper::Listen {} | ToKeeper::Recorded { .. } => return Ok(()),
            ToKeeper::Mark { id, name, unix_s } => {
                (id, self.desk.place.mark(&mut self.journal, &name, unix_s))
            }
            ToKeeper::Restore { id, to, unix_s } => {
                (id, self.desk.place.restore(&mut self.journal, &to, unix_s))
            }
        };
        self.say(&FromKeeper::Done { id, outcome })
    }

    fn notified(&mut self, index: usize) -> Result<(), Over> {
        let Some(listener) = self.listeners.get(index) else { return Ok(()) };
        // The poll has just said that one waits, and nobody else takes it.
        let Ok(seen) = listener.receive() else { return Ok(()) };
        let alone = self.desk.alone.is_some() && is_inode(seen.data.nr);
        let refused = match read_change(&seen) {
            Ok(Some(changing)) => self.keep(&seen, &changing)?,
            // Times, which are not kept.
            Ok(None) if alone => None,
            Ok(None) => self.exec(index, &seen)?,
            Err(RemoteError::Notify(NotifyError::Gone)) => None,
            // The kernel will find the same fault in its path.
            Err(RemoteError::Read { source, .. }) if source.raw_os_error() == Some(EFAULT) => None,
            Err(error) => Some(self.fault(&error.to_string())?),
        };
        let Some(listener) = self.listeners.get(index) else { return Ok(()) };
        // A caller that was killed meanwhile needs no answer.
        let _ = match (refused, &self.desk.alone) {
            (None, Some(boundary)) if alone => {
                inodes::answer(boundary, listener, &seen);
                Ok(())
            }
            (None, _) => listener.respond_continue(seen.id),
            (Some(errno), _) => listener.respond_errno(seen.id, errno),
        };
        Ok(())
    }

    /// Keeps what a call replaces; the error number with which it is refused, if it is.
    fn keep(&mut self, seen: &Notification, changing: &Changing) -> Result<Option<u16>, Over> {
        if self.resolver.is_none() {
            match Resolver::new(seen.pid, &self.desk.workspace) {
                Ok(resolver) => self.resolver = Some(resolver),
                Err(error) => return self.fault(&error.to_string()).map(Some),
            }
        }
        let Some(resolver) = &self.resolver else { return Ok(Some(EIO)) };
        let (pid, journal) = (seen.pid, &mut self.journal);
        let placeholders = &self.desk.placeholders;
        let place = |named| resolver.place(pid, named).filter(|path| !placeholders.contains(path));
        let kept = match changing {
            Changing::Nothing => Ok(()),
            Changing::Content(named) => place(named).map_or(Ok(()), |p| journal.writing(&p)),
            Changing::New(named) => place(named).map_or(Ok(()), |p| journal.making(&p)),
            Changing::Removed(named) => place(named).map_or(Ok(()), |p| journal.removing(&p)),
            Changing::Mode(named) => place(named).map_or(Ok(()), |p| journal.mode(&p)),
            Changing::ModeOf(fd) => {
                resolver.descriptor(pid, *fd).map_or(Ok(()), |p| journal.mode(&p))
            }
            Changing::Moved { from, to, exchange } => match (place(from), place(to)) {
                (Some(from), Some(to)) => journal.moving(&from, &to, *exchange),
                // Across the edge of the workspace: the kernel refuses to move between mounts.
                (Some(inside), None) | (None, Some(inside)) => journal.removing(&inside),
                (None, None) => Ok(()),
            },
        };
        match kept {
            Ok(()) => Ok(None),
            Err(error) if will_fail(&error) => Ok(None),
            Err(error) => self.fault(&error.to_string()).map(Some),
        }
    }

    fn exec(&mut self, index: usize, seen: &Notification) -> Result<Option<u16>, Over> {
        let Some(listener) = self.listeners.get(index) else { return Ok(Some(EIO)) };
        let Some(event) = exec_seen::event(listener, seen) else { return Ok(None) };
        self.record(event)
    }

    /// Has a record made before the call goes on.
    fn record(&mut self, event: Event) -> Result<Option<u16>, Over> {
        self.say(&FromKeeper::Exec { event })?;
        loop {
            match self.hear()? {
                ToKeeper::Recorded { ok: true } => return Ok(None),
                ToKeeper::Recorded { ok: false } => return Ok(Some(EIO)),
                other => self.waiting.push_back(other),
            }
        }
    }

    /// What is about to change could not be kept, so it does not change.
    fn fault(&mut self, why: &str) -> Result<u16, Over> {
        if !self.told {
            self.told = true;
            let what =
                format!("a change of the workspace was refused: it could not be kept ({why})");
            self.say(&FromKeeper::Sensor { what })?;
        }
        Ok(EIO)
    }
}

const EFAULT: i32 = 14;
const EIO: u16 = 5;

/// Errors that the kernel will give to the call itself: there is nothing at that path to change.
fn will_fail(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::ACCESS)
    )
}
