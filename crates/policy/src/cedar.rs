//! The compiled policy as Cedar text: one policy per rule, under the rule's own id.
//!
//! Cedar itself decides everything that its language can say: names, ports, address ranges, ends.
//! Two things it cannot are handed to it as facts: which hidden-name patterns a path matches
//! (patterns without case), and the class of an address.

use ringfence_model::address::Cidr;
use ringfence_model::boundary::{Access, WorkspaceMode};
use ringfence_model::host::{HostPattern, Ports, Target};
use ringfence_model::provenance::Source;
use std::fmt::Write as _;
use std::path::Path;

use crate::compiled::{Compiled, Effect, FileRule, NetRule};
use crate::ends::Ends;
use crate::network::is_metadata;

/// Id of the built-in forbid of connections that claim another name than the one looked up.
pub const NAME_MISMATCH: &str = "built-in.name-mismatch";
/// Id of the built-in permit of the workspace.
pub const WORKSPACE: &str = "built-in.workspace";

/// The typed schema of requests and policies.
#[must_use]
pub fn schema() -> &'static str {
    r#"entity Run;
entity Variable;
entity Port;
// `hidden`: ids of the deny rules whose patterns match the path.
entity Path in [Path] { hidden: Set<String> };
// `host`: the name whose synthetic address was dialled; `claimed`: SNI or Host; `via`: "name" or
// "address"; `embedded`: the IPv4 address inside an IPv6 one; `class`: "public", "loopback",
// "private", "link-local", "metadata", "reserved", or "unknown" before resolution.
entity Endpoint {
  host?: String,
  claimed?: String,
  via: String,
  address?: ipaddr,
  embedded?: ipaddr,
  class: String,
  port: Long,
};
// `elapsed_ms`: since the run's start, on a clock that cannot be set; `unix`: seconds.
type Facts = { elapsed_ms: Long, unix: Long, protocol: String, again: Bool };
action "read", "write" appliesTo { principal: [Run], resource: [Path], context: Facts };
action "resolve", "connect" appliesTo { principal: [Run], resource: [Endpoint], context: Facts };
action "publish" appliesTo { principal: [Run], resource: [Port], context: Facts };
action "environment" appliesTo { principal: [Run], resource: [Variable], context: Facts };
"#
}

/// A rule's place in a compiled policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleAt {
    /// An entry of `network`.
    Network(usize),
    /// An entry of `files`.
    File(usize),
    /// An entry of `denies`.
    Deny(usize),
    /// An entry of `masks`.
    Mask(usize),
    /// An entry of `publish`.
    Publish(usize),
    /// An entry of `pass`.
    Pass(usize),
    /// The workspace's permit.
    Workspace,
    /// The forbid of mismatched names.
    NameMismatch,
}

impl Compiled {
    /// Every rule, in order.
    #[must_use]
    pub fn rules(&self) -> Vec<RuleAt> {
        let mut all = vec![RuleAt::NameMismatch, RuleAt::Workspace];
        all.extend((0..self.network.len()).map(RuleAt::Network));
        all.extend((0..self.files.len()).map(RuleAt::File));
        all.extend((0..self.denies.len()).map(RuleAt::Deny));
        all.extend((0..self.masks.len()).map(RuleAt::Mask));
        all.extend((0..self.publish.len()).map(RuleAt::Publish));
        all.extend((0..self.pass.len()).map(RuleAt::Pass));
        all
    }

    /// Id and source of a rule; `None` if there is none at this place.
    #[must_use]
    pub fn rule_origin(&self, at: RuleAt) -> Option<(String, Source)> {
        let pair = |id: &String, source: &Source| (id.clone(), source.clone());
        match at {
            RuleAt::Network(i) => self.network.get(i).map(|r| pair(&r.id, &r.source)),
            RuleAt::File(i) => self.files.get(i).map(|r| pair(&r.id, &r.source)),
            RuleAt::Deny(i) => self.denies.get(i).map(|r| pair(&r.id, &r.source)),
            RuleAt::Mask(i) => self.masks.get(i).map(|r| pair(&r.id, &r.source)),
            RuleAt::Publish(i) => self.publish.get(i).map(|r| pair(&r.id, &r.source)),
            RuleAt::Pass(i) => self.pass.get(i).map(|r| pair(&r.id, &r.source)),
            RuleAt::Workspace => {
                let built_in = || Source::built_in("the workspace");
                let mode = self.workspace.mode.as_ref();
                let source = mode.map_or_else(built_in, |mode| mode.source.clone());
                Some((WORKSPACE.to_owned(), source))
            }
            RuleAt::NameMismatch => {
                let source = Source::built_in("a connection claims the name that was looked up");
                Some((NAME_MISMATCH.to_owned(), source))
            }
        }
    }

    /// When a rule ends.
    #[must_use]
    pub fn rule_ends(&self, at: RuleAt) -> Ends {
        match at {
            RuleAt::Network(i) => self.network.get(i).map(|rule| rule.ends),
            RuleAt::File(i) => self.files.get(i).map(|rule| rule.ends),
            _ => None,
        }
        .unwrap_or_default()
    }

    /// A rule as one Cedar policy without annotations; `None` if there is none at this place.
    #[must_use]
    pub fn rule_cedar(&self, at: RuleAt) -> Option<String> {
        let on_path = |actions: &str, effect: &str, path: &Path, when: &str| {
            let id = quoted(&path_id(path));
            format!("{effect} (principal, {actions}, resource in Path::{id}){when};")
        };
        const BOTH: &str = r#"action in [Action::"read", Action::"write"]"#;
        Some(match at {
            RuleAt::Network(i) => network(self.network.get(i)?),
            RuleAt::File(i) => file(self.files.get(i)?),
            RuleAt::Deny(i) => format!(
                "forbid (principal, {BOTH}, resource is Path) when {{ resource.hidden.contains({}) }};",
                quoted(&self.denies.get(i)?.id)
            ),
            RuleAt::Mask(i) => on_path(BOTH, "forbid", &self.masks.get(i)?.path, ""),
            RuleAt::Publish(i) => format!(
                r#"permit (principal, action == Action::"publish", resource == Port::"{}");"#,
                self.publish.get(i)?.ports.inside
            ),
            RuleAt::Pass(i) => format!(
                r#"permit (principal, action == Action::"environment", resource == Variable::{});"#,
                quoted(&self.pass.get(i)?.name)
            ),
            RuleAt::Workspace => {
                let read_only = self.workspace.mode_or(WorkspaceMode::Direct) == WorkspaceMode::ReadOnly;
                let actions = if read_only { r#"action == Action::"read""# } else { BOTH };
                on_path(actions, "permit", &self.workspace.root, "")
            }
            RuleAt::NameMismatch => r#"forbid (principal, action == Action::"connect", resource is Endpoint) when { resource has host && resource has claimed && resource.host != resource.claimed };"#.to_owned(),
        })
    }

    /// The whole policy as Cedar text, each policy with its id and source.
    #[must_use]
    pub fn cedar(&self) -> String {
        let mut text = String::new();
        for at in self.rules() {
            let (Some((id, source)), Some(policy)) = (self.rule_origin(at), self.rule_cedar(at))
            else {
                continue;
            };
            let (id, source) = (quoted(&id), quoted(&source.to_string()));
            // Writing to a String cannot fail.
            let _ = writeln!(text, "@id({id})\n@source({source})\n{policy}\n");
        }
        text
    }
}

/// A Cedar string literal. Rust's and Cedar's escapes are the same set.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}

/// A path as entity id: the text itself, bytes that are not UTF-8 as `\xHH`, a backslash doubled, so
/// that two paths never share an id.
#[must_use]
pub fn path_id(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut id = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        id.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            let _ = write!(id, "\\x{byte:02x}");
        }
    }
    id
}

fn file(rule: &FileRule) -> String {
    let actions = match rule.access {
        Access::ReadOnly => r#"action == Action::"read""#,
        Access::ReadWrite => r#"action in [Action::"read", Action::"write"]"#,
    };
    let mut conditions = Vec::new();
    ends(rule.ends, &mut conditions);
    let when = if conditions.is_empty() {
        String::new()
    } else {
        format!(" when {{ {} }}", conditions.join(" && "))
    };
    let id = quoted(&path_id(&rule.path));
    format!("permit (principal, {actions}, resource in Path::{id}){when};")
}

fn network(rule: &NetRule) -> String {
    let mut conditions = Vec::new();
    let target = &rule.destination.target;
    let effect = match rule.effect {
        Effect::Permit => {
            match target {
                Target::Name(pattern) => permit_name(pattern, &rule.addresses, &mut conditions),
                Target::Address(cidr) => {
                    conditions.push(r#"resource.via == "address""#.to_owned());
                    conditions.push(format!("resource has address && {}", in_range(*cidr)));
                }
            }
            "permit"
        }
        Effect::Forbid => {
            conditions.push(match target {
                Target::Name(pattern) => format!(
                    "((resource has host && {}) || (resource has claimed && {}))",
                    name_is("host", pattern),
                    name_is("claimed", pattern)
                ),
                Target::Address(cidr) => forbid_address(*cidr),
            });
            "forbid"
        }
    };
    if rule.destination.ports != Ports::ANY {
        let Ports { first, last } = rule.destination.ports;
        conditions.push(format!("resource.port >= {first} && resource.port <= {last}"));
    }
    ends(rule.ends, &mut conditions);
    format!(
        r#"{effect} (principal, action in [Action::"resolve", Action::"connect"], resource is Endpoint) when {{ {} }};"#,
        conditions.join(" && ")
    )
}

/// A name is permitted with the places it may lead to: public ones, and those that the rule names.
/// Before resolution, and where an upstream proxy resolves, there is no address to judge.
fn permit_name(pattern: &HostPattern, addresses: &[Cidr], conditions: &mut Vec<String>) {
    conditions.push(format!("resource has host && {}", name_is("host", pattern)));
    let host_loopback = matches!(pattern, HostPattern::Exact(name) if name.is_host_loopback());
    let class = if host_loopback { "loopback" } else { "public" };
    let mut places = format!(r#"resource.class == "{class}""#);
    for cidr in addresses {
        let _ = write!(places, " || {}", in_range(*cidr));
    }
    conditions.push(format!("(if resource has address then ({places}) else true)"));
}

fn name_is(attribute: &str, pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(name) => format!(r#"resource.{attribute} == "{name}""#),
        HostPattern::Below(name) => format!(r#"resource.{attribute} like "*.{name}""#),
    }
}

/// A range opens a metadata address only when it is exactly that address.
fn in_range(cidr: Cidr) -> String {
    let inside = format!(r#"resource.address.isInRange(ip("{cidr}"))"#);
    if is_metadata(cidr) {
        inside
    } else {
        format!(r#"(resource.class != "metadata" && {inside})"#)
    }
}

fn forbid_address(cidr: Cidr) -> String {
    let mut text = format!(
        r#"((resource has address && resource.address.isInRange(ip("{cidr}"))) || (resource has embedded && resource.embedded.isInRange(ip("{cidr}")))"#
    );
    if cidr.is_everything() {
        // An unknown address is one of all addresses.
        text.push_str(r#" || (action == Action::"connect" && !(resource has address))"#);
    }
    text.push(')');
    text
}

fn ends(ends: Ends, conditions: &mut Vec<String>) {
    if let Some(for_ms) = ends.for_ms {
        conditions.push(format!("context.elapsed_ms < {for_ms}"));
    }
    if let Some(at) = ends.at_unix {
        conditions.push(format!("context.unix < {at}"));
    }
}
