//! The keys that let go of a terminal: Ctrl-P Ctrl-Q, or what the person chose.

/// Watches what is typed for a sequence of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyWatch {
    sequence: Vec<u8>,
    /// How much of it has been typed, and is held back.
    seen: usize,
}

/// Why keys are not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no key: use ctrl-LETTER or one character, several with commas between them, such as ctrl-p,ctrl-q"
)]
pub struct KeyError(String);

impl Default for KeyWatch {
    fn default() -> Self {
        Self { sequence: vec![control(b'p'), control(b'q')], seen: 0 }
    }
}

const fn control(letter: u8) -> u8 {
    letter & 0x1f
}

impl std::str::FromStr for KeyWatch {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let key = |word: &str| -> Result<u8, KeyError> {
            let wrong = || KeyError(word.to_owned());
            let letter = word.strip_prefix("ctrl-").map(str::as_bytes);
            match (letter, word.as_bytes()) {
                (Some([letter @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]), _) => {
                    Ok(control(*letter))
                }
                (None, [byte @ 0x20..=0x7e]) => Ok(*byte),
                _ => Err(wrong()),
            }
        };
        Ok(Self { sequence: text.split(',').map(key).collect::<Result<_, _>>()?, seen: 0 })
    }
}

impl KeyWatch {
    /// Passes typed bytes on, up to the sequence; whether it was typed. A beginning of it is held back
    /// until the next key.
    pub fn pass(&mut self, typed: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in typed {
            if self.sequence.get(self.seen) == Some(byte) {
                self.seen += 1;
                if self.seen == self.sequence.len() {
                    return true;
                }
                continue;
            }
            // What was held back was meant after all; a later part of it may begin the sequence.
            let mut held: Vec<u8> = self.sequence.get(..self.seen).unwrap_or_default().to_vec();
            held.push(*byte);
            let begins = (0..=held.len())
                .find(|from| self.sequence.starts_with(held.get(*from..).unwrap_or_default()));
            let from = begins.unwrap_or(held.len());
            out.extend(held.get(..from).unwrap_or_default());
            self.seen = held.len() - from;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What reaches the program of keys that are typed one by one, and whether they let go.
    fn typed(keys: &str, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut watch: KeyWatch = keys.parse().unwrap();
        let mut out = Vec::new();
        let let_go = bytes.iter().any(|byte| watch.pass(&[*byte], &mut out));
        (out, let_go)
    }

    #[test]
    fn only_the_whole_sequence_lets_go() {
        let default = "ctrl-p,ctrl-q";
        assert_eq!(KeyWatch::default(), default.parse().unwrap());
        assert_eq!(typed(default, b"ab"), (b"ab".to_vec(), false));
        assert_eq!(typed(default, b"a\x10\x11"), (b"a".to_vec(), true));
        assert_eq!(typed(default, b"a\x10b\x11"), (b"a\x10b\x11".to_vec(), false));
        // The first key twice: one of them was meant.
        assert_eq!(typed(default, b"\x10\x10\x11"), (b"\x10".to_vec(), true));
        assert_eq!(typed("a,a,b", b"aaab"), (b"a".to_vec(), true));
        assert_eq!(typed("~,.", b"x~~y"), (b"x~~y".to_vec(), false));
        let (mut out, mut watch) = (Vec::new(), KeyWatch::default());
        assert!(watch.pass(b"all at once\x10\x11", &mut out));
        assert_eq!(out, b"all at once");
        for wrong in ["", "ctrl-", "ctrl-pp", "F1", "ctrl-p,", "ctrl-P", "\u{e9}"] {
            assert!(wrong.parse::<KeyWatch>().is_err(), "{wrong}");
        }
    }
}
