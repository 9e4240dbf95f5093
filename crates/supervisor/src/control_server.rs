//! The supervisor's end of the control socket: never blocks, trusts nobody but the owner and root,
//! and those only with the run's token.
//!
//! What does not begin like a question is turned away by its first bytes and never parsed.

mod conversation;
mod opening;

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use ringfence_control::{Answer, Ask, LINE_BYTES, Token, VERSION, Verb};
use ringfence_sys::fdpass;
use rustix::event::{PollFd, PollFlags};

pub use self::conversation::Conversation;
use self::opening::Opening;
use crate::limits::{CONTROL_CONNECTIONS, CONTROL_LINE_MS};

/// One open conversation.
struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    uid: u32,
    /// When it must have asked, in milliseconds after the start of the run.
    until_ms: u64,
}

/// The listening socket and its conversations.
pub struct ControlServer {
    listener: UnixListener,
    connections: Vec<Connection>,
    owner: u32,
    token: Token,
}

/// A whole question, and who asks.
pub struct Question {
    /// What is wanted.
    pub verb: Verb,
    /// The asker's user id.
    pub uid: u32,
    /// Descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
    stream: UnixStream,
}

impl Question {
    /// Answers and hangs up.
    pub fn answer(self, answer: &Answer) {
        say(&self.stream, answer);
    }

    /// Keeps the connection.
    pub fn stay(self) -> Conversation {
        Conversation::new(self.stream)
    }
}

fn say(mut stream: &UnixStream, answer: &Answer) {
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        let _ = stream.write_all(&line);
    }
}

impl ControlServer {
    /// Listens at `path`, for `owner` and root. The token is drawn here: no process that was forked
    /// before, the sandbox's init among them, has it in its memory.
    ///
    /// # Errors
    /// What `bind(2)` says; the path may be longer than a socket address holds, so it is bound
    /// through a descriptor of its directory.
    pub fn bind(path: &Path, owner: u32) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        let token = Token::draw()?;
        token.write(&Token::place(path))?;
        let directory = std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or_default();
        let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let listener = UnixListener::bind(Path::new(&short).join(name))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, connections: Vec::new(), owner, token })
    }

    /// What to wait for.
    pub fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let own = PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN);
        let open = self
            .connections
            .iter()
            .map(|c| PollFd::from_borrowed_fd(c.stream.as_fd(), PollFlags::IN));
        std::iter::once(own).chain(open)
    }

    /// When the first of those who have not asked yet is hung up on.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.connections.iter().map(|connection| connection.until_ms).min()
    }

    /// Accepts, reads what is there, hangs up on who is too slow, and returns the questions that are
    /// complete.
    pub fn turn(&mut self, elapsed_ms: u64) -> Vec<Question> {
        self.connections.retain(|connection| connection.until_ms > elapsed_ms);
        while let Ok((stream, _)) = self.listener.accept() {
            let credentials = rustix::net::sockopt::socket_peercred(&stream);
            let Ok(uid) = credentials.map(|peer| peer.uid.as_raw()) else { continue };
            let welcome = uid == self.owner || uid == 0;
            if welcome
                && self.connections.len() < CONTROL_CONNECTIONS
                && stream.set_nonblocking(true).is_ok()
            {
                self.connections.push(Connection {
                    stream,
                    received: Vec::new(),
                    descriptors: Vec::new(),
                    uid,
                    until_ms: elapsed_ms + CONTROL_LINE_MS,
                });
            }
        }
        let mut questions = Vec::new();
        let mut open = Vec::new();
        for mut connection in std::mem::take(&mut self.connections) {
            match connection.read() {
                Progress::Whole(line) => questions.extend(self.understand(connection, &line)),
                Progress::More => open.push(connection),
                Progress::Gone => {}
            }
        }
        self.connections = open;
        questions
    }

    fn understand(&self, connection: Connection, line: &[u8]) -> Option<Question> {
        let Connection { stream, uid, descriptors, .. } = connection;
        let why = match serde_json::from_slice::<Ask>(line) {
            // The version first: another one may carry its token elsewhere, or none.
            Ok(Ask { version, .. }) if version != VERSION => other_version(version),
            Ok(Ask { token, .. }) if !token.is(&self.token) => {
                "the run's token is missing or wrong".to_owned()
            }
            Ok(Ask { verb, .. }) => return Some(Question { verb, uid, descriptors, stream }),
            // Not what the parser says: it would repeat what was sent, a token among it.
            Err(error) => match serde_json::from_slice::<Spoken>(line) {
                Ok(Spoken { version }) if version != VERSION => other_version(version),
                _ => format!("not understood: line {} column {}", error.line(), error.column()),
            },
        };
        say(&stream, &Answer::Refused { why });
        None
    }
}

/// What every version says of itself.
#[derive(serde::Deserialize)]
struct Spoken {
    version: u32,
}

fn other_version(version: u32) -> String {
    format!(
        "this run's supervisor speaks version {VERSION}, not {version}: ask it with the `ringfence` \
         that started it"
    )
}

enum Progress {
    Whole(Vec<u8>),
    More,
    Gone,
}

impl Connection {
    fn read(&mut self) -> Progress {
        loop {
            match fdpass::try_receive(self.stream.as_fd()) {
                Ok((bytes, _)) if bytes.is_empty() => return Progress::Gone,
                Ok((bytes, descriptors)) => {
                    self.received.extend_from_slice(&bytes);
                    self.descriptors.extend(descriptors);
                    if let Some(answer) = opening::turned_away(Opening::of(&self.received)) {
                        let _ = self.stream.write_all(&answer);
                        return Progress::Gone;
                    }
                    if let Some(end) = self.received.iter().position(|b| *b == b'\n') {
                        self.received.truncate(end);
                        return Progress::Whole(std::mem::take(&mut self.received));
                    }
                    let much = self.received.len() as u64 > LINE_BYTES;
                    if much || self.descriptors.len() > ringfence_control::DESCRIPTORS {
                        return Progress::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::More,
                Err(_) => return Progress::Gone,
            }
        }
    }
}
