//! Permits that are added to a compiled policy while its sandbox runs: a person's answers.
//!
//! They are read by the parser of `run --allow` and held to the same rules. A forbid of any layer wins
//! as ever, an `allow = []` of a more specific layer keeps what it took back, and nothing but network
//! permits is ever added.

use ringfence_model::address::Cidr;
use ringfence_model::host::Destination;
use ringfence_model::provenance::{Layer, Source};

use crate::bundle::Via;
use crate::compiled::{Compiled, Effect, NetRule};
use crate::coverage::covers;
use crate::definition::Allow;
use crate::ends::Ends;
use crate::error::{Fault, Problem, Problems};
use crate::host::Host;
use crate::limits::GRANTS;
use crate::merge::{bundle_hosts, bundle_risk, layer_id, metadata_risk};
use crate::scalars::parse_allow;
use crate::values::Sourced;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// As `--allow` takes it.
    pub text: String,
    /// Where it stands, or who gave it.
    pub source: Source,
    /// When it ends.
    pub ends: Ends,
}

/// What became of answers.
#[derive(Clone, Debug)]
pub struct Permitted {
    /// The policy with them; `None` if it permits all of them already, for as long.
    pub policy: Option<Compiled>,
    /// Texts that were permitted already, and by what.
    pub already: Vec<(String, Source)>,
}

/// One rule to be made.
struct Opening {
    suffix: String,
    destination: Destination,
    addresses: Vec<Cidr>,
    via: Option<Via>,
}

impl Compiled {
    /// This policy with more permits, all of them or none; `elapsed_ms` is how long the run has lasted.
    ///
    /// # Errors
    /// A text that `--allow` would refuse, or a permit that could change nothing.
    pub fn with_permits(
        &self,
        permits: &[Permit],
        elapsed_ms: u64,
        host: &dyn Host,
    ) -> Result<Permitted, Problems> {
        let mut next = self.clone();
        let mut already = Vec::new();
        let mut problems = Vec::new();
        for permit in permits {
            match next.add(permit, elapsed_ms, host) {
                Ok(None) => {}
                Ok(Some(by)) => already.push((permit.text.clone(), by)),
                Err(faults) => problems.extend(
                    faults
                        .into_iter()
                        .map(|fault| Problem { source: permit.source.clone(), fault }),
                ),
            }
        }
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        if already.len() == permits.len() {
            return Ok(Permitted { policy: None, already });
        }
        next.digest = next.compute_digest().map_err(|error| {
            let source = Source::built_in("digest");
            Problems(vec![Problem { source, fault: Fault::Internal(error.to_string()) }])
        })?;
        Ok(Permitted { policy: Some(next), already })
    }

    /// When the next permit ends that is measured from the start, in milliseconds after the start.
    #[must_use]
    pub fn next_end_ms(&self, elapsed_ms: u64) -> Option<u64> {
        self.permits().filter_map(|rule| rule.ends.for_ms).filter(|end| *end > elapsed_ms).min()
    }

    /// Adds one answer; `Some` says what permits it already.
    fn add(
        &mut self,
        permit: &Permit,
        elapsed_ms: u64,
        host: &dyn Host,
    ) -> Result<Option<Source>, Vec<Fault>> {
        let layer = permit.source.layer;
        let parsed = parse_allow(&permit.text, &[], layer).map_err(|fault| vec![fault])?;
        if self.emptied.is_some_and(|by| layer < Layer::CommandLine && by >= layer) {
            return Err(vec![Fault::Emptied { key: "network.allow".to_owned() }]);
        }
        let (openings, mut risks) = openings(parsed, layer, host)?;
        if let Some(fault) = openings.iter().find_map(|opening| self.denied(&opening.destination)) {
            return Err(vec![fault]);
        }
        let permitted: Vec<_> =
            openings.iter().filter_map(|opening| self.permitted_by(opening, permit.ends)).collect();
        if permitted.len() == openings.len() {
            return Ok(permitted.into_iter().next());
        }
        self.make_room(&openings, layer, elapsed_ms)?;
        let first = self.next_number(layer);
        for opening in openings {
            risks.extend(metadata_risk(&opening.destination, &opening.addresses));
            self.network.push(NetRule {
                id: format!("{}.network.allow.{first}{}", layer_id(layer), opening.suffix),
                effect: Effect::Permit,
                destination: opening.destination,
                addresses: opening.addresses,
                reason: None,
                ends: permit.ends,
                source: permit.source.clone(),
                via: opening.via,
            });
        }
        let risks = risks.into_iter().map(|words| Sourced::new(words, permit.source.clone()));
        self.residual_risks.extend(risks);
        Ok(None)
    }

    fn denied(&self, destination: &Destination) -> Option<Fault> {
        let mut forbids = self.network.iter().filter(|rule| rule.effect == Effect::Forbid);
        let by = forbids.find(|rule| covers(&rule.destination, destination))?;
        Some(Fault::Denied {
            what: destination.to_string(),
            place: by.source.to_string(),
            organisation: by.source.layer == Layer::Organisation,
        })
    }

    /// What permits all of it already, and for no shorter.
    fn permitted_by(&self, opening: &Opening, ends: Ends) -> Option<Source> {
        let found = self.permits().find(|rule| {
            let reach = |inner: &Cidr| rule.addresses.iter().any(|outer| outer == inner);
            let lasts = rule.ends.never() || (!ends.never() && rule.ends == ends);
            lasts
                && covers(&rule.destination, &opening.destination)
                && opening.addresses.iter().all(reach)
        });
        found.map(|rule| rule.source.clone())
    }

    /// The latest answer holds: an earlier grant of the same place makes way for it. Grants that have
    /// ended are kept for explanations until there are too many.
    fn make_room(
        &mut self,
        openings: &[Opening],
        layer: Layer,
        elapsed_ms: u64,
    ) -> Result<(), Vec<Fault>> {
        let is_grant = |rule: &NetRule| rule.source.layer == Layer::Grant;
        self.network.retain(|rule| {
            let again = openings.iter().any(|own| own.destination == rule.destination);
            !(again && is_grant(rule))
        });
        if layer != Layer::Grant {
            return Ok(());
        }
        let count = |policy: &Self| policy.network.iter().filter(|rule| is_grant(rule)).count();
        if count(self) + openings.len() > GRANTS {
            self.network.retain(|rule| {
                !(is_grant(rule) && rule.ends.for_ms.is_some_and(|end| end <= elapsed_ms))
            });
        }
        let held = count(self);
        if held + openings.len() > GRANTS {
            return Err(vec![Fault::TooManyGrants(held)]);
        }
        Ok(())
    }

    /// The number of a layer's next permit.
    fn next_number(&self, layer: Layer) -> usize {
        let prefix = format!("{}.network.allow.", layer_id(layer));
        let numbers = self.network.iter().filter_map(|rule| {
            rule.id.strip_prefix(&prefix)?.split('.').next()?.parse::<usize>().ok()
        });
        1 + numbers.max().unwrap_or(0)
    }
}

/// The rules of one answer, and what they risk.
fn openings(
    parsed: Allow,
    layer: Layer,
    host: &dyn Host,
) -> Result<(Vec<Opening>, Vec<String>), Vec<Fault>> {
    let bundle = match parsed {
        Allow::Destination(destination, addresses) => {
            let only = Opening { suffix: String::new(), destination, addresses, via: None };
            return Ok((vec![only], Vec::new()));
        }
        Allow::Bundle(bundle) => bundle,
    };
    let none = |why, fix| vec![Fault::NoBundle { bundle: bundle.name(), why, fix }];
    let found = host.bundle(bundle).map_err(|no| none(no.why, no.fix))?;
    let (hosts, notes, faults) = bundle_hosts(bundle, &found, layer);
    if !faults.is_empty() {
        return Err(faults);
    }
    if hosts.is_empty() {
        return Err(none(notes.join("; "), "name the hosts themselves".to_owned()));
    }
    let all = hosts.into_iter().map(|(at, host)| Opening {
        suffix: format!(".{}", at + 1),
        destination: host.destination.clone(),
        addresses: host.addresses.clone(),
        via: Some(Via { bundle, from: host.from.clone() }),
    });
    Ok((all.collect(), bundle_risk(bundle).map(str::to_owned).into_iter().collect()))
}

impl Compiled {
    /// Why what stands at a place would permit nothing: forbids deny all of it.
    #[must_use]
    pub fn without_effect(&self, source: &Source) -> Option<Fault> {
        let permits = self.permits().filter(|rule| rule.source == *source);
        let denied = permits.filter_map(|rule| self.denied(&rule.destination)).next();
        let mut files = self.files.iter().filter(|rule| rule.source == *source);
        let hidden = || {
            files.find_map(|rule| {
                let by = self.denies.get(*self.hidden_by(&rule.path).first()?)?;
                Some(Fault::Denied {
                    what: rule.path.display().to_string(),
                    place: by.source.to_string(),
                    organisation: by.source.layer == Layer::Organisation,
                })
            })
        };
        denied.or_else(hidden)
    }
}
