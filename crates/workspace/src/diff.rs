//! Changes for people: a unified diff, and the short form.
//!
//! Names and contents are the agent's. Unless the raw form is asked for, every odd character in
//! them is escaped, so that nothing in a diff can move the cursor or hide a line.

use ringfence_model::text::{visible, visible_but, visible_bytes};
use similar::TextDiff;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use crate::beneath::{open_dir, open_file, split};
use crate::change::{Change, Class, Kind, Node, octal};
use crate::error::WorkspaceError;
use crate::layer::Layer;
use crate::limits::{DIFF_CONTEXT_LINES, DIFF_FILE_BYTES, DIFF_MILLISECONDS};

/// How a diff looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// With terminal colours.
    pub colour: bool,
    /// Contents as they are, for a file or a pipe; never for a terminal.
    pub raw: bool,
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const BOLD: &str = "1";

/// Where the two sides of a change are.
pub trait Sides {
    /// The file that was there; `None` if none was, or it is not known.
    fn before(&self, change: &Change) -> Option<io::Result<File>>;
    /// The file that is there; `None` if none is.
    fn after(&self, change: &Change) -> Option<io::Result<File>>;
}

impl Sides for Layer {
    fn before(&self, change: &Change) -> Option<io::Result<File>> {
        let file = change.seen.is_some_and(|seen| seen.node == Node::File);
        file.then(|| open(self.lower.as_fd(), &change.path))
    }

    fn after(&self, change: &Change) -> Option<io::Result<File>> {
        let file = change.node == Node::File && change.kind != Kind::Deleted;
        file.then(|| open(self.upper.as_fd(), &change.path))
    }
}

/// A regular file beneath a tree, for reading.
pub(crate) fn open(root: BorrowedFd<'_>, path: &[u8]) -> io::Result<File> {
    let (above, name) = split(path);
    open_file(open_dir(root, above)?.as_fd(), name)
}

/// Writes all changes as a unified diff.
///
/// # Errors
/// When the output cannot be written. What cannot be read is said in its place.
pub fn render(
    layer: &dyn Sides,
    changes: &[Change],
    style: Style,
    out: &mut dyn Write,
) -> Result<(), WorkspaceError> {
    for change in changes {
        one(layer, change, style, out).map_err(WorkspaceError::Output)?;
    }
    Ok(())
}

/// Writes one line for each change and a sum.
///
/// # Errors
/// When the output cannot be written.
pub fn stat(changes: &[Change], style: Style, out: &mut dyn Write) -> Result<(), WorkspaceError> {
    let mut lines = String::new();
    for change in changes {
        let size = match (change.size_before, change.size_after) {
            (Some(before), Some(after)) if before != after => format!("  {before} → {after} bytes"),
            (None, Some(after)) => format!("  {after} bytes"),
            _ => String::new(),
        };
        let slash = if change.node == Node::Dir { "/" } else { "" };
        let letter = change.kind.letter();
        lines.push_str(&format!("{letter}  {}{slash}{size}", change.shown()));
        for (colour, remark) in remarks(change) {
            lines.push_str("  ");
            lines.push_str(&paint(style, colour, &remark));
        }
        lines.push('\n');
    }
    let count = |kind: Kind| changes.iter().filter(|change| change.kind == kind).count();
    lines.push_str(&format!(
        "{} changes: {} added, {} modified, {} deleted, {} permissions, {} replaced\n",
        changes.len(),
        count(Kind::Added),
        count(Kind::Modified),
        count(Kind::Deleted),
        count(Kind::ModeChanged),
        count(Kind::TypeChanged)
    ));
    out.write_all(lines.as_bytes()).map_err(WorkspaceError::Output)
}

/// What a person must know about a change, with its colour.
fn remarks(change: &Change) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    match &change.class {
        Class::Ordinary => {}
        Class::HostExecuted(why) => out.push((YELLOW, format!("[held back: {why}]"))),
        Class::Refused(why) => out.push((RED, format!("[refused: {why}]"))),
    }
    if let Some(why) = &change.conflict {
        out.push((RED, format!("[conflict: {why}]")));
    }
    if change.new_executable {
        out.push((YELLOW, "[new executable]".to_owned()));
    }
    if let Some(note) = change.note {
        out.push((YELLOW, format!("[note: {note}]")));
    }
    out
}

fn paint(style: Style, colour: &str, text: &str) -> String {
    if style.colour { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

fn one(layer: &dyn Sides, change: &Change, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let what = match change.kind {
        Kind::Added => "added",
        Kind::Modified => "modified",
        Kind::Deleted => "deleted",
        Kind::ModeChanged => "permissions of",
        Kind::TypeChanged => "replaced",
    };
    let node = match change.node {
        Node::File => "file",
        Node::Dir => "directory",
        Node::Symlink => "link",
        Node::Fifo => "named pipe",
        Node::Socket => "socket",
        Node::Device => "device",
    };
    let head = format!("{what} {node}: {}", change.shown());
    writeln!(out, "{}", paint(style, BOLD, &head))?;
    for (colour, remark) in remarks(change) {
        writeln!(out, "{}", paint(style, colour, &remark))?;
    }
    if let (Some(before), Some(after)) = (change.mode_before, change.mode_after)
        && before != after
        && change.kind != Kind::TypeChanged
    {
        writeln!(out, "mode {} → {}", octal(before), octal(after))?;
    }
    if let Some(target) = &change.target {
        writeln!(out, "→ {}", visible_bytes(target))?;
    }
    if change.kind == Kind::ModeChanged || matches!(change.class, Class::Refused(_)) {
        return Ok(());
    }
    match (layer.before(change).map(read), layer.after(change).map(read)) {
        (None, None) => Ok(()),
        (old, new) => contents(change, old, new, style, out),
    }
}

/// A side of a diff.
enum Side {
    Text(String),
    Binary(u64),
    Large(u64),
    Unreadable(String),
}

fn read(file: io::Result<File>) -> Side {
    let result = file.and_then(|file| {
        let mut bytes = Vec::new();
        let size = file.metadata()?.len();
        if size <= DIFF_FILE_BYTES {
            // It may grow while it is read.
            file.take(DIFF_FILE_BYTES + 1).read_to_end(&mut bytes)?;
        }
        Ok((size, bytes))
    });
    match result {
        Err(error) => Side::Unreadable(error.to_string()),
        Ok((size, bytes)) if size > DIFF_FILE_BYTES || bytes.len() as u64 > DIFF_FILE_BYTES => {
            Side::Large(size)
        }
        Ok((size, bytes)) if bytes.contains(&0) => Side::Binary(size),
        Ok((size, bytes)) => String::from_utf8(bytes).map_or(Side::Binary(size), Side::Text),
    }
}

fn contents(
    change: &Change,
    old: Option<Side>,
    new: Option<Side>,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let empty = || Side::Text(String::new());
    let label = |side: &Option<Side>, prefix: &str| match side {
        Some(_) => format!("{prefix}/{}", change.shown()),
        None => "/dev/null".to_owned(),
    };
    let (from, to) = (label(&old, "a"), label(&new, "b"));
    match (old.unwrap_or_else(empty), new.unwrap_or_else(empty)) {
        (Side::Text(old), Side::Text(new)) => lines(&old, &new, &from, &to, style, out),
        (Side::Unreadable(why), _) | (_, Side::Unreadable(why)) => {
            writeln!(out, "(cannot be read: {})", visible(&why))
        }
        (Side::Large(size), _) | (_, Side::Large(size)) => {
            writeln!(out, "({size} bytes: too large to compare line by line)")
        }
        (Side::Binary(size), _) | (_, Side::Binary(size)) => {
            writeln!(out, "(binary, {size} bytes)")
        }
    }
}

fn lines(
    old: &str,
    new: &str,
    from: &str,
    to: &str,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let diff = TextDiff::configure()
        .timeout(Duration::from_millis(DIFF_MILLISECONDS))
        .diff_lines(old, new);
    writeln!(out, "{}", paint(style, BOLD, &format!("--- {from}")))?;
    writeln!(out, "{}", paint(style, BOLD, &format!("+++ {to}")))?;
    for hunk in diff.unified_diff().context_radius(DIFF_CONTEXT_LINES).iter_hunks() {
        writeln!(out, "{}", hunk.header())?;
        for change in hunk.iter_changes() {
            let (sign, colour) = match change.tag() {
                similar::ChangeTag::Delete => ('-', RED),
                similar::ChangeTag::Insert => ('+', GREEN),
                similar::ChangeTag::Equal => (' ', ""),
            };
            let text = change.value();
            let text = text.strip_suffix('\n').unwrap_or(text);
            let text = if style.raw { text.to_owned() } else { visible_but(text, &['\t', '\\']) };
            let line = format!("{sign}{text}");
            let line = if colour.is_empty() { line } else { paint(style, colour, &line) };
            writeln!(out, "{line}")?;
            if change.missing_newline() {
                writeln!(out, "\\ No newline at end of file")?;
            }
        }
    }
    Ok(())
}
