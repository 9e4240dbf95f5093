//! What a complete terminal sequence may be: lists of what passes, everything else is removed.
//!
//! Pure functions of the sequence. They must never pass a sequence that makes the terminal write
//! text of the sandbox's choosing back as input, reach the clipboard, the title, the printer or
//! the file system, resize the window, lock the keyboard, or change how later bytes are parsed
//! (another character set, VT52 or Tektronix mode). Sources: ECMA-48, DEC STD 070, xterm's
//! ctlseqs, console_codes(4), the manuals of GNU screen and kitty.

use super::limits::{MAX_COLOUR_BYTES, MAX_MODE};

/// What was removed, by what it would have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sets or stores the window or tab title.
    Title,
    /// Writes or reads the clipboard.
    Clipboard,
    /// A hyperlink whose text does not show where it leads.
    Link,
    /// A desktop notification.
    Notification,
    /// Makes the terminal answer with something else than a fixed form.
    Query,
    /// Moves, resizes or reports the window, or prints.
    Window,
    /// Changes how the terminal parses what follows, or locks the keyboard.
    Mode,
    /// A device control, application, privacy or start-of-string string.
    DeviceString,
    /// A C1 control or ENQ.
    Control,
    /// Cut off, too long or not well formed.
    Malformed,
    /// Anything else that is not on a list.
    Other,
}

/// Judges an escape sequence of intermediates and a final byte, which opens no string.
pub(super) fn escape(intermediates: &[u8], last: u8) -> Result<(), Kind> {
    match (intermediates, last) {
        // Save, restore, index, tab stop, shifts, keypad, reset, memory lock, flash, stray ST.
        ([], b'6'..=b'9' | b'<'..=b'>' | b'\\' | b'c' | b'g' | b'l'..=b'o' | b'|'..=b'~')
        | ([], b'D' | b'E' | b'F' | b'H' | b'M' | b'N' | b'O')
        // Line height, screen alignment test.
        | ([b'#'], b'3'..=b'6' | b'8')
        // Character sets into G0 to G3. Not `%`: it would end UTF-8, and then the second byte of
        // an innocent character is a C1 control.
        | ([b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b'/'], _) => Ok(()),
        ([], b'Z') => Err(Kind::Query),
        ([b'%' | b' ' | b'$'], _) => Err(Kind::Mode),
        _ => Err(Kind::Other),
    }
}

/// Judges a control sequence: `body` is what stands between `ESC [` and the final byte.
pub(super) fn csi(body: &[u8], last: u8) -> Result<(), Kind> {
    let (prefix, rest) = match body.split_first() {
        Some((&mark @ b'<'..=b'?', rest)) => (Some(mark), rest),
        _ => (None, body),
    };
    let cut = rest.iter().position(|b| (0x20..=0x2f).contains(b)).unwrap_or(rest.len());
    let (parameters, intermediates) = rest.split_at(cut);
    let numeric = parameters.iter().all(|b| matches!(b, b'0'..=b'9' | b':' | b';'));
    if !numeric || !intermediates.iter().all(|b| (0x20..=0x2f).contains(b)) {
        return Err(Kind::Malformed);
    }
    match (prefix, intermediates) {
        (None, []) => plain(parameters, last),
        (Some(mark), []) => private(mark, parameters, last),
        (_, &[intermediate]) => with_intermediate(prefix, intermediate, last),
        _ => Err(Kind::Other),
    }
}

/// Control sequences without prefix and intermediates.
fn plain(parameters: &[u8], last: u8) -> Result<(), Kind> {
    match last {
        b'@' | b'A'..=b'M' | b'P' | b'S' | b'T' | b'X' | b'Z' | b'^' | b'`' => Ok(()),
        b'a' | b'b' | b'd'..=b'g' | b'j' | b'k' | b'm' | b'q'..=b's' | b'u' => Ok(()),
        // Insert mode and newline mode; mode 2 would lock the keyboard.
        b'h' | b'l' => modes(parameters, |mode| matches!(mode, 4 | 20)),
        // Status and cursor position.
        b'n' => pass_if(matches!(parameters, b"5" | b"6"), Kind::Query),
        b'c' => pass_if(matches!(parameters, b"" | b"0"), Kind::Query),
        b'x' => Err(Kind::Query),
        // Window operations, and media copy: the printer.
        b't' | b'i' => Err(Kind::Window),
        // Linux console: `]` switches virtual consoles, `[` swallows the next byte.
        _ => Err(Kind::Other),
    }
}

/// Control sequences with one of `<`, `=`, `>`, `?` in front.
fn private(mark: u8, parameters: &[u8], last: u8) -> Result<(), Kind> {
    match (mark, last) {
        (b'?', b'h' | b'l' | b'r' | b's') => modes(parameters, private_mode),
        // Selective erase, tab stops, key options, Linux cursor shape, keyboard flags.
        (b'?', b'J' | b'K' | b'W' | b'm' | b'c' | b'u') => Ok(()),
        // Extended cursor position; light or dark background.
        (b'?', b'n') => pass_if(matches!(parameters, b"6" | b"996"), Kind::Query),
        (b'>', b'c' | b'q') => pass_if(matches!(parameters, b"" | b"0"), Kind::Query),
        // Key and pointer options.
        (b'>', b'm' | b'n' | b'p' | b'u') | (b'<' | b'=', b'u') => Ok(()),
        (b'>', b't' | b'T') => Err(Kind::Title),
        (b'?', b'i') | (_, b't') => Err(Kind::Window),
        (b'=', b'c') | (b'?', b'S') => Err(Kind::Query),
        _ => Err(Kind::Other),
    }
}

/// Control sequences with one intermediate byte.
fn with_intermediate(prefix: Option<u8>, intermediate: u8, last: u8) -> Result<(), Kind> {
    match (prefix, intermediate, last) {
        // Mode reports have a fixed form.
        (None | Some(b'?'), b'$', b'p') => Ok(()),
        // Scroll sideways, cursor shape, soft reset, character protection.
        (None, b' ', b'@' | b'A' | b'q') | (None, b'!', b'p') | (None, b'"', b'q') => Ok(()),
        // Rectangles: change attributes, copy, fill, erase. Not `* y`: a checksum of the screen.
        (None, b'$', b'r' | b'v' | b'x' | b'z' | b'{') | (None, b'*', b'x') => Ok(()),
        // Columns: insert, delete.
        (None, b'\'', b'}' | b'~') => Ok(()),
        // Push and pop colours and attributes; their reports are not passed.
        (None, b'#', b'P' | b'Q' | b'p' | b'q' | b'{' | b'}') => Ok(()),
        // Conformance level: could switch on 8-bit controls.
        (None, b'"', b'p') => Err(Kind::Mode),
        (None, b'$' | b'*', b'|') | (_, _, b't') => Err(Kind::Window),
        (None, b'*', b'y') | (None, b'$', b'u' | b'w') | (None, b'&', b'u') => Err(Kind::Query),
        (None, b'#', b'R' | b'|') | (None, b'\'', b'w' | b'z' | b'{' | b'|') => Err(Kind::Query),
        _ => Err(Kind::Other),
    }
}

/// DEC private modes that may be set, reset, saved and restored: all but VT52 (2), 132 columns
/// (3, 40: they resize the window), Tektronix (38) and logging to a file (46).
fn private_mode(mode: u32) -> bool {
    !matches!(mode, 2 | 3 | 38 | 40 | 46)
}

/// Passes if every number is an allowed mode.
fn modes(parameters: &[u8], allowed: impl Fn(u32) -> bool) -> Result<(), Kind> {
    let fine = parameters.split(|b| matches!(b, b';' | b':')).all(|digits| {
        let mode = digits.iter().fold(0_u32, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
        });
        mode <= MAX_MODE && allowed(mode)
    });
    pass_if(fine, Kind::Mode)
}

/// Judges an operating system command: what stands between `ESC ]` and its terminator.
pub(super) fn osc(payload: &[u8]) -> Result<(), Kind> {
    let mut fields = payload.split(|b| *b == b';');
    let number = fields.next().unwrap_or_default();
    let mut rest = fields;
    match number {
        // Palette: index and colour in turn; a `?` is a query and is no colour.
        b"4" => {
            let fields: Vec<&[u8]> = rest.collect();
            let pairs = fields.chunks(2);
            let fine = !fields.is_empty()
                && pairs
                    .into_iter()
                    .all(|pair| matches!(pair, [i, c] if is_index(i) && is_colour(c)));
            pass_if(fine, Kind::Query)
        }
        // Foreground, background, cursor: one colour, or the question for it, whose answer has a
        // fixed form. Further fields would reach the numbers after 12.
        b"10" | b"11" | b"12" => {
            let fields: Vec<&[u8]> = rest.collect();
            let fine = matches!(fields.as_slice(), [c] if *c == b"?" || is_colour(c));
            pass_if(fine, Kind::Query)
        }
        b"104" => pass_if(rest.all(is_index), Kind::Other),
        b"110" | b"111" | b"112" => pass_if(rest.next().is_none(), Kind::Other),
        b"133" => pass_if(is_prompt_mark(rest), Kind::Other),
        b"0" | b"1" | b"2" | b"l" | b"L" | b"I" | b"" => Err(Kind::Title),
        b"52" | b"5522" => Err(Kind::Clipboard),
        b"8" => Err(Kind::Link),
        b"9" | b"99" | b"777" => Err(Kind::Notification),
        _ => Err(Kind::Other),
    }
}

/// Whether the terminal answers a control sequence that passes: status, position, what it is, modes.
pub(super) fn csi_asks(body: &[u8], last: u8) -> bool {
    match (body.first(), last) {
        (mark, b'n') => mark != Some(&b'>'),
        (mark, b'c') => mark != Some(&b'?'),
        (mark, b'q') => mark == Some(&b'>'),
        (mark, b'u' | b'm') => mark == Some(&b'?'),
        (_, b'p') => body.last() == Some(&b'$'),
        _ => false,
    }
}

/// Whether the terminal answers an operating system command that passes: colours.
pub(super) fn osc_asks(payload: &[u8]) -> bool {
    payload.ends_with(b";?")
}

fn is_index(field: &[u8]) -> bool {
    (1..=3).contains(&field.len()) && field.iter().all(u8::is_ascii_digit)
}

/// A colour by name or value. Nothing that could end the string or start another.
fn is_colour(field: &[u8]) -> bool {
    (1..=MAX_COLOUR_BYTES).contains(&field.len())
        && field.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'#' | b':' | b'/' | b'.'))
}

/// A mark of shell integration, with options of plain words only.
fn is_prompt_mark<'f>(mut fields: impl Iterator<Item = &'f [u8]>) -> bool {
    let letter = matches!(fields.next(), Some([b'A'..=b'D' | b'L' | b'N' | b'P']));
    letter
        && fields.all(|option| {
            option.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
        })
}

fn pass_if(fine: bool, otherwise: Kind) -> Result<(), Kind> {
    if fine { Ok(()) } else { Err(otherwise) }
}
