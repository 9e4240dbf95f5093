//! Reading TOML with places: every value knows its line and column, every fault is collected.
//!
//! The parser never panics on hostile input and never stops at the first fault that it can pass.

use ringfence_model::provenance::{Layer, Source};
use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

use crate::error::{Fault, Problem, Problems};
use crate::keys;
use crate::limits::{DEFINITION_BYTES, LIST_ENTRIES, NETWORK_ENTRIES, PROBLEMS};

/// Collects problems and knows where things are in one file.
pub(crate) struct Reader<'a> {
    pub layer: Layer,
    file: &'a Path,
    text: &'a str,
    /// Byte offset of the beginning of each line.
    lines: Vec<usize>,
    /// Line start, offset and column of the last place, so that a long line is counted once.
    last: Cell<(usize, usize, usize)>,
    pub problems: Vec<Problem>,
}

/// A value with its span.
pub(crate) type Value<'a> = toml::Spanned<DeValue<'a>>;

impl<'a> Reader<'a> {
    pub fn new(layer: Layer, file: &'a Path, bytes: &'a [u8]) -> Result<Self, Problems> {
        let refuse = |fault| {
            let source = Source {
                layer,
                file: Some(file.to_owned()),
                line: 1,
                column: 1,
                text: String::new(),
            };
            Problems(vec![Problem { source, fault }])
        };
        if bytes.len() > DEFINITION_BYTES {
            return Err(refuse(Fault::TooLarge { bytes: bytes.len(), limit: DEFINITION_BYTES }));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| refuse(Fault::NotText))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Ok(Self { layer, file, text, lines, last: Cell::default(), problems: Vec::new() })
    }

    /// The document, or the syntax errors of it.
    pub fn parse(&mut self) -> Option<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors.iter().take(PROBLEMS) {
            let span = error.span().unwrap_or(0..0);
            self.fault(&span, "", Fault::Syntax(error.message().to_owned()));
        }
        errors.is_empty().then(|| table.into_inner())
    }

    /// The source of a span, named by its key.
    pub fn source(&self, span: &Range<usize>, key: &str) -> Source {
        let at = span.start.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.column(start, at);
        Source {
            layer: self.layer,
            file: Some(self.file.to_owned()),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column + 1).unwrap_or(u32::MAX),
            text: key.to_owned(),
        }
    }

    /// Characters between the start of a line and an offset.
    fn column(&self, start: usize, at: usize) -> usize {
        let (last_start, last_at, last_column) = self.last.get();
        let (from, before) =
            if last_start == start && last_at <= at { (last_at, last_column) } else { (start, 0) };
        let between = self.text.get(from..at);
        let column = before + between.map_or(at - from, |text| text.chars().count());
        self.last.set((start, at, column));
        column
    }

    pub fn fault(&mut self, span: &Range<usize>, key: &str, fault: Fault) {
        let source = self.source(span, key);
        self.problems.push(Problem { source, fault });
    }

    pub fn wrong_type(&mut self, value: &Value<'_>, key: &str, expected: &'static str) {
        let found = value.get_ref().type_str();
        let key_text = key.to_owned();
        self.fault(&value.span(), key, Fault::WrongType { key: key_text, expected, found });
    }

    pub fn unknown(&mut self, span: &Range<usize>, name: &str, section: &str, known: &[&str]) {
        let near = keys::nearest(name, known).map(str::to_owned).or_else(|| {
            keys::section_of(name).filter(|own| *own != section).map(|own| {
                if own.is_empty() {
                    format!("{name}` above the first [section]: `{name}")
                } else {
                    format!("{name}` under `[{own}]")
                }
            })
        });
        self.fault(
            span,
            name,
            Fault::UnknownKey {
                key: name.to_owned(),
                section: section.to_owned(),
                near,
                known: known.join(", "),
            },
        );
    }

    /// A text, or a problem.
    pub fn text<'v>(&mut self, value: &'v Value<'_>, key: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(value, key, "a text in quotes");
        }
        text
    }

    pub fn boolean(&mut self, value: &Value<'_>, key: &str) -> Option<bool> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(value, key, "true or false");
        }
        found
    }

    pub fn whole(&mut self, value: &Value<'_>, key: &str) -> Option<u64> {
        let found = value.get_ref().as_integer().and_then(integer);
        if found.is_none() {
            self.wrong_type(value, key, "a whole number, not negative");
        }
        found
    }

    /// A list within the limit, or a problem.
    pub fn list<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        key: &str,
    ) -> Option<&'v toml::de::DeArray<'t>> {
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(value, key, "a list in [ ]");
            return None;
        };
        let limit = match key {
            "network.allow" | "network.deny" => NETWORK_ENTRIES,
            _ => LIST_ENTRIES,
        };
        if items.len() > limit {
            let fault = Fault::TooMany { key: key.to_owned(), count: items.len(), limit };
            self.fault(&value.span(), key, fault);
            return None;
        }
        Some(items)
    }
}

/// The value of a TOML integer, if it is not negative and fits.
pub(crate) fn integer(value: &toml::de::DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(value.as_str(), value.radix()).ok()
}

/// Sorts problems by place and cuts a flood.
pub(crate) fn settle(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by(|a, b| {
        let place = |p: &Problem| (p.source.layer, p.source.line, p.source.column);
        place(a).cmp(&place(b))
    });
    problems.truncate(PROBLEMS);
    Problems(problems)
}
