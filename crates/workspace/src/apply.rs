//! Applying: which changes go into the project, in which order, and what became of each.
//!
//! Nothing that the host would run is applied without its being named; nothing that the project
//! changed meanwhile is overwritten; what is left out is always in the report.

use serde::{Serialize, Serializer};

use crate::beneath::is_within;
use crate::change::{Change, Class, Kind, Node};
use crate::error::WorkspaceError;
use crate::land::{Landing, NotLanded};
use crate::layer::Layer;
use crate::prune::prune;

/// Which changes are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// All of them.
    All,
    /// These paths, relative to the project, and all beneath them.
    Paths(Vec<Vec<u8>>),
}

/// How to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplyOptions {
    /// Which changes.
    pub selection: Selection,
    /// Paths that the person named although the host runs them. A directory stands for what is in
    /// it only if it is itself host-executed (`.github/workflows`), so `.` names nothing.
    pub host_executed: Vec<Vec<u8>>,
    /// Whether the layer is mounted: then it is not touched, and shows the applied changes until
    /// it is mounted anew.
    pub mounted: bool,
}

/// A change that was not applied, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The change.
    pub change: Change,
    /// Why.
    pub why: String,
}

/// What became of each selected change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// In the project now.
    pub applied: Vec<Change>,
    /// The host would run it: name it to apply it.
    pub held_back: Vec<LeftOut>,
    /// The project changed meanwhile.
    pub conflicts: Vec<LeftOut>,
    /// Never applied.
    pub refused: Vec<LeftOut>,
    /// It could not be done.
    pub failed: Vec<LeftOut>,
    /// Selected paths without any change.
    #[serde(serialize_with = "shown")]
    pub unknown: Vec<Vec<u8>>,
    /// Why applied entries are still in the layer, if they are.
    pub kept: Option<String>,
}

fn shown<S: Serializer>(paths: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| ringfence_model::text::visible_bytes(path)))
}

impl Report {
    /// Whether every selected change is in the project.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let left = [&self.held_back, &self.conflicts, &self.refused, &self.failed];
        left.iter().all(|list| list.is_empty()) && self.unknown.is_empty()
    }
}

/// The order of one change: what is added before what goes, so that nothing is in neither place;
/// what takes a directory's place last.
fn turn(change: &Change) -> u8 {
    let over_dir = change.seen.is_some_and(|seen| seen.node == Node::Dir);
    match change.kind {
        Kind::Deleted => 1,
        Kind::TypeChanged if over_dir => 2,
        _ => 0,
    }
}

impl Layer {
    /// Applies changes to the project. Each file is applied whole or not at all; a failure of one
    /// does not stop the others.
    ///
    /// # Errors
    /// When the layer cannot be read; then nothing was applied.
    pub fn apply(&self, options: &ApplyOptions) -> Result<Report, WorkspaceError> {
        self.apply_observed(options, &mut |_| Ok(()))
    }

    /// As [`Layer::apply`], and tells `observe` exactly which changes will be tried, parents before
    /// what they hold, before the first of them has any effect.
    ///
    /// # Errors
    /// When the layer cannot be read, or what `observe` answers; then nothing was applied.
    pub fn apply_observed<E: From<WorkspaceError>>(
        &self,
        options: &ApplyOptions,
        observe: &mut dyn FnMut(&[Change]) -> Result<(), E>,
    ) -> Result<Report, E> {
        let changes = self.changes()?;
        let mut report = Report::default();
        if let Selection::Paths(paths) = &options.selection {
            let none = |path: &&Vec<u8>| !changes.iter().any(|c| is_within(&c.path, path));
            report.unknown = paths.iter().filter(none).cloned().collect();
        }
        let mut due = Vec::new();
        for change in changes {
            if is_selected(&change, &options.selection) {
                self.sort_out(change, options, &mut due, &mut report);
            }
        }
        observe(&due)?;
        // Deletions go from the last to the first: what a directory holds before itself.
        let (deletions, mut others): (Vec<_>, Vec<_>) = due.into_iter().partition(|c| turn(c) == 1);
        let last: Vec<_> = others.extract_if(.., |change| turn(change) == 2).collect();
        let mut landing = Landing::new(self);
        for change in others.into_iter().chain(deletions.into_iter().rev()).chain(last) {
            let special = is_named(self, &change, &options.host_executed);
            match landing.land(&change, special) {
                Ok(()) => report.applied.push(change),
                Err(cause) => report.leave_out(change, cause),
            }
        }
        let finished = landing.finish();
        if let Err(error) = finished {
            report.kept = Some(format!("directories could not be made final: {error}"));
        } else if options.mounted {
            report.kept = Some("the workspace is mounted".to_owned());
        } else if let Err(error) = prune(self, &report.applied) {
            report.kept = Some(error.to_string());
        }
        report.applied.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(report)
    }

    fn sort_out(
        &self,
        change: Change,
        options: &ApplyOptions,
        due: &mut Vec<Change>,
        report: &mut Report,
    ) {
        let named = is_named(self, &change, &options.host_executed);
        match (&change.class, &change.conflict) {
            (Class::Refused(why), _) => {
                let why = why.clone();
                report.refused.push(LeftOut { change, why });
            }
            (Class::HostExecuted(why), _) if !named => {
                let why = why.clone();
                report.held_back.push(LeftOut { change, why });
            }
            (_, Some(why)) => {
                let why = why.clone();
                report.conflicts.push(LeftOut { change, why });
            }
            _ => due.push(change),
        }
    }
}

impl Report {
    fn leave_out(&mut self, change: Change, cause: NotLanded) {
        match cause {
            NotLanded::Conflict(why) => self.conflicts.push(LeftOut { change, why }),
            NotLanded::NotEmpty => self.held_back.push(LeftOut {
                change,
                why: "the directory holds entries that were not selected or held back".to_owned(),
            }),
            NotLanded::Failed(error) => {
                self.failed.push(LeftOut { change, why: error.to_string() });
            }
        }
    }
}

fn is_selected(change: &Change, selection: &Selection) -> bool {
    match selection {
        Selection::All => true,
        Selection::Paths(paths) => paths.iter().any(|path| is_within(&change.path, path)),
    }
}

fn is_named(layer: &Layer, change: &Change, named: &[Vec<u8>]) -> bool {
    named.iter().any(|path| {
        *path == change.path || (is_within(&change.path, path) && layer.holds_back(path))
    })
}
