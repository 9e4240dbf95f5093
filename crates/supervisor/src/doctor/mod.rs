//! The examination of a host: what it can enforce, what not, and the command that mends the rest.
//!
//! Each probe tries for real, in a forked child; the rows are made from what they found alone. It
//! must be called by a single-threaded process, as everything that forks.

mod ask;
mod examine;
mod facts;
mod probe;
mod rows;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::clock;
use crate::container::Container;
use crate::demo::decoy::Scratch;
use crate::heal;
use crate::host::Person;
use crate::limits::DOCTOR_ANSWER_BYTES;
use crate::mend::Switches;
use crate::paths::{Paths, PathsError};
use facts::Facts;

pub use rows::{Row, State};

/// Why the host could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// There is nowhere to put the state.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// A scratch directory cannot be made.
    #[error(
        "cannot make a scratch directory in {place}: {source}; free some space there, or make it yours"
    )]
    Scratch {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
}

/// What the examination found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// One row per check.
    pub rows: Vec<Row>,
    /// What a default run will get.
    pub verdict: String,
    /// Whether a default run would start.
    pub starts: bool,
}

/// Examines this host.
///
/// # Errors
/// [`DoctorError`]: there is not even a place to try things in.
pub fn run() -> Result<Report, DoctorError> {
    let rows = rows::rows(&examine()?);
    let starts = rows.iter().all(|row| row.state != State::Missing);
    Ok(Report { verdict: rows::verdict(&rows), rows, starts })
}

fn examine() -> Result<Facts, DoctorError> {
    let paths = Paths::find()?;
    heal::heal(&paths);
    let Person { uid, gid, .. } = Person::current();
    let at = |place: &Path| {
        let place = place.display().to_string();
        move |source| DoctorError::Scratch { place, source }
    };
    let store = Scratch::below(&paths.state, "doctor").map_err(at(&paths.state))?;
    // The trial's project lies elsewhere: a workspace in the state directory is refused.
    let temporary = std::env::temp_dir();
    let project = Scratch::below(&temporary, "ringfence-doctor").map_err(at(&temporary))?;
    for directory in ["lower", "upper", "work", "trial"] {
        fs::create_dir(store.path().join(directory)).map_err(at(store.path()))?;
    }
    fs::create_dir(project.path().join(".git")).map_err(at(project.path()))?;
    let calls = probe::calls();
    let forks = calls.iter().all(|(name, attempt)| *name != "clone3" || attempt.is_ok());
    let (namespaces, inside) = probe::inside(store.path(), uid, gid);
    let here = std::env::current_dir().and_then(fs::canonicalize).ok();
    let places: Vec<&Path> = [Some(store.path()), here.as_deref()].into_iter().flatten().collect();
    Ok(Facts {
        uid,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        namespaces,
        switches: Switches::read(),
        inside,
        idmap: (uid == 0 && forks).then(|| probe::idmap(&places)),
        landlock: probe::landlock(store.path(), forks),
        seccomp: forks.then(probe::filter),
        calls,
        groups: probe::groups(forks),
        clock: clock::now().unix_s,
        places: vec![
            examine::place("state", &paths.state, uid),
            examine::place("config", &paths.config, uid),
        ],
        free: examine::free(&paths.state),
        policies: examine::policies(&paths, project.path(), clock::now()),
        container: Container::find(),
        binary: examine::binary(uid),
        trial: trial(&paths, &store.path().join("trial"), project.path()),
    })
}

/// A default run of this very program, with the person's own policy, in an empty project; its state
/// goes to `state` on the file system of the real one.
fn trial(paths: &Paths, state: &Path, project: &Path) -> Result<(), String> {
    let own = |error: io::Error| format!("cannot start ringfence itself: {error}");
    let mut child = Command::new("/proc/self/exe")
        .arg0("ringfence")
        .args(["run", "--", "true"])
        .env("XDG_STATE_HOME", state)
        .current_dir(project)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(own)?;
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(DOCTOR_ANSWER_BYTES).read_to_string(&mut words);
    }
    let status = child.wait().map_err(own)?;
    heal::heal(&Paths { state: state.join("ringfence"), ..paths.clone() });
    if status.success() {
        return Ok(());
    }
    let words = words.trim().trim_start_matches("ringfence: ");
    if words.is_empty() { Err(format!("it ended with {status}")) } else { Err(words.to_owned()) }
}
