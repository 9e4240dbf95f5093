//! Telling running sandboxes: which ones an answer is for, and what became of it in each.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ringfence_control::{Allowed, Answer, AskError, Verb, Wanted};
use ringfence_model::provenance::Source;
use ringfence_policy::Compiled;
use serde::Serialize;

use super::definition_of;
use crate::clock;
use crate::paths::{DEFINITION, Paths};
use crate::rundir::{self, RunDir};

/// Which running sandboxes an answer is for.
pub(super) enum Reach<'a> {
    /// Those of a project that follow its definition.
    Project { root: &'a Path, definition: &'a Path },
    /// Those of a project.
    Here { root: &'a Path },
    /// All of the user's.
    User,
}

/// What became of an answer in one running sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// The run.
    pub run: String,
    /// Whether it is in force there.
    pub in_force: bool,
    /// Why not, or what is to be known.
    pub notes: Vec<String>,
}

/// How long a run that is just starting is waited for, in milliseconds.
const STARTING_MS: u64 = 1_000;

/// A destination as the supervisor takes it.
pub(super) fn wanted(text: &str, written: Option<&Source>) -> Wanted {
    Wanted { text: text.to_owned(), written: written.cloned() }
}

/// The running sandboxes in question; with a named one, at most that.
pub(super) fn runs(paths: &Paths, named: Option<&RunDir>, reach: &Reach<'_>) -> Vec<RunDir> {
    let mut runs = match named {
        Some(run) => vec![run.clone()],
        None => rundir::live(paths),
    };
    runs.retain(|run| run.is_running() && (named.is_some() || reach.holds(run)));
    runs.sort_by(|a, b| a.id().cmp(b.id()));
    runs
}

impl Reach<'_> {
    fn holds(&self, run: &RunDir) -> bool {
        let (root, definition) = match self {
            Self::User => return true,
            Self::Here { root } => (root, None),
            Self::Project { root, definition } => (root, Some(definition)),
        };
        let Ok(info) = run.info() else { return false };
        if info.workspace != **root {
            return false;
        }
        // A run that follows another definition has nothing to do with this one.
        let Some(definition) = definition else { return true };
        let canonical = |file: &Path| fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let wanted = canonical(definition);
        // One that found none follows what comes to stand in its project's own place.
        run.read_json::<Compiled>("policy.json").is_ok_and(|own| match definition_of(&own) {
            Some(file) => *file == wanted,
            None => canonical(&root.join(DEFINITION)) == wanted,
        })
    }
}

/// Asks each of them. One that has ended by then wants nothing any more: it is left out, unless the
/// answer was for running ones alone.
pub(super) fn ask(
    runs: &[RunDir],
    hosts: &[Wanted],
    for_ms: Option<u64>,
    dry_run: bool,
) -> Vec<Effect> {
    let all = runs.iter().filter_map(|run| {
        let (in_force, notes) = if dry_run {
            (false, vec!["it would be asked".to_owned()])
        } else {
            let verb = Verb::Allow { hosts: hosts.to_vec(), for_ms };
            match ask_one(run, &verb) {
                Ok(Answer::Allowed(allowed)) => (true, notes(&allowed)),
                Ok(Answer::Refused { why }) => (false, vec![why]),
                Ok(_) => (false, vec!["its supervisor answered something else".to_owned()]),
                Err(_) if !run.is_running() && for_ms.is_none() => return None,
                Err(_) if !run.is_running() => (false, vec!["it has ended meanwhile".to_owned()]),
                Err(error) => (false, vec![error.to_string()]),
            }
        };
        Some(Effect { run: run.id().to_string(), in_force, notes })
    });
    all.collect()
}

/// A run that has its lock and no socket yet is about to have one.
fn ask_one(run: &RunDir, verb: &Verb) -> Result<Answer, AskError> {
    let begun = clock::now();
    loop {
        let asked = ringfence_control::ask(&run.control(), verb.clone());
        let waits = matches!(asked, Err(AskError::Connect { .. })) && run.is_running();
        if !waits || clock::now().elapsed_ms(&begun) > STARTING_MS {
            return asked;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn notes(allowed: &Allowed) -> Vec<String> {
    let already =
        allowed.already.iter().map(|(text, by)| format!("{text} was permitted already ({by})"));
    let closed = allowed.closed_ports.iter().map(|port| {
        format!("port {port} is not captured in this run: it can be reached from the next run")
    });
    already.chain(closed).collect()
}

#[cfg(test)]
mod tests {
    use ringfence_model::id::RunId;

    use super::*;

    #[test]
    fn a_run_that_ends_meanwhile_is_no_failure_of_what_is_remembered() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let paths = Paths { home: at("home"), state: at("state"), config: at("config") };
        let run = RunDir::new(&paths, RunId::new(1, 1));
        let lock = run.create().unwrap();
        let hosts = [wanted("a.example", None)];
        // One that runs and does not answer is one: the control group.
        let running = ask(std::slice::from_ref(&run), &hosts, None, false);
        assert!(running.len() == 1 && !running[0].in_force, "{running:?}");
        drop(lock);
        assert_eq!(ask(std::slice::from_ref(&run), &hosts, None, false), []);
        let for_a_time = ask(&[run], &hosts, Some(1000), false);
        assert_eq!(for_a_time[0].notes, ["it has ended meanwhile"]);
        assert!(!for_a_time[0].in_force);
    }
}
