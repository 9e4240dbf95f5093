//! Who speaks on the control socket, by the first bytes: the `ringfence` command, or a web client
//! that something led here.
//!
//! A browser must never be understood: what it sends is chosen by whoever wrote the page (S27). Its
//! request is answered with a refusal that it can read, and not looked at any further.

use ringfence_control::Answer;

/// Longest method of HTTP that is looked for, in bytes (`UPDATEREDIRECTREF` has 17).
const METHOD_BYTES: usize = 20;

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Not enough of them yet.
    Unknown,
    /// A question, or the beginning of one.
    Question,
    /// A request of HTTP, of any version.
    Http,
    /// Anything else.
    Strange,
}

impl Opening {
    /// Looks at what has come so far.
    pub fn of(received: &[u8]) -> Self {
        let word = received.iter().take_while(|byte| is_token(**byte)).count();
        match (received.first(), received.get(word)) {
            (None, _) => Self::Unknown,
            (Some(b'{'), _) => Self::Question,
            (Some(_), Some(b' ')) if (1..=METHOD_BYTES).contains(&word) => Self::Http,
            (Some(_), None) if word <= METHOD_BYTES => Self::Unknown,
            _ => Self::Strange,
        }
    }
}

/// What a method may consist of, as far as any does (RFC 9110, section 9.1).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_')
}

/// The last words for who does not belong here.
pub fn turned_away(opening: Opening) -> Option<Vec<u8>> {
    match opening {
        Opening::Unknown | Opening::Question => None,
        Opening::Http => {
            let words = "This socket is for the ringfence command alone.\n";
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                 Cross-Origin-Resource-Policy: same-origin\r\nConnection: close\r\n\r\n{words}",
                words.len()
            );
            Some(answer.into_bytes())
        }
        Opening::Strange => {
            let why = "not understood: a question is one line of JSON".to_owned();
            let mut line = serde_json::to_vec(&Answer::Refused { why }).unwrap_or_default();
            line.push(b'\n');
            Some(line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: whatever a browser or a relative of it begins with is known by its first word.
    #[test]
    fn s27_requests_of_http_are_known_by_their_first_word() {
        for request in [
            "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n",
            "POST /exec HTTP/1.1\r\nOrigin: http://evil.example.com\r\n",
            "OPTIONS * HTTP/1.1\r\n",
            "get / http/1.0\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "VERSION-CONTROL / HTTP/1.1",
            "GET {\"version\":2} HTTP/1.1\n{\"version\":2}\n",
        ] {
            assert_eq!(Opening::of(request.as_bytes()), Opening::Http, "{request}");
            let answer = turned_away(Opening::Http).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 403 "));
        }
        assert_eq!(Opening::of(b""), Opening::Unknown);
        assert_eq!(Opening::of(b"PO"), Opening::Unknown);
        assert_eq!(Opening::of(b"{\"version\":2"), Opening::Question);
        for strange in [&b" {"[..], b"\n", b"\x16\x03\x01", b"GET\t/", b"[1]", &[b'A'; 64]] {
            assert_eq!(Opening::of(strange), Opening::Strange, "{strange:?}");
        }
    }
}
