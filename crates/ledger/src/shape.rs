//! An event made fit for a record: secrets masked, fields bounded, numbers exact.
//!
//! Masking comes before cutting, so that no half secret stays. It must never change what an event
//! says beyond that: what is cut is marked, and what cannot be cut is refused by the caller.

use ringfence_model::event::Event;
use serde_json::Value;
use std::borrow::Cow;

use crate::canonical::{CanonicalError, is_safe, write_value};
use crate::limits::{ARGUMENT_BYTES, FIELD_STEPS, RECORD_BYTES};
use crate::redact::Redactor;

/// Why an event has no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// It has no canonical form.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// Still too large with every field cut.
    #[error("it is {0} bytes with every field cut; a record has at most {RECORD_BYTES}")]
    TooLarge(usize),
}

/// The canonical bytes of an event, masked and bounded.
pub(crate) fn event_bytes(event: &Event, redactor: &Redactor) -> Result<Vec<u8>, ShapeError> {
    let mut size = 0;
    for (bytes, items) in FIELD_STEPS {
        let mut value =
            serde_json::to_value(event).map_err(|error| CanonicalError::Json(error.to_string()))?;
        let mut walk = Walk { redactor, bytes, items, cut: false };
        walk.value(&mut value, None, false);
        mark_truncated(&mut value, walk.cut);
        let mut out = Vec::with_capacity(512);
        write_value(&mut out, &value, 1)?;
        size = out.len();
        if size <= RECORD_BYTES {
            return Ok(out);
        }
    }
    Err(ShapeError::TooLarge(size))
}

/// An `exec` event says itself whether something was cut.
fn mark_truncated(event: &mut Value, cut: bool) {
    if let (true, Some(truncated)) = (cut, event.get_mut("truncated")) {
        *truncated = Value::Bool(true);
    }
}

/// One text of the subject or a label, masked and bounded.
pub(crate) fn short_text(text: &str, redactor: &Redactor) -> String {
    let mut out = redactor.text(text).into_owned();
    cut_text(&mut out, ARGUMENT_BYTES);
    out
}

struct Walk<'a> {
    redactor: &'a Redactor,
    bytes: usize,
    items: usize,
    cut: bool,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, key: Option<&str>, free: bool) {
        match value {
            Value::String(text) => self.text(text, key),
            Value::Array(items) => self.array(items, key, free),
            Value::Object(members) => {
                for (key, member) in members.iter_mut() {
                    self.value(member, Some(key), free || key == "manifest");
                }
            }
            // The manifest has no type to keep to, so numbers that JSON cannot carry exactly (inode
            // numbers, `unlimited`) become texts. Elsewhere they are refused.
            Value::Number(number) if free && !is_safe(number) => {
                *value = Value::String(number.to_string());
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &mut String, key: Option<&str>) {
        if let Cow::Owned(masked) = self.redactor.named(key.unwrap_or(""), text) {
            *text = masked;
        }
        self.cut |= cut_text(text, self.bytes);
    }

    fn array(&mut self, items: &mut Vec<Value>, key: Option<&str>, free: bool) {
        let texts = items.iter().all(Value::is_string);
        if key == Some("argv") && texts {
            self.arguments(items);
        } else {
            items.iter_mut().for_each(|item| self.value(item, None, free));
        }
        // A list of typed things cannot hold a mark, so it is left whole and counts in full.
        if items.len() > self.items && (free || texts) {
            let lost = items.len() - self.items;
            items.truncate(self.items);
            items.push(Value::String(format!("…[cut {lost} items]")));
            self.cut = true;
        }
    }

    fn arguments(&mut self, items: &mut [Value]) {
        let argv: Vec<String> = items.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        for (item, masked) in items.iter_mut().zip(self.redactor.arguments(&argv)) {
            *item = Value::String(masked);
        }
        for item in items {
            if let Value::String(text) = item {
                self.cut |= cut_text(text, self.bytes.min(ARGUMENT_BYTES));
            }
        }
    }
}

/// Cuts a text to `most` bytes, at a character's edge, and says how much is gone.
fn cut_text(text: &mut String, most: usize) -> bool {
    if text.len() <= most {
        return false;
    }
    let keep = text.floor_char_boundary(most);
    let lost = text.len() - keep;
    text.truncate(keep);
    text.push_str(&format!("…[cut {lost} bytes]"));
    true
}
