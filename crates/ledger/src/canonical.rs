//! Canonical JSON (RFC 8785): one value has exactly one spelling, so a hash means something.
//!
//! Stricter than the RFC in one point: numbers are integers within ±2^53. Floats are refused, never
//! rounded. Members are sorted here, whatever map type serde_json was built with.

use ringfence_model::event::Record;
use serde_json::Value;
use std::cmp::Ordering;

use crate::limits::{DEPTH, INTEGER_MAX};

/// Why a value has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A float, or an integer beyond ±2^53.
    #[error("the number {0} is not an integer within ±2^53; write it as a string")]
    Number(String),
    /// Nested deeper than [`DEPTH`].
    #[error("it is nested deeper than {DEPTH} levels")]
    Depth,
    /// Not representable in JSON, such as a path that is not UTF-8.
    #[error("it cannot be written as JSON: {0}")]
    Json(String),
}

/// The canonical bytes of a value.
///
/// # Errors
/// When a number is not an integer within ±2^53, or the nesting is too deep.
pub fn canonical(value: &Value) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::with_capacity(512);
    write_value(&mut out, value, 0)?;
    Ok(out)
}

/// The canonical bytes of a record, without the member `hash`: what its hash is made over.
///
/// # Errors
/// As [`canonical`], and when a path in the record is not UTF-8.
pub fn canonical_record(record: &Record) -> Result<Vec<u8>, CanonicalError> {
    let value =
        serde_json::to_value(record).map_err(|error| CanonicalError::Json(error.to_string()))?;
    canonical(&value)
}

/// Appends the canonical form of `value`; `depth` counts the containers around it.
pub(crate) fn write_value(
    out: &mut Vec<u8>,
    value: &Value,
    depth: usize,
) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => write_number(out, number)?,
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            let depth = deeper(depth)?;
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, item, depth)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let depth = deeper(depth)?;
            let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
            if !sorted.is_sorted_by(|a, b| compare_keys(a.0, b.0) == Ordering::Less) {
                sorted.sort_by(|a, b| compare_keys(a.0, b.0));
            }
            out.push(b'{');
            for (index, (key, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(out, key);
                out.push(b':');
                write_value(out, member, depth)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, CanonicalError> {
    if depth < DEPTH { Ok(depth + 1) } else { Err(CanonicalError::Depth) }
}

/// Order of member names: by UTF-16 code units (RFC 8785 section 3.2.3).
pub(crate) fn compare_keys(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        a.as_bytes().cmp(b.as_bytes())
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

/// Whether an integer has the same value as an IEEE double for every reader.
pub(crate) fn is_safe(number: &serde_json::Number) -> bool {
    match (number.as_i64(), number.as_u64()) {
        (Some(n), _) => n.unsigned_abs() <= INTEGER_MAX,
        (None, Some(n)) => n <= INTEGER_MAX,
        (None, None) => false,
    }
}

fn write_number(out: &mut Vec<u8>, number: &serde_json::Number) -> Result<(), CanonicalError> {
    match (is_safe(number), number.as_i64()) {
        (true, Some(n)) => {
            write_integer(out, n);
            Ok(())
        }
        _ => Err(CanonicalError::Number(number.to_string())),
    }
}

/// Appends an integer in decimal.
pub(crate) fn write_integer(out: &mut Vec<u8>, n: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        if let Some(slot) = digits.get_mut(at) {
            *slot = b'0' + (rest % 10) as u8;
        }
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Appends a string with the RFC's minimal escapes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.push(b'"');
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(bytes.get(plain..at).unwrap_or_default());
        plain = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            _ => {
                let low = HEX.get(usize::from(byte & 15)).copied().unwrap_or(b'0');
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (byte >> 4), low]);
            }
        }
    }
    out.extend_from_slice(bytes.get(plain..).unwrap_or_default());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(json: &str) -> String {
        let value: Value = serde_json::from_str(json).unwrap();
        String::from_utf8(canonical(&value).unwrap()).unwrap()
    }

    #[test]
    fn al2_rfc_8785_section_3_2_3_sorting_vector() {
        let input = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return",
            "\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
            "\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control",
            "\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let want = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
            \"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\
            \"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}";
        assert_eq!(form(input), want);
    }

    #[test]
    fn al2_rfc_8785_section_3_2_2_string_and_literal_vectors() {
        let input = r#"{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals":[null,true,false]}"#;
        let want = r#"{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(form(input), want);
        assert_eq!(
            form(r#""\b\t\n\f\r\u0000\u001f\u007f""#),
            "\"\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}\""
        );
        assert_eq!(form(r#"{"b":{},"a":[]}"#), r#"{"a":[],"b":{}}"#);
    }

    #[test]
    fn al2_only_integers_within_2_53_have_a_form() {
        let edge = "[0,-1,9007199254740992,-9007199254740992]";
        assert_eq!(form(edge), edge);
        for bad in
            ["9007199254740993", "-9007199254740993", "18446744073709551615", "1.5", "1e2", "4.0"]
        {
            let value: Value = serde_json::from_str(bad).unwrap();
            assert!(matches!(canonical(&value), Err(CanonicalError::Number(_))), "{bad}");
        }
    }

    #[test]
    fn al5_nesting_is_bounded() {
        let nest = |n: usize| (0..n).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
        assert!(canonical(&nest(DEPTH)).is_ok());
        assert_eq!(canonical(&nest(DEPTH + 1)), Err(CanonicalError::Depth));
    }
}
