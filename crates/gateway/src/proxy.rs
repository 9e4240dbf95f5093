//! The host's upstream proxy: which destinations go through it, and the CONNECT to it.
//!
//! Only `http://` proxies. The proxy's own address is the host's setting and is not judged; what
//! is asked of it is.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use ringfence_model::address::{AddressClass, Cidr, classify};
use ringfence_model::host::HostName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::ProxySettings;
use crate::error::GatewayError;
use crate::http::head::{Authority, Claim, parse_authority};
use crate::limits::{PROXY_ANSWER, PROXY_HEAD_BYTES};

/// One upstream proxy.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) host: Claim,
    pub(crate) port: u16,
    /// `Basic …`; never printed.
    authorization: Option<String>,
}

/// A destination that goes around the proxy.
#[derive(Debug)]
enum Exception {
    Everything,
    Addresses(Cidr, Option<u16>),
    /// The name itself (unless only names below it are meant) and every name below it.
    Names {
        parent: String,
        below_only: bool,
        port: Option<u16>,
    },
}

/// Which proxy serves what.
#[derive(Default)]
pub(crate) struct Proxies {
    clear: Option<Proxy>,
    other: Option<Proxy>,
    exceptions: Vec<Exception>,
}

impl Proxies {
    pub(crate) fn new(settings: &ProxySettings) -> Result<Self, GatewayError> {
        let set = |value: &Option<String>| {
            value.as_deref().map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned)
        };
        let all = set(&settings.all).map(|value| ("ALL_PROXY", value));
        let pick = |name, value: &Option<String>| {
            let chosen = set(value).map(|value| (name, value)).or_else(|| all.clone());
            chosen.map(|(variable, value)| parse_proxy(variable, &value)).transpose()
        };
        let none = settings.none.as_deref().unwrap_or_default();
        let entries = none.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Ok(Self {
            clear: pick("HTTP_PROXY", &settings.http)?,
            other: pick("HTTPS_PROXY", &settings.https)?,
            exceptions: entries.filter_map(parse_exception).collect(),
        })
    }

    /// The proxy for a destination, if it goes through one.
    pub(crate) fn route(
        &self,
        name: Option<&HostName>,
        address: Option<IpAddr>,
        port: u16,
    ) -> Option<&Proxy> {
        let proxy = if port == 80 { self.clear.as_ref() } else { self.other.as_ref() }?;
        let direct = name.is_some_and(HostName::is_host_loopback)
            || address.is_some_and(|address| classify(address) != AddressClass::Public)
            || self.exceptions.iter().any(|exception| exception.covers(name, address, port));
        if direct { None } else { Some(proxy) }
    }
}

impl Exception {
    fn covers(&self, name: Option<&HostName>, address: Option<IpAddr>, port: u16) -> bool {
        let port_fits = |own: &Option<u16>| own.is_none_or(|own| own == port);
        match self {
            Self::Everything => true,
            Self::Addresses(range, own) => {
                port_fits(own) && address.is_some_and(|a| range.contains(a))
            }
            Self::Names { parent, below_only, port: own } => {
                let fits = |name: &HostName| match name.as_str().strip_suffix(parent.as_str()) {
                    Some("") => !below_only,
                    Some(front) => front.ends_with('.'),
                    None => false,
                };
                port_fits(own) && name.is_some_and(fits)
            }
        }
    }
}

fn parse_exception(entry: &str) -> Option<Exception> {
    if entry == "*" {
        return Some(Exception::Everything);
    }
    if let Ok(range) = entry.parse::<Cidr>() {
        return Some(Exception::Addresses(range, None));
    }
    if let Ok(Authority { host: Claim::Address(address), port }) = parse_authority(entry) {
        return Some(Exception::Addresses(address.to_string().parse().ok()?, port));
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    let below_only = host.starts_with("*.");
    let parent = host.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
    if parent.is_empty() { None } else { Some(Exception::Names { parent, below_only, port }) }
}

fn parse_proxy(variable: &'static str, value: &str) -> Result<Proxy, GatewayError> {
    let wrong = |why: &str| GatewayError::Proxy { variable, why: why.to_owned() };
    let rest = match value.split_once("://") {
        None => value,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) => {
            return Err(wrong(&format!("the scheme {} is not supported", scheme.escape_debug())));
        }
    };
    let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    let (host, port) =
        proxy_authority(authority).ok_or_else(|| wrong("its host does not parse"))?;
    let authorization = match user {
        None => None,
        Some(user) => {
            let decoded =
                percent_decode(user).ok_or_else(|| wrong("its user information does not parse"))?;
            Some(format!("Basic {}", base64(&decoded)))
        }
    };
    Ok(Proxy { host, port, authorization })
}

fn proxy_authority(text: &str) -> Option<(Claim, u16)> {
    let Authority { host, port } = parse_authority(text).ok()?;
    Some((host, port.unwrap_or(80)))
}

fn percent_decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    Some(out)
}

/// RFC 4648 section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte))
            << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = (bits >> (18 - 6 * at)) & 63;
            let char = ALPHABET.get(digit as usize).copied().map_or('=', char::from);
            out.push(if at <= group.len() { char } else { '=' });
        }
    }
    out
}

/// Asks the proxy for a tunnel (RFC 9110 section 9.3.6) and waits until it stands.
pub(crate) async fn tunnel(
    stream: &mut TcpStream,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> io::Result<()> {
    let authority =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut ask = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        // Writing to a string cannot fail.
        let _ = write!(ask, "Proxy-Authorization: {authorization}\r\n");
    }
    ask.push_str("\r\n");
    timeout(PROXY_ANSWER, async {
        stream.write_all(ask.as_bytes()).await?;
        read_answer(stream).await
    })
    .await?
}

/// Reads exactly the answer's head: what follows is the tunnel's.
async fn read_answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= PROXY_HEAD_BYTES {
            return Err(io::Error::other("the proxy's answer is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let ok = line.starts_with("HTTP/1.") && line.get(8..10) == Some(" 2");
    if ok {
        Ok(())
    } else {
        let words: String = line.chars().take(120).collect();
        Err(io::Error::other(format!("the upstream proxy refused: {}", words.escape_debug())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(https: &str, none: &str) -> Proxies {
        let settings = ProxySettings {
            https: Some(https.into()),
            none: Some(none.into()),
            ..ProxySettings::default()
        };
        Proxies::new(&settings).unwrap()
    }

    fn goes(proxies: &Proxies, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        let name: Option<HostName> = host.parse().ok();
        proxies.route(name.as_ref(), address, port).is_some()
    }

    #[test]
    fn exceptions_are_followed() {
        let p = proxies(
            "http://proxy.corp:3128",
            "corp.example, .intra,*.wild.example 8.8.8.0/24,9.9.9.9,port.example:8443",
        );
        for (host, port, through) in [
            ("a.example", 443, true),
            ("corp.example", 443, false),
            ("x.corp.example", 443, false),
            ("notcorp.example", 443, true),
            ("a.intra", 443, false),
            ("wild.example", 443, true),
            ("x.wild.example", 443, false),
            ("8.8.8.8", 443, false),
            ("8.8.4.4", 443, true),
            ("9.9.9.9", 443, false),
            ("port.example", 8443, false),
            ("port.example", 443, true),
            ("10.0.0.1", 443, false),
            ("host.ringfence", 443, false),
            ("a.example", 80, false),
        ] {
            assert_eq!(goes(&p, host, port), through, "{host}:{port}");
        }
        assert!(!goes(&proxies("proxy.corp", "*"), "a.example", 443));
    }

    #[test]
    fn what_cannot_be_followed_stops_the_start() {
        for bad in
            ["https://proxy.corp", "socks5://p:1080", "http://", "http://a b", "http://u%zz@p.q"]
        {
            let settings = ProxySettings { all: Some(bad.into()), ..ProxySettings::default() };
            assert!(matches!(Proxies::new(&settings), Err(GatewayError::Proxy { .. })), "{bad}");
        }
    }

    #[test]
    fn user_information_becomes_basic() {
        let p = proxies("http://al%40ice:pa:ss@proxy.corp:8080/", "");
        let proxy = p.other.unwrap();
        assert_eq!(
            (proxy.port, proxy.authorization.as_deref()),
            (8080, Some("Basic YWxAaWNlOnBhOnNz"))
        );
        assert_eq!(
            (base64(b"a"), base64(b"ab"), base64(b"")),
            ("YQ==".into(), "YWI=".into(), String::new())
        );
    }
}
