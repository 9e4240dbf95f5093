//! The filter between a sandbox and the user's terminal: output passes byte for byte, sequences
//! that reach beyond the screen are removed.
//!
//! It holds a sequence back until it is complete and judged, so the terminal never sees the start
//! of anything that is removed; whatever follows a removed, cut off or overlong sequence is
//! filtered as ordinary output. The result is the same however the input is cut into pieces. It
//! must never write anything of its own, and never let a sequence through that is not on a list
//! in `rules`. The terminal is taken to be in UTF-8, and nothing that passes can change that.

use super::limits::{MAX_CSI_BYTES, MAX_ESCAPE_BYTES, MAX_OSC_BYTES, MAX_STRING_BYTES};
use super::rules::{self, Kind};
use std::ops::AddAssign;

#[cfg(test)]
mod tests;

const BEL: u8 = 0x07;
const ENQ: u8 = 0x05;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;
const DEL: u8 = 0x7f;

/// How many sequences were removed, by what they would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Window or tab titles.
    pub titles: u64,
    /// Clipboard reads and writes.
    pub clipboard: u64,
    /// Hyperlink marks (their text is kept).
    pub links: u64,
    /// Desktop notifications.
    pub notifications: u64,
    /// Questions whose answer has no fixed form.
    pub queries: u64,
    /// Window operations and printing.
    pub window: u64,
    /// Changes of character set or emulation, keyboard lock.
    pub modes: u64,
    /// Device control, application, privacy and other strings.
    pub strings: u64,
    /// C1 controls and ENQ.
    pub controls: u64,
    /// Sequences cut off, too long or not well formed.
    pub malformed: u64,
    /// Everything else that is on no list.
    pub other: u64,
}

impl Removed {
    /// All removed sequences together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.fields().iter().sum()
    }

    fn fields(&self) -> [u64; 11] {
        [
            self.titles,
            self.clipboard,
            self.links,
            self.notifications,
            self.queries,
            self.window,
            self.modes,
            self.strings,
            self.controls,
            self.malformed,
            self.other,
        ]
    }

    fn count(&mut self, kind: Kind) {
        let field = match kind {
            Kind::Title => &mut self.titles,
            Kind::Clipboard => &mut self.clipboard,
            Kind::Link => &mut self.links,
            Kind::Notification => &mut self.notifications,
            Kind::Query => &mut self.queries,
            Kind::Window => &mut self.window,
            Kind::Mode => &mut self.modes,
            Kind::DeviceString => &mut self.strings,
            Kind::Control => &mut self.controls,
            Kind::Malformed => &mut self.malformed,
            Kind::Other => &mut self.other,
        };
        *field = field.saturating_add(1);
    }
}

impl AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.titles = self.titles.saturating_add(other.titles);
        self.clipboard = self.clipboard.saturating_add(other.clipboard);
        self.links = self.links.saturating_add(other.links);
        self.notifications = self.notifications.saturating_add(other.notifications);
        self.queries = self.queries.saturating_add(other.queries);
        self.window = self.window.saturating_add(other.window);
        self.modes = self.modes.saturating_add(other.modes);
        self.strings = self.strings.saturating_add(other.strings);
        self.controls = self.controls.saturating_add(other.controls);
        self.malformed = self.malformed.saturating_add(other.malformed);
        self.other = self.other.saturating_add(other.other);
    }
}

/// Where the parser stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Plain output.
    Ground,
    /// Inside a UTF-8 character; this many bytes are missing.
    Character(u8),
    /// After ESC, perhaps with intermediates.
    Escape,
    /// After `ESC [`.
    Csi,
    /// Inside a string.
    String(Opener),
    /// Inside a string, after an ESC that may end it.
    StringEscape(Opener),
}

/// What opened a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opener {
    /// `ESC ]`, operating system command.
    Osc,
    /// `ESC k`, a title for GNU screen and tmux.
    Title,
    /// `ESC P`, `ESC X`, `ESC ^`, `ESC _`, and GNU screen's message, `ESC !`.
    Other,
}

/// A streaming filter for one terminal; see the module.
#[derive(Clone, Debug)]
pub struct TerminalFilter {
    state: State,
    /// The bytes held back: of a character, or of a sequence without what does not belong to it.
    held: Vec<u8>,
    /// Bytes of the current string so far, held or not.
    swallowed: usize,
    /// The current sequence is too long or has bytes that it must not have.
    spoiled: bool,
    removed: Removed,
    /// Whether questions with an answer of a fixed form are removed.
    unasking: bool,
}

impl Default for TerminalFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl TerminalFilter {
    /// A filter at the start of a terminal's output.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Ground,
            held: Vec::new(),
            swallowed: 0,
            spoiled: false,
            removed: Removed::default(),
            unasking: false,
        }
    }

    /// One for what is shown again later: what the terminal would answer is removed, too. Whoever
    /// asked is not there any more, and the answer would be typed to somebody else.
    #[must_use]
    pub fn of_the_past() -> Self {
        Self { unasking: true, ..Self::new() }
    }

    /// Appends to `out` what may be shown of `input`, and returns how much was removed by this
    /// call. An unfinished sequence or character is held back for the next call.
    pub fn filter(&mut self, input: &[u8], out: &mut Vec<u8>) -> Removed {
        let mut rest = input;
        while let Some((&byte, tail)) = rest.split_first() {
            if self.state == State::Ground {
                let plain = rest.iter().position(|b| !is_plain(*b)).unwrap_or(rest.len());
                if let Some((text, tail)) = rest.split_at_checked(plain)
                    && plain > 0
                {
                    out.extend_from_slice(text);
                    rest = tail;
                    continue;
                }
            }
            self.step(byte, out);
            rest = tail;
        }
        std::mem::take(&mut self.removed)
    }

    /// Ends the output: an unfinished sequence is removed, the bytes of an unfinished character
    /// pass as any invalid bytes do. The filter can be used again.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Removed {
        match self.state {
            State::Ground => {}
            State::Character(_) => self.release_broken(out),
            State::Escape | State::Csi => self.remove(Kind::Malformed),
            State::String(opener) | State::StringEscape(opener) => self.cut_string(opener),
        }
        std::mem::take(&mut self.removed)
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Ground => self.ground(byte, out),
            State::Character(missing) => self.character(byte, missing, out),
            State::Escape => self.escape(byte, out),
            State::Csi => self.csi(byte, out),
            State::String(opener) => self.string(byte, opener, out),
            State::StringEscape(opener) => self.string_escape(byte, opener, out),
        }
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            ESC => self.begin(State::Escape, byte),
            ENQ | 0x80..=0x9f => self.removed.count(Kind::Control),
            0xc2..=0xdf => self.begin(State::Character(1), byte),
            0xe0..=0xef => self.begin(State::Character(2), byte),
            0xf0..=0xf4 => self.begin(State::Character(3), byte),
            _ => out.push(byte),
        }
    }

    fn begin(&mut self, state: State, byte: u8) {
        self.state = state;
        self.held.clear();
        self.held.push(byte);
        self.swallowed = 0;
        self.spoiled = false;
    }

    /// One more byte of a character: it is released when complete, unless it is a C1 control.
    fn character(&mut self, byte: u8, missing: u8, out: &mut Vec<u8>) {
        if !continues(&self.held, byte) {
            self.release_broken(out);
            return self.step(byte, out);
        }
        self.held.push(byte);
        if missing > 1 {
            self.state = State::Character(missing - 1);
        } else if matches!(self.held.as_slice(), [0xc2, 0x80..=0x9f]) {
            self.remove(Kind::Control);
        } else {
            self.pass(out);
        }
    }

    /// The bytes of a character that ended too early pass, but for those in the C1 range.
    fn release_broken(&mut self, out: &mut Vec<u8>) {
        for byte in std::mem::take(&mut self.held) {
            if (0x80..=0x9f).contains(&byte) {
                self.removed.count(Kind::Control);
            } else {
                out.push(byte);
            }
        }
        self.state = State::Ground;
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.interrupted(byte, out) {
            return;
        }
        let intermediates = self.held.get(1..).unwrap_or_default();
        let opener = match (intermediates, byte) {
            ([], b']') => Some(Opener::Osc),
            ([], b'k') => Some(Opener::Title),
            ([], b'P' | b'X' | b'^' | b'_' | b'!') => Some(Opener::Other),
            _ => None,
        };
        if let Some(opener) = opener {
            self.held.push(byte);
            self.state = State::String(opener);
        } else if intermediates.is_empty() && byte == b'[' {
            self.held.push(byte);
            self.state = State::Csi;
        } else if (0x20..=0x2f).contains(&byte) {
            if self.held.len() < MAX_ESCAPE_BYTES {
                self.held.push(byte);
            } else {
                self.spoiled = true;
            }
        } else {
            let verdict = if self.spoiled {
                Err(Kind::Malformed)
            } else {
                rules::escape(intermediates, byte)
            };
            self.held.push(byte);
            self.settle(verdict, out);
        }
    }

    fn csi(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.interrupted(byte, out) {
            return;
        }
        if byte < 0x40 {
            if self.held.len() < MAX_CSI_BYTES {
                self.held.push(byte);
            } else {
                self.spoiled = true;
            }
            return;
        }
        let body = self.held.get(2..).unwrap_or_default();
        let verdict = if self.spoiled { Err(Kind::Malformed) } else { rules::csi(body, byte) };
        let asks = self.unasking && rules::csi_asks(body, byte);
        let verdict = if asks { verdict.and(Err(Kind::Query)) } else { verdict };
        self.held.push(byte);
        self.settle(verdict, out);
    }

    /// Handles what may stand inside an escape or control sequence without being part of it, as
    /// terminals do: controls act at once, ESC starts anew, CAN and SUB abort. True if handled.
    fn interrupted(&mut self, byte: u8, out: &mut Vec<u8>) -> bool {
        match byte {
            ESC => {
                self.removed.count(Kind::Malformed);
                self.begin(State::Escape, ESC);
            }
            CAN | SUB => self.remove(Kind::Malformed),
            ENQ => self.removed.count(Kind::Control),
            0..=0x1f => out.push(byte),
            DEL => {}
            0x80.. => {
                self.remove(Kind::Malformed);
                self.step(byte, out);
            }
            _ => return false,
        }
        true
    }

    fn string(&mut self, byte: u8, opener: Opener, out: &mut Vec<u8>) {
        match byte {
            ESC => self.state = State::StringEscape(opener),
            CAN | SUB => self.cut_string(opener),
            BEL if opener == Opener::Osc => self.end_string(opener, &[BEL], out),
            _ => {
                self.hold_string(byte, opener);
                self.end_console_palette(opener);
            }
        }
    }

    fn string_escape(&mut self, byte: u8, opener: Opener, out: &mut Vec<u8>) {
        if byte == b'\\' {
            return self.end_string(opener, b"\x1b\\", out);
        }
        // Any other escape ends the string, as in terminals, and is judged by itself.
        self.cut_string(opener);
        self.begin(State::Escape, ESC);
        self.step(byte, out);
    }

    fn hold_string(&mut self, byte: u8, opener: Opener) {
        self.swallowed = self.swallowed.saturating_add(1);
        if self.swallowed >= MAX_STRING_BYTES {
            return self.cut_string(opener);
        }
        // Only commands are ever passed, and those that are have printable ASCII alone.
        let printable = (0x20..DEL).contains(&byte);
        if opener == Opener::Osc && printable && self.held.len() < MAX_OSC_BYTES {
            self.held.push(byte);
        } else {
            self.spoiled = true;
        }
    }

    /// The Linux console's `ESC ] R` and `ESC ] P` with seven digits have no terminator.
    fn end_console_palette(&mut self, opener: Opener) {
        let ended = match self.held.get(2..) {
            Some([b'R']) => true,
            Some([b'P', digits @ ..]) => digits.len() == 7,
            _ => false,
        };
        if opener == Opener::Osc && ended {
            self.remove(Kind::Other);
        }
    }

    fn end_string(&mut self, opener: Opener, terminator: &[u8], out: &mut Vec<u8>) {
        let verdict = self.judge_string(opener);
        self.held.extend_from_slice(terminator);
        self.settle(verdict, out);
    }

    /// Removes a string that had no proper end, counted as what it was.
    fn cut_string(&mut self, opener: Opener) {
        let kind = self.judge_string(opener).err().unwrap_or(Kind::Malformed);
        self.remove(kind);
    }

    fn judge_string(&self, opener: Opener) -> Result<(), Kind> {
        match opener {
            Opener::Osc => {
                let payload = self.held.get(2..).unwrap_or_default();
                let asks = self.unasking && rules::osc_asks(payload);
                let verdict = if asks { Err(Kind::Query) } else { rules::osc(payload) };
                if self.spoiled { verdict.and(Err(Kind::Malformed)) } else { verdict }
            }
            Opener::Title => Err(Kind::Title),
            Opener::Other => Err(Kind::DeviceString),
        }
    }

    fn settle(&mut self, verdict: Result<(), Kind>, out: &mut Vec<u8>) {
        match verdict {
            Ok(()) => self.pass(out),
            Err(kind) => self.remove(kind),
        }
    }

    fn pass(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
        self.state = State::Ground;
    }

    fn remove(&mut self, kind: Kind) {
        self.removed.count(kind);
        self.held.clear();
        self.state = State::Ground;
    }
}

/// Bytes that pass at once outside of any sequence.
fn is_plain(byte: u8) -> bool {
    byte < 0x80 && byte != ESC && byte != ENQ
}

/// Whether `byte` goes on with the UTF-8 character begun in `held` (Unicode, table 3-7: no
/// overlong forms, no surrogates, nothing above U+10FFFF).
fn continues(held: &[u8], byte: u8) -> bool {
    match held {
        [0xe0] => (0xa0..=0xbf).contains(&byte),
        [0xed] => (0x80..=0x9f).contains(&byte),
        [0xf0] => (0x90..=0xbf).contains(&byte),
        [0xf4] => (0x80..=0x8f).contains(&byte),
        _ => (0x80..=0xbf).contains(&byte),
    }
}
