//! Untrusted text made safe to show: one line, no terminal control, nothing invisible.
//!
//! What comes out can be printed to any terminal or log. It is for eyes only: never parse it back
//! and never use it as a path.

use std::fmt::Write as _;

/// Letters by category that show as nothing at all: Hangul fillers and the blank Braille pattern.
const INVISIBLE_LETTERS: [char; 5] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{2800}'];

/// Whether a character is shown as it is. Controls, bidirectional marks, zero-width and other
/// format characters, odd spaces, unassigned and private code points are not.
#[must_use]
pub fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c if INVISIBLE_LETTERS.contains(&c) => false,
        // `escape_debug` knows Unicode's unprintable categories and combining marks.
        c => c.escape_debug().len() == 1,
    }
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\\' => out.push_str("\\\\"),
        c if is_plain(c) => out.push(c),
        c => {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    }
}

/// The text on one line with every odd character escaped (`\n`, `\u{1b}`, `\\`).
#[must_use]
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

/// As [`visible`], but some characters are shown as they are: where a backslash is part of code, say.
#[must_use]
pub fn visible_but(text: &str, kept: &[char]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if kept.contains(&c) {
            out.push(c);
        } else {
            push_escaped(&mut out, c);
        }
    }
    out
}

/// Bytes that ought to be UTF-8, such as a file name: as [`visible`], other bytes as `\xNN`.
#[must_use]
pub fn visible_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(&mut out, c));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c13_f34_controls_bidi_and_invisible_characters_are_escaped() {
        let cases = [
            ("plain naïve 日本", "plain naïve 日本"),
            ("a\nb\r\t", "a\\nb\\r\\t"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
            ("z\u{200b}\u{200d}\u{feff}", "z\\u{200b}\\u{200d}\\u{feff}"),
            ("\u{a0}\u{2028}\u{e000}\u{3164}", "\\u{a0}\\u{2028}\\u{e000}\\u{3164}"),
            ("e\u{301}", "e\\u{301}"),
            ("back\\slash", "back\\\\slash"),
        ];
        for (input, want) in cases {
            assert_eq!(visible(input), want);
        }
        assert_eq!(visible_bytes(b"ok\xff\xfe\n"), "ok\\xff\\xfe\\n");
    }
}
