//! Secrets out of texts, by known value and by shape, before anything is written.
//!
//! It masks rather too much than too little, and never shows any part of what it masks. It cannot
//! know a secret that has neither a known value nor a known shape; nothing may rest on it alone.

use std::borrow::Cow;
use std::fmt;

use crate::limits::KNOWN_SECRET_BYTES;
use crate::shapes::{
    PROGRAM_OPTIONS, SECRET_HEADERS, TOKENS, USER_OPTIONS, is_secret_name, may_begin,
};

/// No row of the table of tokens matches less than this, in bytes.
const SHORTEST_TOKEN_BYTES: usize = 15;

/// Masks secrets. Holds the known values, and never shows them.
#[derive(Clone, Default)]
pub struct Redactor {
    known: Vec<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} known values)", self.known.len())
    }
}

impl Redactor {
    /// A redactor that knows these secrets by value, also percent-encoded and in base64. Values
    /// under 6 bytes are left out: they are common words.
    #[must_use]
    pub fn new<I: IntoIterator<Item = String>>(known: I) -> Self {
        let mut redactor = Self::default();
        known.into_iter().for_each(|value| redactor.add(&value));
        redactor
    }

    /// Learns one more secret.
    pub fn add(&mut self, value: &str) {
        let value = value.trim();
        if value.len() < KNOWN_SECRET_BYTES {
            return;
        }
        let base64 = base64(value.as_bytes());
        let url_safe = base64.replace('+', "-").replace('/', "_");
        for form in
            [value.to_owned(), percent(value, true), percent(value, false), base64, url_safe]
        {
            if !self.known.contains(&form) {
                self.known.push(form);
            }
        }
        // Longest first, so that a secret inside another leaves no rest of the longer one.
        self.known.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text with every secret masked.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Cow::Borrowed(text);
        for known in &self.known {
            if out.contains(known.as_str()) {
                out = Cow::Owned(out.replace(known.as_str(), &mask(&out, "known")));
            }
        }
        // Most texts are names and words; the passes are for what could hold a secret at all.
        let mut apply = |passes: &[fn(&str) -> Option<String>]| {
            for pass in passes {
                if let Some(changed) = pass(&out) {
                    out = Cow::Owned(changed);
                }
            }
        };
        if text.len() >= SHORTEST_TOKEN_BYTES {
            apply(&[pem, tokens]);
        }
        if memchr::memchr3(b'=', b':', b' ', text.as_bytes()).is_some() {
            apply(&[schemes, userinfo, assignments]);
        }
        if text.contains('-') || text.contains("pass:") {
            apply(&[|text| options(text, "")]);
        }
        out
    }

    /// A document or script with every secret masked. Other than [`Redactor::text`] it leaves alone
    /// what only stands for a secret (`$TOKEN`, `<your key>`, `os.environ["KEY"]`, `token: str`),
    /// so that instructions and programs stay usable.
    #[must_use]
    pub fn document<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut out = Cow::Borrowed(text);
        for known in &self.known {
            if out.contains(known.as_str()) {
                out = Cow::Owned(out.replace(known.as_str(), "[redacted:known]"));
            }
        }
        let passes: [fn(&str) -> Option<String>; 5] = [
            pem,
            tokens,
            |text| replace(text, &real(text, authorised(text))),
            userinfo,
            |text| replace(text, &real(text, assigned(text))),
        ];
        for pass in passes {
            if let Some(changed) = pass(&out) {
                out = Cow::Owned(changed);
            }
        }
        out
    }

    /// Arguments with every secret masked, the one after an option such as `--password` too.
    #[must_use]
    pub fn arguments(&self, argv: &[String]) -> Vec<String> {
        let program = argv.first().map_or("", |program| base_name(program));
        let (mut before, mut last) = ("", "");
        argv.iter()
            .map(|argument| {
                let follows = match option_value(program, last, argument) {
                    Some(from) => from == 0,
                    None => takes_secret(before, last) && !argument.starts_with('-'),
                };
                (before, last) = (last, argument);
                if follows {
                    return mask("", "argument");
                }
                let text = self.text(argument);
                options(&text, program).unwrap_or_else(|| text.into_owned())
            })
            .collect()
    }

    /// The value of a named thing (environment variable, member), masked whole if the name says
    /// that it is a secret.
    #[must_use]
    pub fn named<'a>(&self, name: &str, value: &'a str) -> Cow<'a, str> {
        if !value.is_empty() && is_secret_name(name) {
            Cow::Owned(mask("", "value"))
        } else {
            self.text(value)
        }
    }
}

/// Whether the argument after `argument` is a secret: `--password`, `-token`, `set x_token`.
fn takes_secret(before: &str, argument: &str) -> bool {
    match argument.strip_prefix('-') {
        Some(name) => !name.contains('=') && is_secret_name(name),
        None => matches!(before, "set" | "-x" | "-gx") && is_secret_name(argument),
    }
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Where the secret begins in a word that is the value of an option, or holds option and value:
/// `-u me:pw`, `-ume:pw`, `--user=me:pw`, `-passin pass:x`, and what [`PROGRAM_OPTIONS`] lists.
/// `last` is the word before. A user without a password is none.
fn option_value(program: &str, last: &str, word: &str) -> Option<usize> {
    let is_pair = |value: &str| {
        let cut = value.find([':', '%']);
        cut.is_some_and(|at| at > 0 && at + 1 < value.len() && !value.contains("://"))
    };
    if word.len() > 5 && word.starts_with("pass:") {
        return Some(5);
    }
    if USER_OPTIONS.contains(&last) && is_pair(word) {
        return Some(0);
    }
    for option in USER_OPTIONS {
        let long = option.starts_with("--");
        let value = word.strip_prefix(option);
        let value = if long { value.and_then(|v| v.strip_prefix('=')) } else { value };
        if let Some(value) = value.filter(|value| is_pair(value)) {
            return Some(word.len() - value.len());
        }
    }
    let own = PROGRAM_OPTIONS.iter().filter(|row| row.program == program);
    own.into_iter().find_map(|row| {
        let attached = row.attached && word.len() > row.option.len();
        match word.strip_prefix(row.option) {
            Some(_) if attached && !word.starts_with("--") => Some(row.option.len()),
            _ => (row.follows && last == row.option && !word.is_empty()).then_some(0),
        }
    })
}

/// Secrets in options, in a text that may be a command line; `program` is whose argument the text
/// is, until a word names another one.
fn options<'a>(text: &'a str, program: &'a str) -> Option<String> {
    let quote = |c: char| matches!(c, '"' | '\'' | '\\' | ';' | ')' | '(' | '`');
    let mut ranges = Vec::new();
    let (mut program, mut last) = (program, "");
    let mut at = 0;
    for raw in text.split_ascii_whitespace() {
        // The word's place: words come in order, each found behind the last one.
        let from = at + text.get(at..)?.find(raw)?;
        at = from + raw.len();
        let word = raw.trim_matches(quote);
        let from = from + (raw.len() - raw.trim_start_matches(quote).len());
        if !word.contains("[redacted:")
            && let Some(secret) = option_value(program, last, word)
        {
            ranges.push((from + secret, from + word.len(), "argument"));
        }
        let name = base_name(word);
        if PROGRAM_OPTIONS.iter().any(|row| row.program == name) {
            program = name;
        }
        last = word;
    }
    replace(text, &disjoint(ranges))
}

/// What stands in place of a secret. Where the text around it is a host name, the mask is one too,
/// so that the record keeps its shape.
fn mask(around: &str, kind: &str) -> String {
    let host =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    if around.contains('.') && around.bytes().all(host) {
        format!("redacted-{kind}")
    } else {
        format!("[redacted:{kind}]")
    }
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn run(text: &str, from: usize, fits: impl Fn(u8) -> bool) -> usize {
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !fits(*byte)).unwrap_or(rest.len())
}

/// Builds the text anew with some ranges (rising, not overlapping) replaced.
fn replace(text: &str, ranges: &[(usize, usize, &'static str)]) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (from, to, kind) in ranges {
        out.push_str(text.get(at..*from)?);
        out.push_str(&mask(text, kind));
        at = *to;
    }
    out.push_str(text.get(at..)?);
    (!ranges.is_empty()).then_some(out)
}

fn pem(text: &str) -> Option<String> {
    const BEGIN: &str = "-----BEGIN ";
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find(BEGIN)) {
        let from = at + found;
        let rest = text.get(from..).unwrap_or_default();
        let end = rest.find("-----END ").and_then(|end| {
            let tail = rest.get(end + 9..)?;
            tail.find("-----").map(|close| end + 9 + close + 5)
        });
        // A block without an end was cut: everything from its beginning on is the secret.
        at = from + end.unwrap_or(rest.len());
        ranges.push((from, at, "pem"));
    }
    replace(text, &ranges)
}

fn tokens(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut ranges = Vec::new();
    let mut at = 0;
    let mut before = b' ';
    while let Some(&byte) = bytes.get(at) {
        let found = if may_begin(byte) && !before.is_ascii_alphanumeric() {
            token_at(text, at)
        } else {
            None
        };
        match found {
            Some((to, kind)) => {
                ranges.push((at, to, kind));
                at = to;
                before = b' ';
            }
            None => {
                before = byte;
                at += 1;
            }
        }
    }
    replace(text, &ranges)
}

fn token_at(text: &str, at: usize) -> Option<(usize, &'static str)> {
    let rest = text.get(at..)?;
    if rest.starts_with("eyJ") {
        return jwt_end(text, at).map(|to| (to, "jwt"));
    }
    let token = TOKENS.iter().find(|token| rest.starts_with(token.prefix))?;
    let from = at + token.prefix.len();
    let to = run(text, from, is_token_byte);
    (to - from >= token.least).then_some((to, token.kind))
}

/// A JSON Web Token: two or more base64url parts that begin with `{"` (RFC 7519), any signature.
fn jwt_end(text: &str, at: usize) -> Option<usize> {
    let header = run(text, at, is_token_byte);
    let claims =
        text.get(header..)?.strip_prefix(".eyJ").map(|_| run(text, header + 1, is_token_byte))?;
    let signed = text.get(claims..)?.starts_with('.');
    (header - at >= 10).then(|| if signed { run(text, claims + 1, is_token_byte) } else { claims })
}

/// `Bearer X`, `Basic X`, and the whole value of headers such as `Authorization:`.
fn schemes(text: &str) -> Option<String> {
    replace(text, &authorised(text))
}

type Ranges = Vec<(usize, usize, &'static str)>;

/// Where [`schemes`] finds something.
fn authorised(text: &str) -> Ranges {
    let lower = text.to_ascii_lowercase();
    let mut ranges: Vec<(usize, usize, &'static str)> = Vec::new();
    for header in SECRET_HEADERS {
        for (from, _) in lower.match_indices(header) {
            let from = run(text, from + header.len(), |b| b == b' ');
            let to = run(text, from, |b| !matches!(b, b'\r' | b'\n' | b'"' | b'\''));
            ranges.push((from, to, "header"));
        }
    }
    for scheme in ["bearer ", "basic "] {
        for (at, _) in lower.match_indices(scheme) {
            let from = run(text, at + scheme.len(), |b| b == b' ');
            let to = run(text, from, |b| {
                is_token_byte(b) || matches!(b, b'.' | b'~' | b'+' | b'/' | b'=')
            });
            if to - from >= 8 {
                ranges.push((from, to, "credential"));
            }
        }
    }
    disjoint(ranges)
}

/// Sorted, with what overlaps joined and empty ranges dropped.
fn disjoint(mut ranges: Vec<(usize, usize, &'static str)>) -> Vec<(usize, usize, &'static str)> {
    ranges.retain(|(from, to, _)| from < to);
    ranges.sort_unstable();
    let mut out: Vec<(usize, usize, &'static str)> = Vec::new();
    for (from, to, kind) in ranges {
        match out.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => out.push((from, to, kind)),
        }
    }
    out
}

/// `scheme://user:password@host`: all before the `@`.
fn userinfo(text: &str) -> Option<String> {
    let mut ranges = Vec::new();
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let to = run(text, from, |b| {
            !matches!(b, b'/' | b'?' | b'#' | b'"' | b'\'' | b'<' | b'>') && b > b' '
        });
        let at_sign = text.get(from..to).and_then(|authority| authority.rfind('@'));
        if let Some(length) = at_sign.filter(|length| *length > 0) {
            ranges.push((from, from + length, "userinfo"));
        }
    }
    replace(text, &disjoint(ranges))
}

/// `NAME=value`, `"name": "value"`, `--name value` where the name is that of a secret.
fn assignments(text: &str) -> Option<String> {
    replace(text, &assigned(text))
}

/// Where [`assignments`] finds something.
fn assigned(text: &str) -> Ranges {
    let bytes = text.as_bytes();
    let mut ranges = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        if !matches!(byte, b'=' | b':' | b' ') {
            continue;
        }
        let Some((name, quoted)) = name_before(text, at) else {
            continue;
        };
        let option = name.strip_prefix("--");
        let assigns =
            *byte == b'=' || (*byte == b':' && !text[at..].starts_with("://")) || option.is_some();
        if !assigns || !is_secret_name(option.unwrap_or(name)) {
            continue;
        }
        if let Some((from, to)) = value_after(text, at + 1, quoted) {
            ranges.push((from, to, "value"));
        }
    }
    disjoint(ranges)
}

/// Of what was found in a document, what is a secret itself and does not only stand for one.
fn real(text: &str, mut ranges: Ranges) -> Ranges {
    ranges.retain(|(from, to, _)| {
        let value = text.get(*from..*to).unwrap_or_default();
        let value = ["Bearer ", "bearer ", "Basic ", "basic ", "token "]
            .iter()
            .find_map(|scheme| value.strip_prefix(scheme))
            .unwrap_or(value);
        let quoted = text.get(..*from).is_some_and(|before| before.ends_with(['"', '\'']));
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let code = value.find(|c: char| !is_word(c)).is_some_and(|at| {
            at > 0 && matches!(value.as_bytes().get(at), Some(b'(' | b'[')) && !quoted
        });
        let stands_for = value.starts_with(['$', '<', '{', '%', '`', '*', '['])
            || value.contains("...")
            || value.contains('…');
        let telling = quoted || value.bytes().any(|byte| byte.is_ascii_digit());
        value.len() >= KNOWN_SECRET_BYTES && !code && !stands_for && telling
    });
    ranges
}

/// The name that ends before `at`, and whether a quote stands between.
fn name_before(text: &str, at: usize) -> Option<(&str, bool)> {
    let before = text.get(..at)?;
    // `password = "…"`, as settings and programs are written.
    let assigned = text.as_bytes().get(at) == Some(&b'=');
    let before = if assigned { before.trim_end_matches(' ') } else { before };
    let bare = before.trim_end_matches(['"', '\'', '\\']);
    let name_bytes = bare.bytes().rev().take_while(|b| is_token_byte(*b) || *b == b'.').count();
    let name = bare.get(bare.len() - name_bytes..)?;
    (!name.is_empty()).then_some((name, bare.len() < before.len()))
}

/// The value that begins at or after `at`: quoted, or up to a separator.
fn value_after(text: &str, at: usize, quoted_name: bool) -> Option<(usize, usize)> {
    let from = run(text, at, |b| b == b' ');
    // A quote inside a quoted text has a backslash before it.
    let inner = run(text, from, |b| b == b'\\');
    let is_quote = |b: &u8| matches!(b, b'"' | b'\'');
    let from = match text.as_bytes().get(inner) {
        Some(byte) if is_quote(byte) => inner,
        _ => from,
    };
    let quote = text.as_bytes().get(from).copied().filter(is_quote);
    let (from, to) = match quote {
        Some(quote) => {
            let end = run(text, from + 1, |b| b != quote);
            let value = text.get(from + 1..end)?.trim_end_matches('\\');
            (from + 1, from + 1 + value.len())
        }
        None => {
            (from, run(text, from, |b| b > b' ' && !matches!(b, b'&' | b';' | b'"' | b'\'' | b'|')))
        }
    };
    let value = text.get(from..to)?;
    let already = value.starts_with("[redacted:") || value.starts_with("redacted-");
    // `--token --other` has no value; `"token": 5,` does.
    (!value.is_empty() && !already && (quoted_name || !value.starts_with('-')))
        .then_some((from, to))
}

/// Percent-encoding: of everything but unreserved characters (RFC 3986 section 2.3).
fn percent(value: &str, upper: bool) -> String {
    value.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else if upper {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push_str(&format!("%{byte:02x}"));
        }
        out
    })
}

/// Base64 (RFC 4648 section 4) without padding, so that it is found with and without.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for sextet in 0..=chunk.len() {
            let index = (word >> (18 - 6 * sextet)) & 63;
            out.push(char::from(ALPHABET.get(index as usize).copied().unwrap_or(b'A')));
        }
    }
    out
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
