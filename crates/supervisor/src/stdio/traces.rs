//! What a sandbox's output leaves behind in the user's terminal, and the bytes that take it back.
//!
//! It looks only at what the filter has passed, so sequences are whole and of known kinds, and it
//! answers only with what undoes something that is still in force: a terminal that was left as it
//! was gets nothing that moves its cursor or clears its screen. It must never hold anything back.
//! Sources: ECMA-48, xterm's ctlseqs, the kitty keyboard protocol, console_codes(4).

use std::fmt::Write;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
/// Shift out: letters become the second character set.
const SO: u8 = 0x0e;

/// Private modes that make a terminal unusable or unreadable for the next program, and whether each
/// is on in a terminal that nobody changed: cursor keys, slow scroll, reverse video, wrapping, mouse
/// reports, cursor, keypad, backarrow key, side margins, focus, mouse encodings, meta, paste
/// brackets, held-back drawing, colour scheme and size reports, wide characters.
const MODES: &[(u32, bool)] = &[
    (1, false),
    (4, false),
    (5, false),
    (7, true),
    (9, false),
    (25, true),
    (45, false),
    (66, false),
    (67, false),
    (69, false),
    (1000, false),
    (1001, false),
    (1002, false),
    (1003, false),
    (1004, false),
    (1005, false),
    (1006, false),
    (1007, false),
    (1015, false),
    (1016, false),
    (2004, false),
    (2026, false),
    (2031, false),
    (2048, false),
];

/// Pushed keyboard flags that are counted; terminals keep fewer.
const MOST_PUSHED: u32 = 64;

/// What is left in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Any sequence, or a shift of character sets.
    any: bool,
    /// Indices into [`MODES`].
    modes: Vec<usize>,
    /// The mode that led to the other screen.
    screen: Option<u32>,
    region: bool,
    origin: bool,
    insert: bool,
    newline: bool,
    keypad: bool,
    cursor_style: bool,
    console_cursor: bool,
    colours: bool,
    tabs: bool,
    key_options: bool,
    pushed: u32,
    key_flags: bool,
}

impl Traces {
    /// Looks at what was passed to the terminal.
    pub fn look(&mut self, passed: &[u8]) {
        self.any |= passed.contains(&SO);
        let mut rest = passed;
        while let Some(at) = rest.iter().position(|byte| *byte == ESC) {
            self.any = true;
            let sequence = rest.get(at + 1..).unwrap_or_default();
            let length = self.sequence(sequence).max(1).min(sequence.len());
            rest = sequence.get(length..).unwrap_or_default();
        }
    }

    /// Takes one sequence, without its ESC; how long it is.
    fn sequence(&mut self, bytes: &[u8]) -> usize {
        match bytes {
            [b'[', body @ ..] => {
                let Some(end) = body.iter().position(|byte| (0x40..=0x7e).contains(byte)) else {
                    return bytes.len();
                };
                let (parameters, last) = body.split_at(end);
                self.control(parameters, last.first().copied().unwrap_or_default());
                end + 2
            }
            [b']', body @ ..] => {
                let ends = |byte: &u8| *byte == BEL || *byte == ESC;
                let end = body.iter().position(ends).unwrap_or(body.len());
                self.command(body.get(..end).unwrap_or_default());
                end + 1
            }
            [b'=', ..] => self.note(|own| own.keypad = true),
            [b'>', ..] => self.note(|own| own.keypad = false),
            [b'H', ..] => self.note(|own| own.tabs = true),
            // The terminal itself starts anew.
            [b'c', ..] => self.note(|own| *own = Self { any: true, ..Self::default() }),
            _ => 1,
        }
    }

    fn note(&mut self, what: impl FnOnce(&mut Self)) -> usize {
        what(self);
        1
    }

    fn control(&mut self, body: &[u8], last: u8) {
        match (body, last) {
            ([b'?', list @ ..], b'h') => numbers(list).for_each(|mode| self.mode(mode, true)),
            ([b'?', list @ ..], b'l') => numbers(list).for_each(|mode| self.mode(mode, false)),
            // Restored to what is not known here.
            ([b'?', list @ ..], b'r') => numbers(list).for_each(|mode| self.mark(mode)),
            ([b'?', list @ ..], b'c') => self.console_cursor = !matches!(list, b"" | b"0"),
            ([b'?', ..], b'W') | ([] | [b'0'..=b'9', ..], b'g') => self.tabs = true,
            ([b'>', list @ ..], b'm') => self.key_options = !matches!(list, b"" | b"4" | b"4;0"),
            ([b'>', ..], b'n') => self.key_options = true,
            ([b'>', ..], b'u') => self.pushed = (self.pushed + 1).min(MOST_PUSHED),
            ([b'<', list @ ..], b'u') => {
                let count = numbers(list).next().unwrap_or(0).max(1);
                self.pushed = self.pushed.saturating_sub(count);
            }
            ([b'=', list @ ..], b'u') => {
                self.key_flags = numbers(list).next().unwrap_or(0) != 0;
            }
            ([list @ .., b' '], b'q') => self.cursor_style = !matches!(list, b"" | b"0"),
            ([.., b'!'], b'p') => (self.origin, self.region) = (false, false),
            ([] | [b'0'..=b'9' | b';', ..], b'r') if is_numeric(body) => {
                self.region = !matches!(body, b"" | b";" | b"0" | b"1" | b"1;");
            }
            (_, b'h') if is_numeric(body) => numbers(body).for_each(|mode| self.plain(mode, true)),
            (_, b'l') if is_numeric(body) => numbers(body).for_each(|mode| self.plain(mode, false)),
            _ => {}
        }
    }

    fn plain(&mut self, mode: u32, on: bool) {
        match mode {
            4 => self.insert = on,
            20 => self.newline = on,
            _ => {}
        }
    }

    fn mode(&mut self, mode: u32, on: bool) {
        match mode {
            6 => self.origin = on,
            47 | 1047 | 1049 => self.screen = on.then_some(mode),
            _ => {
                let known = MODES.iter().position(|(known, _)| *known == mode);
                if let Some(index) = known {
                    self.modes.retain(|marked| *marked != index);
                    if MODES.get(index).is_some_and(|(_, default)| *default != on) {
                        self.modes.push(index);
                    }
                }
            }
        }
    }

    fn mark(&mut self, mode: u32) {
        match mode {
            // Saved by something before: which of both is on is not known, and leaving a screen
            // that was not entered moves the cursor.
            6 | 47 | 1047 | 1049 => {}
            _ => {
                let known = MODES.iter().find(|(known, _)| *known == mode);
                if let Some((mode, default)) = known {
                    self.mode(*mode, !default);
                }
            }
        }
    }

    /// An operating system command: only colours last. A question for one changes nothing.
    fn command(&mut self, payload: &[u8]) {
        let number = payload.split(|byte| *byte == b';').next().unwrap_or_default();
        let sets = matches!(number, b"4" | b"10" | b"11" | b"12") && !payload.ends_with(b"?");
        self.colours |= sets;
    }

    /// What puts the terminal right; nothing if no sequence ever reached it.
    #[must_use]
    pub fn reset(&self) -> Vec<u8> {
        let mut text = String::new();
        if !self.any {
            return text.into_bytes();
        }
        if self.pushed > 0 {
            let _ = write!(text, "\x1b[<{}u", self.pushed);
        }
        if let Some(mode) = self.screen {
            let _ = write!(text, "\x1b[?{mode}l");
        }
        if self.origin {
            // Both put the cursor into a corner, and where it was cannot be asked: below everything
            // is where nothing is written over.
            text.push_str("\x1b[r\x1b[?6l\x1b[999;1H\n");
        } else if self.region {
            // The cursor goes back to where it was.
            text.push_str("\x1b7\x1b[r\x1b8");
        }
        for (mode, default) in self.modes.iter().filter_map(|index| MODES.get(*index)) {
            let _ = write!(text, "\x1b[?{mode}{}", if *default { 'h' } else { 'l' });
        }
        let plain = [
            (self.insert, "\x1b[4l"),
            (self.newline, "\x1b[20l"),
            (self.keypad, "\x1b>"),
            (self.cursor_style, "\x1b[0 q"),
            (self.console_cursor, "\x1b[?0c"),
            (self.tabs, "\x1b[?5W"),
            (self.key_options, "\x1b[>m\x1b[>4;0m"),
            (self.key_flags, "\x1b[=0u"),
            (self.colours, "\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07"),
        ];
        text.extend(plain.iter().filter(|(left, _)| *left).map(|(_, bytes)| *bytes));
        // Letters are letters, and written as nobody has styled them.
        text.push_str("\x1b(B\x0f\x1b[m");
        text.into_bytes()
    }
}

fn is_numeric(body: &[u8]) -> bool {
    body.iter().all(|byte| matches!(byte, b'0'..=b'9' | b';'))
}

/// The numbers of a list of parameters; what is no number counts as 0.
fn numbers(list: &[u8]) -> impl Iterator<Item = u32> {
    list.split(|byte| *byte == b';').map(|digits| {
        std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LETTERS: &str = "\x1b(B\x0f\x1b[m";

    fn reset(passed: &[&str]) -> String {
        let mut traces = Traces::default();
        for piece in passed {
            traces.look(piece.as_bytes());
        }
        String::from_utf8(traces.reset()).unwrap()
    }

    #[test]
    fn p15_plain_output_is_followed_by_nothing() {
        assert_eq!(reset(&[]), "");
        assert_eq!(reset(&["a line\r\n\tand a prompt: [?1049h \u{e9} "]), "");
    }

    /// Nothing that moves the cursor follows a program that put everything back itself.
    #[test]
    fn p15_a_tidy_program_is_followed_by_letters_alone() {
        let tidy = "\x1b[?1049h\x1b[22;0;0t\x1b[?1h\x1b=\x1b[?2004h\x1b[?25l\x1b[1;24r\x1b[>1u\x1b[2 q\
                    text\x1b[r\x1b[0 q\x1b[<u\x1b[?25h\x1b[?2004l\x1b[?1l\x1b>\x1b[?1049l";
        assert_eq!(reset(&[tidy]), LETTERS);
        assert_eq!(reset(&["\x1b[31mred\x1b[0m"]), LETTERS);
        assert_eq!(reset(&["\x0e"]), LETTERS, "shifted letters");
        assert_eq!(reset(&["\x1b[?1049;1000h\x1b[8m\x1bc"]), LETTERS, "it reset the terminal");
    }

    #[test]
    fn p15_what_is_left_in_force_is_taken_back() {
        let cases = [
            ("\x1b[8m", ""),
            ("\x1b(0", ""),
            ("\x1b[?1049h", "\x1b[?1049l"),
            ("\x1b[?47h", "\x1b[?47l"),
            ("\x1b[?25l", "\x1b[?25h"),
            ("\x1b[?7l", "\x1b[?7h"),
            ("\x1b[?1000;1006h", "\x1b[?1000l\x1b[?1006l"),
            ("\x1b[?1000h\x1b[?1000h", "\x1b[?1000l"),
            ("\x1b[?1003r", "\x1b[?1003l"),
            ("\x1b[?2004h", "\x1b[?2004l"),
            ("\x1b[5;10r", "\x1b7\x1b[r\x1b8"),
            ("\x1b[5;10r\x1b[?6h", "\x1b[r\x1b[?6l\x1b[999;1H\n"),
            ("\x1b[5;10r\x1b[?6h\x1b[!p", ""),
            ("\x1b[4;20h", "\x1b[4l\x1b[20l"),
            ("\x1b=", "\x1b>"),
            ("\x1b[5 q", "\x1b[0 q"),
            ("\x1b[?17;0;64c", "\x1b[?0c"),
            ("\x1b[3g", "\x1b[?5W"),
            ("\x1b[>4;2m", "\x1b[>m\x1b[>4;0m"),
            ("\x1b[>1u\x1b[>3u\x1b[<1u", "\x1b[<1u"),
            ("\x1b[=5u", "\x1b[=0u"),
            (
                "\x1b]11;#000000\x07\x1b]10;#000000\x1b\\",
                "\x1b]104\x07\x1b]110\x07\x1b]111\x07\x1b]112\x07",
            ),
            ("\x1b]11;?\x07", ""),
            ("\x1b[?6n\x1b[6n\x1b[c\x1b[s\x1b[u\x1b[>c", ""),
            // After whatever is not known, the next sequence is seen.
            ("\x1b#8\x1b7\x1b[1;2$r\x1b[?25l", "\x1b[?25h"),
        ];
        for (left, back) in cases {
            assert_eq!(reset(&[left]), format!("{back}{LETTERS}"), "{left:?}");
            assert_eq!(reset(&["text", left, "more"]), format!("{back}{LETTERS}"), "{left:?}");
        }
    }

    /// An agent cannot make the end of its own run long.
    #[test]
    fn p15_the_reset_is_short_whatever_was_left() {
        let mut all =
            String::from("\x1b=\x1b[5;10r\x1b[4;20h\x1b]4;1;red\x07\x1b[3 q\x1bH\x1b[>4;2m");
        for mode in 0..10_000 {
            let _ = write!(all, "\x1b[?{mode}h\x1b[?{mode}l\x1b[?{mode}r\x1b[>{mode}u");
        }
        assert!(reset(&[&all]).len() < 1024);
        assert!(reset(&["\x1b[", "\x1b]", "\x1b", "\x1b[?99999999999999h"]).len() < 64);
    }
}
