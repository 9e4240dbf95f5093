//! What the first bytes of a connection are, and whether what they claim fits what was dialled.
//!
//! Judges bytes only; what is permitted is the authority's matter.

use std::net::IpAddr;

use ringfence_model::decision::Reason;
use ringfence_model::host::HostName;
use ringfence_model::request::Protocol;

use crate::http::head::{self, Authority, Claim, Head};
use crate::tls::{self, Hello};

/// The methods by which clear-text HTTP is known (IANA, HTTP Method Registry: those in use).
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
/// Longest of them.
const METHOD_BYTES: usize = 9;

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
        Some(22) if bytes.get(1).is_none_or(|major| *major == 3) => tls::parse(bytes)
            .map(|hello| hello.map(First::Tls))
            .map_err(|error| Refusal {
                protocol: Protocol::Tls,
                reason: Reason::Malformed {
                    what: error.to_string(),
                },
            }),
        Some(_) => match looks_like_http(bytes) {
            None => Ok(None),
            Some(false) => Ok(Some(First::Opaque)),
            Some(true) => http(bytes),
        },
    }
}

fn http(bytes: &[u8]) -> Result<Option<First>, Refusal> {
    let refuse = |what: String| Refusal {
        protocol: Protocol::Http,
        reason: Reason::Malformed { what },
    };
    if bytes.starts_with(b"PRI ") {
        return Err(refuse("HTTP/2 in clear text is not supported".to_owned()));
    }
    head::parse(bytes)
        .map(|head| head.map(First::Http))
        .map_err(|error| refuse(error.to_string()))
}

/// Whether the bytes begin with a known method and a space; `None` while that is open.
fn looks_like_http(bytes: &[u8]) -> Option<bool> {
    let Some(space) = bytes
        .iter()
        .take(METHOD_BYTES + 1)
        .position(|byte| *byte == b' ')
    else {
        let open = METHODS.iter().any(|method| method.starts_with(bytes));
        return if open { None } else { Some(false) };
    };
    let (method, rest) = bytes.split_at(space);
    if !METHODS.contains(&method) {
        return Some(false);
    }
    // NATS says `CONNECT {`; no request target begins so.
    rest.get(1).map(|byte| *byte != b'{')
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
        Err(Reason::Malformed {
            what: what.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::tests::hello;

    fn dialled(name: &str, port: u16) -> Dialled {
        Dialled {
            name: Some(name.parse().unwrap()),
            address: None,
            port,
            claimed: None,
        }
    }

    fn request(host: &str) -> Authority {
        head::parse_authority(host).unwrap()
    }

    #[test]
    fn protocols_are_told_apart() {
        assert!(matches!(
            classify(&hello(Some("a.b"))),
            Ok(Some(First::Tls(_)))
        ));
        let get = b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n";
        assert!(matches!(classify(get), Ok(Some(First::Http(_)))));
        for bytes in [
            &b""[..],
            b"G",
            b"GET",
            b"GET ",
            b"CONNECT ",
            b"PROPPATC",
            &[22],
            &[22, 3],
        ] {
            assert_eq!(classify(bytes), Ok(None), "{bytes:?}");
        }
        for bytes in [
            &b"SSH-2.0"[..],
            b"\0\0\0\x08",
            b"GETX /",
            b"NICK x",
            b"CONNECT {\"",
            &[22, 9],
            b"get /",
        ] {
            assert_eq!(classify(bytes), Ok(Some(First::Opaque)), "{bytes:?}");
        }
        for bytes in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            b"CONNECT a.b:443 HTTP/1.1\r\n\r\n",
            b"GET /\n",
        ] {
            assert_eq!(
                classify(bytes).unwrap_err().protocol,
                Protocol::Http,
                "{bytes:?}"
            );
        }
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
            assert_eq!(
                http.check_http(&request(other)),
                Err(Reason::NameMismatch),
                "{other}"
            );
        }
        let tls = dialled("a.example", 443);
        for name in [None, Some("b.example".parse().unwrap())] {
            let hello = Hello {
                server_name: name,
                encrypted: false,
            };
            assert_eq!(tls.check_tls(&hello), Err(Reason::NameMismatch));
        }
    }

    #[test]
    fn a_dialled_address_keeps_the_first_claim() {
        let address = Some("192.0.2.1".parse().unwrap());
        let mut raw = Dialled {
            name: None,
            address,
            port: 80,
            claimed: None,
        };
        assert_eq!(raw.check_http(&request("192.0.2.1")), Ok(None));
        assert_eq!(
            raw.check_http(&request("192.0.2.2")),
            Err(Reason::NameMismatch)
        );
        raw.claimed = raw.check_http(&request("a.example")).unwrap();
        assert!(raw.check_http(&request("a.example")).is_ok());
        assert_eq!(
            raw.check_http(&request("b.example")),
            Err(Reason::NameMismatch)
        );
    }

    #[test]
    fn n16_ports_hold_their_protocol() {
        let head = head::parse(b"GET / HTTP/1.1\r\nHost: a.b\r\n\r\n")
            .unwrap()
            .unwrap();
        let tls = First::Tls(Hello {
            server_name: None,
            encrypted: false,
        });
        assert!(dialled("a.b", 443).check_port(&First::Opaque).is_err());
        assert!(
            dialled("a.b", 443)
                .check_port(&First::Http(head.clone()))
                .is_err()
        );
        assert!(dialled("a.b", 80).check_port(&tls).is_err());
        assert!(dialled("a.b", 80).check_port(&First::Opaque).is_err());
        assert!(dialled("a.b", 443).check_port(&tls).is_ok());
        assert!(dialled("a.b", 80).check_port(&First::Http(head)).is_ok());
        assert!(dialled("a.b", 22).check_port(&First::Opaque).is_ok());
    }
}
