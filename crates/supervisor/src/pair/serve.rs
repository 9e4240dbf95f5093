//! The keeper's process: hears of each call that is about to change a file, keeps what it replaces,
//! and lets it go on.
//!
//! What cannot be written into the journal must not happen: such a call is answered with an error. It
//! never decides what the agent may do; mounts, Landlock and the filter do that.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ringfence_model::boundary::Boundary;
use ringfence_model::event::Event;
use ringfence_sys::fdpass;
use ringfence_sys::seccomp::changes::{Changing, read_change};
use ringfence_sys::seccomp::inode::is_inode;
use ringfence_sys::seccomp::notify::{Listener, Notification, NotifyError};
use ringfence_sys::seccomp::remote::RemoteError;
use ringfence_workspace::journal::Journal;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::desk;
use super::git_settings::{Change, is_write};
use super::message::{FromKeeper, ToKeeper};
use super::open_files::open_for_writing;
use super::outcome::Calls;
use super::resolve::{Place, Resolver, will_fail};
use super::trees::Trees;
use crate::clock::{self, Moment};
use crate::limits::{CALL_LOOKED_AT_MS, CALLS_CROSS_MS, SETTINGS_REFUSALS};
use crate::{exec_seen, inodes};

/// Time after which it is looked again whether a call that crosses another is over.
const LOOK_AGAIN: Duration = Duration::from_micros(50);

/// What the keeper works with.
pub struct Desk {
    /// The supervisor.
    pub link: OwnedFd,
    /// The journal on disk.
    pub place: desk::Place,
    /// The workspace.
    pub trees: Trees,
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
    calls: Calls,
    /// When it was last looked what calls came to.
    looked: Moment,
    /// Questions that came while a record was waited for.
    waiting: VecDeque<ToKeeper>,
    /// Whether the supervisor has been told that the journal cannot be written.
    told: bool,
    /// Settings of git that were refused, as the supervisor was told.
    refusals: BTreeSet<String>,
}

/// What a call that waits is told.
enum Answer {
    /// The kernel does it.
    GoOn,
    /// It is done.
    Done,
    /// It fails.
    Refuse(Errno),
}

/// What a call that changes something needs before it goes on.
enum Kept {
    /// Nothing more; it changes these paths.
    GoOn(Vec<Vec<u8>>),
    /// It writes the repository's settings, in this file.
    Settings(Vec<u8>),
}

/// Serves until the supervisor hangs up.
///
/// # Errors
/// The journal cannot be opened.
pub fn serve(desk: Desk) -> io::Result<()> {
    let journal = desk.place.journal(desk.trees.workspace())?;
    let mut keeper = Keeper {
        desk,
        journal,
        listeners: Vec::new(),
        resolver: None,
        calls: Calls::default(),
        looked: clock::now(),
        waiting: VecDeque::new(),
        told: false,
        refusals: BTreeSet::new(),
    };
    while keeper.turn().is_ok() {}
    // The supervisor hangs up when nothing is left inside.
    keeper.journal.settle_left(|_| true)
}

impl Keeper {
    fn turn(&mut self) -> Result<(), Over> {
        while let Some(question) = self.waiting.pop_front() {
            self.answer(question)?;
        }
        let mut fds = vec![PollFd::new(&self.desk.link, PollFlags::IN)];
        fds.extend(self.listeners.iter().map(|l| PollFd::new(l, PollFlags::IN)));
        let patience = self.journal.waits().then(|| clock::timespec(CALL_LOOKED_AT_MS));
        match poll(&mut fds, patience.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Err(Over::Supervisor),
        }
        let seen: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        self.look();
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

    /// Now and then, looks what calls came to.
    fn look(&mut self) {
        if clock::now().elapsed_ms(&self.looked) >= CALL_LOOKED_AT_MS && self.journal.waits() {
            self.settle();
            self.looked = clock::now();
        }
    }

    fn settle(&mut self) {
        let calls = &self.calls;
        // What cannot be written now is tried again with the next call, which waits for it.
        let _ = self.journal.settle_left(|thread| calls.has_left(thread));
        self.calls.forget_left();
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

    fn say(&self, message: FromKeeper) -> Result<(), Over> {
        let bytes = message.packet().map_err(|_| Over::Supervisor)?;
        fdpass::send(self.desk.link.as_fd(), &bytes, &[]).map_err(|_| Over::Supervisor)
    }

    fn answer(&mut self, question: ToKeeper) -> Result<(), Over> {
        if matches!(question, ToKeeper::Listen {} | ToKeeper::Recorded { .. }) {
            return Ok(());
        }
        let since = clock::now();
        while self.calls.go_on() && clock::now().elapsed_ms(&since) < CALLS_CROSS_MS {
            std::thread::sleep(LOOK_AGAIN);
        }
        self.settle();
        let open = self.resolver.as_ref().map(open_for_writing).unwrap_or_default();
        let (id, outcome) = match question {
            ToKeeper::Listen {} | ToKeeper::Recorded { .. } => return Ok(()),
            ToKeeper::Mark { id, name, unix_s } => {
                (id, self.desk.place.mark(&mut self.journal, &name, unix_s, &open))
            }
            ToKeeper::Restore { id, to, unix_s } => {
                (id, self.desk.place.restore(&mut self.journal, &to, unix_s, &open))
            }
        };
        self.say(FromKeeper::Done { id, outcome })
    }

    fn notified(&mut self, index: usize) -> Result<(), Over> {
        let Some(listener) = self.listeners.get(index) else { return Ok(()) };
        // The poll has just said that one waits, and nobody else takes it.
        let Ok(seen) = listener.receive() else { return Ok(()) };
        let alone = self.desk.alone.is_some() && is_inode(seen.data.nr);
        let answer = match read_change(&seen) {
            Ok(Some(changing)) => self.keep(&seen, &changing)?,
            // Times, which are not kept.
            Ok(None) if alone => Answer::GoOn,
            Ok(None) => self.exec(index, &seen)?,
            Err(RemoteError::Notify(NotifyError::Gone)) => Answer::GoOn,
            // The kernel will find the same fault in its path.
            Err(RemoteError::Read { source, .. })
                if Errno::from_io_error(&source) == Some(Errno::FAULT) =>
            {
                Answer::GoOn
            }
            Err(error) => self.fault(&io::Error::other(error.to_string()))?,
        };
        let Some(listener) = self.listeners.get(index) else { return Ok(()) };
        // A caller that was killed meanwhile needs no answer.
        let _ = match (answer, &self.desk.alone) {
            (Answer::GoOn, Some(boundary)) if alone => {
                inodes::answer(boundary, listener, &seen);
                Ok(())
            }
            (Answer::GoOn, _) => listener.respond_continue(seen.id),
            (Answer::Done, _) => listener.respond_done(seen.id),
            (Answer::Refuse(errno), _) => {
                listener.respond_errno(seen.id, errno.raw_os_error().unsigned_abs() as u16)
            }
        };
        Ok(())
    }

    /// Keeps what a call replaces.
    fn keep(&mut self, seen: &Notification, changing: &Changing) -> Result<Answer, Over> {
        if self.resolver.is_none() {
            match Resolver::new(seen.pid, self.desk.trees.clone()) {
                Ok(resolver) => self.resolver = Some(resolver),
                Err(error) => return self.fault(&error),
            }
        }
        match self.kept(seen.pid, changing) {
            Ok(Kept::GoOn(paths)) => {
                // A file that is opened is on the way to nothing.
                let leads = !matches!(changing, Changing::Content(_));
                self.calls.went_on(seen.pid, seen.data.nr, paths, leads);
                Ok(Answer::GoOn)
            }
            Ok(Kept::Settings(file)) => self.settings(&file),
            Err(error) => self.fault(&error),
        }
    }

    /// Writes the repository's settings in the caller's place, as far as that is harmless.
    fn settings(&mut self, file: &[u8]) -> Result<Answer, Over> {
        let change = match Change::judge(&self.desk.trees, file) {
            Ok(change) => change,
            Err(refusal) => {
                let what = refusal.to_string();
                if self.refusals.len() < SETTINGS_REFUSALS && self.refusals.insert(what.clone()) {
                    self.say(FromKeeper::Sensor { what })?;
                }
                return Ok(Answer::GoOn);
            }
        };
        if let Some(what) = change.words()
            && let refused @ Answer::Refuse(_) = self.record(Event::Sensor { what })?
        {
            return Ok(refused);
        }
        Ok(change.make().map_or(Answer::Refuse(Errno::IO), |()| Answer::Done))
    }

    /// What the names of a call stand for, when no other call that changes it is going on any more:
    /// the journal tells what happened in the order in which it did. With the threads that made those calls.
    fn places(&self, by: u32, changing: &Changing) -> io::Result<(Vec<Option<Place>>, Vec<u32>)> {
        let Some(resolver) = &self.resolver else { return Err(Errno::IO.into()) };
        let since = clock::now();
        loop {
            let places = match changing {
                Changing::ModeOf(descriptor) => {
                    vec![place_of(resolver.descriptor(by, *descriptor))?]
                }
                _ => changing
                    .names()
                    .map(|named| place_of(resolver.place(by, named)))
                    .collect::<io::Result<_>>()?,
            };
            let paths: Vec<Option<&[u8]>> = places
                .iter()
                .filter_map(|place| match place {
                    Some(place) => place.path().map(Some),
                    None => Some(None),
                })
                .collect();
            let waited = clock::now().elapsed_ms(&since);
            let crossing = self.calls.crossing(by, &paths);
            let goes_on = |by: &u32| !self.journal.has_come(*by) && self.calls.goes_on(*by);
            if waited >= CALLS_CROSS_MS || !crossing.iter().any(goes_on) {
                return Ok((places, crossing));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Keeps what a call replaces; the paths that it changes: none where it will fail, as `mkdir -p` does
    /// at most of its paths, so that nobody waits for that.
    ///
    /// # Errors
    /// What the call replaces cannot be kept.
    fn kept(&mut self, by: u32, changing: &Changing) -> io::Result<Kept> {
        let (places, crossing) = self.places(by, changing)?;
        let calls = &self.calls;
        self.journal.settle_left(|thread| crossing.contains(&thread) && calls.has_left(thread))?;
        let path = |n: usize| places.get(n).and_then(Option::as_ref).and_then(Place::path);
        let journal = &mut self.journal;
        match (changing, path(0)) {
            (Changing::Moved { exchange, .. }, from) => match (from, path(1)) {
                (Some(from), Some(to)) if is_write(journal, from, to, *exchange) => {
                    return Ok(Kept::Settings(to.to_vec()));
                }
                (Some(from), Some(to)) => journal.moving(by, from, to, *exchange)?,
                // Across the edge of the workspace: the kernel refuses to move between mounts.
                (Some(inside), None) | (None, Some(inside)) => journal.removing(by, inside)?,
                (None, None) => {}
            },
            (Changing::Content(_), Some(path)) => journal.writing(by, path)?,
            (Changing::Content(_), None) => {
                if let Some(Some(Place::Open(file))) = places.first() {
                    journal.writing_open(file.as_fd())?;
                }
            }
            (Changing::New(_), Some(path)) => {
                if !journal.making(by, path)? {
                    return Ok(Kept::GoOn(Vec::new()));
                }
            }
            (Changing::Linked(_), Some(path)) => {
                if !journal.linking(by, path)? {
                    return Ok(Kept::GoOn(Vec::new()));
                }
            }
            (Changing::Removed(_), Some(path)) => journal.removing(by, path)?,
            (Changing::Mode(_) | Changing::ModeOf(_), Some(path)) => journal.mode(by, path)?,
            (_, None) | (Changing::Nothing, _) => {}
        }
        Ok(Kept::GoOn((0..places.len()).filter_map(path).map(<[u8]>::to_vec).collect()))
    }

    fn exec(&mut self, index: usize, seen: &Notification) -> Result<Answer, Over> {
        let Some(listener) = self.listeners.get(index) else {
            return Ok(Answer::Refuse(Errno::IO));
        };
        let Some(event) = exec_seen::event(listener, seen) else { return Ok(Answer::GoOn) };
        self.record(event)
    }

    /// Has a record made before the call goes on.
    fn record(&mut self, event: Event) -> Result<Answer, Over> {
        self.say(FromKeeper::Exec { event })?;
        loop {
            match self.hear()? {
                ToKeeper::Recorded { ok: true } => return Ok(Answer::GoOn),
                ToKeeper::Recorded { ok: false } => return Ok(Answer::Refuse(Errno::IO)),
                other => self.waiting.push_back(other),
            }
        }
    }

    /// What is about to change could not be kept, so it does not change: with which error.
    fn fault(&mut self, why: &io::Error) -> Result<Answer, Over> {
        if !self.told {
            self.told = true;
            let what =
                format!("a change of the workspace was refused: it could not be kept ({why})");
            self.say(FromKeeper::Sensor { what })?;
        }
        let errno = Errno::from_io_error(why).filter(|errno| FORWARDED.contains(errno));
        Ok(Answer::Refuse(errno.unwrap_or(Errno::IO)))
    }
}

/// Errors of keeping that programs understand as their own; any other is EIO.
const FORWARDED: [Errno; 4] = [Errno::NOSPC, Errno::DQUOT, Errno::ACCESS, Errno::PERM];

/// What a name stands for; `None` where the kernel will find that it stands for nothing.
fn place_of(place: io::Result<Place>) -> io::Result<Option<Place>> {
    match place {
        Err(error) if will_fail(&error) => Ok(None),
        place => place.map(Some),
    }
}
