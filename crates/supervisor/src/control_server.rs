//! The supervisor's end of the control socket: never blocks, trusts nobody but the owner and root.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use ringfence_control::{Answer, Ask, LINE_BYTES, VERSION, Verb};
use rustix::event::{PollFd, PollFlags};

use crate::limits::CONTROL_CONNECTIONS;

/// One open conversation.
struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    uid: u32,
}

/// The listening socket and its conversations.
pub struct ControlServer {
    listener: UnixListener,
    connections: Vec<Connection>,
    owner: u32,
}

/// A whole question, and who asks.
pub struct Question {
    /// What is wanted.
    pub verb: Verb,
    /// The asker's user id.
    pub uid: u32,
    stream: UnixStream,
}

impl Question {
    /// Answers and hangs up.
    pub fn answer(mut self, answer: &Answer) {
        if let Ok(mut line) = serde_json::to_vec(answer) {
            line.push(b'\n');
            let _ = self.stream.write_all(&line);
        }
    }
}

impl ControlServer {
    /// Listens at `path`, for `owner` and root.
    ///
    /// # Errors
    /// What `bind(2)` says; the path may be longer than a socket address holds, so it is bound
    /// through a descriptor of its directory.
    pub fn bind(path: &Path, owner: u32) -> io::Result<Self> {
        use std::os::fd::AsRawFd;
        let directory = std::fs::File::open(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().unwrap_or_default();
        let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let listener = UnixListener::bind(Path::new(&short).join(name))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, connections: Vec::new(), owner })
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

    /// Accepts, reads what is there, and returns the questions that are complete.
    pub fn turn(&mut self) -> Vec<Question> {
        while let Ok((stream, _)) = self.listener.accept() {
            let credentials = rustix::net::sockopt::socket_peercred(&stream);
            let Ok(uid) = credentials.map(|peer| peer.uid.as_raw()) else { continue };
            let welcome = uid == self.owner || uid == 0;
            if welcome
                && self.connections.len() < CONTROL_CONNECTIONS
                && stream.set_nonblocking(true).is_ok()
            {
                self.connections.push(Connection { stream, received: Vec::new(), uid });
            }
        }
        let mut questions = Vec::new();
        let mut open = Vec::new();
        for mut connection in std::mem::take(&mut self.connections) {
            match connection.read() {
                Progress::Whole(line) => questions.extend(understand(connection, &line)),
                Progress::More => open.push(connection),
                Progress::Gone => {}
            }
        }
        self.connections = open;
        questions
    }
}

enum Progress {
    Whole(Vec<u8>),
    More,
    Gone,
}

impl Connection {
    fn read(&mut self) -> Progress {
        let mut chunk = [0u8; 4096];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Progress::Gone,
                Ok(count) => {
                    self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                    if let Some(end) = self.received.iter().position(|b| *b == b'\n') {
                        self.received.truncate(end);
                        return Progress::Whole(std::mem::take(&mut self.received));
                    }
                    if self.received.len() as u64 > LINE_BYTES {
                        return Progress::Gone;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::More,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Progress::Gone,
            }
        }
    }
}

fn understand(connection: Connection, line: &[u8]) -> Option<Question> {
    let Connection { stream, uid, .. } = connection;
    let refused = |stream: UnixStream, why: String| {
        Question { verb: Verb::Status {}, uid, stream }.answer(&Answer::Refused { why });
        None
    };
    match serde_json::from_slice::<Ask>(line) {
        Ok(Ask { version: VERSION, verb }) => Some(Question { verb, uid, stream }),
        Ok(Ask { version, .. }) => {
            refused(stream, format!("this supervisor speaks version {VERSION}, not {version}"))
        }
        Err(error) => refused(stream, format!("not understood: {error}")),
    }
}
