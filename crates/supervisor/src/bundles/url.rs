//! The address of a server as tools write it, without what may be secret in it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// `http` or `https`, host, port and path. User and password are dropped when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub secure: bool,
    /// Lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// With its first slash; without query and fragment.
    pub path: String,
}

/// What a host is.
pub(super) enum Place<'u> {
    /// The host's loopback as `host.ringfence` leads there.
    Loopback,
    /// Another address of the loopback.
    OtherLoopback(IpAddr),
    /// An address.
    Address(IpAddr),
    /// A name.
    Name(&'u str),
}

impl Url {
    pub fn place(&self) -> Place<'_> {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(v4)) if v4 == std::net::Ipv4Addr::LOCALHOST => Place::Loopback,
            Ok(IpAddr::V6(v6)) if v6.is_loopback() => Place::Loopback,
            Ok(address) if address.is_loopback() => Place::OtherLoopback(address),
            Ok(address) => Place::Address(address),
            Err(_) if self.host == "localhost" => Place::Loopback,
            Err(_) => Place::Name(&self.host),
        }
    }

    /// Whether it leads to the host's own loopback.
    pub fn is_loopback(&self) -> bool {
        matches!(self.place(), Place::Loopback)
    }

    /// The same server as it is named inside.
    pub fn inside(&self) -> Self {
        let mut own = self.clone();
        if self.is_loopback() {
            own.host = ringfence_model::host::HOST_LOOPBACK_NAME.to_owned();
        }
        own
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.secure { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://")?;
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?
        } else {
            f.write_str(&self.host)?
        }
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text.strip_prefix("sparse+").or(text.strip_prefix("registry+")).unwrap_or(text);
        // The text may hold a password, so a message never repeats it.
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err("it is no http or https address".to_owned()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
            Some((host, tail)) => (host, tail.strip_prefix(':')),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => {
                port.parse().ok().filter(|port| *port > 0).ok_or("its port is no number")?
            }
            None if secure => 443,
            None => 80,
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-:".contains(c);
        let path_plain = |c: char| c.is_ascii_graphic() && !"\"'<>\\`$".contains(c);
        if host.is_empty() || !host.chars().all(plain) || !path.chars().all(path_plain) {
            return Err("its host or path is malformed".to_owned());
        }
        Ok(Self { secure, host: host.to_lowercase(), port, path: path.to_owned() })
    }
}
