//! Denials as a person wants to see them: equal ones counted, and those that one answer would permit
//! shown as one, with that answer.
//!
//! An answer is offered only if it works: what `ringfence allow` would refuse is tried first, and its
//! reason is shown in its place.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use ringfence_model::decision::Decision;
use ringfence_model::event::{Event, Record};
use ringfence_model::request::Request;
use ringfence_policy::{Compiled, Explanation, Key, Knowing};
use serde::{Deserialize, Serialize};

use crate::allow;
use crate::bundles::Hints;
use crate::host::{self, RealHost};
use crate::limits::{EXIT_DENIALS, MORE_DENIAL_GROUPS};
use crate::paths::Paths;
use crate::rundir::RunDir;

/// One group of equal denials.
#[derive(Clone, Debug)]
pub struct DenialGroup {
    /// What was asked.
    pub request: Request,
    /// The answer.
    pub decision: Decision,
    /// How often.
    pub count: u64,
}

/// Groups of equal denials, in the order of their first.
#[derive(Default)]
pub struct Groups {
    listed: Vec<DenialGroup>,
    index: HashMap<String, usize>,
    /// The groups that are not listed: a number for each, drawn from its key.
    more: HashSet<u64>,
    hasher: RandomState,
}

impl Groups {
    /// Counts denials.
    pub fn note(&mut self, request: &Request, decision: &Decision, count: u64) {
        let key = format!("{} {} {}", request.action, request.resource, decision.reason);
        if let Some(group) = self.index.get(&key).and_then(|index| self.listed.get_mut(*index)) {
            group.count = group.count.saturating_add(count);
        } else if self.listed.len() < EXIT_DENIALS {
            self.index.insert(key, self.listed.len());
            let (request, decision) = (request.clone(), decision.clone());
            self.listed.push(DenialGroup { request, decision, count });
        } else if self.more.len() < MORE_DENIAL_GROUPS {
            self.more.insert(self.hasher.hash_one(&key));
        }
    }

    /// Counts what a record denies.
    pub fn add(&mut self, record: &Record) {
        if let Event::Decision { request, decision, count, .. } = &record.event
            && !decision.verdict.is_allow()
        {
            self.note(request, decision, *count);
        }
    }

    /// The groups that are listed.
    #[must_use]
    pub fn listed(&self) -> &[DenialGroup] {
        &self.listed
    }

    /// How many groups more there are: at least, since no more than [`MORE_DENIAL_GROUPS`] are told
    /// apart.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more.len() as u64
    }

    /// Every listed group in words; those with the same answer are one.
    #[must_use]
    pub fn explained(&self, explainer: &Explainer<'_>) -> Vec<Denied> {
        let mut all: Vec<Denied> = Vec::new();
        for group in &self.listed {
            let explanation = explainer.explain(&group.request, &group.decision);
            let same = all.iter_mut().find(|other| {
                explanation.answer.is_some() && other.explanation.answer == explanation.answer
            });
            match same {
                Some(same) => same.count = same.count.saturating_add(group.count),
                None => all.push(Denied { explanation, count: group.count }),
            }
        }
        all
    }
}

/// One group of denials in words.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Denied {
    /// In words.
    pub explanation: Explanation,
    /// How often.
    pub count: u64,
}

/// Explains the decisions of one run.
pub struct Explainer<'a> {
    policy: &'a Compiled,
    run: &'a RunDir,
    running: bool,
    home: PathBuf,
    bundles: Hints,
    /// ` --run RUN` where a command by itself would be about something else.
    about: String,
}

impl<'a> Explainer<'a> {
    /// An explainer for a person who stands in the working directory; `running` says whether the run
    /// can still be given something.
    #[must_use]
    pub fn new(policy: &'a Compiled, run: &'a RunDir, running: bool) -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let home = std::fs::canonicalize(&home).unwrap_or(home);
        let cwd = std::env::current_dir().and_then(std::fs::canonicalize).unwrap_or_default();
        let root = &policy.workspace.root;
        let here = host::project_root(&cwd, &home) == *root;
        let about = if here && follows_its_project(policy, root) {
            String::new()
        } else {
            format!(" --run {}", run.id())
        };
        Self { policy, run, running, home, bundles: Hints::default(), about }
    }

    /// A decision in words, with what would permit it.
    #[must_use]
    pub fn explain(&self, request: &Request, decision: &Decision) -> Explanation {
        let host = RealHost { home: &self.home, workspace: &self.policy.workspace.root };
        let knowing = Knowing {
            bundle: &|name, port| host.bundle_of(&self.bundles, name, port),
            running: self.running,
            about: &self.about,
        };
        let mut own = ringfence_policy::explain_knowing(self.policy, request, decision, &knowing);
        if let Some(answer) = &own.answer
            && let Ok(paths) = Paths::find()
            && let Err(why) = allow::would_work(paths, self.run, answer)
        {
            match answer.key {
                Key::Allow => own.refuse_to_keep(&why.to_string()),
                Key::Read | Key::Write | Key::Pass => own.refuse(&why.to_string()),
            }
        }
        own
    }
}

/// Whether the definition is the project's own, or there is none.
fn follows_its_project(policy: &Compiled, root: &Path) -> bool {
    let own = root.join(crate::paths::DEFINITION);
    let canonical = std::fs::canonicalize(&own).unwrap_or(own);
    allow::definition_of(policy).is_none_or(|file| *file == canonical)
}

#[cfg(test)]
mod tests {
    use ringfence_model::request::{Action, Context, Resource};

    use super::*;

    fn request(port: u16) -> Request {
        Request {
            action: Action::Publish,
            resource: Resource::Port(port),
            context: Context::default(),
        }
    }

    /// C07: ten groups are listed, and the rest is counted by group, not by denial.
    #[test]
    fn c07_more_groups_are_groups_and_not_denials() {
        let mut groups = Groups::default();
        for _ in 0..5 {
            for port in 1..=12 {
                groups.note(&request(port), &Decision::failed("no"), 1);
            }
        }
        let counts: Vec<_> = groups.listed().iter().map(|group| group.count).collect();
        assert_eq!(counts, [5; EXIT_DENIALS]);
        assert_eq!(groups.more(), 2);
    }

    #[test]
    fn c07_a_flood_of_groups_takes_no_more_memory() {
        let mut groups = Groups::default();
        let decision = Decision::failed("no");
        for port in 0..=u16::MAX {
            groups.note(&request(port), &decision, 1);
        }
        assert_eq!(groups.more(), MORE_DENIAL_GROUPS as u64);
        assert_eq!(groups.more.len(), MORE_DENIAL_GROUPS);
    }
}
