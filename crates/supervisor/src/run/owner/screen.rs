//! The terminal of a detached run: it is always read, the end of what it showed is remembered, and
//! whoever looks at it sees the same and may type.
//!
//! Who reads slowly slows the output down, as a terminal does; who does not read at all is let go. Only
//! the output waits: decisions never do.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ringfence_control::{Answer, Follow, Size, Verb};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Owner;
use super::beside::socket;
use crate::clock;
use crate::control_server::{Conversation, Question};
use crate::limits::{
    ATTACHED_BUFFER_BYTES, ATTACHED_LAST_MS, ATTACHED_STALL_MS, ATTACHED_TERMINALS, KEYS_BYTES,
    SCROLLBACK_BYTES,
};
use crate::recorder::by_a_person;
use crate::stdio;
use crate::terminal::TerminalFilter;

/// Size of a terminal that nobody has looked at yet.
const FIRST_SIZE: Size = Size { rows: 24, columns: 80 };
/// Bytes read at once.
const CHUNK: usize = 32 * 1024;

/// Somebody who looks.
struct Attached {
    conversation: Conversation,
    socket: OwnedFd,
    waiting: Vec<u8>,
    /// Whether it has taken anything since that was looked at.
    moved: bool,
    /// When it last took anything, or had nothing to take.
    moved_ms: u64,
    gone: bool,
}

/// The sandbox's terminal, and everybody who looks at it.
pub(super) struct Screen {
    master: OwnedFd,
    over: bool,
    filter: TerminalFilter,
    /// Of what is remembered: questions to the terminal are for those who looked at the time.
    past: TerminalFilter,
    /// The end of what was shown.
    kept: Vec<u8>,
    /// Whether anything before it is forgotten.
    cut: bool,
    keys: Vec<u8>,
    attached: Vec<Attached>,
    size: Size,
    /// Control sequences that were taken out.
    pub(super) removed: u64,
}

impl Screen {
    /// Takes the terminal's master.
    pub(super) fn new(master: OwnedFd) -> io::Result<Self> {
        stdio::nonblocking(&master)?;
        stdio::set_size(&master, FIRST_SIZE);
        Ok(Self {
            master,
            over: false,
            filter: TerminalFilter::new(),
            past: TerminalFilter::of_the_past(),
            kept: Vec::new(),
            cut: false,
            keys: Vec::new(),
            attached: Vec::new(),
            size: FIRST_SIZE,
            removed: 0,
        })
    }

    /// What to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let mut master = if self.is_full() { PollFlags::empty() } else { PollFlags::IN };
        if !self.keys.is_empty() {
            master |= PollFlags::OUT;
        }
        let master = (!self.over).then(|| PollFd::new(&self.master, master));
        // Keys that nobody takes: the next ones wait in their terminals.
        let full = self.over || self.keys.len() >= KEYS_BYTES;
        master.into_iter().chain(self.attached.iter().flat_map(move |attached| {
            let mut flags = if full { PollFlags::empty() } else { PollFlags::IN };
            if !attached.waiting.is_empty() {
                flags |= PollFlags::OUT;
            }
            [PollFd::new(&attached.socket, flags), attached.conversation.interest()]
        }))
    }

    /// When somebody is let go at the latest.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let full = self.attached.iter().filter(|attached| attached.is_full());
        full.map(|attached| attached.moved_ms + ATTACHED_STALL_MS).min()
    }

    /// Whether somebody who looks has enough to read.
    fn is_full(&self) -> bool {
        self.attached.iter().any(Attached::is_full)
    }

    /// Everything that can be done now; whether anything moved.
    pub(super) fn turn(&mut self, elapsed_ms: u64) -> bool {
        let shown = !self.over && !self.is_full() && self.read();
        let typed = self.type_keys();
        for attached in &mut self.attached {
            attached.write();
            attached.keep_time(elapsed_ms);
        }
        let mut size = None;
        for attached in &mut self.attached {
            match attached.conversation.hear() {
                Some(follows) => size = follows.into_iter().filter_map(wanted).next_back().or(size),
                None => attached.gone = true,
            }
        }
        self.attached.retain(|attached| !attached.gone);
        if let Some(size) = size {
            self.resize(size);
        }
        shown || typed
    }

    fn read(&mut self) -> bool {
        let mut chunk = [0u8; CHUNK];
        let mut passed = Vec::new();
        match rustix::io::read(&self.master, &mut chunk[..]) {
            Ok(count @ 1..) => {
                let bytes = chunk.get(..count).unwrap_or_default();
                self.removed += self.filter.filter(bytes, &mut passed).total();
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return false,
            // A terminal whose last user is gone answers EIO.
            Ok(_) | Err(_) => {
                self.over = true;
                self.removed += self.filter.finish(&mut passed).total();
            }
        }
        self.keep(&passed);
        for attached in &mut self.attached {
            attached.waiting.extend_from_slice(&passed);
        }
        !passed.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.past.filter(bytes, &mut self.kept);
        // Twice the size before it is cut, so that each byte is moved once.
        if self.kept.len() >= 2 * SCROLLBACK_BYTES {
            self.kept.drain(..self.kept.len() - SCROLLBACK_BYTES);
            self.cut = true;
        }
    }

    /// The end of what was shown, from the beginning of a line where more is forgotten.
    fn remembered(&self) -> &[u8] {
        let from = self.kept.len().saturating_sub(SCROLLBACK_BYTES);
        let end = self.kept.get(from..).unwrap_or_default();
        let whole = from == 0 && !self.cut;
        let line = end.iter().position(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        end.get(if whole { 0 } else { line }..).unwrap_or_default()
    }

    fn type_keys(&mut self) -> bool {
        for attached in &mut self.attached {
            if self.keys.len() < KEYS_BYTES {
                attached.read(&mut self.keys);
            }
        }
        match rustix::io::write(&self.master, &self.keys) {
            Ok(count) => {
                self.keys.drain(..count);
                count > 0
            }
            Err(_) => false,
        }
    }

    fn resize(&mut self, size: Size) {
        if size == self.size {
            // A program draws anew when the size changes, and whoever has just come sees nothing else.
            let other = Size { rows: size.rows.saturating_add(1), ..size };
            stdio::set_size(&self.master, other);
        }
        stdio::set_size(&self.master, size);
        self.size = size;
    }

    fn admit(&mut self, conversation: Conversation, socket: OwnedFd, size: Option<Size>, now: u64) {
        conversation.say(&Answer::Started);
        let waiting = self.remembered().to_vec();
        self.attached.push(Attached {
            conversation,
            socket,
            waiting,
            moved: false,
            moved_ms: now,
            gone: false,
        });
        if let Some(size) = size {
            self.resize(size);
        }
    }

    /// The run is over: what is left is shown and kept in a file, and everybody is told.
    pub(super) fn finish(&mut self, code: i32, file: &Path) -> io::Result<()> {
        while !self.over && self.read() {}
        let since = clock::now();
        for attached in &mut self.attached {
            while !attached.waiting.is_empty() && !attached.gone {
                let left = ATTACHED_LAST_MS.saturating_sub(clock::now().elapsed_ms(&since));
                let patience = i64::try_from(left).unwrap_or(0) * 1_000_000;
                let patience = Timespec { tv_sec: 0, tv_nsec: patience.min(999_999_999) };
                let mut fds = [PollFd::new(&attached.socket, PollFlags::OUT)];
                if left == 0 || poll(&mut fds, Some(&patience)) == Ok(0) {
                    break;
                }
                attached.write();
            }
            attached.conversation.say(&Answer::Ended { code, why: None });
        }
        self.attached.clear();
        let options = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        options?.write_all(self.remembered())
    }
}

fn wanted(follow: Follow) -> Option<Size> {
    match follow {
        Follow::Size { size } => Some(size),
        // Keys are how the agent is told anything; it belongs to no terminal that looks at it.
        Follow::Signal { .. } => None,
    }
}

impl Attached {
    fn is_full(&self) -> bool {
        self.waiting.len() >= ATTACHED_BUFFER_BYTES
    }

    /// To be called after [`Self::write`].
    fn keep_time(&mut self, elapsed_ms: u64) {
        if std::mem::take(&mut self.moved) || !self.is_full() {
            self.moved_ms = elapsed_ms;
        } else if elapsed_ms >= self.moved_ms + ATTACHED_STALL_MS {
            let why = "this terminal took nothing of what is shown and was let go".to_owned();
            self.conversation.say(&Answer::Refused { why });
            self.gone = true;
        }
    }

    fn write(&mut self) {
        while !self.waiting.is_empty() && !self.gone {
            match rustix::io::write(&self.socket, &self.waiting) {
                Ok(count) => {
                    self.waiting.drain(..count);
                    self.moved = true;
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => self.gone = true,
            }
        }
    }

    fn read(&mut self, keys: &mut Vec<u8>) {
        let mut chunk = [0u8; KEYS_BYTES];
        match rustix::io::read(&self.socket, &mut chunk[..]) {
            Ok(0) => self.gone = true,
            Ok(count) => keys.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.gone = true,
        }
    }
}

impl Owner<'_> {
    pub(super) fn attach(&mut self, mut question: Question) {
        let Verb::Attach { size } = question.verb else { return };
        match self.admissible(&mut question) {
            Ok(socket) => {
                let now = self.elapsed_ms();
                if let Some(screen) = &mut self.screen {
                    screen.admit(question.stay(), socket, size, now);
                }
            }
            Err(why) => question.answer(&Answer::Refused { why }),
        }
    }

    fn admissible(&mut self, question: &mut Question) -> Result<OwnedFd, String> {
        let Some(screen) = &self.screen else {
            return Err(format!(
                "run {} was not started with --detach: its terminal is where it was started; \
                 `ringfence shell` opens another one in it",
                self.run.id()
            ));
        };
        if screen.attached.len() >= ATTACHED_TERMINALS {
            return Err(format!("{ATTACHED_TERMINALS} terminals are attached already"));
        }
        let descriptor = std::mem::take(&mut question.descriptors).into_iter().next();
        let socket = socket(descriptor.ok_or("a descriptor is missing")?)?;
        self.recorder
            .record(&by_a_person("attach", question.uid))
            .map_err(|error| format!("it cannot be recorded: {error}"))?;
        Ok(socket)
    }

    pub(super) fn turn_screen(&mut self) {
        let elapsed = self.elapsed_ms();
        if self.screen.as_mut().is_some_and(|screen| screen.turn(elapsed)) {
            self.active();
        }
    }
}
