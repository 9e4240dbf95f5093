//! Addresses: ranges, and what kind of place an address is, whatever way it is written.
//!
//! Every address is unwrapped first (v4-mapped, NAT64, 6to4, Teredo), so that no spelling of a
//! private address passes as a public one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::host::HostError;

/// An address range in CIDR notation; host bits must be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The first address of the range.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Length of the fixed part, in bits.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether the range covers every address of its family.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// Whether `address` lies in the range. A v4-mapped address counts as its IPv4 form.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                let cut = |a: Ipv4Addr| u64::from(u32::from(a)) >> shift;
                cut(own) == cut(other)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                let cut = |a: Ipv6Addr| u128::from(a).checked_shr(shift).unwrap_or(0);
                cut(own) == cut(other)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        let wrong = |why| HostError::Cidr { text: text.to_owned(), why };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong("the address does not parse"))?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse::<u8>().map_err(|_| wrong("the prefix is too long"))?
            }
            Some(_) => return Err(wrong("the prefix is not a number")),
            None => bits,
        };
        if prefix > bits {
            return Err(wrong("the prefix is too long"));
        }
        let host_bits_set = match address {
            IpAddr::V4(a) => u64::from(u32::from(a)) & ((1u64 << (32 - prefix)) - 1) != 0,
            IpAddr::V6(a) => {
                let mask = 1u128.checked_shl(u32::from(128 - prefix)).unwrap_or(0).wrapping_sub(1);
                u128::from(a) & mask != 0
            }
        };
        if host_bits_set {
            return Err(wrong("bits behind the prefix are set"));
        }
        Ok(Self { address, prefix })
    }
}

impl TryFrom<String> for Cidr {
    type Error = HostError;
    fn try_from(text: String) -> Result<Self, HostError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

/// What kind of place an address is. Only `Public` may be dialled without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AddressClass {
    /// Globally routable unicast.
    Public,
    /// 127.0.0.0/8, ::1, 0.0.0.0/8, ::.
    Loopback,
    /// RFC 1918, RFC 6598 shared space, unique local IPv6.
    Private,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// A cloud's instance metadata service.
    Metadata,
    /// Multicast, broadcast, documentation, benchmarking and other reserved space.
    Reserved,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "metadata",
            Self::Reserved => "reserved",
        })
    }
}

/// Instance metadata addresses that are not link-local (or are, and deserve their own name).
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

/// The IPv4 address that an IPv6 address carries, if it is one of the embedding forms: v4-mapped
/// and v4-compatible (RFC 4291), NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380).
#[must_use]
pub fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let pair = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, a, b] => Some(pair(a, b)),
        [0, 0, 0, 0, 0xffff, 0, a, b] => Some(pair(a, b)),
        [0, 0, 0, 0, 0, 0, a, b] if a != 0 => Some(pair(a, b)),
        [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Some(pair(a, b)),
        [0x64, 0xff9b, 1, _, _, _, a, b] => Some(pair(a, b)),
        [0x2002, a, b, ..] => Some(pair(a, b)),
        [0x2001, 0, _, _, _, _, a, b] => Some(pair(!a, !b)),
        _ => None,
    }
}

/// The class of an address; an embedded IPv4 address decides for its wrapper.
#[must_use]
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => classify_v4(v4),
            None => classify_v6(v6),
        },
    }
}

fn classify_v4(a: Ipv4Addr) -> AddressClass {
    if METADATA_V4.contains(&a) {
        return AddressClass::Metadata;
    }
    match a.octets() {
        [127, ..] | [0, ..] => AddressClass::Loopback,
        [10, ..] | [192, 168, ..] => AddressClass::Private,
        [172, b, ..] if (16..32).contains(&b) => AddressClass::Private,
        [100, b, ..] if (64..128).contains(&b) => AddressClass::Private,
        [169, 254, ..] => AddressClass::LinkLocal,
        [192, 0, 0, _] | [192, 0, 2, _] | [192, 88, 99, _] => AddressClass::Reserved,
        [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] => AddressClass::Reserved,
        [b, ..] if b >= 224 => AddressClass::Reserved,
        _ => AddressClass::Public,
    }
}

fn classify_v6(a: Ipv6Addr) -> AddressClass {
    if METADATA_V6.contains(&a) {
        return AddressClass::Metadata;
    }
    let s = a.segments();
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => AddressClass::Loopback,
        [p, ..] if p & 0xfe00 == 0xfc00 => AddressClass::Private,
        [p, ..] if p & 0xffc0 == 0xfe80 => AddressClass::LinkLocal,
        [p, ..] if p & 0xffc0 == 0xfec0 => AddressClass::Private,
        [0x2001, 0xdb8, ..] | [0x3fff, ..] => AddressClass::Reserved,
        [0x2001, b, ..] if b < 0x200 => AddressClass::Reserved,
        // Only 2000::/3 is allocated for global unicast (IANA).
        [p, ..] if p & 0xe000 == 0x2000 => AddressClass::Public,
        _ => AddressClass::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        classify(text.parse().unwrap())
    }

    #[test]
    fn n01_n09_n10_no_spelling_of_a_private_address_is_public() {
        for text in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "2001:0:1:2:3:4:80ff:fffe",
            "2001:db8::1",
            "fec0::1",
            "100::1",
        ] {
            assert_ne!(class(text), AddressClass::Public, "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert_eq!(class(text), AddressClass::Public, "{text}");
        }
        assert_eq!(class("::ffff:169.254.169.254"), AddressClass::Metadata);
    }

    #[test]
    fn ranges_contain_what_they_say() {
        let inside =
            |cidr: &str, a: &str| cidr.parse::<Cidr>().unwrap().contains(a.parse().unwrap());
        assert!(inside("10.0.0.0/8", "10.255.0.1"));
        assert!(inside("10.0.0.0/8", "::ffff:10.0.0.1"));
        assert!(!inside("10.0.0.0/8", "11.0.0.0"));
        assert!(inside("0.0.0.0/0", "1.2.3.4"));
        assert!(!inside("0.0.0.0/0", "::1"));
        assert!(inside("::/0", "fe80::1"));
        assert!(inside("fd00::/8", "fd12::1"));
        assert!(!inside("fd00::/8", "fe00::1"));
    }
}
