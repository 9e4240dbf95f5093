//! What the first bytes of a connection are, and whether what they claim fits what was dialled.
//!
//! Judges bytes only; what is permitted is the authority's matter.

use std::net::IpAddr;

use ringfence_model::decision::Reason;
use ringfence_model::host::HostName;
use ringfence_model::request::Protocol;

use crate::http::head::{self, Authority, Claim, Head, is_token};
use crate::limits::HEAD_BYTES;
use crate::tls::{self, Hello};

/// Methods that are known at once (IANA, HTTP Method Registry: those in use). Any other word before
/// ` HTTP/` makes a request too, since servers read them so.
const METHODS: [&[u8]; 21] = [
    b"GET",
    b"HEAD",
    b"POST",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"MERGE",
    b"CHECKOUT",
    b"QUERY",
];

/// What a client said first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum First {
    /// A whole ClientHello.
    Tls(Hello),
    /// A whole request head.
    Http(Head),
    /// Something else.
    Opaque,
}

impl First {
    /// Whether it may name a second host that nobody on the way can read.
    #[must_use]
    pub fn hides_a_name(&self) -> bool {
        matches!(self, Self::Tls(hello) if hello.encrypted)
    }
}

/// Why the first bytes are refused, and what they began as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The protocol.
    pub protocol: Protocol,
    /// Why.
    pub reason: Reason,
}

/// Classifies the first bytes; `None` while more are needed.
///
/// # Errors
/// [`Refusal`] for what began as TLS or HTTP and is malformed.
pub fn classify(bytes: &[u8]) -> Result<Option<First>, Refusal> {
    match bytes.first() {
        None => Ok(None),
        // A TLS record (RFC 8446 section 5.1).
        Some(22) if bytes.get(1).is_none_or(|major| *major == 3) => {
            tls::parse(bytes).map(|hello| hello.map(First::Tls)).map_err(|error| Refusal {
                protocol: Protocol::Tls,
                reason: Reason::Malformed { what: error.to_string() },
            })
        }
        Some(_) => match shape(bytes) {
            Shape::Open if bytes.len() < HEAD_BYTES => Ok(None),
            Shape::Other => Ok(Some(First::Opaque)),
            Shape::Open | Shape::Http => http(bytes),
        },
    }
}

/// The same for a client that says nothing more: a line that never ends is no request.
#[must_use]
pub fn at_end(bytes: &[u8]) -> Option<First> {
    let opaque = bytes.first() != Some(&22) && shape(bytes) == Shape::Open;
    opaque.then_some(First::Opaque)
}

/// Whether a refused client that has said this may be waiting for words in HTTP or TLS, so that it
/// is worth hearing the rest of its head.
#[must_use]
pub fn awaits_words(bytes: &[u8]) -> bool {
    let known = |method: &&[u8]| method.starts_with(bytes) || bytes.starts_with(method);
    !bytes.is_empty() && (bytes.first() == Some(&22) || METHODS.iter().any(known))
}

fn http(bytes: &[u8]) -> Result<Option<First>, Refusal> {
    let refuse =
        |what: String| Refusal { protocol: Protocol::Http, reason: Reason::Malformed { what } };
    if bytes.starts_with(b"PRI ") {
        return Err(refuse("HTTP/2 in clear text is not supported".to_owned()));
    }
    head::parse(bytes).map(|head| head.map(First::Http)).map_err(|error| refuse(error.to_string()))
}

/// What bytes look like before they are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// More is needed.
    Open,
    Http,
    Other,
}

/// Whether a server might read a request here, however badly it is written: empty lines first
/// (RFC 9112 section 2.2), any method, other white space than one space (section 3). Whatever is
/// not `Other` is parsed strictly, so that all this is refused.
fn shape(bytes: &[u8]) -> Shape {
    let empty = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    let rest = bytes.get(empty.count()..).unwrap_or_default();
    let method = rest.iter().take_while(|b| is_token(**b)).count();
    let (method, rest) = rest.split_at(method);
    let Some((space, rest)) = rest.split_first() else {
        return Shape::Open;
    };
    if method.is_empty() || !is_space(*space) {
        return Shape::Other;
    }
    if METHODS.contains(&method) {
        // NATS says `CONNECT {`; no request target begins so.
        return match rest.first() {
            None => Shape::Open,
            Some(b'{') => Shape::Other,
            Some(_) => Shape::Http,
        };
    }
    let line = rest.iter().take_while(|b| **b != b'\n').count();
    let (line, end) = rest.split_at(line);
    if line.iter().any(|b| b.is_ascii_control() && !is_space(*b) && *b != b'\r') {
        return Shape::Other;
    }
    let words = line.split(|b| is_space(*b) || *b == b'\r');
    let mut versions =
        words.filter(|w| w.get(..5).is_some_and(|w| w.eq_ignore_ascii_case(b"HTTP/")));
    match (versions.next(), end.is_empty()) {
        (Some(_), _) => Shape::Http,
        (None, true) => Shape::Open,
        (None, false) => Shape::Other,
    }
}

/// White space that some servers take between the words of a request line.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0b | 0x0c)
}

/// What was dialled, to hold claims against.
#[derive(Clone, Debug)]
pub struct Dialled {
    /// The name, if a synthetic address was dialled.
    pub name: Option<HostName>,
    /// The address, if the client dialled one of its own.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The name that an earlier request of this connection claimed, where an address was dialled.
    pub claimed: Option<HostName>,
}

impl Dialled {
    /// The name that a ClientHello claims.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn check_tls(&self, hello: &Hello) -> Result<Option<HostName>, Reason> {
        match (&self.name, &hello.server_name) {
            (Some(dialled), Some(asked)) if dialled == asked => Ok(Some(asked.clone())),
            (Some(_), _) => Err(Reason::NameMismatch),
            (None, asked) => Ok(asked.clone()),
        }
    }

    /// The name that a request claims.
    ///
    /// # Errors
    /// Why it does not fit.
    pub fn check_http(&self, authority: &Authority) -> Result<Option<HostName>, Reason> {
        if authority.port.is_some_and(|port| port != self.port) {
            return Err(Reason::NameMismatch);
        }
        match (&self.name, &authority.host) {
            (Some(dialled), Claim::Name(asked)) if dialled == asked => Ok(Some(asked.clone())),
            // A development server on the host's loopback knows itself as localhost.
            (Some(dialled), Claim::Name(asked))
                if dialled.is_host_loopback() && asked.as_str() == "localhost" =>
            {
                Ok(None)
            }
            (Some(_), _) => Err(Reason::NameMismatch),
            (None, Claim::Address(asked)) if Some(asked.to_canonical()) == self.address => Ok(None),
            (None, Claim::Address(_)) => Err(Reason::NameMismatch),
            (None, Claim::Name(asked)) => match &self.claimed {
                Some(earlier) if earlier != asked => Err(Reason::NameMismatch),
                _ => Ok(Some(asked.clone())),
            },
        }
    }

    /// What the port demands: TLS on 443, HTTP on 80.
    ///
    /// # Errors
    /// Why the bytes are not for this port.
    pub fn check_port(&self, first: &First) -> Result<(), Reason> {
        let what = match (self.port, first) {
            (443, First::Http(_) | First::Opaque) => "port 443 is for TLS",
            (80, First::Tls(_) | First::Opaque) => "port 80 is for clear-text HTTP",
            _ => return Ok(()),
        };
        Err(Reason::Malformed { what: what.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::hello;

    fn dialled(name: &str, port: u16) -> Dialled {
        Dialled { name: Some(name.parse().unwrap()), address: None, port, claimed: None }
    }

    fn request(host: &str) -> Authority {
        head::parse_authority(host).unwrap()
    }

    #[test]
    fn protocols_are_told_apart() {
        assert!(matches!(classify(&hello(Some("a.b"))), Ok(Some(First::Tls(_)))));
        let get = b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n";
        assert!(matches!(classify(get), Ok(Some(First::Http(_)))));
        for bytes in [&b""[..], b"G", b"GET", b"GET ", b"CONNECT ", b"PROPPATC", &[22], &[22, 3]] {
            assert_eq!(classify(bytes), Ok(None), "{bytes:?}");
        }
        for bytes in [
            &b"SSH-2.0-x\r"[..],
            b"\0\0\0\x08",
            b"GETX /\n",
            b"NICK x\r\n",
            b"PING\r\n",
            b"0032git-upload-pack /x\0host=y",
            b"Content-Length: 2\r\n",
            b"SETUP rtsp://h/ RTSP/1.0\r\n",
            b"\n\x05hello",
            b"CONNECT {\"",
            &[22, 9],
            b"{\"a\": 1}",
        ] {
            assert_eq!(classify(bytes), Ok(Some(First::Opaque)), "{bytes:?}");
        }
        for bytes in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            b"CONNECT a.b:443 HTTP/1.1\r\n\r\n",
            b"GET /\n",
        ] {
            assert_eq!(classify(bytes).unwrap_err().protocol, Protocol::Http, "{bytes:?}");
        }
    }

    /// N11: whatever a lenient server reads as a request is judged as one, in pieces or at once.
    #[test]
    fn n11_a_disguised_head_is_no_other_protocol() {
        for head in [
            "\r\nGET / HTTP/1.1\r\n",
            "\n\nGET / HTTP/1.1\r\n",
            "FOO-BAR / HTTP/1.1\r\n",
            "get / HTTP/1.1\r\n",
            "GET\t/\tHTTP/1.1\r\n",
            "FOO\t/\x0bhttp/1.0\n",
            "FOO / HTTP/1.1 \r\n",
            "FOO / x HTTP/1.1\r\n",
            &format!("{} / HTTP/1.1\r\n", "M".repeat(4000)),
        ] {
            for cut in 0..head.len() {
                let part = classify(&head.as_bytes()[..cut]);
                assert!(!matches!(part, Ok(Some(_))), "{head:?} {cut}: {part:?}");
            }
            let whole = classify(format!("{head}Host: a.b\r\n\r\n").as_bytes());
            assert!(
                !matches!(whole, Ok(None | Some(First::Opaque | First::Tls(_)))),
                "{head:?}: {whole:?}"
            );
        }
        for endless in [b'\n', b'M'] {
            assert!(classify(&[endless; HEAD_BYTES]).is_err());
        }
        assert_eq!(at_end(b"ruok"), Some(First::Opaque));
        assert_eq!(at_end(b"GET / HTTP/1.1\r\nHost: a.b\r\n"), None);
        assert!(awaits_words(b"GE") && awaits_words(b"GET / H") && !awaits_words(b"x"));
    }

    #[test]
    fn n11_s11_claims_must_be_the_dialled_name() {
        let http = dialled("a.example", 80);
        assert!(http.check_http(&request("A.example.")).is_ok());
        assert!(http.check_http(&request("a.example:80")).is_ok());
        for other in [
            "b.example",
            "evil-a.example",
            "a.example.evil.com",
            "a.example:81",
            "10.0.0.1",
            "sub.a.example",
        ] {
            assert_eq!(http.check_http(&request(other)), Err(Reason::NameMismatch), "{other}");
        }
        let tls = dialled("a.example", 443);
        for name in [None, Some("b.example".parse().unwrap())] {
            let hello = Hello { server_name: name, encrypted: false };
            assert_eq!(tls.check_tls(&hello), Err(Reason::NameMismatch));
        }
    }

    #[test]
    fn a_dialled_address_keeps_the_first_claim() {
        let address = Some("192.0.2.1".parse().unwrap());
        let mut raw = Dialled { name: None, address, port: 80, claimed: None };
        assert_eq!(raw.check_http(&request("192.0.2.1")), Ok(None));
        assert_eq!(raw.check_http(&request("192.0.2.2")), Err(Reason::NameMismatch));
        raw.claimed = raw.check_http(&request("a.example")).unwrap();
        assert!(raw.check_http(&request("a.example")).is_ok());
        assert_eq!(raw.check_http(&request("b.example")), Err(Reason::NameMismatch));
    }

    #[test]
    fn n16_ports_hold_their_protocol() {
        let head = head::parse(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n").unwrap().unwrap();
        let tls = First::Tls(Hello { server_name: None, encrypted: false });
        assert!(dialled("a.b", 443).check_port(&First::Opaque).is_err());
        assert!(dialled("a.b", 443).check_port(&First::Http(head.clone())).is_err());
        assert!(dialled("a.b", 80).check_port(&tls).is_err());
        assert!(dialled("a.b", 80).check_port(&First::Opaque).is_err());
        assert!(dialled("a.b", 443).check_port(&tls).is_ok());
        assert!(dialled("a.b", 80).check_port(&First::Http(head)).is_ok());
        assert!(dialled("a.b", 22).check_port(&First::Opaque).is_ok());
    }
}
