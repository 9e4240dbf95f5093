//! The asking side: one question and one answer, or a conversation that stays.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::{
    Answer, Ask, AskError, DESCRIPTORS, Follow, LINE_BYTES, PATIENCE, RESTORE_PATIENCE, Token,
    VERSION, Verb,
};

/// A connection to a supervisor.
#[derive(Debug)]
pub struct Conversation {
    stream: UnixStream,
    received: Vec<u8>,
}

/// Asks one question.
///
/// # Errors
/// [`AskError`].
pub fn ask(socket: &Path, verb: Verb) -> Result<Answer, AskError> {
    Conversation::open(socket, verb, &[])?.answer()?.ok_or(AskError::HungUp)
}

impl Conversation {
    /// Asks, with descriptors.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn open(
        socket: &Path,
        verb: Verb,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Self, AskError> {
        let mut stream = connect(socket)
            .map_err(|source| AskError::Connect { socket: socket.display().to_string(), source })?;
        let patience =
            if matches!(verb, Verb::Restore { .. }) { RESTORE_PATIENCE } else { PATIENCE };
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let place = Token::place(socket);
        let token = Token::read(&place)
            .map_err(|source| AskError::Token { token: place.display().to_string(), source })?;
        let mut line = serde_json::to_vec(&Ask { version: VERSION, token, verb })?;
        line.push(b'\n');
        let sent = send(&stream, &line, descriptors)?;
        stream.write_all(line.get(sent..).unwrap_or_default())?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Waits for the next answer, as long as a person would; none when the supervisor hung up.
    ///
    /// # Errors
    /// [`AskError`].
    pub fn answer(&mut self) -> Result<Option<Answer>, AskError> {
        let mut chunk = [0u8; 4096];
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.received.drain(..=end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.received.len() as u64 > LINE_BYTES {
                return Err(AskError::HungUp);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    self.received.extend_from_slice(chunk.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // How a read ends that had its time (socket(7), SO_RCVTIMEO).
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(AskError::Silent);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Says something more.
    ///
    /// # Errors
    /// What the socket says.
    pub fn follow(&mut self, follow: Follow) -> Result<(), AskError> {
        let mut line = serde_json::to_vec(&follow)?;
        line.push(b'\n');
        Ok(self.stream.write_all(&line)?)
    }
}

impl AsFd for Conversation {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Sends what fits, the descriptors with the first byte; how much was sent.
fn send(stream: &UnixStream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if descriptors.len() > DESCRIPTORS {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    loop {
        match sendmsg(stream, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(sent) => return Ok(sent),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Connects through a descriptor of the directory: its path may be longer than the 107 bytes that
/// a socket address holds.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    let directory = std::fs::File::open(socket.parent().unwrap_or(Path::new("/")))?;
    let name = socket.file_name().unwrap_or_default();
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn silence_and_hanging_up_are_told_apart() {
        let (stream, mut other) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut conversation = Conversation { stream, received: Vec::new() };
        // Half an answer is none.
        other.write_all(b"{\"answer\":").unwrap();
        assert!(matches!(conversation.answer(), Err(AskError::Silent)));
        other.write_all(b"\"killing\"}\n").unwrap();
        assert_eq!(conversation.answer().unwrap(), Some(Answer::Killing));
        drop(other);
        assert_eq!(conversation.answer().unwrap(), None);
    }
}
