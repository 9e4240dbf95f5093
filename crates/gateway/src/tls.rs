//! The ClientHello: read across records and segments, for the one name that it asks for.
//!
//! Reads hostile bytes; decrypts nothing and changes nothing (RFC 8446 sections 4.1.2 and 5.1,
//! RFC 6066 section 3).

use ringfence_model::host::HostName;

use crate::limits::HEAD_BYTES;

/// Record type of the handshake protocol.
const HANDSHAKE: u8 = 22;
/// Largest record payload, in bytes (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 1 << 14;
/// Handshake type of the ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Extension numbers (IANA, TLS ExtensionType Values).
const SERVER_NAME: u16 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// Name type of a host name (RFC 6066 section 3).
const HOST_NAME: u8 = 0;

/// The alert `access_denied` as a fatal record (RFC 8446 section 6.2): what a denied client gets.
pub const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];

/// Why the bytes are not a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// Not the handshake protocol of TLS.
    #[error("the first bytes are not a TLS handshake record")]
    Record,
    /// Over the limit.
    #[error("the ClientHello is longer than {HEAD_BYTES} bytes")]
    TooLong,
    /// Does not parse.
    #[error("the ClientHello is malformed")]
    Hello,
    /// Two names, another name type, or no host name.
    #[error("the ClientHello does not ask for exactly one valid host name")]
    Name,
}

/// What matters of a ClientHello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name that the client asks for, if it asks for one.
    pub server_name: Option<HostName>,
    /// Whether it carries an encrypted inner hello, or the same bytes as grease: the two cannot
    /// be told apart, and the outer name is what is judged.
    pub encrypted: bool,
}

/// A slice that is eaten from the front.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        Some(self.take(bytes)?.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)))
    }

    /// A vector with a length of `bytes` bytes before it.
    fn vector(&mut self, bytes: usize) -> Option<Cut<'a>> {
        let length = self.number(bytes)?;
        self.take(length).map(Cut)
    }
}

/// Reads a ClientHello; `None` while it is not whole.
///
/// # Errors
/// [`HelloError`]: refuse the connection.
pub fn parse(bytes: &[u8]) -> Result<Option<Hello>, HelloError> {
    if bytes.len() > HEAD_BYTES {
        return Err(HelloError::TooLong);
    }
    let mut records = Cut(bytes);
    let mut message: Vec<u8> = Vec::new();
    while !records.0.is_empty() {
        if records.0.first() != Some(&HANDSHAKE)
            || records.0.get(1).is_some_and(|major| *major != 3)
        {
            return Err(HelloError::Record);
        }
        let Some(length) =
            records.0.get(3..5).map(|l| l.iter().fold(0, |sum, b| (sum << 8) | usize::from(*b)))
        else {
            return Ok(None);
        };
        if length == 0 || length > RECORD_BYTES {
            return Err(HelloError::Record);
        }
        // A part of a record counts: what it begins with can be refused before it is whole.
        let whole = records.0.len() >= 5 + length;
        let end = records.0.len().min(5 + length);
        message.extend_from_slice(records.0.get(5..end).unwrap_or_default());
        if message.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloError::Hello);
        }
        if let Some(wanted) =
            message.get(1..4).map(|l| l.iter().fold(0, |sum, b| (sum << 8) | usize::from(*b)))
        {
            if wanted + 4 > HEAD_BYTES {
                return Err(HelloError::TooLong);
            }
            if message.len() > wanted + 4 {
                // The hello ends its flight; what follows it in its record hides something.
                return Err(HelloError::Hello);
            }
            if message.len() == wanted + 4 {
                let body = message.get(4..).unwrap_or_default();
                return if whole { read_hello(body).map(Some) } else { Err(HelloError::Hello) };
            }
        }
        if !whole {
            return Ok(None);
        }
        records.0 = records.0.get(end..).unwrap_or_default();
    }
    Ok(None)
}

fn read_hello(body: &[u8]) -> Result<Hello, HelloError> {
    let mut cut = Cut(body);
    let mut front = || {
        cut.take(2 + 32)?;
        cut.vector(1)?;
        cut.vector(2)?;
        cut.vector(1)?;
        if cut.0.is_empty() { Some(Cut(&[])) } else { cut.vector(2).filter(|_| cut.0.is_empty()) }
    };
    let mut extensions = front().ok_or(HelloError::Hello)?;
    let mut hello = Hello { server_name: None, encrypted: false };
    let mut seen = false;
    while !extensions.0.is_empty() {
        let kind = extensions.number(2).ok_or(HelloError::Hello)?;
        let data = extensions.vector(2).ok_or(HelloError::Hello)?;
        if kind == usize::from(SERVER_NAME) {
            if seen {
                return Err(HelloError::Name);
            }
            seen = true;
            hello.server_name = Some(read_name(data)?);
        } else if kind == usize::from(ENCRYPTED_CLIENT_HELLO) {
            hello.encrypted = true;
        }
    }
    Ok(hello)
}

fn read_name(mut data: Cut<'_>) -> Result<HostName, HelloError> {
    let mut one = || {
        let mut list = data.vector(2).filter(|_| data.0.is_empty())?;
        let kind = list.number(1)?;
        let name = list.vector(2)?;
        (kind == usize::from(HOST_NAME) && list.0.is_empty()).then_some(name.0)
    };
    let name = one().ok_or(HelloError::Name)?;
    // RFC 6066: no trailing dot.
    let text = std::str::from_utf8(name).ok().filter(|text| !text.ends_with('.'));
    text.and_then(|text| text.parse().ok()).ok_or(HelloError::Name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vector(size: usize, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.len().to_be_bytes()[8 - size..].to_vec();
        out.extend_from_slice(bytes);
        out
    }

    /// A ClientHello message with these extensions.
    fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend_from_slice(&[7; 32]);
        body.extend_from_slice(&vector(1, &[]));
        body.extend_from_slice(&vector(2, &[0x13, 1]));
        body.extend_from_slice(&vector(1, &[0]));
        let mut all = Vec::new();
        for (kind, data) in extensions {
            all.extend_from_slice(&kind.to_be_bytes());
            all.extend_from_slice(&vector(2, data));
        }
        body.extend_from_slice(&vector(2, &all));
        let mut out = vec![1];
        out.extend_from_slice(&vector(3, &body));
        out
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        let mut out = vec![22, 3, 1];
        out.extend_from_slice(&vector(2, payload));
        out
    }

    fn sni(name: &[u8]) -> (u16, Vec<u8>) {
        let mut entry = vec![0];
        entry.extend_from_slice(&vector(2, name));
        (0, vector(2, &entry))
    }

    /// A whole ClientHello that asks for `name`.
    pub(crate) fn hello(name: Option<&str>) -> Vec<u8> {
        record(&message(&name.map(|name| sni(name.as_bytes())).into_iter().collect::<Vec<_>>()))
    }

    fn name(bytes: &[u8]) -> Option<String> {
        parse(bytes).unwrap().unwrap().server_name.map(|name| name.to_string())
    }

    #[test]
    fn the_name_is_found_however_it_is_cut() {
        assert_eq!(name(&hello(Some("Example.com"))).as_deref(), Some("example.com"));
        assert_eq!(name(&hello(None)), None);
        let whole = message(&[(10, vec![0, 2, 0, 29]), sni(b"a.example"), (0xfe0d, vec![0; 40])]);
        for size in [1, 2, 3, 5, 40, whole.len() - 1] {
            let bytes: Vec<u8> = whole.chunks(size).flat_map(record).collect();
            let hello = parse(&bytes).unwrap().unwrap();
            assert_eq!(hello.server_name.unwrap().as_str(), "a.example");
            assert!(hello.encrypted);
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "{size} {cut}");
            }
        }
    }

    #[test]
    fn n07_n08_n11_s10_odd_names_are_refused() {
        for bad in [
            &b"evil.com\0.allowed.com"[..],
            b"a.example.",
            b"127.0.0.1",
            b"::1",
            b"",
            b"a b",
            b"*.a.example",
            b"\xff.example",
            b"u@a.example",
            b"a.example:443",
        ] {
            assert_eq!(parse(&record(&message(&[sni(bad)]))), Err(HelloError::Name), "{bad:?}");
        }
        let twice = message(&[sni(b"a.example"), sni(b"b.example")]);
        assert_eq!(parse(&record(&twice)), Err(HelloError::Name));
        let mut list = vec![0];
        list.extend_from_slice(&vector(2, b"a.example"));
        list.push(0);
        list.extend_from_slice(&vector(2, b"b.example"));
        assert_eq!(parse(&record(&message(&[(0, vector(2, &list))]))), Err(HelloError::Name));
        let other_kind = (0u16, vector(2, &[1, 0, 1, b'a']));
        assert_eq!(parse(&record(&message(&[other_kind]))), Err(HelloError::Name));
    }

    #[test]
    fn n16_what_is_no_hello_is_refused_at_once() {
        assert_eq!(parse(b"GET / HTTP/1.1"), Err(HelloError::Record));
        assert_eq!(parse(b"SSH-2.0"), Err(HelloError::Record));
        assert_eq!(parse(&[22, 2]), Err(HelloError::Record));
        assert_eq!(parse(&[22, 3, 1, 0, 0]), Err(HelloError::Record));
        assert_eq!(parse(&[22, 3, 1, 0xff, 0xff]), Err(HelloError::Record));
        assert_eq!(parse(&record(&[2, 0, 0, 1, 0])), Err(HelloError::Hello));
        let mut trailing = message(&[]);
        trailing.extend_from_slice(&[1, 0, 0]);
        assert_eq!(parse(&record(&trailing)), Err(HelloError::Hello));
        assert_eq!(parse(&record(&[1, 1, 0, 0])), Err(HelloError::TooLong));
    }

    proptest! {
        #[test]
        fn n25_any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&record(&bytes[..bytes.len().min(255)]));
            let mut start = vec![1];
            start.extend_from_slice(&vector(3, &bytes));
            let _ = parse(&record(&start));
        }
    }
}
