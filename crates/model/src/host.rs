//! Host names, ports and destinations: one strict grammar, parsed once and used by every layer.
//!
//! A name that does not parse here is malformed everywhere; no layer may compare raw strings.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::address::Cidr;
use crate::limits::{HOST_LABEL_BYTES, HOST_NAME_BYTES};

/// The reserved name that stands for the host's own loopback inside a sandbox.
pub const HOST_LOOPBACK_NAME: &str = "host.ringfence";

/// Why a text is not a host, port or destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The text breaks the host grammar.
    #[error("`{}` is not a host name: {why}", text.escape_debug())]
    Name {
        /// What was given.
        text: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The text is not a port, a range or `*`.
    #[error("`{}` is not a port (1 to 65535, a range such as 8000-8010, or `*`)", .0.escape_debug())]
    Port(String),
    /// The text is not an address range.
    #[error("`{}` is not an address range: {why}", text.escape_debug())]
    Cidr {
        /// What was given.
        text: String,
        /// The rule it breaks.
        why: &'static str,
    },
}

/// A fully qualified host name: lower case, letters, digits, hyphens and underscores, no trailing
/// dot (RFC 1123 section 2.1; underscore as many private zones use it). Never an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

impl HostName {
    /// The name, lower case and without a trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the reserved name of the host's loopback.
    #[must_use]
    pub fn is_host_loopback(&self) -> bool {
        self.0 == HOST_LOOPBACK_NAME
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > HOST_NAME_BYTES {
        return Err("it is longer than 253 bytes");
    }
    let mut last = "";
    for label in text.split('.') {
        if label.is_empty() {
            return Err("it has an empty label");
        }
        if label.len() > HOST_LABEL_BYTES {
            return Err("a label is longer than 63 bytes");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label begins or ends with a hyphen");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(
                "only letters, digits, `-`, `_` and dots are allowed (use the xn-- form for other scripts)",
            );
        }
        last = label;
    }
    // WHATWG URL, "ends in a number": such a host is read as an IPv4 address by many parsers.
    let numeric = last.bytes().all(|b| b.is_ascii_digit())
        || (last.len() >= 2
            && last[..2].eq_ignore_ascii_case("0x")
            && last[2..].bytes().all(|b| b.is_ascii_hexdigit()));
    if numeric {
        return Err("its last label is a number, so some programs would read it as an address");
    }
    Ok(())
}

impl FromStr for HostName {
    type Err = HostError;
    /// One trailing dot is accepted and removed; upper case is folded; everything else is strict.
    fn from_str(text: &str) -> Result<Self, HostError> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        check_name(bare).map_err(|why| HostError::Name { text: text.to_owned(), why })?;
        Ok(Self(bare.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for HostName {
    type Error = HostError;
    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0
    }
}

/// Names that a rule covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HostPattern {
    /// Exactly this name.
    Exact(HostName),
    /// Every name below this one at any depth, not the name itself: `*.example.com`.
    Below(HostName),
}

impl HostPattern {
    /// Whether the pattern covers `name`.
    #[must_use]
    pub fn matches(&self, name: &HostName) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Below(parent) => name
                .as_str()
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        match text.strip_prefix("*.") {
            Some(rest) => Ok(Self::Below(rest.parse()?)),
            None => Ok(Self::Exact(text.parse()?)),
        }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = HostError;
    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

/// Ports that a rule covers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ports {
    /// Lowest port.
    pub first: u16,
    /// Highest port.
    pub last: u16,
}

impl Ports {
    /// Every port.
    pub const ANY: Self = Self { first: 1, last: u16::MAX };
    /// The port of HTTPS: what a destination without a port means.
    pub const HTTPS: Self = Self { first: 443, last: 443 };

    /// One port.
    #[must_use]
    pub fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether `port` is covered.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            f.write_str("*")
        } else if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl FromStr for Ports {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = || HostError::Port(text.to_owned());
        let number = |part: &str| -> Result<u16, HostError> {
            let plain = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let value = part.parse::<u16>().map_err(|_| wrong())?;
            if plain && value > 0 { Ok(value) } else { Err(wrong()) }
        };
        if text == "*" {
            return Ok(Self::ANY);
        }
        let (first, last) = match text.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(text)?, number(text)?),
        };
        if first <= last { Ok(Self { first, last }) } else { Err(wrong()) }
    }
}

/// What a network rule is about: names or addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A name or everything below one.
    Name(HostPattern),
    /// An address or a range of them.
    Address(Cidr),
}

/// A target with ports: `example.com`, `*.example.com:8443`, `10.0.0.0/8:5432`, `[fd00::/8]:443`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Destination {
    /// Name or address part.
    pub target: Target,
    /// Port part; 443 where none was written.
    pub ports: Ports,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Name(pattern) => write!(f, "{pattern}:{}", self.ports),
            Target::Address(cidr) if cidr.address().is_ipv6() => {
                write!(f, "[{cidr}]:{}", self.ports)
            }
            Target::Address(cidr) => write!(f, "{cidr}:{}", self.ports),
        }
    }
}

impl FromStr for Destination {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Some(rest) = text.strip_prefix('[') {
            let (inner, tail) = rest
                .split_once(']')
                .ok_or(HostError::Name { text: text.to_owned(), why: "the `[` has no `]`" })?;
            let ports = match tail.strip_prefix(':') {
                Some(ports) => ports.parse()?,
                None if tail.is_empty() => Ports::HTTPS,
                None => return Err(HostError::Port(tail.to_owned())),
            };
            return Ok(Self { target: Target::Address(inner.parse()?), ports });
        }
        // A bare IPv6 address or range has at least two colons and takes no port without brackets.
        if text.matches(':').count() > 1 {
            return Ok(Self { target: Target::Address(text.parse()?), ports: Ports::HTTPS });
        }
        let (host, ports) = match text.split_once(':') {
            Some((host, ports)) => (host, ports.parse()?),
            None => (text, Ports::HTTPS),
        };
        let address = host.contains('/') || host.parse::<IpAddr>().is_ok();
        let target =
            if address { Target::Address(host.parse()?) } else { Target::Name(host.parse()?) };
        Ok(Self { target, ports })
    }
}

impl TryFrom<String> for Destination {
    type Error = HostError;
    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<Destination> for String {
    fn from(destination: Destination) -> Self {
        destination.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n07_n08_n09_malformed_and_look_alike_names() {
        for bad in [
            "",
            ".",
            "a..b",
            "evil.com\0.ok.com",
            "user@host",
            "h%00",
            "ho st",
            "exämple.com",
            "a.1",
            "127.1",
            "0x7f.1",
            "1.2.3.4",
            "a.0x1f",
            "-a.com",
            "a-.com",
            "a/b",
            "a\r\n.b",
            "[::1]",
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
        }
        assert_eq!("GitHub.COM.".parse::<HostName>().unwrap().as_str(), "github.com");
        assert!("github.com..".parse::<HostName>().is_err());
    }

    #[test]
    fn n08_patterns_match_whole_labels_only() {
        let pattern: HostPattern = "*.github.com".parse().unwrap();
        let covers = |name: &str| pattern.matches(&name.parse().unwrap());
        assert!(covers("api.github.com"));
        assert!(covers("a.b.github.com"));
        assert!(!covers("github.com"));
        assert!(!covers("evil-github.com"));
        assert!(!covers("github.com.evil.com"));
        assert!("*".parse::<HostPattern>().is_err());
        assert!("a.*.com".parse::<HostPattern>().is_err());
    }

    #[test]
    fn destinations_round_trip() {
        for (text, canonical) in [
            ("example.com", "example.com:443"),
            ("*.example.com:8000-8010", "*.example.com:8000-8010"),
            ("10.0.0.0/8:5432", "10.0.0.0/8:5432"),
            ("192.0.2.1", "192.0.2.1/32:443"),
            ("[fd00::/8]:80", "[fd00::/8]:80"),
            ("fd00::1", "[fd00::1/128]:443"),
            ("host.ringfence:*", "host.ringfence:*"),
        ] {
            let parsed: Destination = text.parse().unwrap();
            assert_eq!(parsed.to_string(), canonical);
            assert_eq!(canonical.parse::<Destination>().unwrap(), parsed);
        }
        for bad in [
            "a:0",
            "a:99999",
            "a:1-",
            "a:9-8",
            "[::1",
            "[::1]x",
            "a:+1",
            "a: 1",
            "10.0.0.0/33",
            "10.0.0.1/8",
        ] {
            assert!(bad.parse::<Destination>().is_err(), "{bad:?}");
        }
    }
}
