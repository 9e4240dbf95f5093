//! A request head of HTTP/1: read strictly or refused, never repaired.
//!
//! Line ends are CRLF and nothing else; no folding, no space around field names, one Host, one way
//! to know where the body ends.

use std::net::IpAddr;

use ringfence_model::host::HostName;

use crate::limits::{HEAD_BYTES, HEAD_FIELDS, REQUEST_LINE_BYTES};

/// Why a head is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Over a limit.
    #[error(
        "the request head is longer than {HEAD_BYTES} bytes or has more than {HEAD_FIELDS} fields"
    )]
    TooLong,
    /// CR or LF alone, NUL or another control character.
    #[error("the request has a control character or a line end that is not CRLF")]
    Control,
    /// The request line does not parse.
    #[error("the request line is malformed")]
    Line,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    #[error("the request is not HTTP/1.1 or HTTP/1.0")]
    Version,
    /// CONNECT inside an origin's connection.
    #[error("CONNECT is refused: it would hide the destination")]
    Connect,
    /// A field line does not parse, or is folded.
    #[error("a header field is malformed or folded")]
    Field,
    /// No Host, more than one, or one that is no host.
    #[error("the request must have exactly one Host field with a valid host")]
    Host,
    /// Absolute target and Host differ.
    #[error("the request target and its Host field name different hosts")]
    Authority,
    /// Content-Length and Transfer-Encoding together, twice, or not understood.
    #[error("the length of the request body is ambiguous")]
    Length,
    /// A switch to HTTP/2 in clear text, or an upgrade together with a body.
    #[error("this protocol upgrade is refused")]
    Upgrade,
    /// Chunk sizes or trailers do not parse.
    #[error("the chunked body is malformed")]
    Chunk,
}

/// The host that a connection claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A name.
    Name(HostName),
    /// An address literal.
    Address(IpAddr),
}

/// Host and port of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// The host.
    pub host: Claim,
    /// The port, if it is written.
    pub port: Option<u16>,
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// After this many bytes.
    Length(u64),
    /// Chunked coding.
    Chunked,
}

/// A head that was read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The Host field, or the same from an absolute target.
    pub authority: Authority,
    /// The body's end.
    pub body: Body,
    /// Whether another protocol is asked for (WebSocket and the like).
    pub upgrade: bool,
    /// Bytes of the head.
    pub length: usize,
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Where the head ends: after the first empty line. Control characters are refused on the way, so
/// that a head that can never be right is refused before it is whole.
fn find_end(bytes: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut line_start = true;
    let mut rest = bytes.iter().copied().enumerate();
    while let Some((at, byte)) = rest.next() {
        match byte {
            b'\r' => match rest.next() {
                None => return Ok(None),
                Some((end, b'\n')) if line_start => return Ok(Some(end + 1)),
                Some((_, b'\n')) => line_start = true,
                Some(_) => return Err(HeadError::Control),
            },
            b'\t' | b' '..=b'~' | 0x80..=0xff => {
                if line_start && at > 0 && (byte == b' ' || byte == b'\t') {
                    return Err(HeadError::Field);
                }
                line_start = false;
            }
            _ => return Err(HeadError::Control),
        }
    }
    Ok(None)
}

/// Reads a head; `None` while it is not whole.
///
/// # Errors
/// [`HeadError`]: refuse the request and the connection.
pub fn parse(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
    let window = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    let Some(length) = find_end(window)? else {
        return if bytes.len() >= HEAD_BYTES { Err(HeadError::TooLong) } else { Ok(None) };
    };
    let text = window.get(..length.saturating_sub(2)).ok_or(HeadError::Line)?;
    let mut lines = text.split(|byte| *byte == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let line = RequestLine::parse(lines.next().ok_or(HeadError::Line)?)?;
    let mut fields = Fields::default();
    // The text ends with the last field's line end, so the last piece is empty.
    for (count, field) in lines.filter(|l| !l.is_empty()).enumerate() {
        if count >= HEAD_FIELDS {
            return Err(HeadError::TooLong);
        }
        fields.take(field)?;
    }
    fields.finish(&line, length).map(Some)
}

struct RequestLine {
    authority: Option<Authority>,
    old: bool,
}

impl RequestLine {
    fn parse(line: &[u8]) -> Result<Self, HeadError> {
        if line.len() > REQUEST_LINE_BYTES {
            return Err(HeadError::TooLong);
        }
        let line = std::str::from_utf8(line).map_err(|_| HeadError::Line)?;
        let mut parts = line.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(HeadError::Line);
        };
        let old = match version {
            "HTTP/1.1" => false,
            "HTTP/1.0" => true,
            _ => return Err(HeadError::Version),
        };
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(HeadError::Line);
        }
        if method == "CONNECT" {
            return Err(HeadError::Connect);
        }
        if !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
            return Err(HeadError::Line);
        }
        if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
            return Ok(Self { authority: None, old });
        }
        let scheme = target.get(..7).ok_or(HeadError::Line)?;
        if !scheme.eq_ignore_ascii_case("http://") {
            return Err(HeadError::Line);
        }
        let rest = target.get(7..).ok_or(HeadError::Line)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = parse_authority(rest.get(..end).ok_or(HeadError::Line)?)?;
        Ok(Self { authority: Some(authority), old })
    }
}

/// Reads `host[:port]` strictly: no user information, no empty port, no address in odd spelling.
///
/// # Errors
/// [`HeadError::Host`].
pub fn parse_authority(text: &str) -> Result<Authority, HeadError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (inner, tail) = rest.split_once(']').ok_or(HeadError::Host)?;
        let address = inner.parse().map_err(|_| HeadError::Host)?;
        let port = match tail.strip_prefix(':') {
            Some(port) => Some(port),
            None if tail.is_empty() => None,
            None => return Err(HeadError::Host),
        };
        (Claim::Address(IpAddr::V6(address)), port)
    } else {
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = match host.parse::<std::net::Ipv4Addr>() {
            Ok(address) => Claim::Address(IpAddr::V4(address)),
            Err(_) => Claim::Name(host.parse().map_err(|_| HeadError::Host)?),
        };
        (host, port)
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| HeadError::Host)?)
        }
        Some(_) => return Err(HeadError::Host),
    };
    Ok(Authority { host, port })
}

#[derive(Default)]
struct Fields {
    host: Option<Authority>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), HeadError> {
        let colon = line.iter().position(|b| *b == b':').ok_or(HeadError::Field)?;
        let (name, value) = line.split_at(colon);
        if name.is_empty() || !name.iter().copied().all(is_token) {
            return Err(HeadError::Field);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("host") {
            let text = std::str::from_utf8(value).map_err(|_| HeadError::Host)?;
            if self.host.replace(parse_authority(text)?).is_some() {
                return Err(HeadError::Host);
            }
        } else if is("content-length") {
            let plain = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            let text = std::str::from_utf8(value).map_err(|_| HeadError::Length)?;
            let length = text.parse().map_err(|_| HeadError::Length)?;
            if !plain || self.length.replace(length).is_some() {
                return Err(HeadError::Length);
            }
        } else if is("transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::Length);
            }
            self.chunked = true;
        } else if is("upgrade") {
            let lower = value.to_ascii_lowercase();
            if lower.split(|b| *b == b',').any(|p| p.trim_ascii().starts_with(b"h2")) {
                return Err(HeadError::Upgrade);
            }
            self.upgrade = true;
        } else if is("http2-settings") {
            return Err(HeadError::Upgrade);
        } else if name.contains(&b'_') {
            self.look_alike(name)?;
        }
        Ok(())
    }

    /// `Content_Length` and the like: some servers read `_` as `-`.
    fn look_alike(&self, name: &[u8]) -> Result<(), HeadError> {
        let dashed: Vec<u8> =
            name.iter().map(|b| if *b == b'_' { b'-' } else { b.to_ascii_lowercase() }).collect();
        match dashed.as_slice() {
            b"content-length" | b"transfer-encoding" => Err(HeadError::Length),
            _ => Ok(()),
        }
    }

    fn finish(self, line: &RequestLine, length: usize) -> Result<Head, HeadError> {
        let host = self.host.ok_or(HeadError::Host)?;
        if let Some(absolute) = &line.authority {
            let same = absolute.host == host.host
                && absolute.port.unwrap_or(80) == host.port.unwrap_or(80);
            if !same {
                return Err(HeadError::Authority);
            }
        }
        let body = match (self.chunked, self.length) {
            (true, Some(_)) => return Err(HeadError::Length),
            (true, None) if line.old => return Err(HeadError::Length),
            (true, None) => Body::Chunked,
            (false, length) => Body::Length(length.unwrap_or(0)),
        };
        if self.upgrade && body != Body::Length(0) {
            return Err(HeadError::Upgrade);
        }
        Ok(Head { authority: host, body, upgrade: self.upgrade, length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> HeadError {
        parse(text.as_bytes()).expect_err(text)
    }

    fn head(text: &str) -> Head {
        parse(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn a_plain_request_is_read() {
        let text = "POST /a?b HTTP/1.1\r\nHost: Example.com:80\r\nContent-Length: 3\r\nX-Y: \t z\r\n\r\nabc";
        let got = head(text);
        assert_eq!(got.authority.host, Claim::Name("example.com".parse().unwrap()));
        assert_eq!(
            (got.authority.port, got.body, got.length),
            (Some(80), Body::Length(3), text.len() - 3)
        );
        for cut in 0..text.len() - 3 {
            assert_eq!(parse(&text.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        assert!(head("GET / HTTP/1.1\r\nHost: a.b\r\nUpgrade: websocket\r\n\r\n").upgrade);
    }

    #[test]
    fn n13_what_can_be_read_two_ways_is_refused() {
        use HeadError::{Authority, Control, Field, Host, Length, Line, Version};
        let request = |fields: &str| format!("GET / HTTP/1.1\r\nHost: a.b\r\n{fields}\r\n\r\n");
        for (text, want) in [
            (request("Content-Length: 1\r\nTransfer-Encoding: chunked"), Length),
            (request("Content-Length: 1\r\nContent-Length: 1"), Length),
            (request("Content-Length: +1"), Length),
            (request("Content-Length: 1,1"), Length),
            (request("Content-Length: 0x1"), Length),
            (request("Content-Length: 18446744073709551616"), Length),
            (request("Content-Length:"), Length),
            (request("Content_Length: 1"), Length),
            (request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Length),
            (request("Transfer-Encoding: gzip, chunked"), Length),
            (request("Transfer-Encoding: xchunked"), Length),
            (request("Transfer-Encoding: identity"), Length),
            (request("Transfer-Encoding : chunked"), Field),
            (request(" folded: 1"), Field),
            (request("X: a\r\n\tfolded"), Field),
            (request("X: a\nY: b"), Control),
            (request("X: a\rY: b"), Control),
            (request("X: a\0"), Control),
            (request("no colon"), Field),
            (request(": empty"), Field),
            (request("H\u{e4}: 1"), Field),
            (request("Host: a.b"), Host),
            (request("host: c.d"), Host),
            ("GET / HTTP/1.1\r\n\r\n".into(), Host),
            ("GET / HTTP/1.1\n\n".into(), Control),
            ("GET / HTTP/1.1\r\n Host: a.b\r\n\r\n".into(), Field),
            ("GET  / HTTP/1.1\r\nHost: a.b\r\n\r\n".into(), Line),
            ("GET / HTTP/1.1 \r\nHost: a.b\r\n\r\n".into(), Line),
            ("GET /\r\nHost: a.b\r\n\r\n".into(), Line),
            ("GET / HTTP/1.2\r\nHost: a.b\r\n\r\n".into(), Version),
            ("GET / HTTP/2.0\r\nHost: a.b\r\n\r\n".into(), Version),
            ("\r\nGET / HTTP/1.1\r\nHost: a.b\r\n\r\n".into(), Line),
            ("GET http://c.d/ HTTP/1.1\r\nHost: a.b\r\n\r\n".into(), Authority),
            ("GET http://a.b:81/ HTTP/1.1\r\nHost: a.b\r\n\r\n".into(), Authority),
            ("GET http://c.d@a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n".into(), Host),
            ("GET ftp://a.b/ HTTP/1.1\r\nHost: a.b\r\n\r\n".into(), Line),
            ("GET a.b HTTP/1.1\r\nHost: a.b\r\n\r\n".into(), Line),
            ("POST / HTTP/1.0\r\nHost: a.b\r\nTransfer-Encoding: chunked\r\n\r\n".into(), Length),
        ] {
            assert_eq!(error(&text), want, "{text:?}");
        }
    }

    #[test]
    fn n14_tunnels_are_refused() {
        assert_eq!(error("CONNECT a.b:443 HTTP/1.1\r\nHost: a.b\r\n\r\n"), HeadError::Connect);
        for fields in [
            "Upgrade: h2c",
            "Upgrade: websocket, H2C",
            "HTTP2-Settings: AA",
            "Upgrade: x\r\nContent-Length: 1",
        ] {
            assert_eq!(
                error(&format!("GET / HTTP/1.1\r\nHost: a.b\r\n{fields}\r\n\r\n")),
                HeadError::Upgrade
            );
        }
    }

    #[test]
    fn n07_n08_n09_s10_odd_hosts_are_no_hosts() {
        for host in [
            "",
            "a.b:",
            "a.b:x",
            "a.b:99999",
            "a.b:80:80",
            "u@a.b",
            "a.b/",
            "a b",
            "a..b",
            ".a.b",
            "[::1",
            "::1",
            "[::1]x",
            "0x7f.0.0.1",
            "0177.0.0.1.",
            "2130706433",
            "127.1",
            "a.b\t.c",
            "a%00.b",
            "a.b,c.d",
            "\u{e4}.b",
            "a.b..",
            "1.2.3.4.5",
            "[1.2.3.4]",
            "a.b#",
            "-a.b",
        ] {
            assert!(parse_authority(host).is_err(), "{host:?}");
        }
        let mapped = parse_authority("[::ffff:127.0.0.1]:80").unwrap();
        assert_eq!(mapped.host, Claim::Address("::ffff:127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn n25_a_head_bomb_is_refused_at_the_limit() {
        let long = format!("GET / HTTP/1.1\r\nHost: a.b\r\nX: {}", "x".repeat(HEAD_BYTES));
        assert_eq!(error(&long), HeadError::TooLong);
        let many = format!("GET / HTTP/1.1\r\nHost: a.b\r\n{}\r\n", "X: y\r\n".repeat(HEAD_FIELDS));
        assert_eq!(error(&many), HeadError::TooLong);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(Some(head)) = parse(&bytes) {
                prop_assert!(head.length <= bytes.len());
            }
            let mut text = b"GET / HTTP/1.1\r\nHost: a.b\r\n".to_vec();
            text.extend_from_slice(&bytes);
            let _ = parse(&text);
        }
    }
}
