//! One pass over one line: is it a canonical record, and which bytes does its hash cover?
//!
//! Nothing is allocated and nothing is built: a verifier has to look at millions of lines. It must
//! accept exactly what the writer writes; anything else is named, never repaired.

use std::cmp::Ordering;

use crate::canonical::compare_keys;
use crate::limits::{DEPTH, INTEGER_MAX};

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// Not UTF-8.
    #[error("byte {0} is not UTF-8")]
    Utf8(usize),
    /// Not the canonical JSON of a record.
    #[error("byte {at} is not canonical: {why}")]
    Form {
        /// Offset within the line.
        at: usize,
        /// What was expected.
        why: &'static str,
    },
}

/// The parts of a line that a chain is checked by; all slices are of the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    /// The line before the member `hash`, its comma excluded.
    pub(crate) before_hash: &'a [u8],
    /// The line after the member `hash`.
    pub(crate) after_hash: &'a [u8],
    pub(crate) boot_ns: u64,
    /// `event.type`.
    pub(crate) kind: &'a [u8],
    pub(crate) hash: &'a [u8],
    pub(crate) prev: &'a [u8],
    pub(crate) seq: u64,
    pub(crate) schema: u64,
    pub(crate) time: &'a [u8],
}

struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
}

type Scanned<T> = Result<T, ScanError>;

/// Takes a line, newline excluded, apart.
pub(crate) fn scan(line: &[u8]) -> Scanned<Parts<'_>> {
    std::str::from_utf8(line).map_err(|error| ScanError::Utf8(error.valid_up_to()))?;
    let mut c = Cursor { line, at: 0 };
    c.literal(b"{\"boot_ns\":", "a record begins with `boot_ns`")?;
    let boot = c.string("`boot_ns` is a text")?;
    let boot_ns = decimal(boot).ok_or(c.wrong("`boot_ns` is a decimal number"))?;
    c.literal(b",\"event\":", "`event` follows `boot_ns`")?;
    let kind = c.object(1, b"type")?.ok_or(c.wrong("an event has a `type`"))?;
    let hash_from = c.at;
    c.literal(b",\"hash\":", "`hash` follows `event`")?;
    let hash = c.digest()?;
    let hash_to = c.at;
    c.literal(b",\"labels\":", "`labels` follows `hash`")?;
    c.value(1)?;
    c.literal(b",\"prev\":", "`prev` follows `labels`")?;
    let prev = c.digest()?;
    c.literal(b",\"schema\":", "`schema` follows `prev`")?;
    let schema = c.unsigned()?;
    c.literal(b",\"seq\":", "`seq` follows `schema`")?;
    let seq = c.unsigned()?;
    c.literal(b",\"subject\":", "`subject` follows `seq`")?;
    c.object(1, b"")?;
    c.literal(b",\"time\":", "`time` follows `subject`")?;
    let time = c.string("`time` is a text")?;
    c.literal(b"}", "`time` is the last member")?;
    if c.at != line.len() {
        return Err(c.wrong("something follows the record"));
    }
    Ok(Parts {
        before_hash: line.get(..hash_from).unwrap_or_default(),
        after_hash: line.get(hash_to..).unwrap_or_default(),
        boot_ns,
        kind,
        hash,
        prev,
        seq,
        schema,
        time,
    })
}

/// A decimal number without sign and leading zeros.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    digits.iter().try_fold(0u64, |n, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// How many bytes from the start of `rest` are neither a quote, a backslash nor a control: eight at
/// a time. A byte above 127 has its high bit set and never counts as a control.
fn plain_bytes(rest: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The high bit of every byte below `n` (at most 128) that is not itself above 127; bytes above
    // a found one may be marked by a borrow, but the lowest mark is always right.
    let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word & HIGH;
    let (words, tail) = rest.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let slash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = quote | slash | below(word, 0x20);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let odd = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    words.len() * 8 + tail.iter().position(odd).unwrap_or(tail.len())
}

impl<'a> Cursor<'a> {
    fn wrong(&self, why: &'static str) -> ScanError {
        ScanError::Form { at: self.at, why }
    }

    fn peek(&self) -> u8 {
        // 0 never stands in a canonical line, so it can mean the end.
        self.line.get(self.at).copied().unwrap_or(0)
    }

    fn literal(&mut self, text: &[u8], why: &'static str) -> Scanned<()> {
        if self.line.get(self.at..).is_some_and(|rest| rest.starts_with(text)) {
            self.at += text.len();
            Ok(())
        } else {
            Err(self.wrong(why))
        }
    }

    /// A string; the bytes between its quotes, escapes as they stand.
    fn string(&mut self, why: &'static str) -> Scanned<&'a [u8]> {
        if self.peek() != b'"' {
            return Err(self.wrong(why));
        }
        self.at += 1;
        let from = self.at;
        loop {
            let rest = self.line.get(self.at..).unwrap_or_default();
            self.at += plain_bytes(rest);
            match self.peek() {
                b'"' => break,
                b'\\' => self.escape()?,
                _ => return Err(self.wrong("a string holds a raw control character or has no end")),
            }
        }
        let inner = self.line.get(from..self.at).unwrap_or_default();
        self.at += 1;
        Ok(inner)
    }

    fn escape(&mut self) -> Scanned<()> {
        let rest = self.line.get(self.at + 1..).unwrap_or_default();
        let length = match rest {
            [b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            // The controls with a letter of their own (8, 9, a, c, d) have no other spelling.
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return Err(self.wrong("an escape is not the shortest one")),
        };
        self.at += length;
        Ok(())
    }

    fn digest(&mut self) -> Scanned<&'a [u8]> {
        let text = self.string("a hash is a text")?;
        let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if text.len() == 64 && text.iter().all(hex) {
            Ok(text)
        } else {
            Err(self.wrong("a hash is 64 lower-case hexadecimal digits"))
        }
    }

    fn unsigned(&mut self) -> Scanned<u64> {
        let from = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        let number = decimal(self.line.get(from..self.at).unwrap_or_default());
        match number {
            Some(number) if number <= INTEGER_MAX => Ok(number),
            _ => Err(self.wrong("a number is an integer within 2^53")),
        }
    }

    fn value(&mut self, depth: usize) -> Scanned<()> {
        match self.peek() {
            b'"' => self.string("").map(|_| ()),
            b'{' => self.object(depth, b"").map(|_| ()),
            b'[' => self.array(depth),
            b't' => self.literal(b"true", "a value is expected"),
            b'f' => self.literal(b"false", "a value is expected"),
            b'n' => self.literal(b"null", "a value is expected"),
            b'-' => {
                self.at += 1;
                match self.unsigned()? {
                    0 => Err(self.wrong("zero has no sign")),
                    _ => Ok(()),
                }
            }
            b'0'..=b'9' => self.unsigned().map(|_| ()),
            _ => Err(self.wrong("a value is expected")),
        }
    }

    fn deeper(&self, depth: usize) -> Scanned<usize> {
        if depth < DEPTH { Ok(depth + 1) } else { Err(self.wrong("it is nested too deep")) }
    }

    fn array(&mut self, depth: usize) -> Scanned<()> {
        let depth = self.deeper(depth)?;
        self.at += 1;
        if self.peek() == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth)?;
            match self.peek() {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.wrong("`,` or `]` is expected")),
            }
        }
    }

    /// An object with its members in order; the text of the member `wanted`, if it has one.
    fn object(&mut self, depth: usize, wanted: &[u8]) -> Scanned<Option<&'a [u8]>> {
        let depth = self.deeper(depth)?;
        self.literal(b"{", "an object is expected")?;
        if self.peek() == b'}' {
            self.at += 1;
            return Ok(None);
        }
        let mut found = None;
        let mut last: Option<&[u8]> = None;
        loop {
            let key = self.string("a member's name is expected")?;
            if last.is_some_and(|last| key_order(last, key) != Ordering::Less) {
                return Err(self.wrong("members are not in order"));
            }
            last = Some(key);
            self.literal(b":", "`:` is expected")?;
            if key == wanted && self.peek() == b'"' {
                found = Some(self.string("")?);
            } else {
                self.value(depth)?;
            }
            match self.peek() {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(found);
                }
                _ => return Err(self.wrong("`,` or `}` is expected")),
            }
        }
    }
}

/// Order of two names as they stand between their quotes.
fn key_order(a: &[u8], b: &[u8]) -> Ordering {
    let simple = |key: &[u8]| key.is_ascii() && !key.contains(&b'\\');
    if simple(a) && simple(b) {
        return a.cmp(b);
    }
    let text = |key: &[u8]| {
        let quoted = [b"\"", key, b"\""].concat();
        serde_json::from_slice::<String>(&quoted).unwrap_or_default()
    };
    compare_keys(&text(a), &text(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &str) -> bool {
        let mut c = Cursor { line: value.as_bytes(), at: 0 };
        c.value(0).is_ok() && c.at == value.len()
    }

    proptest::proptest! {
        #[test]
        fn al2_eight_bytes_at_a_time_see_what_one_at_a_time_sees(
            bytes in proptest::collection::vec(
                proptest::prop_oneof![8 => proptest::num::u8::ANY, 1 => 0x1e..0x24u8, 1 => 0x5b..0x5eu8], 0..40)
        ) {
            let odd = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
            let slow = bytes.iter().position(odd).unwrap_or(bytes.len());
            proptest::prop_assert_eq!(plain_bytes(&bytes), slow);
        }
    }

    #[test]
    fn al2_only_the_canonical_spelling_of_a_value_is_accepted() {
        let good = [
            "0",
            "-1",
            "9007199254740992",
            "\"\"",
            "\"a\\n\\u000f\\u001f\\\\\\\"/é\"",
            "[]",
            "[1,2]",
            "{}",
            "{\"1\":0,\"a\":1,\"b\":[{}]}",
            "true",
            "null",
            "{\"\\r\":1,\"1\":2,\"\u{80}\":3}",
            "{\"😀\":1,\"\u{fb33}\":2}",
        ];
        for value in good {
            assert!(accepts(value), "{value}");
        }
        let bad = [
            "",
            " 1",
            "01",
            "-0",
            "1.0",
            "1e3",
            "+1",
            "9007199254740993",
            "\"a",
            "\"\\/\"",
            "\"\\u000a\"",
            "\"\\u0008\"",
            "\"\\u001F\"",
            "\"\\u0041\"",
            "\"\n\"",
            "[1, 2]",
            "[1,]",
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":2}",
            "{\"a\" :1}",
            "{\"\u{fb33}\":1,\"😀\":2}",
            "{\"1\":2,\"\\r\":1}",
            "tru",
        ];
        for value in bad {
            assert!(!accepts(value), "{value}");
        }
    }
}
