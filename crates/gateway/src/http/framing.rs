//! Where a request body ends, so that the next request on the connection is found and judged.
//!
//! Bytes are only counted here; they are passed on as they came.

use super::head::{Body, HeadError, is_token};
use crate::limits::CHUNK_LINE_BYTES;

/// Hexadecimal digits of one chunk size: 15 digits are 2^60, beyond any body.
const SIZE_DIGITS: usize = 15;

enum State {
    /// So many bytes of a body with a length.
    Length(u64),
    /// A line: chunk size, or a trailer.
    Line {
        trailer: bool,
    },
    /// So many bytes of a chunk.
    Data(u64),
    /// The line end behind a chunk; how many of its two bytes have come.
    DataEnd(usize),
    Done,
}

/// Follows one body.
pub struct Framing {
    state: State,
    line: Vec<u8>,
}

impl Framing {
    /// At the body's first byte.
    #[must_use]
    pub fn new(body: Body) -> Self {
        let state = match body {
            Body::Length(0) => State::Done,
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::Line { trailer: false },
        };
        Self { state, line: Vec::new() }
    }

    /// Whether the body is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// How many of `bytes` belong to the body. Fewer than all only when the body is over.
    ///
    /// # Errors
    /// [`HeadError::Chunk`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, HeadError> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match &mut self.state {
                State::Done => break,
                State::Length(left) => {
                    at += skip(left, rest.len());
                    if *left == 0 {
                        self.state = State::Done;
                    }
                }
                State::Data(left) => {
                    at += skip(left, rest.len());
                    if *left == 0 {
                        self.state = State::DataEnd(0);
                    }
                }
                State::DataEnd(seen) => {
                    let want = if *seen == 0 { b'\r' } else { b'\n' };
                    if rest.first() != Some(&want) {
                        return Err(HeadError::Chunk);
                    }
                    at += 1;
                    self.state =
                        if *seen == 0 { State::DataEnd(1) } else { State::Line { trailer: false } };
                }
                State::Line { trailer } => {
                    let trailer = *trailer;
                    let byte = rest.first().copied().unwrap_or_default();
                    at += 1;
                    if self.line_byte(byte)? {
                        self.state = self.line_end(trailer)?;
                        self.line.clear();
                    }
                }
            }
        }
        Ok(at)
    }

    /// Takes one byte of a line; true when the line is whole.
    fn line_byte(&mut self, byte: u8) -> Result<bool, HeadError> {
        let after_cr = self.line.last() == Some(&b'\r');
        match byte {
            b'\n' if after_cr => return Ok(true),
            _ if after_cr => return Err(HeadError::Chunk),
            b'\r' | b'\t' | b' '..=b'~' | 0x80..=0xff if self.line.len() < CHUNK_LINE_BYTES => {
                self.line.push(byte);
            }
            _ => return Err(HeadError::Chunk),
        }
        Ok(false)
    }

    fn line_end(&self, trailer: bool) -> Result<State, HeadError> {
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        if trailer {
            return if line.is_empty() { Ok(State::Done) } else { check_trailer(line) };
        }
        // Chunk extensions have no use and a history of smuggling (RFC 9112 section 7.1.1).
        let digits =
            !line.is_empty() && line.len() <= SIZE_DIGITS && line.iter().all(u8::is_ascii_hexdigit);
        let text = std::str::from_utf8(line).map_err(|_| HeadError::Chunk)?;
        match u64::from_str_radix(text, 16) {
            Ok(0) if digits => Ok(State::Line { trailer: true }),
            Ok(size) if digits => Ok(State::Data(size)),
            _ => Err(HeadError::Chunk),
        }
    }
}

fn skip(left: &mut u64, have: usize) -> usize {
    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(have);
    *left -= take as u64;
    take
}

/// A trailer must be a field, and none that a server would act on as if it were in the head.
fn check_trailer(line: &[u8]) -> Result<State, HeadError> {
    let colon = line.iter().position(|b| *b == b':').ok_or(HeadError::Chunk)?;
    let name = line.get(..colon).unwrap_or_default().to_ascii_lowercase();
    let routing: [&[u8]; 5] =
        [b"host", b"content-length", b"transfer-encoding", b"upgrade", b"connection"];
    if name.is_empty() || !name.iter().copied().all(is_token) || routing.contains(&name.as_slice())
    {
        return Err(HeadError::Chunk);
    }
    Ok(State::Line { trailer: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(body: Body, bytes: &[u8]) -> Result<(usize, bool), HeadError> {
        let mut framing = Framing::new(body);
        let taken = framing.advance(bytes)?;
        Ok((taken, framing.is_done()))
    }

    #[test]
    fn bodies_end_where_they_say() {
        assert_eq!(feed(Body::Length(3), b"abcGET"), Ok((3, true)));
        assert_eq!(feed(Body::Length(0), b"GET"), Ok((0, true)));
        assert_eq!(feed(Body::Length(9), b"abc"), Ok((3, false)));
        assert_eq!(feed(Body::Chunked, b"3\r\nabc\r\n0\r\n\r\nGET"), Ok((13, true)));
        assert_eq!(feed(Body::Chunked, b"0\r\nX-Sum: 1\r\n\r\nGET"), Ok((15, true)));
    }

    #[test]
    fn n13_crooked_chunks_are_refused() {
        for bytes in [
            &b"3\nabc"[..],
            b"3\r\nabcd",
            b"3\r\nabc\n",
            b"+3\r\n",
            b"0x3\r\n",
            b"3 \r\n",
            b" 3\r\n",
            b"3;a=b\r\n",
            b"\r\n",
            b"-1\r\n",
            b"ffffffffffffffff1\r\n",
            b"0\r\nHost: x\r\n\r\n",
            b"0\r\nx\r\n\r\n",
            b"0\r\n x: 1\r\n",
            b"3\r\nabc\rX",
            b"0\r\nContent-Length: 1\r\n\r\n",
            b"3\0\r\n",
        ] {
            assert_eq!(feed(Body::Chunked, bytes), Err(HeadError::Chunk), "{bytes:?}");
        }
        assert!(feed(Body::Chunked, &[b'1'; CHUNK_LINE_BYTES + 9]).is_err());
    }

    proptest! {
        /// However the bytes are cut, the body ends at the same place.
        #[test]
        fn cuts_do_not_matter(chunks in proptest::collection::vec(1usize..40, 0..6), step in 1usize..9) {
            let mut bytes = Vec::new();
            for size in chunks {
                bytes.extend_from_slice(format!("{size:x}\r\n{}\r\n", "y".repeat(size)).as_bytes());
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            let end = bytes.len();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n");
            let mut framing = Framing::new(Body::Chunked);
            let mut total = 0;
            for piece in bytes.chunks(step) {
                let taken = framing.advance(piece).unwrap();
                total += taken;
                if taken < piece.len() { break; }
            }
            prop_assert!(framing.is_done());
            prop_assert_eq!(total, end);
        }
    }
}
