//! Failures and tables as text.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Exit code of ringfence's own refusals.
pub const REFUSED: u8 = 125;

/// Why a command failed, and its exit code.
#[derive(Debug)]
pub struct Failure {
    /// For the person.
    pub message: String,
    /// For the shell.
    pub code: u8,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { message: error.to_string(), code: 1 }
    }
}

impl Failure {
    /// A failure with its own code.
    pub fn new(code: u8, message: impl Display) -> Self {
        Self { message: message.to_string(), code }
    }
}

/// Whether standard output shows colours.
pub fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A size for people, in units of 1024.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{}.{} GiB", bytes >> 30, (bytes >> 20) % 1024 * 10 / 1024),
    }
}

/// Prints a value as JSON.
///
/// # Errors
/// Standard output is closed.
pub fn json<T: serde::Serialize>(value: &T) -> Result<(), Failure> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints one line; a closed pipe (`| head`) is no failure of ours to report.
///
/// # Errors
/// Standard output fails in another way.
pub fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Prints columns, as wide as their widest cell.
///
/// # Errors
/// As [`line`].
pub fn table(head: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let show = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(cell);
            let padding = width.saturating_sub(cell.chars().count()) + 2;
            text.push_str(&" ".repeat(padding));
        }
        line(text.trim_end())
    };
    show(head.to_vec())?;
    for row in rows {
        show(row.iter().map(String::as_str).collect())?;
    }
    Ok(())
}
