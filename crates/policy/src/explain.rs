//! A decision in words: what was asked, why it was answered so, and the one edit that would change it.
//!
//! A hint is given only where it would work, and names only commands that exist.

use ringfence_model::decision::{Decision, Reason, Verdict};
use ringfence_model::host::{HostName, Target};
use ringfence_model::provenance::Layer;
use ringfence_model::request::{Action, Endpoint, Request, Resource};
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::compiled::{Compiled, Effect};
use crate::network;

/// An answer for a person. Texts from outside are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked, such as `connect registry.acme.com:443`.
    pub what: String,
    /// Why, with the rule's place.
    pub why: String,
    /// What would permit it in the next run.
    pub now: Option<String>,
    /// What would permit it in every run.
    pub keep: Option<String>,
}

/// Explains a decision under the policy that made it.
#[must_use]
pub fn explain(policy: &Compiled, request: &Request, decision: &Decision) -> Explanation {
    explain_knowing(policy, request, decision, &|_, _| None)
}

/// As [`explain`], where the caller knows to which bundle a host belongs.
#[must_use]
pub fn explain_knowing(
    policy: &Compiled,
    request: &Request,
    decision: &Decision,
    bundle: &dyn Fn(&HostName, u16) -> Option<Bundle>,
) -> Explanation {
    let what = format!("{} {}", request.action, escaped(&request.resource.to_string()));
    let mut own =
        Explanation { what, why: because(policy, request, decision), now: None, keep: None };
    if decision.verdict != Verdict::Allow {
        hint(policy, request, &decision.reason, &mut own);
        // Only where the host itself could be permitted does its bundle help.
        if let (Resource::Endpoint(endpoint), Reason::NoRule, Some(_)) =
            (&request.resource, &decision.reason, &own.now)
            && let Some(found) = endpoint.name.as_ref().and_then(|name| bundle(name, endpoint.port))
        {
            own.now = Some(format!("ringfence run --allow {found} …"));
            own.keep = Some(keep("allow", "network", found.name()));
        }
    }
    own
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

fn places(decision: &Decision) -> String {
    let all = decision.rules.iter().map(|rule| rule.source.to_string());
    all.collect::<Vec<_>>().join(", ")
}

fn because(policy: &Compiled, request: &Request, decision: &Decision) -> String {
    match &decision.reason {
        Reason::Permitted => format!("a rule permits it ({})", places(decision)),
        Reason::Forbidden => {
            let organisation =
                decision.rules.iter().any(|rule| rule.source.layer == Layer::Organisation);
            let end = if organisation {
                "; only the organisation can change that"
            } else {
                ", and a deny always wins"
            };
            format!("denied by {}{end}", places(decision))
        }
        Reason::NoRule => no_rule(policy, request),
        Reason::UnnamedAddress { class } => {
            let address = match &request.resource {
                Resource::Endpoint(endpoint) => endpoint.address,
                _ => None,
            };
            let address = address.map(|address| format!(" {address}")).unwrap_or_default();
            format!("the name leads to the {class} address{address}, which no rule names")
        }
        Reason::Expired => format!("the permit has ended ({})", places(decision)),
        other => escaped(&other.to_string()),
    }
}

fn no_rule(policy: &Compiled, request: &Request) -> String {
    match &request.resource {
        Resource::Endpoint(endpoint) => {
            if let Some(widening) = untrusted(policy, endpoint) {
                return format!(
                    "{} asks for it, but this definition is not trusted yet",
                    widening.source
                );
            }
            let ports: Vec<_> = policy
                .permits()
                .filter(|rule| same_target(&rule.destination.target, endpoint))
                .map(|rule| format!("{} ({})", rule.destination.ports, rule.source))
                .collect();
            let noun = if endpoint.name.is_some() { "host" } else { "address" };
            if ports.is_empty() {
                format!("no rule names this {noun} ([network])")
            } else {
                format!("the rules name other ports of this {noun}: {}", ports.join(", "))
            }
        }
        Resource::Path(_) => "no rule grants this path ([files])".to_owned(),
        Resource::Port(_) => "no rule publishes this port ([network])".to_owned(),
        Resource::Variable(_) => "no rule passes this variable ([environment])".to_owned(),
    }
}

fn same_target(target: &Target, endpoint: &Endpoint) -> bool {
    match (target, &endpoint.name, endpoint.address) {
        (Target::Name(pattern), Some(name), _) => pattern.matches(name),
        (Target::Address(cidr), None, Some(address)) => cidr.contains(address),
        _ => false,
    }
}

/// A widening of the project that would permit it, were the definition trusted.
fn untrusted<'p>(policy: &'p Compiled, endpoint: &Endpoint) -> Option<&'p crate::Widening> {
    if policy.trust.accepted {
        return None;
    }
    policy.trust.widens.iter().find(|widening| {
        widening.destination.as_ref().is_some_and(|own| {
            own.ports.contains(endpoint.port) && same_target(&own.target, endpoint)
        })
    })
}

fn hint(policy: &Compiled, request: &Request, reason: &Reason, own: &mut Explanation) {
    match (&request.resource, reason) {
        (Resource::Endpoint(endpoint), Reason::NoRule | Reason::Expired) => {
            if untrusted(policy, endpoint).is_some() {
                own.keep = Some("ringfence trust".to_owned());
            } else {
                hint_endpoint(policy, endpoint, own);
            }
        }
        (Resource::Endpoint(endpoint), Reason::UnnamedAddress { .. }) => {
            own.keep = name_with_address(policy, endpoint);
        }
        (Resource::Path(path), Reason::NoRule | Reason::Expired) => {
            // A path that a line of text cannot carry has no hint.
            let Some(path) = path.to_str().filter(|text| !text.contains(char::is_control)) else {
                return;
            };
            let (option, key) = match request.action {
                Action::Write => ("--rw", "write"),
                _ => ("--ro", "read"),
            };
            let word = shell_word(path);
            own.now = Some(format!("ringfence run {option} {word} …"));
            own.keep = Some(keep(key, "files", path));
        }
        (Resource::Variable(name), Reason::NoRule)
            if crate::variables::check_name(name).is_ok() =>
        {
            own.now = Some(format!("ringfence run --env {name} …"));
            if crate::dangerous_variable(name).is_none() {
                own.keep = Some(keep("pass", "environment", name));
            }
        }
        (Resource::Port(port), Reason::NoRule) => {
            own.now = Some(format!("ringfence run --publish {port} …"));
            own.keep = Some(format!(
                "publish = [{port}] under [network] in ringfence.toml, then: ringfence trust"
            ));
        }
        _ => {}
    }
}

fn keep(key: &str, section: &str, text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!("{key} = [{text}] under [{section}] in ringfence.toml, then: ringfence trust")
}

/// A word as a POSIX shell reads it.
fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&b);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn hint_endpoint(policy: &Compiled, endpoint: &Endpoint, own: &mut Explanation) {
    let host = match (&endpoint.name, endpoint.address) {
        (Some(name), _) => name.to_string(),
        (None, Some(std::net::IpAddr::V6(address))) => format!("[{address}]"),
        (None, Some(address)) => address.to_string(),
        (None, None) => return,
    };
    let text = if endpoint.port == 443 { host } else { format!("{host}:{}", endpoint.port) };
    let works = |layer: Layer| {
        let Ok(destination) = network::allow(&text) else {
            return false;
        };
        let forbidden = policy.network.iter().any(|rule| {
            rule.effect == Effect::Forbid
                && crate::coverage::covers(&rule.destination, &destination)
        });
        !forbidden && network::check_allow(&text, &destination, &[], layer).is_ok()
    };
    if works(Layer::CommandLine) {
        own.now = Some(format!("ringfence run --allow {} …", shell_word(&text)));
    }
    if works(Layer::Project) {
        own.keep = Some(keep("allow", "network", &text));
    }
}

fn name_with_address(policy: &Compiled, endpoint: &Endpoint) -> Option<String> {
    let name = endpoint.name.as_ref()?;
    let address = endpoint.address?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let range = network::range(&format!("{address}/{bits}")).ok()?;
    let text = format!("{name}:{}", endpoint.port);
    let destination = network::allow(&text).ok()?;
    network::check_allow(&text, &destination, &[range], Layer::Project).ok()?;
    let forbidden = policy.network.iter().any(|rule| {
        rule.effect == Effect::Forbid
            && matches!(&rule.destination.target, Target::Address(cidr) if cidr.contains(address))
    });
    (!forbidden).then(|| {
        format!(
            "allow = [{{ host = \"{text}\", addresses = [\"{range}\"] }}] under [network] in \
             ringfence.toml, then: ringfence trust"
        )
    })
}
