//! A connection that stays after its question: a program beside the agent, or a terminal that is
//! looked at. It never waits for the other side.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use ringfence_control::{Answer, FOLLOW_BYTES, Follow};
use rustix::event::{PollFd, PollFlags};

/// The supervisor's end.
pub struct Conversation {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Conversation {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new() }
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.stream.as_fd(), PollFlags::IN)
    }

    /// Says something; who does not listen misses it.
    pub fn say(&self, answer: &Answer) {
        super::say(&self.stream, answer);
    }

    /// What was said since; none when the other side is gone or talks nonsense.
    pub fn hear(&mut self) -> Option<Vec<Follow>> {
        let mut chunk = [0u8; FOLLOW_BYTES];
        match self.stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(count) => self.received.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if is_passing(&error) => {}
            Err(_) => return None,
        }
        let mut follows = Vec::new();
        while let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.received.drain(..=end).collect();
            follows.push(serde_json::from_slice(&line).ok()?);
        }
        (self.received.len() <= FOLLOW_BYTES).then_some(follows)
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
