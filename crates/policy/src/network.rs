//! Network entries of a definition: parsing, over-breadth, rules that can match nothing, coverage.
//!
//! Nothing here decides about a connection; it says which rules may exist.

use ringfence_model::address::{AddressClass, Cidr, classify};
use ringfence_model::boundary::Publish;
use ringfence_model::host::{
    Destination, HOST_LOOPBACK_NAME, HostError, HostPattern, Ports, Target,
};
use ringfence_model::provenance::Layer;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::bundle::Bundle;
use crate::error::Fault;
use crate::limits::{ALLOW_PREFIX_V4, ALLOW_PREFIX_V6};

/// Top-level names that have no public registry, so that everything below them is one owner's.
const PRIVATE_TOPS: &[&str] =
    &["corp", "home", "internal", "intranet", "lan", "local", "localdomain", "private", "test"];

fn value(key: &str, text: &str, why: impl ToString) -> Fault {
    Fault::Value { key: key.to_owned(), text: text.to_owned(), why: why.to_string() }
}

fn broad(what: &str, why: &str, instead: &str) -> Fault {
    Fault::OverBroad { what: what.to_owned(), why: why.to_owned(), instead: instead.to_owned() }
}

fn nothing(what: &str, why: &str, instead: impl Into<String>) -> Fault {
    Fault::MatchesNothing { what: what.to_owned(), why: why.to_owned(), instead: instead.into() }
}

/// A scheme or a path shows that a URL was pasted; say so instead of naming a grammar rule.
fn check_url(key: &str, text: &str) -> Result<(), Fault> {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        return Err(value(
            key,
            text,
            format!("a destination is HOST[:PORT], not a URL; write \"{host}\""),
        ));
    }
    Ok(())
}

/// Parses a destination that is to be reached.
pub(crate) fn allow(text: &str) -> Result<Destination, Fault> {
    const KEY: &str = "network.allow";
    check_url(KEY, text)?;
    let host = text.split_once(':').map_or(text, |(host, _)| host);
    if host == "*" || host == "*." {
        return Err(broad(
            text,
            "it is every host",
            "name the hosts, such as \"api.example.com\" or \"*.example.com\"",
        ));
    }
    destination(KEY, text)
}

fn destination(key: &str, text: &str) -> Result<Destination, Fault> {
    text.parse().map_err(|error: HostError| {
        // `::1/128:80` is the usual mistake: the port of an IPv6 range needs brackets.
        let bare = text.matches(':').count() > 1 && !text.starts_with('[');
        let why = match text.rsplit_once(':') {
            Some((range, port)) if bare && range.contains('/') => {
                format!("a port after an IPv6 range needs brackets; write \"[{range}]:{port}\"")
            }
            _ => error.to_string(),
        };
        value(key, text, why)
    })
}

/// Parses a destination that is refused; without a port it means every port.
pub(crate) fn deny(text: &str) -> Result<Destination, Fault> {
    const KEY: &str = "network.deny";
    check_url(KEY, text)?;
    if text.split_once(':').map_or(text, |(host, _)| host) == "*" {
        return Err(value(
            KEY,
            text,
            "everything is denied that no `allow` names; to take back what other layers allow, \
             write `allow = []`, or deny \"0.0.0.0/0\" and \"::/0\"",
        ));
    }
    if Bundle::find(text).is_some() {
        return Err(value(
            KEY,
            text,
            "a bundle can only be allowed; name the hosts that are refused",
        ));
    }
    let mut parsed = destination(KEY, text)?;
    if !writes_port(text) {
        parsed.ports = Ports::ANY;
    }
    Ok(parsed)
}

/// Whether a destination that parses has its port written; a bare IPv6 address never has.
fn writes_port(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.contains("]:"),
        None => text.matches(':').count() == 1,
    }
}

/// The port of the Domain Name System (RFC 1035 section 4.2).
const NAME_SERVICE: u16 = 53;

/// Parses one of the ranges of `addresses`.
pub(crate) fn range(text: &str) -> Result<Cidr, Fault> {
    const KEY: &str = "network.allow.addresses";
    let cidr: Cidr = text.parse().map_err(|error| value(KEY, text, error))?;
    check_range(text, cidr)?;
    Ok(cidr)
}

fn check_range(what: &str, cidr: Cidr) -> Result<(), Fault> {
    let least = if cidr.address().is_ipv4() { ALLOW_PREFIX_V4 } else { ALLOW_PREFIX_V6 };
    if cidr.prefix() < least {
        let why = format!("it covers more than a /{least}");
        return Err(broad(
            what,
            &why,
            "name the networks that are needed, such as \"10.1.0.0/16\"",
        ));
    }
    Ok(())
}

/// Refuses a permit that is too broad or that can match nothing.
pub(crate) fn check_allow(
    text: &str,
    destination: &Destination,
    addresses: &[Cidr],
    layer: Layer,
) -> Result<(), Fault> {
    if destination.ports == Ports::one(NAME_SERVICE) {
        return Err(nothing(
            text,
            "port 53 is answered by the gateway itself, whatever is dialled, so nothing ever gets there",
            "remove it; names are looked up outside for every allowed host",
        ));
    }
    match &destination.target {
        Target::Name(pattern) => check_name(text, pattern, addresses)?,
        Target::Address(cidr) => {
            if !addresses.is_empty() {
                return Err(nothing(
                    text,
                    "`addresses` says where a name may lead, and this is no name",
                    "remove `addresses`",
                ));
            }
            check_range(text, *cidr)?;
            check_address(text, *cidr, destination.ports)?;
        }
    }
    let ranges = addresses.iter().chain(match &destination.target {
        Target::Address(cidr) => Some(cidr),
        Target::Name(_) => None,
    });
    for cidr in ranges {
        if is_metadata(*cidr) && !matches!(layer, Layer::User | Layer::CommandLine | Layer::Grant) {
            return Err(Fault::Sensitive {
                path: text.to_owned(),
                why: "the machine's cloud credentials (instance metadata)".to_owned(),
                instead: "give it on the command line with --allow if you mean it".to_owned(),
            });
        }
    }
    Ok(())
}

/// Whether a range is exactly one metadata address; wider ranges never open one.
pub(crate) fn is_metadata(cidr: Cidr) -> bool {
    let single = if cidr.address().is_ipv4() { 32 } else { 128 };
    cidr.prefix() == single && classify(cidr.address()) == AddressClass::Metadata
}

fn check_name(text: &str, pattern: &HostPattern, addresses: &[Cidr]) -> Result<(), Fault> {
    match pattern {
        HostPattern::Below(parent) => {
            let name = parent.as_str();
            if name == "ringfence" {
                return Err(nothing(
                    text,
                    "the host's loopback is one name",
                    format!("write \"{HOST_LOOPBACK_NAME}:PORT\""),
                ));
            }
            if !name.contains('.') && !PRIVATE_TOPS.contains(&name) {
                return Err(broad(
                    text,
                    "it is a whole top-level domain",
                    "name the domain below it, such as \"*.example.com\"",
                ));
            }
            Ok(())
        }
        HostPattern::Exact(name) if name.is_host_loopback() => {
            if addresses.is_empty() {
                Ok(())
            } else {
                Err(nothing(text, "the host's loopback has one address", "remove `addresses`"))
            }
        }
        HostPattern::Exact(name) if name.as_str() == "localhost" => Err(nothing(
            text,
            "inside, localhost is the sandbox itself",
            format!("write \"{HOST_LOOPBACK_NAME}:PORT\" for the host's loopback"),
        )),
        HostPattern::Exact(name) if !name.as_str().contains('.') => Err(nothing(
            text,
            "names without a dot are never looked up",
            format!("write the full name, its address, or a bundle: {}", Bundle::names()),
        )),
        HostPattern::Exact(_) => Ok(()),
    }
}

/// An agent's connection to its own loopback or to a synthetic address is never judged by address.
fn check_address(text: &str, cidr: Cidr, ports: Ports) -> Result<(), Fault> {
    let synthetic = matches!(cidr.address(), IpAddr::V4(a) if {
        let range: u32 = u32::from(Ipv4Addr::new(198, 18, 0, 0)) >> 17;
        cidr.prefix() >= 15 && u32::from(a) >> 17 == range
    });
    if synthetic {
        return Err(nothing(
            text,
            "these addresses stand for names inside the sandbox",
            "name the host",
        ));
    }
    if classify(cidr.address()) == AddressClass::Loopback {
        return Err(nothing(
            text,
            "inside, the loopback is the sandbox itself",
            format!("write \"{HOST_LOOPBACK_NAME}:{ports}\" for the host's loopback"),
        ));
    }
    Ok(())
}

/// Parses a published port: `INSIDE` or `HOST:INSIDE`.
pub(crate) fn publish(text: &str) -> Result<Publish, Fault> {
    let port = |part: &str| -> Result<u16, Fault> {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        part.parse::<u16>().ok().filter(|port| digits && *port > 0).ok_or_else(|| {
            value("network.publish", text, "a port is 1 to 65535: INSIDE or \"HOST:INSIDE\"")
        })
    };
    match text.split_once(':') {
        Some((host, inside)) => Ok(Publish { inside: port(inside)?, host: port(host)? }),
        None => Ok(Publish { inside: port(text)?, host: port(text)? }),
    }
}

/// Parses a resolver: an address, with port 53 if none is written.
pub(crate) fn resolver(text: &str) -> Result<SocketAddr, Fault> {
    const DNS_PORT: u16 = 53;
    let parsed = text
        .parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)));
    match parsed {
        Ok(address) if address.port() > 0 => Ok(address),
        _ => Err(value(
            "network.resolver",
            text,
            "a resolver is ADDRESS or ADDRESS:PORT, such as \"127.0.0.1:5353\" or \"[fd00::1]:53\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<(), Fault> {
        let destination = allow(text)?;
        check_allow(text, &destination, &[], Layer::Project)
    }

    #[test]
    fn pb3_over_broad_destinations_are_refused() {
        for bad in [
            "*",
            "*:443",
            "*.com",
            "*.io:80",
            "0.0.0.0/0",
            "::/0",
            "0.0.0.0/1:*",
            "128.0.0.0/1",
            "2000::/3",
        ] {
            assert!(matches!(judged(bad), Err(Fault::OverBroad { .. })), "{bad}");
        }
    }

    #[test]
    fn f06_destinations_that_can_match_nothing_are_refused() {
        for bad in [
            "localhost:80",
            "127.0.0.1:80",
            "[::1]:80",
            "0.0.0.0",
            "registry:443",
            "198.18.0.7",
            "*.ringfence",
        ] {
            assert!(
                matches!(judged(bad), Err(Fault::MatchesNothing { .. })),
                "{bad}: {:?}",
                judged(bad)
            );
        }
        for bad in
            ["https://a.example/x", "a.example:0", "a.example:70000", "a.example/x", "a_b..c", ""]
        {
            assert!(judged(bad).is_err(), "{bad}");
        }
        for good in
            ["a.example", "*.corp:8443", "10.0.0.5:5432", "host.ringfence:8080", "[fd00::/8]:1-9"]
        {
            assert_eq!(judged(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn lm1_metadata_is_never_opened_by_a_project() {
        assert!(matches!(judged("169.254.169.254:80"), Err(Fault::Sensitive { .. })));
        let destination = allow("169.254.169.254:80").unwrap();
        assert_eq!(check_allow("x", &destination, &[], Layer::CommandLine), Ok(()));
    }

    #[test]
    fn a_deny_without_a_port_means_every_port() {
        assert_eq!(deny("evil.example").unwrap().ports, Ports::ANY);
        assert_eq!(deny("evil.example:443").unwrap().ports, Ports::HTTPS);
        assert_eq!(deny("10.0.0.0/8").unwrap().ports, Ports::ANY);
        assert_eq!(deny("fd00::443").unwrap().ports, Ports::ANY);
    }
}
