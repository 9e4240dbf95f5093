//! Time and policy: limits, grants that end, a changed organisation policy, hidden names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ringfence_jail::adjust::Change;
use ringfence_model::boundary::{Boundary, MountKind};
use ringfence_model::event::Event;
use ringfence_model::link::ToGateway;
use ringfence_policy::Compiled;

use super::{Ending, Owner};
use crate::clock;
use crate::limits::{LATER_MASKS, MASKS_PER_TURN};
use crate::rundir::Cleanup;
use crate::watch::Hit;

impl Owner<'_> {
    pub(super) fn keep_time(&mut self) {
        let now = clock::now();
        let elapsed = now.elapsed_ms(&self.recorder.start());
        if let Err(error) = self.recorder.flush() {
            self.shut(error.to_string());
        }
        if self.kill_at_ms.is_some_and(|at| elapsed >= at) {
            self.end_because("signal");
        }
        self.end_grants(elapsed);
        self.end_permits(elapsed);
        self.mask_some();
        if self.rejudge_at.is_some_and(|at| now.unix_s >= at) {
            self.rejudge_at = None;
            let generation = self.authority.generation();
            self.tell_gateway(&ToGateway::Generation { generation });
        }
        let (ran, idle) = self.agent_ms(elapsed);
        let hit = self.watch.time_is_up(ran, idle).or_else(|| self.look_around(elapsed));
        if let Some(hit) = hit.filter(|_| self.cause.is_none()) {
            self.hit(hit.name, hit.limit);
        }
    }

    /// Things that cost a look at the whole process tree: as often as the watch wants, no more.
    fn look_around(&mut self, elapsed: u64) -> Option<Hit> {
        if elapsed < self.looked_at_ms + self.watch.interval_ms() {
            return None;
        }
        self.looked_at_ms = elapsed;
        self.reload_organisation();
        // A floor under the watches: lost events must not leave anything open.
        self.hold_again();
        if let Some(hidden) = &mut self.hidden {
            let missed = hidden.missed(&self.compiled);
            self.to_mask.extend(missed);
        }
        if let Some(hit) = self.watch.processes_full() {
            self.failures.push(format!(
                "limit processes ({}) was hit: new processes were refused",
                hit.limit
            ));
            let event = Event::Limit {
                name: hit.name.to_owned(),
                limit: hit.limit,
                action: "new processes were refused".to_owned(),
            };
            let _ = self.recorder.record(&event);
        }
        self.watch.look()
    }

    pub(super) fn hit(&mut self, name: &str, limit: String) {
        self.failures.push(format!("limit {name} ({limit}) was hit; the run was ended"));
        let event =
            Event::Limit { name: name.to_owned(), limit, action: "the run was ended".to_owned() };
        let _ = self.recorder.record(&event);
        self.end_because("limit");
    }

    pub(super) fn end_grants(&mut self, elapsed: u64) {
        // Before the release the mounts may not stand yet: what is due by then ends right after it.
        while self.progress.released
            && self.endings.first().is_some_and(|ending| ending.at_ms <= elapsed)
        {
            let ending = self.endings.remove(0);
            if ending.covered {
                let path = ending.path.display();
                return self.hit("grant", format!("{path} ended and cannot be taken away by itself: a protected or hidden path lies over it"));
            }
            match self.sandbox.handle.change(Change::Unmount(&ending.path)) {
                Ok(()) => {
                    let event = Event::Limit {
                        name: "grant".to_owned(),
                        limit: format!("{} ({})", ending.path.display(), ending.rule),
                        action:
                            "it ended and was unmounted; descriptors that are still open survive"
                                .to_owned(),
                    };
                    let _ = self.recorder.record(&event);
                }
                Err(error) => {
                    let limit = format!(
                        "{} could not be unmounted at its end: {error}",
                        ending.path.display()
                    );
                    self.hit("grant", limit);
                }
            }
        }
    }

    /// The organisation's policy changed: it may only narrow, and what cannot be read closes all.
    pub(super) fn reload_organisation(&mut self) {
        let Some(change) = self.reload.changed() else { return };
        match change.and_then(|text| narrowed(&self.compiled, &text)) {
            Ok(compiled) if compiled.digest == self.compiled.digest => return,
            Ok(compiled) => self.adopt(Arc::new(compiled)),
            Err(why) => {
                let what = format!("the organisation's policy cannot be used ({why})");
                let _ = self.recorder.record(&Event::Sensor { what: what.clone() });
                self.shut(what);
            }
        }
        let generation = self.authority.generation();
        self.tell_gateway(&ToGateway::Generation { generation });
    }

    /// Hidden names have come to exist on the host (or, in `direct`, inside): they are masked, some per
    /// turn. The moment between birth and mask is the watch's own limit.
    pub(super) fn hide_what_appeared(&mut self) {
        if let Some(hidden) = &mut self.hidden {
            let found = hidden.appeared(&self.compiled);
            self.to_mask.extend(found);
            if !hidden.complete && !hidden.told {
                hidden.told = true;
                let what = "not every directory can be watched for hidden names that appear later"
                    .to_owned();
                let _ = self.recorder.record(&Event::Sensor { what });
            }
        }
        self.mask_some();
    }

    pub(super) fn mask_some(&mut self) {
        if self.to_mask.is_empty() {
            return;
        }
        let some: Vec<PathBuf> =
            self.to_mask.drain(..self.to_mask.len().min(MASKS_PER_TURN)).collect();
        self.masked += some.len();
        if self.masked > LATER_MASKS {
            self.to_mask.clear();
            return self.hit(
                "hidden",
                format!("more than {LATER_MASKS} hidden names appeared during the run"),
            );
        }
        let changes: Vec<Change<'_>> = some.iter().map(|path| Change::Mask(path)).collect();
        if let Err(error) = self.sandbox.handle.changes(&changes) {
            self.hit("hidden", format!("names that must be hidden cannot be masked: {error}"));
        }
    }

    /// A held path was replaced or removed outside: it is held again, or the run ends.
    pub(super) fn hold_again(&mut self) {
        let Some(held) = &mut self.held else { return };
        let lost = match held.lost() {
            Ok(lost) => lost,
            Err(error) => {
                return self.hit(
                    "protected",
                    format!(
                        "a protected path was removed outside and cannot be held again: {error}"
                    ),
                );
            }
        };
        let made: Vec<PathBuf> = lost
            .iter()
            .filter(|one| one.made && !is_in_git(&one.path))
            .map(|one| one.path.clone())
            .collect();
        if !made.is_empty() {
            self.remember_placeholders(made);
        }
        for one in lost {
            let change = if one.pin { Change::Pin(&one.path) } else { Change::Hold(&one.path) };
            if let Err(error) = self.sandbox.handle.change(change) {
                let path = one.path.display();
                return self.hit(
                    "protected",
                    format!("{path} was replaced outside and cannot be held again: {error}"),
                );
            }
            let what = format!(
                "{} was replaced or removed outside; it is held again, and was open to the agent for a moment",
                one.path.display()
            );
            let _ = self.recorder.record(&Event::Sensor { what });
        }
    }

    /// What a crash may leave grows by these.
    fn remember_placeholders(&self, made: Vec<PathBuf>) {
        let mut cleanup: Cleanup = self.run.read_json("cleanup.json").unwrap_or_default();
        cleanup.placeholders.extend(
            made.into_iter().filter(|path| !self.boundary.workspace.placeholders.contains(path)),
        );
        let _ = self.run.write_json("cleanup.json", &cleanup);
    }

    pub(super) fn adopt(&mut self, compiled: Arc<Compiled>) {
        let newly_hidden = crate::plan::newly_hidden(&self.compiled, &compiled);
        self.compiled = Arc::clone(&compiled);
        self.authority.replace(Arc::clone(&compiled));
        let recorded = self.recorder.set_policy(&compiled.digest).and_then(|()| {
            self.recorder.record(&Event::Policy {
                generation: self.authority.generation(),
                digest: compiled.digest.clone(),
                layer: ringfence_model::provenance::Layer::Organisation,
                summary:
                    "the organisation's policy changed; forbids were added, none was taken away"
                        .to_owned(),
            })
        });
        if let Err(error) = recorded {
            self.shut(error.to_string());
        }
        let _ = self.run.write_json("policy.json", compiled.as_ref());
        match newly_hidden {
            Ok((paths, watch)) => {
                self.to_mask.extend(paths);
                self.hidden = watch.or_else(|| self.hidden.take());
                self.mask_some();
            }
            Err(error) => self.hit("policy", format!("a new deny cannot be enforced: {error}")),
        }
        if compiled.tier.value != self.boundary.tier {
            let now = &compiled.tier.source;
            self.hit("policy", format!("this tier is not permitted any more ({now})"));
        }
    }
}

fn narrowed(compiled: &Compiled, text: &crate::load::Text) -> Result<Compiled, String> {
    let definition = ringfence_policy::DefinitionText { file: &text.path, bytes: &text.bytes };
    compiled.with_organisation(&definition).map_err(|problems| problems.to_string())
}

/// File grants that end during the run, soonest first, in milliseconds after the start.
pub(super) fn endings(compiled: &Compiled, boundary: &Boundary, start: i64) -> Vec<Ending> {
    let mut endings: Vec<Ending> = crate::plan::grants(compiled, start)
        .into_iter()
        .filter_map(|rule| {
            let at_ms = crate::plan::end_ms(rule, start)?;
            // A hold or mask at the same place lies on top: unmounting would take that away.
            let covered = boundary.mounts.iter().any(|mount| {
                let cover =
                    matches!(mount.kind, MountKind::Hold | MountKind::Pin | MountKind::Mask);
                cover && mount.target == rule.path
            });
            Some(Ending { at_ms, path: rule.path.clone(), rule: rule.id.clone(), covered })
        })
        .collect();
    endings.sort_by_key(|ending| ending.at_ms);
    endings
}

/// A part of a repository that vanished and was made again stays when the run ends: whoever took it
/// away was about to put another in its place.
fn is_in_git(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(".git"))
}
