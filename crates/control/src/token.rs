//! The secret of one run's control socket: whoever asks shows that they can read the run's directory.
//!
//! It is never shown: not in a log, not in an error, not by `Debug`.

use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Characters of a token in its file and on the line.
const TOKEN_CHARACTERS: u64 = TOKEN_BYTES as u64 * 2;

/// 256 random bits, as hexadecimal digits.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Draws a fresh one.
    ///
    /// # Errors
    /// What `getrandom(2)` says.
    pub fn draw() -> io::Result<Self> {
        let mut bytes = [0u8; TOKEN_BYTES];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Where the token of a control socket lies: beside it.
    #[must_use]
    pub fn place(socket: &Path) -> PathBuf {
        socket.with_extension("token")
    }

    /// Writes it into a file that only its owner can read.
    ///
    /// # Errors
    /// What the file system says; a file that is already there is one reason.
    pub fn write(&self, place: &Path) -> io::Result<()> {
        let options =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(place);
        options?.write_all(self.0.as_bytes())
    }

    /// Reads it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(place: &Path) -> io::Result<Self> {
        let mut text = String::new();
        std::fs::File::open(place)?.take(TOKEN_CHARACTERS).read_to_string(&mut text)?;
        Ok(Self(text))
    }

    /// Whether both are the same, in a time that depends on the lengths alone.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let (own, other) = (self.0.as_bytes(), other.0.as_bytes());
        if own.len() != other.len() || own.is_empty() {
            return false;
        }
        let differing = own.iter().zip(other).fold(0u8, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: two tokens differ, in every digit's place, and show nothing of themselves.
    #[test]
    fn s27_a_token_is_only_itself() {
        let (one, other) = (Token::draw().unwrap(), Token::draw().unwrap());
        assert_eq!(one.0.len(), 64);
        assert!(one.is(&one.clone()) && !one.is(&other));
        for place in 0..one.0.len() {
            let mut near = one.0.clone().into_bytes();
            near[place] = if near[place] == b'0' { b'1' } else { b'0' };
            assert!(!one.is(&Token(String::from_utf8(near).unwrap())), "{place}");
        }
        for bad in ["", "0", &one.0[1..], &format!("{}0", one.0)] {
            assert!(!one.is(&Token(bad.to_owned())), "{bad}");
        }
        assert!(!Token(String::new()).is(&Token(String::new())), "an empty file opens nothing");
        assert!(!format!("{one:?}").contains(&one.0[..8]));
    }
}
