//! The one place that decides: a typed request against the compiled policy, by Cedar.
//!
//! It never does I/O or reads a clock, and it never allows what Cedar did not allow: every error is
//! a denial. Cedar evaluates linearly, so the rules that can match are picked first; the whole set
//! must decide the same (tests prove it).
#![forbid(unsafe_code)]

mod ask;
mod index;
pub mod limits;

use cedar_policy::{Authorizer, Decision as Answer, Policy, PolicyId, PolicySet, Response};
use ringfence_model::address::classify;
use ringfence_model::decision::{Decision, Reason, RuleRef, Verdict};
use ringfence_model::request::{Action, Request, Resource};
use ringfence_policy::cedar::{NAME_MISMATCH, RuleAt};
use ringfence_policy::{Compiled, Effect};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use ask::Vocabulary;
use index::Index;
use limits::{PREPARED_POLICIES, PREPARED_SETS};

/// The time of a question; the caller owns the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Unix time in seconds.
    pub unix_s: i64,
    /// Milliseconds since the run's start, on a clock that cannot be set.
    pub elapsed_ms: u64,
}

impl Now {
    /// Before every end.
    const EARLIEST: Self = Self { unix_s: i64::MIN, elapsed_ms: 0 };
}

/// Why no decision could be made; it becomes a denial.
#[derive(Debug, thiserror::Error)]
enum AuthorityError {
    #[error("the policy engine failed: {0}")]
    Engine(String),
    #[error("{action} cannot be done to this kind of resource")]
    Shape { action: Action },
    #[error("the prepared rules were lost when another thread failed")]
    Poisoned,
    #[error("a rule is missing from the policy")]
    NoSuchRule,
    #[error("the engine allowed without naming a permit")]
    Unfounded,
}

impl AuthorityError {
    fn engine(error: impl std::fmt::Display) -> Self {
        Self::Engine(error.to_string())
    }
}

/// Policies that have been parsed, and sets of them that have been asked.
#[derive(Default)]
struct Prepared {
    policies: HashMap<u32, Policy>,
    sets: HashMap<Vec<u32>, Arc<PolicySet>>,
}

/// Decides by one generation of the policy. Making one is cheap: rules are parsed by Cedar when the
/// first question needs them.
pub struct Authority {
    policy: Arc<Compiled>,
    generation: u64,
    index: Index,
    prepared: Mutex<Prepared>,
    vocabulary: OnceLock<Vocabulary>,
}

impl Authority {
    /// An authority over a policy; `generation` is counted from 1.
    #[must_use]
    pub fn new(policy: Arc<Compiled>, generation: u64) -> Self {
        Self {
            index: Index::new(&policy),
            policy,
            generation,
            prepared: Mutex::default(),
            vocabulary: OnceLock::new(),
        }
    }

    /// Takes a new policy; the generation rises by one.
    pub fn replace(&mut self, policy: Arc<Compiled>) {
        *self = Self::new(policy, self.generation.saturating_add(1));
    }

    /// The generation that decides.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The policy that decides.
    #[must_use]
    pub fn compiled(&self) -> &Arc<Compiled> {
        &self.policy
    }

    /// Decides. Never fails: what cannot be decided is denied.
    #[must_use]
    pub fn decide(&self, request: &Request, now: Now) -> Decision {
        let candidates = self.index.candidates(&self.policy, &request.resource);
        self.settle(request, now, candidates)
    }

    /// Decides with every rule instead of those that can match: slow, for tests and audits of the
    /// slicing itself.
    #[must_use]
    pub fn decide_by_every_rule(&self, request: &Request, now: Now) -> Decision {
        let all = (0..self.index.rules.len()).filter_map(|at| u32::try_from(at).ok());
        self.settle(request, now, all.collect())
    }

    fn settle(&self, request: &Request, now: Now, candidates: Vec<u32>) -> Decision {
        let decided = self.judge(request, now, &candidates);
        let mut decision = decided.unwrap_or_else(|error| Decision::failed(error.to_string()));
        decision.generation = self.generation;
        decision
    }

    fn judge(
        &self,
        request: &Request,
        now: Now,
        candidates: &[u32],
    ) -> Result<Decision, AuthorityError> {
        let set = self.set(candidates)?;
        let response = self.ask(request, now, &set)?;
        let rules = self.determining(&response)?;
        match response.decision() {
            Answer::Allow if rules.is_empty() => Err(AuthorityError::Unfounded),
            Answer::Allow => Ok(Decision {
                verdict: Verdict::Allow,
                expires: self.expiry(&rules, now),
                rules: self.references(&rules)?,
                reason: Reason::Permitted,
                generation: self.generation,
            }),
            Answer::Deny if rules.is_empty() => self.default_denial(request, now, candidates, &set),
            Answer::Deny => {
                let rules = self.references(&rules)?;
                let mismatch = rules.iter().all(|rule| rule.id == NAME_MISMATCH);
                let reason = if mismatch { Reason::NameMismatch } else { Reason::Forbidden };
                Ok(self.denial(reason, rules))
            }
        }
    }

    fn denial(&self, reason: Reason, rules: Vec<RuleRef>) -> Decision {
        Decision {
            verdict: Verdict::Deny,
            rules,
            reason,
            generation: self.generation,
            expires: None,
        }
    }

    /// No rule matched: finds out, by asking Cedar the same question a little differently, whether a
    /// permit has ended or stops at the address only. The verdict is a denial whatever comes of it.
    fn default_denial(
        &self,
        request: &Request,
        now: Now,
        candidates: &[u32],
        set: &PolicySet,
    ) -> Result<Decision, AuthorityError> {
        let permits = candidates.iter().any(|at| self.can_permit(*at));
        if permits {
            let response = self.ask(request, Now::EARLIEST, set)?;
            if response.decision() == Answer::Allow {
                let rules = self.determining(&response)?;
                return Ok(self.denial(Reason::Expired, self.references(&rules)?));
            }
            if let Resource::Endpoint(endpoint) = &request.resource
                && let (Some(_), Some(address)) = (&endpoint.name, endpoint.address)
            {
                let mut unresolved = endpoint.clone();
                unresolved.address = None;
                let unresolved =
                    Request { resource: Resource::Endpoint(unresolved), ..request.clone() };
                // A forbid of every address holds for an unknown one; of this address it is known by
                // now that none of them forbids it.
                let known = candidates.iter().filter(|at| !self.index.everything.contains(at));
                let set = self.set(&known.copied().collect::<Vec<_>>())?;
                let response = self.ask(&unresolved, now, &set)?;
                if response.decision() == Answer::Allow {
                    let class = classify(address);
                    let rules = self.determining(&response)?;
                    let reason = Reason::UnnamedAddress { class };
                    return Ok(self.denial(reason, self.references(&rules)?));
                }
            }
        }
        Ok(self.denial(Reason::NoRule, Vec::new()))
    }

    fn can_permit(&self, at: u32) -> bool {
        match self.index.rules.get(at as usize) {
            Some(RuleAt::Network(i)) => {
                let rule = self.policy.network.get(*i);
                rule.is_some_and(|rule| rule.effect == Effect::Permit)
            }
            Some(RuleAt::Deny(_) | RuleAt::Mask(_) | RuleAt::NameMismatch) | None => false,
            Some(_) => true,
        }
    }

    fn vocabulary(&self) -> Result<&Vocabulary, AuthorityError> {
        if let Some(own) = self.vocabulary.get() {
            return Ok(own);
        }
        let made = Vocabulary::new()?;
        Ok(self.vocabulary.get_or_init(|| made))
    }

    fn ask(
        &self,
        request: &Request,
        now: Now,
        set: &PolicySet,
    ) -> Result<Response, AuthorityError> {
        let (question, entities) = self.vocabulary()?.question(&self.policy, request, now)?;
        let response = Authorizer::new().is_authorized(&question, set, &entities);
        // A rule that could not be evaluated is skipped by Cedar; here nothing is skipped.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(AuthorityError::engine(error));
        }
        Ok(response)
    }

    /// Positions of the rules that determined an answer, ascending.
    fn determining(&self, response: &Response) -> Result<Vec<u32>, AuthorityError> {
        let ids = response.diagnostics().reason();
        let parsed = ids.map(|id| {
            let text: &str = id.as_ref();
            text.parse::<u32>().map_err(|_| AuthorityError::NoSuchRule)
        });
        let mut all = parsed.collect::<Result<Vec<_>, _>>()?;
        all.sort_unstable();
        Ok(all)
    }

    fn rule(&self, at: u32) -> Result<RuleAt, AuthorityError> {
        let rule = self.index.rules.get(at as usize).copied();
        rule.ok_or(AuthorityError::NoSuchRule)
    }

    fn references(&self, rules: &[u32]) -> Result<Vec<RuleRef>, AuthorityError> {
        let all = rules.iter().map(|at| {
            let origin = self.policy.rule_origin(self.rule(*at)?);
            let (id, source) = origin.ok_or(AuthorityError::NoSuchRule)?;
            Ok(RuleRef { id, source })
        });
        all.collect()
    }

    /// When an allow ends: with the last of its permits, never while one of them never ends.
    fn expiry(&self, rules: &[u32], now: Now) -> Option<i64> {
        let ends = rules.iter().map(|at| {
            let ends = self.policy.rule_ends(self.rule(*at).ok()?);
            ends.unix(now.unix_s, now.elapsed_ms)
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The set of these rules, prepared once.
    fn set(&self, candidates: &[u32]) -> Result<Arc<PolicySet>, AuthorityError> {
        let mut prepared = self.prepared.lock().map_err(|_| AuthorityError::Poisoned)?;
        if let Some(set) = prepared.sets.get(candidates) {
            return Ok(Arc::clone(set));
        }
        let mut set = PolicySet::new();
        for at in candidates {
            set.add(self.policy_of(&mut prepared, *at)?).map_err(AuthorityError::engine)?;
        }
        let set = Arc::new(set);
        if prepared.sets.len() < PREPARED_SETS {
            prepared.sets.insert(candidates.to_vec(), Arc::clone(&set));
        }
        Ok(set)
    }

    fn policy_of(&self, prepared: &mut Prepared, at: u32) -> Result<Policy, AuthorityError> {
        if let Some(policy) = prepared.policies.get(&at) {
            return Ok(policy.clone());
        }
        let text = self.policy.rule_cedar(self.rule(at)?);
        let text = text.ok_or(AuthorityError::NoSuchRule)?;
        let id = PolicyId::new(at.to_string());
        let policy = Policy::parse(Some(id), text).map_err(AuthorityError::engine)?;
        if prepared.policies.len() < PREPARED_POLICIES {
            prepared.policies.insert(at, policy.clone());
        }
        Ok(policy)
    }
}
