//! Whether one destination lies in others, without comparing each with each.
//!
//! A definition may have many thousands of rules, and it may come from a stranger.

use ringfence_model::address::Cidr;
use ringfence_model::host::{Destination, HostPattern, Target};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether every name or address of `inner` is one of `outer`, ports included.
pub(crate) fn covers(outer: &Destination, inner: &Destination) -> bool {
    let ports = outer.ports.first <= inner.ports.first && inner.ports.last <= outer.ports.last;
    ports && target_covers(&outer.target, &inner.target)
}

fn target_covers(outer: &Target, inner: &Target) -> bool {
    match (outer, inner) {
        (Target::Address(outer), Target::Address(inner)) => range_covers(*outer, *inner),
        (Target::Name(outer), Target::Name(HostPattern::Exact(name))) => outer.matches(name),
        (Target::Name(HostPattern::Below(outer)), Target::Name(HostPattern::Below(inner))) => {
            outer == inner || HostPattern::Below(outer.clone()).matches(inner)
        }
        _ => false,
    }
}

/// Whether every address of `inner` is one of `outer`.
pub(crate) fn range_covers(outer: Cidr, inner: Cidr) -> bool {
    outer.prefix() <= inner.prefix() && outer.contains(inner.address())
}

/// Destinations with a number each, found by what they cover.
#[derive(Default)]
pub(crate) struct Coverage {
    all: Vec<(Destination, usize)>,
    exact: HashMap<String, Vec<usize>>,
    below: HashMap<String, Vec<usize>>,
    ranges: HashMap<(IpAddr, u8), Vec<usize>>,
    prefixes: BTreeSet<u8>,
}

impl Coverage {
    /// Adds a destination under a number of the caller's.
    pub fn add(&mut self, destination: &Destination, number: usize) {
        let at = self.all.len();
        match &destination.target {
            Target::Name(HostPattern::Exact(name)) => {
                self.exact.entry(name.to_string()).or_default().push(at);
            }
            Target::Name(HostPattern::Below(name)) => {
                self.below.entry(name.to_string()).or_default().push(at);
            }
            Target::Address(cidr) => {
                self.prefixes.insert(cidr.prefix());
                let key = (cidr.address(), cidr.prefix());
                self.ranges.entry(key).or_default().push(at);
            }
        }
        self.all.push((destination.clone(), number));
    }

    /// Numbers of the destinations that cover all of `inner`.
    pub fn over(&self, inner: &Destination) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        match &inner.target {
            Target::Name(HostPattern::Exact(name)) => {
                found.extend(self.exact.get(name.as_str()).into_iter().flatten());
                self.parents(name.as_str(), &mut found);
            }
            Target::Name(HostPattern::Below(name)) => {
                found.extend(self.below.get(name.as_str()).into_iter().flatten());
                self.parents(name.as_str(), &mut found);
            }
            Target::Address(cidr) => {
                for prefix in self.prefixes.range(..=cidr.prefix()) {
                    let key = (network_of(cidr.address(), *prefix), *prefix);
                    found.extend(self.ranges.get(&key).into_iter().flatten());
                }
            }
        }
        let covering = found.into_iter().filter_map(|at| {
            let (outer, number) = self.all.get(at)?;
            covers(outer, inner).then_some(*number)
        });
        covering.collect()
    }

    fn parents(&self, name: &str, found: &mut Vec<usize>) {
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            found.extend(self.below.get(parent).into_iter().flatten());
            rest = parent;
        }
    }
}

/// An address with everything behind the prefix cleared.
fn network_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let shift = 32u32.saturating_sub(u32::from(prefix));
            let mask = u32::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let shift = 128u32.saturating_sub(u32::from(prefix));
            let mask = u128::MAX.checked_shl(shift).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXTS: [&str; 14] = [
        "a.example",
        "a.example:*",
        "*.example",
        "*.a.example:80",
        "b.a.example:80",
        "*.b.a.example:80",
        "10.0.0.0/8:*",
        "10.1.0.0/16:22",
        "10.1.2.3:22",
        "0.0.0.0/0:*",
        "[::/0]:*",
        "[fd00::/8]:443",
        "fd00::1",
        "example.org:1-9",
    ];

    proptest! {
        /// The index finds exactly what comparing each with each finds.
        #[test]
        fn pb8_the_index_finds_what_a_loop_finds(
            outer in proptest::collection::vec(0..TEXTS.len(), 0..8), inner in 0..TEXTS.len()
        ) {
            let parse = |at: usize| TEXTS[at].parse::<Destination>().unwrap();
            let inner = parse(inner);
            let mut index = Coverage::default();
            let mut expected = Vec::new();
            for (number, at) in outer.iter().enumerate() {
                index.add(&parse(*at), number);
                if covers(&parse(*at), &inner) {
                    expected.push(number);
                }
            }
            let mut found = index.over(&inner);
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
