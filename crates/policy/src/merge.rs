//! Laying the layers over each other: permits are unioned, forbids are unioned and always win, the
//! most specific scalar wins, and what a project widens is weighed against trust.
//!
//! A list that a layer writes empty takes back what less specific layers permit; it never adds.

use ringfence_model::address::Cidr;
use ringfence_model::boundary::{Access, Tier, WorkspaceMode};
use ringfence_model::host::Destination;
use ringfence_model::provenance::{Layer, Source};
use std::path::Path;

use crate::bundle::{Bundle, BundleHost, BundleHosts, NoBundle, Via};
use crate::compiled::{
    Compiled, Effect, FileRule, LimitKind, NetRule, PassRule, PublishRule, Widening, width,
};
use crate::coverage::{Coverage, range_covers};
use crate::definition::{Allow, Definition, Entry};
use crate::deny::DenyRule;
use crate::error::{Fault, Problem};
use crate::files::Judge;
use crate::network;
use crate::values::{Sourced, duration_words, size_words};
use crate::variables::dangerous_variable;

/// The merge in progress.
pub(crate) struct Merger<'a> {
    pub out: Compiled,
    pub problems: Vec<Problem>,
    pub judge: Judge<'a>,
    /// The command line, whose scalars make a project's meaningless.
    pub command: &'a Definition,
    pub now_unix: i64,
    /// Where the permits of `out.network` reach, by their positions.
    pub reached: Coverage,
}

/// One layer to lay on top.
pub(crate) struct Above<'d> {
    pub layer: Layer,
    /// Where its relative paths start.
    pub base: Option<&'d Path>,
    pub definition: &'d Definition,
}

/// One permit to be made.
struct Opening<'o> {
    id: String,
    destination: &'o Destination,
    addresses: &'o [Cidr],
    via: Option<Via>,
}

/// A layer's name in rule ids.
pub(crate) fn layer_id(layer: Layer) -> &'static str {
    match layer {
        Layer::Organisation => "organisation",
        Layer::BuiltIn => "built-in",
        Layer::Profile => "profile",
        Layer::User => "user",
        Layer::Project => "project",
        Layer::CommandLine => "command-line",
        Layer::Grant => "grant",
    }
}

/// Forbids of a layer as rules; ids count from `first`.
pub(crate) fn forbids(layer: Layer, entries: &[Entry<Destination>], first: usize) -> Vec<NetRule> {
    let all = entries.iter().enumerate().map(|(index, entry)| NetRule {
        id: format!("{}.network.deny.{}", layer_id(layer), first + index),
        effect: Effect::Forbid,
        destination: entry.value.clone(),
        addresses: Vec::new(),
        reason: entry.reason.clone(),
        ends: crate::ends::Ends::default(),
        source: entry.source.clone(),
        via: None,
    });
    all.collect()
}

/// Hidden names of a layer as rules; ids count from `first`.
pub(crate) fn hidden(layer: Layer, definition: &Definition, first: usize) -> Vec<DenyRule> {
    let all = definition.hide.iter().enumerate().map(|(index, entry)| DenyRule {
        id: format!("{}.files.deny.{}", layer_id(layer), first + index),
        pattern: entry.value.clone(),
        source: entry.source.clone(),
    });
    all.collect()
}

impl Merger<'_> {
    /// Lays one layer over the less specific ones.
    pub fn lay(&mut self, above: &Above<'_>) {
        let definition = above.definition;
        let layer = above.layer;
        self.out.denies.extend(hidden(layer, definition, 1));
        self.out.network.extend(forbids(layer, &definition.deny, 1));
        if let Some(read) = &definition.read {
            self.files(above, read, Access::ReadOnly);
        }
        if let Some(write) = &definition.write {
            self.files(above, write, Access::ReadWrite);
        }
        if let Some(allow) = &definition.allow {
            self.allow(layer, allow);
        }
        self.publish(layer, definition);
        self.environment(layer, definition);
        self.workspace(layer, definition);
        self.scalars(layer, definition);
        self.limits(layer, definition);
        self.floor(definition);
    }

    /// Whether something of this layer holds: a project's widening is listed, and holds if trusted.
    fn admits(&mut self, layer: Layer, words: String, source: &Source) -> bool {
        if layer != Layer::Project {
            return true;
        }
        self.out.trust.widens.push(Widening { words, destination: None, source: source.clone() });
        self.out.trust.accepted
    }

    fn fault(&mut self, source: &Source, fault: Fault) {
        self.problems.push(Problem { source: source.clone(), fault });
    }

    fn expired<T>(&mut self, entry: &Entry<T>) -> bool {
        let expired = entry.ends.at_unix.is_some_and(|at| at <= self.now_unix);
        if expired {
            self.fault(&entry.source, Fault::Expired(entry.text.clone()));
        }
        expired
    }

    fn files(&mut self, above: &Above<'_>, entries: &[Entry<()>], access: Access) {
        let (kind, words) = match access {
            Access::ReadOnly => ("read", "reads"),
            Access::ReadWrite => ("write", "reads and changes"),
        };
        if entries.is_empty() {
            self.out.files.retain(|rule| rule.access != access);
        }
        for (index, entry) in entries.iter().enumerate() {
            if self.expired(entry) {
                continue;
            }
            let judged = match self.judge.grant(&entry.text, access, above.layer, above.base) {
                Ok(Some(judged)) => judged,
                Ok(None) => continue,
                Err(fault) => {
                    self.fault(&entry.source, fault);
                    continue;
                }
            };
            let holds_already = self.out.files.iter().any(|rule| {
                let enough = rule.access == Access::ReadWrite || access == Access::ReadOnly;
                enough && rule.ends.never() && judged.path.starts_with(&rule.path)
            });
            let sentence = format!("{words} {}{}", judged.path.display(), ending(entry));
            if !holds_already && !self.admits(above.layer, sentence, &entry.source) {
                continue;
            }
            if let Some(risk) = judged.risk {
                self.risk(risk, &entry.source);
            }
            self.out.files.push(FileRule {
                id: format!("{}.files.{kind}.{}", layer_id(above.layer), index + 1),
                path: judged.path,
                access,
                reason: entry.reason.clone(),
                ends: entry.ends,
                source: entry.source.clone(),
            });
        }
    }

    fn allow(&mut self, layer: Layer, entries: &[Entry<Allow>]) {
        if entries.is_empty() {
            self.out.network.retain(|rule| rule.effect == Effect::Forbid);
            self.out.emptied = Some(layer);
            self.reached = Coverage::default();
        }
        for (index, entry) in entries.iter().enumerate() {
            if self.expired(entry) {
                continue;
            }
            let id = format!("{}.network.allow.{}", layer_id(layer), index + 1);
            match &entry.value {
                Allow::Destination(destination, addresses) => {
                    let opening = Opening { id, destination, addresses, via: None };
                    self.permit(layer, entry, opening);
                }
                Allow::Bundle(bundle) => self.bundle(layer, entry, *bundle, &id),
            }
        }
    }

    /// Permits the hosts of a bundle, each as if it stood there itself.
    fn bundle(&mut self, layer: Layer, entry: &Entry<Allow>, bundle: Bundle, id: &str) {
        let found = match self.judge.bundle(bundle) {
            Ok(found) => found,
            Err(NoBundle { why, fix }) => {
                let bundle = bundle.name();
                return self.fault(&entry.source, Fault::NoBundle { bundle, why, fix });
            }
        };
        let (hosts, notes, faults) = bundle_hosts(bundle, &found, layer);
        for words in notes {
            self.out.notices.push(Sourced::new(words, entry.source.clone()));
        }
        for fault in faults {
            self.fault(&entry.source, fault);
        }
        for (at, host) in hosts {
            let opening = Opening {
                id: format!("{id}.{}", at + 1),
                destination: &host.destination,
                addresses: &host.addresses,
                via: Some(Via { bundle, from: host.from.clone() }),
            };
            self.permit(layer, entry, opening);
        }
        if let Some(words) = bundle_risk(bundle) {
            self.risk(words.to_owned(), &entry.source);
        }
    }

    fn permit(&mut self, layer: Layer, entry: &Entry<Allow>, opening: Opening<'_>) {
        let Opening { id, destination, addresses, via } = opening;
        if !self.covered(destination, addresses) {
            let bundle = via.as_ref().map_or(String::new(), |via| {
                format!(" (bundle {}, from {})", via.bundle, via.from)
            });
            let sentence =
                format!("connects to {destination}{}{bundle}{}", leading(addresses), ending(entry));
            let admitted = self.admits(layer, sentence, &entry.source);
            if layer == Layer::Project
                && let Some(widening) = self.out.trust.widens.last_mut()
            {
                widening.destination = Some(destination.clone());
            }
            if !admitted {
                return;
            }
        }
        if let Some(words) = metadata_risk(destination, addresses) {
            self.risk(words, &entry.source);
        }
        self.reached.add(destination, self.out.network.len());
        self.out.network.push(NetRule {
            id,
            effect: Effect::Permit,
            destination: destination.clone(),
            addresses: addresses.to_vec(),
            reason: entry.reason.clone(),
            ends: entry.ends,
            source: entry.source.clone(),
            via,
        });
    }

    /// Whether a permit that does not end already reaches all of this.
    fn covered(&self, destination: &Destination, addresses: &[Cidr]) -> bool {
        self.reached.over(destination).into_iter().any(|at| {
            self.out.network.get(at).is_some_and(|rule| {
                let reach = |inner: &Cidr| {
                    let mut own = rule.addresses.iter();
                    own.any(|outer| range_covers(*outer, *inner))
                };
                rule.ends.never() && addresses.iter().all(reach)
            })
        })
    }

    fn publish(&mut self, layer: Layer, definition: &Definition) {
        let Some(entries) = &definition.publish else {
            return;
        };
        if entries.is_empty() {
            self.out.publish.clear();
        }
        for (index, entry) in entries.iter().enumerate() {
            let ports = entry.value;
            let taken = self.out.publish.iter().find(|rule| rule.ports.host == ports.host);
            match taken {
                Some(rule) if rule.ports == ports => continue,
                Some(rule) => {
                    let why =
                        format!("port {} of the host is published by {}", ports.host, rule.source);
                    let what = format!("{}:{}", ports.host, ports.inside);
                    self.fault(&entry.source, Fault::Conflict { what, why });
                    continue;
                }
                None => {}
            }
            let sentence =
                format!("serves its port {} on the host's port {}", ports.inside, ports.host);
            if self.admits(layer, sentence, &entry.source) {
                self.out.publish.push(PublishRule {
                    id: format!("{}.network.publish.{}", layer_id(layer), index + 1),
                    ports,
                    source: entry.source.clone(),
                });
            }
        }
    }

    fn environment(&mut self, layer: Layer, definition: &Definition) {
        if definition.pass.as_ref().is_some_and(Vec::is_empty) {
            self.out.pass.clear();
        }
        for (index, entry) in definition.pass.iter().flatten().enumerate() {
            let name = &entry.value;
            if self.out.pass.iter().any(|rule| rule.name == *name) {
                continue;
            }
            if !self.admits(layer, format!("sees your variable {name}"), &entry.source) {
                continue;
            }
            if let Some(why) = dangerous_variable(name) {
                self.risk(format!("the host's {name} is passed in; it {why}"), &entry.source);
            }
            self.out.pass.push(PassRule {
                id: format!("{}.environment.pass.{}", layer_id(layer), index + 1),
                name: name.clone(),
                source: entry.source.clone(),
            });
        }
        for (name, entry) in &definition.set {
            // A project may name variables of its own; changing what another layer decided, or what
            // programs load, is a widening.
            let changes = self.out.set.get(name).is_some_and(|own| own.value != entry.value)
                || self.out.pass.iter().any(|rule| rule.name == *name)
                || dangerous_variable(name).is_some();
            let sentence = format!("sets {name}={}", entry.value.escape_debug());
            if !changes || self.admits(layer, sentence, &entry.source) {
                self.out.set.insert(name.clone(), entry.clone());
            }
        }
    }

    fn workspace(&mut self, layer: Layer, definition: &Definition) {
        if definition.unprotect.as_ref().is_some_and(Vec::is_empty) {
            self.out.workspace.unprotect.clear();
        }
        for entry in definition.unprotect.iter().flatten() {
            let path = &entry.value;
            if self.out.workspace.unprotect.iter().any(|own| own.value == *path) {
                continue;
            }
            let why = crate::protected::find(path).map_or("", |row| row.why);
            let sentence = format!("changes {path} ({why})");
            if self.admits(layer, sentence, &entry.source) {
                self.out.workspace.unprotect.push(entry.clone());
                self.risk(format!("{path} may be changed: {why}"), &entry.source);
            }
        }
        let Some(mode) = &definition.mode else { return };
        if layer == Layer::Project && self.command.mode.is_some() {
            return;
        }
        // Without any layer's word the supervisor may choose review, so direct is more than that.
        let before = self.out.workspace.mode.as_ref().map(|mode| mode.value);
        let widens = width(mode.value) > width(before.unwrap_or(WorkspaceMode::Review));
        let sentence = match mode.value {
            // Only over a stricter word of the user's.
            WorkspaceMode::Review => "changes files, which wait for `ringfence apply`".to_owned(),
            _ => "changes the project's files directly".to_owned(),
        };
        if !widens || self.admits(layer, sentence, &mode.source) {
            self.out.workspace.mode = Some(mode.clone());
        }
    }

    fn scalars(&mut self, layer: Layer, definition: &Definition) {
        let project = layer == Layer::Project;
        if let Some(name) = &definition.name {
            // A kept home can hold a login: whoever picks the name picks the home.
            let sentence =
                format!("keeps and sees the private home of the sandbox `{}`", name.value);
            if self.admits(layer, sentence, &name.source) {
                self.out.name = Some(name.clone());
            }
        }
        if let Some(resolver) = &definition.resolver
            && !(project && self.command.resolver.is_some())
        {
            let same = self.out.resolver.as_ref().is_some_and(|own| own.value == resolver.value);
            let sentence = format!("asks {} for the addresses of names", resolver.value);
            if same || self.admits(layer, sentence, &resolver.source) {
                self.out.resolver = Some(resolver.clone());
            }
        }
        if let Some(exec) = &definition.exec
            && !(project && self.command.exec.is_some())
        {
            let widens = exec.value != self.out.exec.value
                && exec.value == ringfence_model::boundary::ExecMode::Any;
            let sentence = "starts any executable file".to_owned();
            if !widens || self.admits(layer, sentence, &exec.source) {
                self.out.exec = exec.clone();
            }
        }
        if let Some(tier) = &definition.tier
            && !(project && self.command.tier.is_some())
        {
            let widens = tier.value != self.out.tier.value && tier.value == Tier::Landlock;
            let sentence =
                "runs without namespaces (tier landlock): fewer things are contained".to_owned();
            if !widens || self.admits(layer, sentence, &tier.source) {
                self.out.tier = tier.clone();
            }
        }
        if let Some(debug) = &definition.debug
            && !(project && self.command.debug.is_some())
        {
            let widens = debug.value && !self.out.debug.value;
            let sentence = "traces its own processes".to_owned();
            if !widens || self.admits(layer, sentence, &debug.source) {
                self.out.debug = debug.clone();
            }
        }
    }

    fn limits(&mut self, layer: Layer, definition: &Definition) {
        for (kind, limit) in &definition.limits {
            if layer == Layer::Project && self.command.limits.contains_key(kind) {
                continue;
            }
            let widens = match (self.out.limit(*kind), limit.value) {
                (Some(before), Some(after)) => after > before,
                (Some(_), None) => true,
                (None, _) => false,
            };
            let sentence = format!("uses more: {} {}", kind.key(), limit_words(*kind, limit.value));
            if !widens || self.admits(layer, sentence, &limit.source) {
                self.out.limits.insert(*kind, limit.clone());
            }
        }
    }

    fn floor(&mut self, definition: &Definition) {
        if let Some(landlock) = &definition.landlock
            && landlock.value > self.out.floor.landlock.value
        {
            self.out.floor.landlock = landlock.clone();
        }
        if let Some(cgroup) = &definition.cgroup
            && cgroup.value
        {
            self.out.floor.cgroup = cgroup.clone();
        }
    }

    fn risk(&mut self, words: String, source: &Source) {
        let risk = Sourced::new(words, source.clone());
        self.out.residual_risks.push(risk);
    }
}

/// The hosts of a bundle that a layer may permit, with their places in it; what a person should
/// know; and what refuses the whole.
pub(crate) fn bundle_hosts(
    bundle: Bundle,
    found: &BundleHosts,
    layer: Layer,
) -> (Vec<(usize, &BundleHost)>, Vec<String>, Vec<Fault>) {
    let (mut hosts, mut faults) = (Vec::new(), Vec::new());
    let mut notes: Vec<String> =
        found.notes.iter().map(|note| format!("bundle {bundle}: {note}")).collect();
    for (at, host) in found.hosts.iter().enumerate() {
        let text = host.destination.to_string();
        match network::check_allow(&text, &host.destination, &host.addresses, layer) {
            Ok(()) => hosts.push((at, host)),
            // The tool's configuration is not the definition's mistake.
            Err(Fault::MatchesNothing { why, .. }) => {
                notes.push(format!("bundle {bundle}: {text} is left out: {why}"));
            }
            Err(fault) => faults.push(fault),
        }
    }
    (hosts, notes, faults)
}

/// What a bundle opens beyond its name.
pub(crate) fn bundle_risk(bundle: Bundle) -> Option<&'static str> {
    (bundle == Bundle::GithubRead).then_some(
        "github-read names hosts, not requests: a push with a token that the agent has is not stopped",
    )
}

/// The risk of a permit that leads to instance metadata, in words.
pub(crate) fn metadata_risk(destination: &Destination, addresses: &[Cidr]) -> Option<String> {
    let named = match &destination.target {
        ringfence_model::host::Target::Address(cidr) => Some(cidr),
        ringfence_model::host::Target::Name(_) => None,
    };
    let opens = addresses.iter().chain(named).any(|cidr| network::is_metadata(*cidr));
    opens.then(|| format!("the agent reaches instance metadata ({destination})"))
}

/// A limit in words.
pub(crate) fn limit_words(kind: LimitKind, value: Option<u64>) -> String {
    match (kind, value) {
        (_, None) => "without limit".to_owned(),
        (LimitKind::Processes | LimitKind::OpenFiles, Some(number)) => number.to_string(),
        (LimitKind::Cpu, Some(milli)) => {
            let text = format!("{}.{:03}", milli / 1000, milli % 1000);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            format!("{text} cores")
        }
        (LimitKind::Wall | LimitKind::Idle, Some(ms)) => duration_words(ms),
        (_, Some(bytes)) => size_words(bytes),
    }
}

fn leading(addresses: &[Cidr]) -> String {
    if addresses.is_empty() {
        return String::new();
    }
    let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    format!(", also at {}", all.join(", "))
}

fn ending<T>(entry: &Entry<T>) -> String {
    match (entry.ends.for_ms, entry.ends.at_unix) {
        (Some(ms), _) => format!(" for {}", duration_words(ms)),
        (None, Some(_)) => " until a fixed time".to_owned(),
        (None, None) => String::new(),
    }
}
