//! Which rules can take part in a decision: found by exact name, parent names, address prefixes,
//! ancestors of a path, port or variable. Rules that cannot match cost nothing.
//!
//! The slice may hold rules that turn out not to match; it must never leave out one that does.

use ringfence_model::address::embedded_v4;
use ringfence_model::host::{HostName, HostPattern, Target};
use ringfence_model::request::{Endpoint, Resource};
use ringfence_policy::cedar::RuleAt;
use ringfence_policy::{Compiled, Effect};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

/// Positions in the list of all rules.
type Positions = Vec<u32>;

/// The index over one compiled policy.
pub(crate) struct Index {
    pub rules: Vec<RuleAt>,
    exact: HashMap<String, Positions>,
    below: HashMap<String, Positions>,
    ranges: HashMap<(IpAddr, u8), Positions>,
    /// Prefix lengths that occur, by family.
    prefixes_v4: Vec<u8>,
    prefixes_v6: Vec<u8>,
    /// Forbids of every address: they also hold for an unknown one.
    pub everything: Positions,
    name_mismatch: Positions,
    paths: HashMap<PathBuf, Positions>,
    /// Position of the first deny rule; the others follow it.
    first_deny: u32,
    ports: HashMap<u16, Positions>,
    variables: HashMap<String, Positions>,
}

impl Index {
    pub fn new(policy: &Compiled) -> Self {
        let rules = policy.rules();
        let mut own = Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            ranges: HashMap::new(),
            prefixes_v4: Vec::new(),
            prefixes_v6: Vec::new(),
            everything: Vec::new(),
            name_mismatch: Vec::new(),
            paths: HashMap::new(),
            first_deny: 0,
            ports: HashMap::new(),
            variables: HashMap::new(),
            rules: Vec::new(),
        };
        for (at, rule) in rules.iter().enumerate() {
            own.add(policy, u32::try_from(at).unwrap_or(u32::MAX), *rule);
        }
        own.rules = rules;
        for prefixes in [&mut own.prefixes_v4, &mut own.prefixes_v6] {
            prefixes.sort_unstable();
            prefixes.dedup();
        }
        own
    }

    fn add(&mut self, policy: &Compiled, at: u32, rule: RuleAt) {
        match rule {
            RuleAt::Network(i) => {
                if let Some(rule) = policy.network.get(i) {
                    self.add_network(&rule.destination.target, rule.effect, at);
                }
            }
            RuleAt::File(i) => {
                if let Some(rule) = policy.files.get(i) {
                    self.paths.entry(rule.path.clone()).or_default().push(at);
                }
            }
            RuleAt::Mask(i) => {
                if let Some(mask) = policy.masks.get(i) {
                    self.paths.entry(mask.path.clone()).or_default().push(at);
                }
            }
            RuleAt::Workspace => {
                let root = policy.workspace.root.clone();
                self.paths.entry(root).or_default().push(at);
            }
            RuleAt::Deny(i) => {
                if i == 0 {
                    self.first_deny = at;
                }
            }
            RuleAt::Publish(i) => {
                if let Some(rule) = policy.publish.get(i) {
                    self.ports.entry(rule.ports.inside).or_default().push(at);
                }
            }
            RuleAt::Pass(i) => {
                if let Some(rule) = policy.pass.get(i) {
                    self.variables.entry(rule.name.clone()).or_default().push(at);
                }
            }
            RuleAt::NameMismatch => self.name_mismatch.push(at),
        }
    }

    fn add_network(&mut self, target: &Target, effect: Effect, at: u32) {
        match target {
            Target::Name(HostPattern::Exact(name)) => {
                self.exact.entry(name.as_str().to_owned()).or_default().push(at);
            }
            Target::Name(HostPattern::Below(name)) => {
                self.below.entry(name.as_str().to_owned()).or_default().push(at);
            }
            Target::Address(cidr) => {
                if cidr.is_everything() && effect == Effect::Forbid {
                    self.everything.push(at);
                }
                let prefixes = if cidr.address().is_ipv4() {
                    &mut self.prefixes_v4
                } else {
                    &mut self.prefixes_v6
                };
                prefixes.push(cidr.prefix());
                let key = (cidr.address(), cidr.prefix());
                self.ranges.entry(key).or_default().push(at);
            }
        }
    }

    /// Every rule that could take part, ascending, without doubles.
    pub fn candidates(&self, policy: &Compiled, resource: &Resource) -> Positions {
        let mut found = Vec::new();
        match resource {
            Resource::Endpoint(endpoint) => {
                self.endpoint(endpoint, &mut found);
                found.retain(|at| self.port_fits(policy, *at, endpoint.port));
            }
            Resource::Path(path) => self.path(policy, path, &mut found),
            Resource::Port(port) => found.extend(self.ports.get(port).into_iter().flatten()),
            Resource::Variable(name) => {
                found.extend(self.variables.get(name).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn port_fits(&self, policy: &Compiled, at: u32, port: u16) -> bool {
        match self.rules.get(at as usize) {
            Some(RuleAt::Network(i)) => {
                policy.network.get(*i).is_none_or(|rule| rule.destination.ports.contains(port))
            }
            _ => true,
        }
    }

    fn endpoint(&self, endpoint: &Endpoint, found: &mut Positions) {
        for name in [&endpoint.name, &endpoint.claimed].into_iter().flatten() {
            self.name(name, found);
        }
        if endpoint.name.is_some() && endpoint.claimed.is_some() {
            found.extend(&self.name_mismatch);
        }
        match endpoint.address.map(|address| address.to_canonical()) {
            Some(address) => {
                self.address(address, found);
                if let IpAddr::V6(v6) = address
                    && let Some(v4) = embedded_v4(v6)
                {
                    self.address(IpAddr::V4(v4), found);
                }
            }
            None => found.extend(&self.everything),
        }
    }

    fn name(&self, name: &HostName, found: &mut Positions) {
        found.extend(self.exact.get(name.as_str()).into_iter().flatten());
        let mut rest = name.as_str();
        while let Some((_, parent)) = rest.split_once('.') {
            found.extend(self.below.get(parent).into_iter().flatten());
            rest = parent;
        }
    }

    fn address(&self, address: IpAddr, found: &mut Positions) {
        let prefixes = if address.is_ipv4() { &self.prefixes_v4 } else { &self.prefixes_v6 };
        for prefix in prefixes {
            let key = (network_of(address, *prefix), *prefix);
            found.extend(self.ranges.get(&key).into_iter().flatten());
        }
    }

    fn path(&self, policy: &Compiled, path: &Path, found: &mut Positions) {
        for ancestor in path.ancestors() {
            found.extend(self.paths.get(ancestor).into_iter().flatten());
        }
        for index in policy.hidden_by(path) {
            found
                .push(self.first_deny + u32::try_from(index).unwrap_or(u32::MAX - self.first_deny));
        }
    }
}

/// An address with everything behind the prefix cleared.
fn network_of(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}
