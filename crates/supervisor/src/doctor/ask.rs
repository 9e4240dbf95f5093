//! One probe in a process of its own, so that trying changes nothing here.
//!
//! The caller must be single-threaded, as for every fork. The child leaves by `_exit` and its answer
//! comes through a pipe; a child that hangs is killed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use ringfence_sys::process::{Namespaces, Side, exit_now, fork_into, wait_code};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::facts::{Attempt, Refusal};
use crate::clock;
use crate::limits::{DOCTOR_ANSWER_BYTES, DOCTOR_PROBE_MS};

/// Names what was being done where an attempt failed.
pub trait Doing<T> {
    /// The error with its place.
    ///
    /// # Errors
    /// The error itself.
    fn doing(self, what: &str) -> Result<T, Refusal>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, what: &str) -> Result<T, Refusal> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            let errno = error.raw_os_error().unwrap_or(0);
            Refusal { errno, words: format!("cannot {what}: {error}") }
        })
    }
}

/// A refusal that is not the kernel's.
pub fn surprise(words: impl Into<String>) -> Refusal {
    Refusal { errno: 0, words: words.into() }
}

/// A forked child that has not been waited for; killed when it is dropped.
pub struct Child {
    /// Its process id.
    pub pid: Pid,
    pidfd: OwnedFd,
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = wait_code(self.pidfd.as_fd());
    }
}

/// Forks a child into `namespaces` that does nothing but wait for its end.
///
/// # Errors
/// The fork is refused.
pub fn waiting(namespaces: Namespaces) -> Result<Child, Refusal> {
    match fork_into(namespaces).doing("fork with clone3")? {
        Side::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let mut nothing: [PollFd<'_>; 0] = [];
            let patience = clock::timespec(DOCTOR_PROBE_MS);
            let _ = poll(&mut nothing, Some(&patience));
            exit_now(0)
        }
        Side::Parent { pid, pidfd } => Ok(Child { pid, pidfd }),
    }
}

/// Runs `probe` in a forked child in fresh `namespaces`.
///
/// # Errors
/// The fork is refused, or no answer came.
pub fn ask<T: Serialize + DeserializeOwned>(
    namespaces: Namespaces,
    probe: impl FnOnce() -> T,
) -> Result<T, Refusal> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).doing("make a pipe")?;
    match fork_into(namespaces).doing("fork with clone3")? {
        Side::Child => {
            drop(read);
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let mut answer = serde_json::to_vec(&probe()).unwrap_or_default();
            answer.push(b'\n');
            let sent = File::from(write).write_all(&answer);
            exit_now(i32::from(sent.is_err()))
        }
        Side::Parent { pid, pidfd } => {
            drop(write);
            let child = Child { pid, pidfd };
            let answer = hear(read);
            drop(child);
            answer
        }
    }
}

/// As [`ask`], for a probe that answers with an attempt.
///
/// # Errors
/// As [`ask`], or what the probe says.
pub fn attempt(namespaces: Namespaces, probe: impl FnOnce() -> Attempt) -> Attempt {
    ask(namespaces, probe)?
}

fn hear<T: DeserializeOwned>(read: OwnedFd) -> Result<T, Refusal> {
    let mut bytes = Vec::new();
    let mut watched = [PollFd::new(&read, PollFlags::IN)];
    let patience = clock::timespec(DOCTOR_PROBE_MS);
    match poll(&mut watched, Some(&patience)) {
        Ok(0) => return Err(surprise("the probe gave no answer in time")),
        Ok(_) => {}
        Err(error) => return Err(error).doing("wait for the probe"),
    }
    File::from(read).take(DOCTOR_ANSWER_BYTES).read_to_end(&mut bytes).doing("hear the probe")?;
    serde_json::from_slice(&bytes).map_err(|_| surprise("the probe was ended before its answer"))
}
