//! The agent's standard descriptors: a terminal of the sandbox's own, or pipes, byte for byte.
//!
//! Pipes are passed as they are. Files, sockets and devices are not: a descriptor of a host file
//! could be opened again by its `/proc` link, so their bytes are pumped through a pipe.

mod traces;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ringfence_control::Size;
use ringfence_jail::Stdio;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcsetattr};

use self::traces::Traces;
use crate::client::KeyWatch;
use crate::limits::{OUTPUT_BUFFER_BYTES, TERMINAL_RESET_MS};
use crate::terminal::TerminalFilter;

/// Moves bytes from one descriptor to another without ever waiting for the slower one.
pub struct Pump {
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    waiting: Vec<u8>,
    filter: Option<TerminalFilter>,
    /// What the bytes leave behind in the user's terminal.
    traces: Rc<RefCell<Traces>>,
    /// Keys that let go of the terminal.
    keys: Option<KeyWatch>,
    /// Whether they were typed.
    pub let_go: bool,
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
    pub(crate) fn new(
        from: OwnedFd,
        to: OwnedFd,
        filter: Option<TerminalFilter>,
        output: bool,
    ) -> Self {
        Self {
            from: Some(from),
            to: Some(to),
            waiting: Vec::new(),
            filter,
            traces: Rc::default(),
            keys: None,
            let_go: false,
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

    /// Whether all that comes from inside so far has been passed on.
    pub fn is_drained(&self) -> bool {
        let more = |from: &OwnedFd| ready(from.as_fd(), PollFlags::IN);
        !self.output || (self.waiting.is_empty() && !self.from.as_ref().is_some_and(more))
    }

    /// Whether it shows a terminal's output.
    pub fn is_terminal(&self) -> bool {
        self.filter.is_some()
    }

    /// Moves what is there, as far as it goes without waiting.
    pub fn finish_now(&mut self) {
        while self.output && !self.is_done() {
            let before = (self.moved, self.waiting.len());
            self.turn();
            if before == (self.moved, self.waiting.len()) {
                return;
            }
        }
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
                if let Some(keys) = &mut self.keys {
                    self.let_go = keys.pass(bytes, &mut self.waiting);
                    if self.let_go {
                        self.from = None;
                    }
                    return;
                }
                match &mut self.filter {
                    Some(filter) => {
                        // What was there before has been looked at.
                        let before = self.waiting.len();
                        self.removed += filter.filter(bytes, &mut self.waiting).total();
                        let passed = self.waiting.get(before..).unwrap_or_default();
                        self.traces.borrow_mut().look(passed);
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
            if let Some(interest) = self.interest()
                && rustix::event::poll(&mut [interest], Some(&patience)) == Ok(0)
            {
                // A stopped terminal must not keep an ended run for ever.
                return;
            }
            self.turn();
        }
    }
}

fn writable(fd: BorrowedFd<'_>) -> bool {
    ready(fd, PollFlags::OUT)
}

/// Whether a descriptor can be used now, be it only to learn that it is over.
fn ready(fd: BorrowedFd<'_>, flags: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// The user's terminal, put back as it was when dropped: what the sandbox's output left in force on
/// the screen, then how keys are read.
pub struct RawTerminal {
    screen: Option<(OwnedFd, Rc<RefCell<Traces>>)>,
    keys: Option<(OwnedFd, Termios)>,
}

fn make_raw(terminal: OwnedFd) -> io::Result<(OwnedFd, Termios)> {
    let before = tcgetattr(&terminal)?;
    let mut raw = before.clone();
    raw.make_raw();
    tcsetattr(&terminal, OptionalActions::Now, &raw)?;
    Ok((terminal, before))
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        if let Some((screen, traces)) = &self.screen {
            put_right(screen, &traces.borrow().reset());
        }
        if let Some((terminal, before)) = &self.keys {
            let _ = tcsetattr(terminal, OptionalActions::Drain, before);
        }
    }
}

/// Writes a few bytes to a terminal; one that takes none must not keep an ended run for ever.
fn put_right(terminal: &OwnedFd, mut bytes: &[u8]) {
    let patience =
        rustix::event::Timespec { tv_sec: 0, tv_nsec: TERMINAL_RESET_MS.saturating_mul(1_000_000) };
    while !bytes.is_empty() {
        let mut fds = [PollFd::new(terminal, PollFlags::OUT)];
        match rustix::event::poll(&mut fds, Some(&patience)) {
            Ok(0) => return,
            Err(error) if error != rustix::io::Errno::INTR => return,
            _ => {}
        }
        match rustix::io::write(terminal, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return,
        }
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

/// What a run in the background has: a terminal of its own.
#[must_use]
pub fn detached() -> Plan {
    Plan { inside: [Stdio::Terminal, Stdio::Terminal, Stdio::Terminal], pumps: Vec::new() }
}

/// Whether this may be passed inside as it is.
pub fn is_pipe(fd: &OwnedFd) -> bool {
    matches!(kind(fd.as_fd()), Kind::Pipe)
}

/// Whether this is a socket.
pub fn is_socket(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_socket())
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

/// What reads or writes this never waits.
///
/// # Errors
/// What `fcntl(2)` says.
pub fn nonblocking(fd: &OwnedFd) -> io::Result<()> {
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

/// Connects the sandbox's terminal with the user's: the pumps, and what to put back at the end.
///
/// # Errors
/// The user's terminal cannot be opened or set.
pub fn connect_terminal(master: &OwnedFd) -> io::Result<(Vec<Pump>, Option<RawTerminal>)> {
    copy_size(master);
    connect_relay(master, None)
}

/// As [`connect_terminal`], for the other end of a [`relay`]; `keys` let go of it.
///
/// # Errors
/// The user's terminal cannot be opened or set.
pub fn connect_relay(
    master: &OwnedFd,
    let_go: Option<KeyWatch>,
) -> io::Result<(Vec<Pump>, Option<RawTerminal>)> {
    nonblocking(master)?;
    let (stdin, stdout, stderr) =
        (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
    let mut pumps = Vec::new();
    let shown = [stdout, stderr].into_iter().find(|fd| isatty(*fd));
    let to = match shown {
        Some(fd) => reopen(fd)?,
        // Who looks at a run without a terminal gets its output all the same, filtered.
        None if let_go.is_some() => stdout.try_clone_to_owned()?,
        None => {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::open("/dev/null", flags, Mode::empty())?
        }
    };
    let screen = shown.map(|_| to.try_clone()).transpose()?;
    let output = Pump::new(master.try_clone()?, to, Some(TerminalFilter::new()), true);
    let screen = screen.map(|screen| (screen, Rc::clone(&output.traces)));
    pumps.push(output);
    let mut keys = None;
    if isatty(stdin) {
        let terminal = reopen(stdin)?;
        let mut typed = Pump::new(terminal.try_clone()?, master.try_clone()?, None, false);
        typed.keys = let_go;
        pumps.push(typed);
        keys = Some(make_raw(terminal)?);
    }
    let connected = screen.is_some() || keys.is_some();
    Ok((pumps, connected.then_some(RawTerminal { screen, keys })))
}

/// Relays between a terminal inside and a socket: the output filtered, the keys as they are.
///
/// # Errors
/// A descriptor cannot be copied.
pub fn relay(master: &OwnedFd, socket: &OwnedFd) -> io::Result<Vec<Pump>> {
    nonblocking(master)?;
    let filter = Some(TerminalFilter::new());
    Ok(vec![
        Pump::new(master.try_clone()?, socket.try_clone()?, filter, true),
        Pump::new(socket.try_clone()?, master.try_clone()?, None, false),
    ])
}

/// The size of the user's terminal.
#[must_use]
pub fn size() -> Option<Size> {
    let own = [rustix::stdio::stdout(), rustix::stdio::stdin(), rustix::stdio::stderr()];
    let size = own.into_iter().find_map(|fd| rustix::termios::tcgetwinsize(fd).ok())?;
    Some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Gives a terminal inside this size.
pub fn set_size(master: &OwnedFd, size: Size) {
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let _ = rustix::termios::tcsetwinsize(master, size);
}

/// Gives the sandbox's terminal the size of the user's.
pub fn copy_size(master: &OwnedFd) {
    let own = [rustix::stdio::stdout(), rustix::stdio::stdin(), rustix::stdio::stderr()];
    if let Some(size) = own.into_iter().find_map(|fd| rustix::termios::tcgetwinsize(fd).ok()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal: the side that shows, and the side that programs write to.
    fn terminal() -> (OwnedFd, OwnedFd) {
        let shown = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&shown).unwrap();
        unlockpt(&shown).unwrap();
        let name = ptsname(&shown, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let written = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        (shown, written)
    }

    /// What a terminal got from an agent that wrote `output`, and from the end of its run.
    fn shown_after(output: &[u8]) -> String {
        let (shown, written) = terminal();
        nonblocking(&shown).unwrap();
        let before = tcgetattr(&written).unwrap();
        let (from, agent) = rustix::pipe::pipe().unwrap();
        let to = written.try_clone().unwrap();
        let mut pump = Pump::new(from, to, Some(TerminalFilter::new()), true);
        let screen = Some((written.try_clone().unwrap(), Rc::clone(&pump.traces)));
        let keys = Some(make_raw(written.try_clone().unwrap()).unwrap());
        let raw = RawTerminal { screen, keys };
        assert_eq!(rustix::io::write(&agent, output).unwrap(), output.len());
        drop(agent);
        pump.finish_output();
        drop(raw);
        let after = tcgetattr(&written).unwrap();
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.output_modes, before.output_modes);
        let mut bytes = Vec::new();
        let mut chunk = [0u8; 1024];
        while let Ok(count @ 1..) = rustix::io::read(&shown, &mut chunk[..]) {
            bytes.extend_from_slice(chunk.get(..count).unwrap());
        }
        String::from_utf8(bytes).unwrap()
    }

    /// P15: whoever wrote nothing but text leaves a terminal that nothing more is written to.
    #[test]
    fn p15_text_is_all_that_a_terminal_gets() {
        assert_eq!(shown_after(b"text"), "text");
        assert_eq!(shown_after(b""), "");
    }

    /// P15: the person's prompt and the block at the end are readable whatever the agent left.
    #[test]
    fn p15_what_an_agent_left_in_force_is_taken_back_at_the_end() {
        assert_eq!(
            shown_after(b"\x1b[?1049h\x1b[?1000h\x1b[?25l\x1b[8mhidden"),
            "\x1b[?1049h\x1b[?1000h\x1b[?25l\x1b[8mhidden\
             \x1b[?1049l\x1b[?1000l\x1b[?25h\x1b(B\x0f\x1b[m"
        );
        // What the filter took out never reached the terminal, so there is nothing to take back.
        assert_eq!(shown_after(b"\x1b]52;c;aGVsbG8=\x07text"), "text");
    }
}
