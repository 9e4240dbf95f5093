//! Reading the small files in which tools keep their settings: bounded, line by line, never waited
//! for.

use std::path::Path;

/// A text of settings; what is missing or unreadable says nothing.
pub(super) fn read(path: &Path) -> Option<String> {
    let bytes = crate::load::read_bounded(path).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// One `key = value` line.
pub(super) struct Line {
    /// The `[section]` that it stands in; empty at the top.
    pub section: String,
    pub key: String,
    pub value: String,
    /// Counted from 1.
    pub number: usize,
}

/// The lines of an INI file as npm and pip write them: `#` and `;` begin comments; a line that
/// begins with white space goes on with the value before it.
pub(super) fn ini(text: &str) -> Vec<Line> {
    let mut section = String::new();
    let mut lines: Vec<Line> = Vec::new();
    for (at, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim().to_owned();
        } else if raw.starts_with([' ', '\t']) && !lines.is_empty() && !line.contains('=') {
            if let Some(last) = lines.last().filter(|last| last.section == section) {
                let (key, number) = (last.key.clone(), at + 1);
                lines.push(Line { section: section.clone(), key, value: line.to_owned(), number });
            }
        } else if let Some((key, value)) = line.split_once('=') {
            lines.push(Line {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: unquoted(value.trim()).to_owned(),
                number: at + 1,
            });
        }
    }
    lines
}

/// A value without the quotes around it.
pub(super) fn unquoted(text: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    text
}

/// The first text in quotes behind `marker`, in a tool's own source.
pub(super) fn quoted_after<'t>(text: &'t str, marker: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(marker)?;
    let at = rest.find(['"', '\''])?;
    let quote = rest[at..].chars().next()?;
    rest[at + 1..].split(quote).next()
}

/// Entries of a directory, sorted by name.
pub(super) fn listing(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut all: Vec<_> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}
