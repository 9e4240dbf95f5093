//! The status of a server's answer to an upgrade: is the connection another protocol's now?
//!
//! Only used on the first answer of a connection, so no body has to be skipped.

/// What the answer's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not whole yet.
    Partial,
    /// 101: from here on it is another protocol.
    Switching,
    /// Any other final status, or nothing that reads as HTTP/1: requests go on being judged.
    Other,
}

/// Longest line of an interim answer looked at, in bytes.
const INTERIM_BYTES: usize = 16 * 1024;

/// Reads the first final status; interim answers (1xx but 101) are passed over.
#[must_use]
pub fn read(bytes: &[u8]) -> Status {
    let mut rest = bytes;
    loop {
        let Some(line) = rest.get(..13) else {
            return if bytes.len() > INTERIM_BYTES || !could_be(rest) {
                Status::Other
            } else {
                Status::Partial
            };
        };
        let code = line.get(9..12).unwrap_or_default();
        if !could_be(rest) || !code.iter().all(u8::is_ascii_digit) {
            return Status::Other;
        }
        match code {
            b"101" => return Status::Switching,
            [b'1', ..] => {}
            _ => return Status::Other,
        }
        let Some(end) = rest.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if bytes.len() > INTERIM_BYTES { Status::Other } else { Status::Partial };
        };
        rest = rest.get(end + 4..).unwrap_or_default();
    }
}

fn could_be(bytes: &[u8]) -> bool {
    let want = b"HTTP/1.1 ";
    let length = bytes.len().min(want.len());
    bytes.get(..length) == want.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_final_101_switches() {
        for (text, want) in [
            ("", Status::Partial),
            ("HTTP/1.1 10", Status::Partial),
            ("HTTP/1.1 101 S\r\n", Status::Switching),
            ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 x", Status::Other),
            ("HTTP/1.1 100 Continue\r\n\r\n", Status::Partial),
            ("HTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 101 S\r\n", Status::Switching),
            ("HTTP/1.1 1x1 S\r\n", Status::Other),
            ("SSH-2.0-x", Status::Other),
        ] {
            assert_eq!(read(text.as_bytes()), want, "{text:?}");
        }
    }
}
