//! One more entry in the text of a definition: comments, order and layout stay as they were written.
//!
//! Pure text. What comes out is parsed again and compared with what went in: a text in which anything
//! but the new entry has changed is never handed out.

use std::fmt;

use ringfence_model::provenance::{Layer, Source};
use ringfence_model::text::is_plain;
use serde::{Deserialize, Serialize};
use toml::de::{DeArray, DeTable};

use crate::compile::{DefinitionText, parse};
use crate::definition::{Definition, Entry};
use crate::document::{Reader, Value};
use crate::error::{Fault, Problem, Problems};
use crate::scalars::parse_allow;

/// The lists that an answer may be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// `network.allow`.
    Allow,
    /// `files.read`.
    Read,
    /// `files.write`.
    Write,
    /// `environment.pass`.
    Pass,
}

impl Key {
    fn section(self) -> &'static str {
        match self {
            Self::Allow => "network",
            Self::Read | Self::Write => "files",
            Self::Pass => "environment",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Read => "read",
            Self::Write => "write",
            Self::Pass => "pass",
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section(), self.name())
    }
}

/// An answer as an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remember {
    /// The list.
    pub key: Key,
    /// The entry.
    pub text: String,
}

/// Where an entry stands in the new text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File, line and column.
    pub source: Source,
    /// The line itself, as it will stand in the file.
    pub line: String,
    /// Whether it stood there before.
    pub was_there: bool,
}

/// A text with more entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The whole text; the old one if every entry was there.
    pub text: String,
    /// The place of each entry, in the order they were given.
    pub places: Vec<Place>,
}

/// Adds entries to a definition.
///
/// # Errors
/// The text is no valid definition, an entry would be refused in it, or there is no way to add one
/// without rewriting something else; each with its place.
pub fn remember(
    text: &DefinitionText<'_>,
    layer: Layer,
    entries: &[Remember],
) -> Result<Remembered, Problems> {
    // What is no text is not made one on the way.
    let whole =
        std::str::from_utf8(text.bytes).map_err(|_| problem(text, layer, Fault::NotText))?;
    let mut whole = whole.to_owned();
    let mut fresh = Vec::new();
    for entry in entries {
        let now = DefinitionText { file: text.file, bytes: whole.as_bytes() };
        let definition = parse(&now, layer)?;
        let was_there = stands(&definition, entry, layer);
        if !was_there {
            let next = with_entry(&now, layer, entry)?;
            verify(&now, &next, layer, entry)?;
            whole = next;
        }
        fresh.push(!was_there);
    }
    let now = DefinitionText { file: text.file, bytes: whole.as_bytes() };
    let definition = parse(&now, layer)?;
    let places = entries.iter().zip(fresh).map(|(entry, fresh)| {
        let source =
            place(&definition, entry, layer).ok_or_else(|| problem(&now, layer, by_hand(entry)))?;
        let at = usize::try_from(source.line.saturating_sub(1)).unwrap_or(0);
        let line = whole.lines().nth(at).unwrap_or_default().to_owned();
        Ok(Place { source, line, was_there: !fresh })
    });
    let places = places.collect::<Result<Vec<_>, Problems>>()?;
    Ok(Remembered { text: whole, places })
}

fn problem(text: &DefinitionText<'_>, layer: Layer, fault: Fault) -> Problems {
    let file = Some(text.file.to_owned());
    let source = Source { layer, file, line: 1, column: 1, text: String::new() };
    Problems(vec![Problem { source, fault }])
}

fn by_hand(entry: &Remember) -> Fault {
    Fault::ByHand { key: entry.key.to_string(), entry: quoted(&entry.text) }
}

/// Whether the same permission, without an end, is written there.
fn stands(definition: &Definition, entry: &Remember, layer: Layer) -> bool {
    place(definition, entry, layer).is_some()
}

/// Where it is written.
fn place(definition: &Definition, entry: &Remember, layer: Layer) -> Option<Source> {
    let path = |list: &Option<Vec<Entry<()>>>| {
        let mut all = list.iter().flatten();
        let found = all.find(|own| own.text == entry.text && own.ends.never())?;
        Some(found.source.clone())
    };
    match entry.key {
        Key::Allow => {
            let wanted = parse_allow(&entry.text, &[], layer).ok()?;
            let mut all = definition.allow.iter().flatten();
            let found = all.find(|own| own.value == wanted && own.ends.never())?;
            Some(found.source.clone())
        }
        Key::Read => path(&definition.read),
        Key::Write => path(&definition.write),
        Key::Pass => {
            let mut all = definition.pass.iter().flatten();
            Some(all.find(|own| own.value == entry.text)?.source.clone())
        }
    }
}

/// A TOML string that is one line whatever it holds, and shows what it holds: marks that turn the text
/// around and the like are escaped.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_plain(c) => out.push(c),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// The text with the entry put in.
fn with_entry(
    text: &DefinitionText<'_>,
    layer: Layer,
    entry: &Remember,
) -> Result<String, Problems> {
    let mut reader = Reader::new(layer, text.file, text.bytes)?;
    // It was parsed before.
    let Some(root) = reader.parse() else { return Err(Problems(reader.problems)) };
    let whole = String::from_utf8_lossy(text.bytes);
    // Places count from behind a byte order mark.
    let (mark, body) = match whole.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", &*whole),
    };
    let insertion = match root.get(entry.key.section()) {
        None => Some(new_section(body, entry)),
        Some(section) => {
            let table = section.get_ref().as_table();
            match table.and_then(|table| table.get(entry.key.name())) {
                Some(list) => {
                    let items = list.get_ref().as_array();
                    if items.is_some_and(|items| items.is_empty()) {
                        reader.fault(
                            &list.span(),
                            entry.key.name(),
                            Fault::Emptied { key: entry.key.to_string() },
                        );
                        return Err(Problems(reader.problems));
                    }
                    items.and_then(|items| in_list(body, list, items, entry))
                }
                None => in_section(body, section, table, entry),
            }
        }
    };
    let Some(Piece { from, to, piece }) = insertion else {
        let span = root.get(entry.key.section()).map_or(0..0, |section| section.span());
        reader.fault(&span, entry.key.name(), by_hand(entry));
        return Err(Problems(reader.problems));
    };
    let (before, after) = (body.get(..from).unwrap_or(body), body.get(to..).unwrap_or_default());
    Ok(format!("{mark}{before}{piece}{after}"))
}

/// What takes the place of some bytes.
struct Piece {
    from: usize,
    to: usize,
    piece: String,
}

impl Piece {
    fn at(at: usize, piece: String) -> Self {
        Self { from: at, to: at, piece }
    }
}

/// How lines end in this text.
fn line_end(body: &str) -> &'static str {
    match body.find('\n') {
        Some(at) if body.get(..at).is_some_and(|line| line.ends_with('\r')) => "\r\n",
        _ => "\n",
    }
}

fn new_section(body: &str, entry: &Remember) -> Piece {
    let end = line_end(body);
    let gap = match body {
        "" => String::new(),
        body if body.ends_with('\n') => end.to_owned(),
        _ => format!("{end}{end}"),
    };
    let (section, name, text) = (entry.key.section(), entry.key.name(), quoted(&entry.text));
    Piece::at(body.len(), format!("{gap}[{section}]{end}{name} = [{text}]{end}"))
}

/// A section that does not have the list yet.
fn in_section(
    body: &str,
    section: &Value<'_>,
    table: Option<&DeTable<'_>>,
    entry: &Remember,
) -> Option<Piece> {
    let span = section.span();
    let own = body.get(span.clone())?;
    let (name, text, end) = (entry.key.name(), quoted(&entry.text), line_end(body));
    let start_of_line = body.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let before = body.get(start_of_line..span.start)?.trim();
    if own.starts_with('[') {
        // Behind the header, and whatever comment stands on its line.
        return Some(match body.get(span.end..)?.find('\n') {
            Some(at) => Piece::at(span.end + at + 1, format!("{name} = [{text}]{end}")),
            None => Piece::at(body.len(), format!("{end}{name} = [{text}]{end}")),
        });
    }
    if own.starts_with('{') {
        let comma = if table.is_some_and(|table| table.is_empty()) { " " } else { "," };
        return Some(Piece::at(span.start + 1, format!(" {name} = [{text}]{comma}")));
    }
    if before.starts_with('[') {
        // `[environment.set]` alone: the section itself has no header yet.
        return Some(new_section(body, entry));
    }
    // `network.deny = …`: one more dotted key above it.
    before.is_empty().then(|| Piece::at(start_of_line, format!("{own}.{name} = [{text}]{end}")))
}

/// Behind the last entry of a list, in the way the list is written.
fn in_list(body: &str, list: &Value<'_>, items: &DeArray<'_>, entry: &Remember) -> Option<Piece> {
    let last = items.iter().last()?.span();
    let close = list.span().end.checked_sub(1)?;
    let text = quoted(&entry.text);
    let start_of_line = body.get(..last.start)?.rfind('\n').map_or(0, |at| at + 1);
    let indent = body.get(start_of_line..last.start)?;
    let tail = body.get(last.end..close)?;
    let comma = comma_in(tail);
    let after_comma = comma.map_or(0, |at| at + 1);
    let own_line = indent.chars().all(|c| c == ' ' || c == '\t');
    let next_line = tail.get(after_comma..)?.find('\n').map(|at| after_comma + at + 1);
    let (true, Some(next_line)) = (own_line, next_line) else {
        // `["a", "b"]`, or several entries on a line.
        return Some(Piece::at(last.end, format!(", {text}")));
    };
    let end = line_end(body);
    let below = last.end + next_line;
    Some(match comma {
        Some(_) => Piece::at(below, format!("{indent}{text},{end}")),
        // The comma goes before a comment that stands on the last entry's line.
        None => {
            let rest = tail.get(..next_line)?;
            let piece = format!(",{rest}{indent}{text}{end}");
            Piece { from: last.end, to: below, piece }
        }
    })
}

/// The comma behind an entry, comments passed over.
fn comma_in(tail: &str) -> Option<usize> {
    let mut in_comment = false;
    for (at, c) in tail.char_indices() {
        match c {
            '#' => in_comment = true,
            '\n' => in_comment = false,
            ',' if !in_comment => return Some(at),
            _ => {}
        }
    }
    None
}

/// The new text must be the old one with one more entry, and nothing else.
fn verify(
    old: &DefinitionText<'_>,
    next: &str,
    layer: Layer,
    entry: &Remember,
) -> Result<(), Problems> {
    let values = |text: &str| {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        toml::from_str::<toml::Table>(text).map_err(|_| problem(old, layer, by_hand(entry)))
    };
    let mut expected = values(&String::from_utf8_lossy(old.bytes))?;
    let section = expected
        .entry(entry.key.section())
        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let list = section.as_table_mut().map(|table| {
        table.entry(entry.key.name()).or_insert_with(|| toml::Value::Array(Vec::new()))
    });
    if let Some(list) = list.and_then(toml::Value::as_array_mut) {
        list.push(toml::Value::String(entry.text.clone()));
    }
    if values(next)? != expected {
        return Err(problem(old, layer, by_hand(entry)));
    }
    parse(&DefinitionText { file: old.file, bytes: next.as_bytes() }, layer).map(drop)
}
