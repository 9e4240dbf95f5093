//! The organisation's layer: forbids, caps and floors that nothing below can loosen, at compile
//! time and when its policy changes under a running sandbox.
//!
//! Every function here only ever narrows.

use ringfence_model::boundary::{ExecMode, Tier};
use ringfence_model::event::PolicySource;
use ringfence_model::provenance::Layer;

use crate::compile::{DefinitionText, parse};
use crate::compiled::{Compiled, Effect, width};
use crate::definition::Definition;
use crate::error::{Fault, Problem, Problems};
use crate::merge::{forbids, hidden, limit_words};
use crate::values::Sourced;

/// Applies caps and floors; forbids are added by the caller.
pub(crate) fn cap(out: &mut Compiled, organisation: &Definition) {
    for (kind, cap) in &organisation.limits {
        let Some(most) = cap.value else { continue };
        let Some(current) = out.limits.get(kind).cloned() else {
            continue;
        };
        if current.value.is_none_or(|asked| asked > most) {
            if current.source.layer != Layer::BuiltIn {
                let words = format!(
                    "{} is {} as the organisation caps it, not {} ({})",
                    kind.key(),
                    limit_words(*kind, cap.value),
                    limit_words(*kind, current.value),
                    current.source,
                );
                out.notices.push(Sourced::new(words, cap.source.clone()));
            }
            out.limits.insert(*kind, cap.clone());
        }
    }
    if let Some(mode) = &organisation.mode {
        let own = out.workspace.cap.as_ref();
        if own.is_none_or(|own| width(mode.value) < width(own.value)) {
            out.workspace.cap = Some(mode.clone());
        }
    }
    if let Some(exec) = organisation.exec.as_ref().filter(|exec| exec.value == ExecMode::Base) {
        out.exec = exec.clone();
    }
    if let Some(tier) = organisation.tier.as_ref().filter(|tier| tier.value == Tier::Process) {
        out.tier = tier.clone();
    }
    if let Some(debug) = organisation.debug.as_ref().filter(|debug| !debug.value) {
        out.debug = debug.clone();
    }
    if let Some(landlock) = &organisation.landlock
        && landlock.value > out.floor.landlock.value
    {
        out.floor.landlock = landlock.clone();
    }
    if let Some(cgroup) = organisation.cgroup.as_ref().filter(|cgroup| cgroup.value) {
        out.floor.cgroup = cgroup.clone();
    }
}

impl Compiled {
    /// The policy under a new text of the organisation's policy: old forbids stay, new ones are
    /// added, caps only go down. An error means that the new text cannot be read, and the caller
    /// must deny everything that is not yet decided.
    pub fn with_organisation(&self, text: &DefinitionText<'_>) -> Result<Self, Problems> {
        let organisation = parse(text, Layer::Organisation)?;
        let mut next = self.clone();
        let is_ours = |id: &str| id.starts_with("organisation.");
        let first = 1 + self.network.iter().filter(|rule| is_ours(&rule.id)).count();
        let fresh: Vec<_> = organisation
            .deny
            .iter()
            .filter(|entry| {
                let mut old = self.network.iter();
                !old.any(|rule| {
                    is_ours(&rule.id)
                        && rule.effect == Effect::Forbid
                        && rule.destination == entry.value
                })
            })
            .cloned()
            .collect();
        next.network.extend(forbids(Layer::Organisation, &fresh, first));
        let first = 1 + self.denies.iter().filter(|rule| is_ours(&rule.id)).count();
        let mut fresh = organisation.clone();
        fresh.hide.retain(|entry| {
            let mut old = self.denies.iter();
            !old.any(|rule| is_ours(&rule.id) && rule.pattern == entry.value)
        });
        next.denies.extend(hidden(Layer::Organisation, &fresh, first));
        cap(&mut next, &organisation);
        next.sources.retain(|source| source.layer != Layer::Organisation);
        next.sources.insert(
            0,
            PolicySource {
                layer: Layer::Organisation,
                file: text.file.to_owned(),
                digest: crate::digest(text.bytes),
            },
        );
        next.digest = next.compute_digest().map_err(|error| {
            Problems(vec![Problem {
                source: ringfence_model::provenance::Source::built_in("digest"),
                fault: Fault::Internal(error.to_string()),
            }])
        })?;
        Ok(next)
    }
}
