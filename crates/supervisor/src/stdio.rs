//! The agent's standard descriptors: a terminal of the sandbox's own, or pipes, byte for byte.
//!
//! Pipes are passed as they are. Files, sockets and devices are not: a descriptor of a host file
//! could be opened again by its `/proc` link, so their bytes are pumped through a pipe.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_jail::Stdio;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use crate::limits::OUTPUT_BUFFER_BYTES;
use crate::terminal::TerminalFilter;

/// Moves bytes from one descriptor to another without ever waiting for the slower one.
pub struct Pump {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    waiting: Vec<u8>,
    filter: Option<TerminalFilter>,
    /// Whether the bytes come from inside.
    output: bool,
    /// Bytes moved so far.
    pub moved: u64,
    /// Control sequences taken out so far.
    pub removed: u64,
}

/// Bytes read at once.
const CHUNK: usize = 32 * 1024;

impl Pump {
    fn new(from: OwnedFd, to: OwnedFd, filter: Option<TerminalFilter>, output: bool) -> Self {
        Self {
            from: Some(from),
            to: Some(to),
            waiting: Vec::new(),
            filter,
            output,
            moved: 0,
            removed: 0,
        }
    }

    /// What to wait for: at most one descriptor at a time, writing first.
    pub fn interest(&self) -> Option<PollFd<'_>> {
        match (&self.to, &self.from) {
            (Some(to), _)
                if self.waiting.len() >= OUTPUT_BUFFER_BYTES
                    || (!self.waiting.is_empty() && self.from.is_none()) =>
            {
                Some(PollFd::new(to, PollFlags::OUT))
            }
            (Some(to), _) if !self.waiting.is_empty() => Some(PollFd::new(to, PollFlags::OUT)),
            (Some(_), Some(from)) => Some(PollFd::new(from, PollFlags::IN)),
            _ => None,
        }
    }

    /// Whether everything has been moved.
    pub fn is_done(&self) -> bool {
        self.to.is_none() || (self.from.is_none() && self.waiting.is_empty())
    }

    /// Moves what can be moved now.
    pub fn turn(&mut self) {
        if !self.waiting.is_empty() {
            self.write();
        }
        if self.waiting.is_empty() {
            self.read();
            self.write();
        }
        if self.from.is_none() && self.waiting.is_empty() {
            self.to = None;
        }
    }

    fn read(&mut self) {
        let Some(from) = &self.from else { return };
        let mut chunk = [0u8; CHUNK];
        match rustix::io::read(from, &mut chunk[..]) {
            Ok(0) => self.end_of_input(),
            Ok(count) => {
                let bytes = chunk.get(..count).unwrap_or_default();
                self.moved += count as u64;
                match &mut self.filter {
                    Some(filter) => {
                        self.removed += filter.filter(bytes, &mut self.waiting).total();
                    }
                    None => self.waiting.extend_from_slice(bytes),
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            // A terminal whose last user is gone answers EIO.
            Err(_) => self.end_of_input(),
        }
    }

    fn end_of_input(&mut self) {
        if let Some(filter) = &mut self.filter {
            self.removed += filter.finish(&mut self.waiting).total();
        }
        self.from = None;
    }

    fn write(&mut self) {
        let Some(to) = &self.to else { return };
        while !self.waiting.is_empty() {
            // Small pieces: a descriptor shared with the caller's shell must not be made
            // non-blocking, and what poll(2) calls writable takes at least this much.
            let piece = self.waiting.get(..self.waiting.len().min(4096)).unwrap_or_default();
            match rustix::io::write(to, piece) {
                Ok(count) => {
                    self.waiting.drain(..count);
                    if !writable(to.as_fd()) {
                        return;
                    }
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    // Nobody reads any more: the agent learns it by its own closed pipe.
                    self.to = None;
                    self.from = None;
                    self.waiting.clear();
                    return;
                }
            }
        }
    }

    /// Moves what the sandbox has written; for the end, when nothing writes any more. Input that
    /// nobody will read is left where it is.
    pub fn finish_output(&mut self) {
        if !self.output {
            return;
        }
        let patience = rustix::event::Timespec { tv_sec: 5, tv_nsec: 0 };
        while !self.is_done() {
            if let Some(interest) = self.interest() {
                match rustix::event::poll(&mut [interest], Some(&patience)) {
                    // A stopped terminal must not keep an ended run for ever.
                    Ok(0) => return,
                    _ => {}
                }
            }
            self.turn();
        }
    }
}

fn writable(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// The user's terminal, put back as it was when dropped.
pub struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    fn new(terminal: OwnedFd) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Drain, &self.before);
    }
}

/// What the supervisor does with its own standard descriptors.
pub struct Plan {
    /// For the jail.
    pub inside: [Stdio; 3],
    /// Bytes that go through the supervisor.
    pub pumps: Vec<Pump>,
}

/// Whether a person sits in front of this process.
#[must_use]
pub fn interactive() -> bool {
    isatty(rustix::stdio::stdin()) && isatty(rustix::stdio::stdout())
}

/// Looks at the three standard descriptors and decides what each is inside.
///
/// # Errors
/// A descriptor cannot be copied.
pub fn plan() -> io::Result<Plan> {
    let own = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut pumps = Vec::new();
    let mut inside = [Stdio::Null, Stdio::Null, Stdio::Null];
    for (number, (fd, slot)) in own.into_iter().zip(&mut inside).enumerate() {
        *slot = match kind(fd) {
            Kind::Closed => Stdio::Null,
            Kind::Terminal => Stdio::Terminal,
            Kind::Null => Stdio::Null,
            Kind::Pipe => Stdio::Pass(fd.try_clone_to_owned()?),
            Kind::Other => {
                let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
                let host = fd.try_clone_to_owned()?;
                if number == 0 {
                    nonblocking(&write)?;
                    pumps.push(Pump::new(host, write, None, false));
                    Stdio::Pass(read)
                } else {
                    nonblocking(&read)?;
                    pumps.push(Pump::new(read, host, None, true));
                    Stdio::Pass(write)
                }
            }
        };
    }
    Ok(Plan { inside, pumps })
}

enum Kind {
    Closed,
    Terminal,
    Null,
    Pipe,
    Other,
}

fn kind(fd: BorrowedFd<'_>) -> Kind {
    let Ok(stat) = rustix::fs::fstat(fd) else { return Kind::Closed };
    if isatty(fd) {
        return Kind::Terminal;
    }
    let null = rustix::fs::stat("/dev/null").map(|null| null.st_rdev).unwrap_or_default();
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == null => Kind::Null,
        FileType::Fifo => Kind::Pipe,
        _ => Kind::Other,
    }
}

fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// The user's terminal opened once more, so that making it non-blocking changes nothing for others.
/// After `su` it belongs to somebody else and only the inherited descriptor is left: the pumps then
/// rely on `poll(2)` before each small write.
fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = rustix::termios::ttyname(fd, Vec::new())
        .and_then(|name| rustix::fs::open(name.as_c_str(), flags, Mode::empty()));
    match own {
        Ok(terminal) => Ok(terminal),
        Err(_) => fd.try_clone_to_owned(),
    }
}

/// Connects the sandbox's terminal with the user's: the pumps, and the raw mode to be kept.
///
/// # Errors
/// The user's terminal cannot be opened or set.
pub fn connect_terminal(master: &OwnedFd) -> io::Result<(Vec<Pump>, Option<RawTerminal>)> {
    nonblocking(master)?;
    copy_size(master);
    let (stdin, stdout, stderr) =
        (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
    let mut pumps = Vec::new();
    let shown = [stdout, stderr].into_iter().find(|fd| isatty(*fd));
    let to = match shown {
        Some(fd) => reopen(fd)?,
        None => {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::open("/dev/null", flags, Mode::empty())?
        }
    };
    pumps.push(Pump::new(master.try_clone()?, to, Some(TerminalFilter::new()), true));
    let mut raw = None;
    if isatty(stdin) {
        let terminal = reopen(stdin)?;
        pumps.push(Pump::new(terminal.try_clone()?, master.try_clone()?, None, false));
        raw = Some(RawTerminal::new(terminal)?);
    }
    Ok((pumps, raw))
}

/// Gives the sandbox's terminal the size of the user's.
pub fn copy_size(master: &OwnedFd) {
    let own = [rustix::stdio::stdout(), rustix::stdio::stdin(), rustix::stdio::stderr()];
    if let Some(size) = own.into_iter().find_map(|fd| rustix::termios::tcgetwinsize(fd).ok()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}
