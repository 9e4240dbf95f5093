//! A decision in words: what was asked, why it was answered so, and the one edit that would change it.
//!
//! A hint is given only where it would work, and names only commands that exist.

use ringfence_model::decision::{Decision, Reason, Verdict};
use ringfence_model::host::{HostName, Target};
use ringfence_model::provenance::{Layer, Source};
use ringfence_model::request::{Action, Endpoint, Request, Resource};
use ringfence_model::text::is_plain;
use serde::{Deserialize, Serialize};

use crate::bundle::Bundle;
use crate::compiled::{Compiled, Effect};
use crate::error::Fault;
use crate::network;
use crate::remember::{Key, Remember};

/// An answer for a person. Texts from outside are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What was asked, such as `connect registry.acme.com:443`.
    pub what: String,
    /// Why, with the rule's place.
    pub why: String,
    /// What would permit it now, or in the next run where this one is over.
    pub now: Option<String>,
    /// What would permit it in every run.
    pub keep: Option<String>,
    /// The answer that `keep` is the command of.
    pub answer: Option<Remember>,
}

/// What the caller knows and the policy does not.
pub struct Knowing<'k> {
    /// To which bundle a host belongs.
    pub bundle: &'k dyn Fn(&HostName, u16) -> Option<Bundle>,
    /// Whether the run is still running, so that a grant would reach it.
    pub running: bool,
    /// What must be said behind a command so that it is about this run: nothing, or ` --run RUN`.
    pub about: &'k str,
}

impl Default for Knowing<'_> {
    fn default() -> Self {
        Self { bundle: &|_, _| None, running: false, about: "" }
    }
}

/// Explains a decision under the policy that made it.
#[must_use]
pub fn explain(policy: &Compiled, request: &Request, decision: &Decision) -> Explanation {
    explain_knowing(policy, request, decision, &Knowing::default())
}

/// As [`explain`], with what the caller knows.
#[must_use]
pub fn explain_knowing(
    policy: &Compiled,
    request: &Request,
    decision: &Decision,
    knowing: &Knowing<'_>,
) -> Explanation {
    let what = format!("{} {}", request.action, escaped(&request.resource.to_string()));
    let why = because(policy, request, decision);
    let mut own = Explanation { what, why, now: None, keep: None, answer: None };
    if decision.verdict == Verdict::Allow {
        return own;
    }
    if let Some(source) = since(policy, request, &decision.reason) {
        own.why = format!("{}; it is permitted by now ({source})", own.why);
        return own;
    }
    hint(policy, request, &decision.reason, knowing, &mut own);
    // Only where the host itself could be permitted does its bundle help.
    if let (Resource::Endpoint(endpoint), Reason::NoRule, Some(Key::Allow)) =
        (&request.resource, &decision.reason, own.answer.as_ref().map(|answer| answer.key))
        && let Some(found) =
            endpoint.name.as_ref().and_then(|name| (knowing.bundle)(name, endpoint.port))
    {
        own.offer(knowing, Key::Allow, found.name());
    }
    own
}

impl Explanation {
    /// Offers an answer: for now, and for good.
    fn offer(&mut self, knowing: &Knowing<'_>, key: Key, text: &str) {
        let (option, run) = match key {
            Key::Allow => ("", "--allow "),
            Key::Read => ("--ro ", "--ro "),
            Key::Write => ("--rw ", "--rw "),
            Key::Pass => ("--env ", "--env "),
        };
        let (word, about) = (shell_word(text), knowing.about);
        self.now = Some(if knowing.running && key == Key::Allow {
            format!("ringfence allow {word} --for 10m{about}")
        } else {
            format!("ringfence run {run}{word} …")
        });
        self.keep = Some(format!("ringfence allow {option}{word}{about}"));
        self.answer = Some(Remember { key, text: text.to_owned() });
    }

    /// Takes the offer back: it would be refused, and this is why.
    pub fn refuse(&mut self, why: &str) {
        let why = why.lines().next().unwrap_or_default();
        self.why = format!("{}; `ringfence allow` would refuse it: {}", self.why, escaped(why));
        (self.now, self.keep, self.answer) = (None, None, None);
    }

    /// Takes back only that it can be remembered: for one run it is still to be had.
    pub fn refuse_to_keep(&mut self, why: &str) {
        let why = why.lines().next().unwrap_or_default();
        self.why = format!("{}; it cannot be remembered: {}", self.why, escaped(why));
        (self.keep, self.answer) = (None, None);
    }
}

/// What permits by now what no rule permitted then, and for good.
fn since(policy: &Compiled, request: &Request, reason: &Reason) -> Option<Source> {
    let (Resource::Endpoint(endpoint), Reason::NoRule | Reason::Expired) =
        (&request.resource, reason)
    else {
        return None;
    };
    let found = policy.permits().find(|rule| {
        rule.ends.never()
            && rule.destination.ports.contains(endpoint.port)
            && same_target(&rule.destination.target, endpoint)
    });
    found.map(|rule| rule.source.clone())
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| if is_plain(c) { vec![c] } else { c.escape_default().collect::<Vec<_>>() })
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

/// Rules for other ports of a host that are listed.
const PORTS_SHOWN: usize = 3;

fn no_rule(policy: &Compiled, request: &Request) -> String {
    match &request.resource {
        Resource::Endpoint(endpoint) => {
            if let Some(widening) = untrusted(policy, endpoint) {
                return format!(
                    "{} asks for it, but this definition is not trusted yet",
                    widening.source
                );
            }
            let mut ports: Vec<_> = policy
                .permits()
                .filter(|rule| same_target(&rule.destination.target, endpoint))
                .filter(|rule| !rule.destination.ports.contains(endpoint.port))
                .map(|rule| format!("{} ({})", rule.destination.ports, rule.source))
                .collect();
            let more = ports.len().saturating_sub(PORTS_SHOWN);
            ports.truncate(PORTS_SHOWN);
            if more > 0 {
                ports.push(format!("and {more} more"));
            }
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

fn hint(
    policy: &Compiled,
    request: &Request,
    reason: &Reason,
    knowing: &Knowing<'_>,
    own: &mut Explanation,
) {
    match (&request.resource, reason) {
        (Resource::Endpoint(endpoint), Reason::NoRule | Reason::Expired) => {
            if untrusted(policy, endpoint).is_some() {
                own.keep = Some("ringfence trust".to_owned());
            } else {
                hint_endpoint(policy, endpoint, knowing, own);
            }
        }
        (Resource::Endpoint(endpoint), Reason::UnnamedAddress { .. }) => {
            own.keep = name_with_address(policy, endpoint);
        }
        (Resource::Path(path), Reason::NoRule | Reason::Expired) => {
            // A path that a line of text cannot carry has no hint.
            // What a command that is pasted says must be what it does.
            let Some(path) = path.to_str().filter(|text| text.chars().all(is_plain)) else {
                return;
            };
            let key = if request.action == Action::Write { Key::Write } else { Key::Read };
            own.offer(knowing, key, path);
        }
        (Resource::Variable(name), Reason::NoRule)
            if crate::variables::check_name(name).is_ok() =>
        {
            match crate::dangerous_variable(name) {
                None => own.offer(knowing, Key::Pass, name),
                Some(why) => own.refuse(&format!("the variable {why}")),
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

/// A word as a POSIX shell reads it.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn hint_endpoint(
    policy: &Compiled,
    endpoint: &Endpoint,
    knowing: &Knowing<'_>,
    own: &mut Explanation,
) {
    let host = match (&endpoint.name, endpoint.address) {
        (Some(name), _) => name.to_string(),
        (None, Some(std::net::IpAddr::V6(address))) => format!("[{address}]"),
        (None, Some(address)) => address.to_string(),
        (None, None) => return,
    };
    let text = if endpoint.port == 443 { host } else { format!("{host}:{}", endpoint.port) };
    let judged = network::allow(&text).and_then(|destination| {
        network::check_allow(&text, &destination, &[], Layer::Project)?;
        let mut forbids = policy.network.iter().filter(|rule| rule.effect == Effect::Forbid);
        match forbids.find(|rule| crate::coverage::covers(&rule.destination, &destination)) {
            None => Ok(()),
            Some(by) => Err(Fault::Denied {
                what: text.clone(),
                place: by.source.to_string(),
                organisation: by.source.layer == Layer::Organisation,
            }),
        }
    });
    match judged {
        Ok(()) => own.offer(knowing, Key::Allow, &text),
        Err(fault) => own.refuse(&fault.to_string()),
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
