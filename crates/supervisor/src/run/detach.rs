//! `run --detach`: the supervisor goes on in a process of its own session, and the one that was
//! called tells how the start went.
//!
//! The word about the start goes through a pipe: one line of JSON.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};

use ringfence_model::id::RunId;
use ringfence_sys::process::{Namespaces, Side, close_all_but, exit_now, fork_into, set_standard};
use serde::{Deserialize, Serialize};

use super::{Options, Person, RunError, start, system};

/// How a detached start went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detached {
    /// The agent runs.
    Running(RunId),
    /// It does not.
    Failed {
        /// The exit code: 125, 126 or 127.
        code: i32,
        /// Why.
        why: String,
    },
}

/// Where the word about the start goes.
#[derive(Debug)]
pub struct Report(OwnedFd);

impl Report {
    /// Says how it went; fails where the caller is gone and nobody would know of the run.
    ///
    /// # Errors
    /// What `write(2)` says.
    pub fn say(self, word: &Detached) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(word).map_err(io::Error::from)?;
        bytes.push(b'\n');
        std::fs::File::from(self.0).write_all(&bytes)
    }

    /// Leaves the caller's terminal and streams: nothing that is forked from here on holds them, or
    /// the caller's `$(…)` would wait for the end of the run.
    ///
    /// # Errors
    /// What the system calls say.
    pub fn leave(&self) -> io::Result<()> {
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        for number in 0..3 {
            set_standard(null.as_fd(), number)?;
        }
        rustix::process::setsid()?;
        Ok(())
    }
}

/// Starts a run in the background. Must be called by a single-threaded process.
///
/// # Errors
/// The process could not be made.
pub fn detach(options: &Options, asked: &mut dyn Person) -> Result<Detached, RunError> {
    let failed = || system("start the run in the background");
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| failed()(error.into()))?;
    match fork_into(Namespaces::NONE).map_err(failed())? {
        Side::Child => {
            drop(read);
            let report = alone(&write).map_err(failed());
            let result = report.and_then(|report| start::run_detached(options, asked, report));
            if let Err(error) = &result {
                let word = Detached::Failed { code: error.code(), why: error.to_string() };
                let _ = Report(write).say(&word);
            }
            exit_now(i32::from(result.is_err()))
        }
        Side::Parent { .. } => {
            drop(write);
            let mut word = Vec::new();
            let mut read = BufReader::new(std::fs::File::from(read));
            read.read_until(b'\n', &mut word).map_err(failed())?;
            Ok(serde_json::from_slice(&word).unwrap_or(Detached::Failed {
                code: 125,
                why: "the run's supervisor ended before it said anything".to_owned(),
            }))
        }
    }
}

/// Closes what else the caller had open, such as a lock or a pipe: it would stay so until the run's end,
/// and whoever waits for it with it.
fn alone(line: &OwnedFd) -> io::Result<Report> {
    let report = line.try_clone()?;
    close_all_but(&[line.as_fd(), report.as_fd()])?;
    Ok(Report(report))
}
