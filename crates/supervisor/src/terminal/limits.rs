//! The limits of the terminal filter, in one place.
//!
//! They bound memory and how much an unfinished sequence can hide; none may be raised at run time.

/// Longest control sequence (`ESC [ …`) that is judged, in bytes; a longer one is removed.
pub const MAX_CSI_BYTES: usize = 512;

/// Longest escape sequence that is not a control sequence or string, in bytes.
pub const MAX_ESCAPE_BYTES: usize = 4;

/// Longest operating system command that is judged, in bytes; a longer one is removed.
pub const MAX_OSC_BYTES: usize = 1024;

/// Most bytes one unterminated string may swallow. What follows is filtered as ordinary output:
/// the terminal has not seen the start of the string, so its tail is text, never a command.
pub const MAX_STRING_BYTES: usize = 1024 * 1024;

/// Largest mode number that is passed. Some terminals keep these numbers in 16 bits, where a
/// larger one would wrap round to a mode that is refused.
pub const MAX_MODE: u32 = 9_999;

/// Longest colour specification, in bytes (`rgba:ffff/ffff/ffff/ffff` has 24).
pub const MAX_COLOUR_BYTES: usize = 48;
