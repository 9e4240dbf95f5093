//! Synthetic addresses: each name that is asked for inside gets one of each family, for as long
//! as the run lives, so that the name that was judged is the name that is dialled.
//!
//! A name once bound is never bound again to another address, nor an address to another name.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use ringfence_model::host::HostName;

use crate::limits::{NAME_BYTES, NAMES};

/// First address of the IPv4 range, 198.18.0.0/15 (RFC 2544 benchmarking: routed nowhere).
const V4_RANGE: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Length of its prefix, in bits.
const V4_PREFIX: u32 = 15;
/// Addresses at its beginning that stand for the gateway itself (198.18.0.1 is the name server).
const V4_RESERVED: u32 = 256;
/// The IPv6 range, fd52:6966:656e::/64, a unique local prefix (RFC 4193).
const V6_PREFIX: u64 = 0xfd52_6966_656e_0000;
/// The same reservation in IPv6.
const V6_RESERVED: u64 = 0x1_0000;

/// What an address is to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It stands for this name.
    Name(Rc<HostName>),
    /// It lies in the synthetic ranges, but no name was given for it.
    Unassigned,
    /// It is an address of the world.
    Real,
}

/// The table.
#[derive(Default)]
pub struct Names {
    order: Vec<Rc<HostName>>,
    index: HashMap<Rc<HostName>, u32>,
    bytes: usize,
}

impl Names {
    /// The index of a name, given now if it is new; `None` when the table is full.
    pub fn bind(&mut self, name: &HostName) -> Option<u32> {
        if let Some(index) = self.index.get(name) {
            return Some(*index);
        }
        let bytes = self.bytes + name.as_str().len();
        if self.order.len() >= NAMES || bytes > NAME_BYTES {
            return None;
        }
        let index = u32::try_from(self.order.len()).ok()?;
        let name = Rc::new(name.clone());
        self.order.push(Rc::clone(&name));
        self.index.insert(name, index);
        self.bytes = bytes;
        Some(index)
    }

    /// What `address` stands for.
    #[must_use]
    pub fn look_up(&self, address: IpAddr) -> Lookup {
        let index = match address.to_canonical() {
            IpAddr::V4(v4) => {
                let v4 = u32::from(v4);
                if (v4 ^ V4_RANGE) >> (32 - V4_PREFIX) != 0 {
                    return Lookup::Real;
                }
                (v4 - V4_RANGE).checked_sub(V4_RESERVED).map(u64::from)
            }
            IpAddr::V6(v6) => {
                let bits = u128::from(v6);
                if (bits >> 64) as u64 != V6_PREFIX {
                    return Lookup::Real;
                }
                (bits as u64).checked_sub(V6_RESERVED)
            }
        };
        let name = index.and_then(|i| usize::try_from(i).ok()).and_then(|i| self.order.get(i));
        name.map_or(Lookup::Unassigned, |name| Lookup::Name(Rc::clone(name)))
    }
}

/// The IPv4 address of an index.
#[must_use]
pub fn v4(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(V4_RANGE + V4_RESERVED + index)
}

/// The IPv6 address of an index.
#[must_use]
pub fn v6(index: u32) -> Ipv6Addr {
    Ipv6Addr::from((u128::from(V6_PREFIX) << 64) | u128::from(V6_RESERVED + u64::from(index)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[test]
    fn n10_a_binding_never_changes() {
        let mut names = Names::default();
        let one = names.bind(&name("a.example")).unwrap();
        let two = names.bind(&name("b.example")).unwrap();
        assert_ne!(one, two);
        assert_eq!(names.bind(&name("A.example.")), Some(one));
        for address in
            [IpAddr::V4(v4(two)), IpAddr::V6(v6(two)), IpAddr::V6(v4(two).to_ipv6_mapped())]
        {
            assert_eq!(names.look_up(address), Lookup::Name(Rc::new(name("b.example"))));
        }
        assert_eq!(v4(0).to_string(), "198.18.1.0");
        assert_eq!(v6(0).to_string(), "fd52:6966:656e::1:0");
    }

    #[test]
    fn addresses_without_a_name_are_told_from_real_ones() {
        let names = Names::default();
        for address in
            ["198.18.0.1", "198.18.1.0", "198.19.255.255", "fd52:6966:656e::1", "::ffff:198.18.0.1"]
        {
            assert_eq!(names.look_up(address.parse().unwrap()), Lookup::Unassigned, "{address}");
        }
        for address in ["198.17.255.255", "198.20.0.0", "fd52:6966:656e:1::1", "8.8.8.8"] {
            assert_eq!(names.look_up(address.parse().unwrap()), Lookup::Real, "{address}");
        }
    }

    #[test]
    fn n25_the_table_is_bounded_and_inside_its_range() {
        let mut names = Names::default();
        for i in 0..NAMES {
            assert!(names.bind(&name(&format!("n{i}.example"))).is_some());
        }
        assert_eq!(names.bind(&name("one-more.example")), None);
        let last = u32::try_from(NAMES - 1).unwrap();
        assert!(matches!(names.look_up(v4(last).into()), Lookup::Name(_)));
        let long = "x".repeat(60);
        let mut names = Names::default();
        let fitting = (0..NAMES)
            .take_while(|i| {
                names.bind(&name(&format!("{long}.{long}.{long}.n{i}.example"))).is_some()
            })
            .count();
        assert!(fitting < NAMES && fitting > 10_000);
    }
}
