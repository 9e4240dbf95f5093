//! The little HTTP/1.1 that a model client needs: keep-alive, `Content-Length` and chunked bodies
//! in, fixed and chunked bodies out.
//!
//! It serves tests on the loopback. It must never guess at framing: what it does not understand
//! is answered with 400 and the connection is closed.

use std::io::{self, BufRead, Read, Write};

use crate::limits::{MAX_BODY_BYTES, MAX_HEADERS, MAX_LINE_BYTES};

/// A parsed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Method, as sent.
    pub method: String,
    /// Target without the query.
    pub path: String,
    /// Query without the `?`; empty if there is none.
    pub query: String,
    /// Header names in lower case, values trimmed, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The body with its transfer coding removed.
    pub body: Vec<u8>,
    /// Whether the client keeps the connection open.
    pub keep_alive: bool,
}

impl Request {
    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// Why no request could be read.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The bytes are not a request that is understood.
    #[error("bad request: {0}")]
    Bad(&'static str),
    /// The connection failed.
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
}

fn find<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Reads one request; `None` if the client closed the connection between two requests.
///
/// # Errors
/// [`HttpError::Bad`] for anything not understood or above the limits; the caller must close the
/// connection after it.
pub fn read_request(
    reader: &mut impl BufRead,
    writer: &mut impl Write,
) -> Result<Option<Request>, HttpError> {
    let Some(line) = read_line(reader)? else {
        return Ok(None);
    };
    let mut parts = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(HttpError::Bad("request line"));
    };
    if version != "HTTP/1.1" && version != "HTTP/1.0" {
        return Err(HttpError::Bad("version"));
    }
    let headers = read_headers(reader)?;
    let connection = find(&headers, "connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive =
        if version == "HTTP/1.1" { connection != "close" } else { connection == "keep-alive" };
    if find(&headers, "expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        writer.flush()?;
    }
    let body = read_body(reader, &headers)?;
    // A proxy-style target is taken by its path: the gateway may send either form.
    let target = strip_authority(target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body,
        keep_alive,
    }))
}

/// The path and query of an absolute-form target; any other target unchanged.
fn strip_authority(target: &str) -> &str {
    let Some(rest) = target.strip_prefix("http://") else {
        return target;
    };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// Reads one line without its CR LF (or LF); `None` at a clean end of the stream.
fn read_line(reader: &mut impl BufRead) -> Result<Option<String>, HttpError> {
    let mut line = Vec::new();
    reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(HttpError::Bad("line too long or cut off"));
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map(Some).map_err(|_| HttpError::Bad("line is not UTF-8"))
}

fn read_headers(reader: &mut impl BufRead) -> Result<Vec<(String, String)>, HttpError> {
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?.ok_or(HttpError::Bad("headers cut off"))?;
        if line.is_empty() {
            return Ok(headers);
        }
        if headers.len() == MAX_HEADERS {
            return Err(HttpError::Bad("too many headers"));
        }
        let (name, value) = line.split_once(':').ok_or(HttpError::Bad("header line"))?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(HttpError::Bad("header name"));
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(
    reader: &mut impl BufRead,
    headers: &[(String, String)],
) -> Result<Vec<u8>, HttpError> {
    let lengths: Vec<&str> =
        headers.iter().filter(|(k, _)| k == "content-length").map(|(_, v)| v.as_str()).collect();
    match (find(headers, "transfer-encoding"), lengths.as_slice()) {
        (None, []) => Ok(Vec::new()),
        (None, [length]) => {
            // `parse` alone would take a sign.
            if !length.bytes().all(|b| b.is_ascii_digit()) {
                return Err(HttpError::Bad("content-length"));
            }
            let length = length.parse().map_err(|_| HttpError::Bad("content-length"))?;
            let mut body = Vec::new();
            read_exactly(reader, length, &mut body)?;
            Ok(body)
        }
        (Some(coding), []) if coding.eq_ignore_ascii_case("chunked") => read_chunks(reader),
        _ => Err(HttpError::Bad("ambiguous or unknown framing")),
    }
}

fn read_exactly(
    reader: &mut impl BufRead,
    length: u64,
    body: &mut Vec<u8>,
) -> Result<(), HttpError> {
    if (body.len() as u64).saturating_add(length) > MAX_BODY_BYTES {
        return Err(HttpError::Bad("body too large"));
    }
    let got = reader.take(length).read_to_end(body)?;
    if got as u64 != length {
        return Err(HttpError::Bad("body cut off"));
    }
    Ok(())
}

fn read_chunks(reader: &mut impl BufRead) -> Result<Vec<u8>, HttpError> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?.ok_or(HttpError::Bad("chunk cut off"))?;
        let size = line.split(';').next().unwrap_or_default().trim();
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(HttpError::Bad("chunk size"));
        }
        let size = u64::from_str_radix(size, 16).map_err(|_| HttpError::Bad("chunk size"))?;
        if size == 0 {
            read_headers(reader)?; // trailers, ignored
            return Ok(body);
        }
        read_exactly(reader, size, &mut body)?;
        if read_line(reader)?.as_deref() != Some("") {
            return Err(HttpError::Bad("chunk end"));
        }
    }
}

/// Writes a response with a fixed body; for `HEAD`, pass `head = true` to leave the body out.
///
/// # Errors
/// If the connection fails.
pub fn write_response(
    writer: &mut impl Write,
    status: u16,
    content_type: &str,
    body: &[u8],
    head: bool,
    keep_alive: bool,
) -> io::Result<()> {
    write_head(writer, status, content_type, keep_alive)?;
    write!(writer, "content-length: {}\r\n\r\n", body.len())?;
    if !head {
        writer.write_all(body)?;
    }
    writer.flush()
}

/// Writes the head of a chunked response; follow with [`write_chunk`] and [`finish_chunks`].
///
/// # Errors
/// If the connection fails.
pub fn start_chunks(
    writer: &mut impl Write,
    status: u16,
    content_type: &str,
    keep_alive: bool,
) -> io::Result<()> {
    write_head(writer, status, content_type, keep_alive)?;
    writer.write_all(b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n")?;
    writer.flush()
}

/// Writes one chunk and sends it at once. An empty chunk is left out: it would end the body.
///
/// # Errors
/// If the connection fails.
pub fn write_chunk(writer: &mut impl Write, data: &[u8]) -> io::Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    write!(writer, "{:x}\r\n", data.len())?;
    writer.write_all(data)?;
    writer.write_all(b"\r\n")?;
    writer.flush()
}

/// Ends a chunked body.
///
/// # Errors
/// If the connection fails.
pub fn finish_chunks(writer: &mut impl Write) -> io::Result<()> {
    writer.write_all(b"0\r\n\r\n")?;
    writer.flush()
}

fn write_head(
    writer: &mut impl Write,
    status: u16,
    content_type: &str,
    keep_alive: bool,
) -> io::Result<()> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Error",
    };
    let connection = if keep_alive { "keep-alive" } else { "close" };
    write!(
        writer,
        "HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\n\
         connection: {connection}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Option<Request>, HttpError> {
        read_request(&mut io::BufReader::with_capacity(3, text), &mut Vec::new())
    }

    #[test]
    fn chunked_and_fixed_bodies_are_the_same_request() {
        let fixed = b"POST /v1/messages?beta=true HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = b"POST /v1/messages?beta=true HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nT: 1\r\n\r\n";
        for text in [&fixed[..], &chunked[..]] {
            let request = parse(text).unwrap().unwrap();
            assert_eq!(request.body, b"hello");
            assert_eq!(
                (request.path.as_str(), request.query.as_str()),
                ("/v1/messages", "beta=true")
            );
            assert!(request.keep_alive);
        }
    }

    #[test]
    fn absolute_targets_lose_their_authority() {
        let request = parse(b"GET http://x:1/a?b HTTP/1.0\r\n\r\n").unwrap().unwrap();
        assert_eq!((request.path.as_str(), request.query.as_str()), ("/a", "b"));
        assert!(!request.keep_alive);
    }

    #[test]
    fn ambiguous_or_broken_framing_is_refused() {
        for text in [
            &b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                [..],
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
            b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"GET / HTTP/2\r\n\r\n",
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\nA : b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b",
        ] {
            let got = parse(text);
            assert!(matches!(got, Err(HttpError::Bad(_))), "{got:?}");
        }
        assert!(parse(b"").unwrap().is_none());
    }
}
