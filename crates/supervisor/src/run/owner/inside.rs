//! What the sandbox's init says, and the release of the agent.

use std::os::fd::{AsFd, OwnedFd};

use ringfence_jail::{FromInside, Probe, StepError};
use ringfence_model::event::Event;
use ringfence_sys::fdpass;
use ringfence_sys::seccomp::notify::Listener;
use rustix::process::Pid;

use super::Owner;
use crate::mend;
use crate::run::{RunError, controls};
use crate::stdio;

impl Owner<'_> {
    pub(super) fn hear_inside(&mut self) {
        let Ok((bytes, descriptors)) = fdpass::try_receive(self.sandbox.life.as_fd()) else {
            return;
        };
        let Ok(message) = serde_json::from_slice::<FromInside>(&bytes) else {
            // The line is closed when init is gone; its process descriptor tells the rest.
            self.life_gone = true;
            self.end_sandbox();
            return;
        };
        match message {
            FromInside::Failed { error } => {
                // Where nobody takes the listeners, the gateway has ended and has said why.
                if error.step == "hand over" {
                    self.hear_gateway();
                }
                self.fail(build_error(error));
            }
            FromInside::Built { capture, ipv6, .. } => self.built(capture, ipv6, descriptors),
            FromInside::Listening {} => self.listening(descriptors),
            FromInside::Ready { landlock, probes } => self.ready(landlock, probes),
            FromInside::ExecFailed { program, errno } => {
                self.fail(exec_error(program, errno));
            }
            FromInside::Exited { code } => self.code = Some(code),
        }
    }

    pub(super) fn built(&mut self, capture: String, ipv6: bool, descriptors: Vec<OwnedFd>) {
        let mut descriptors = descriptors.into_iter();
        if let Some(agent) = descriptors.next()
            && let Some(pid) = pid_of(&agent)
        {
            self.agent = Some((agent, pid));
        }
        if let Some(master) = descriptors.next() {
            match stdio::connect_terminal(&master) {
                Ok((pumps, raw)) => {
                    self.pumps.extend(pumps);
                    self.raw = raw;
                }
                Err(source) => {
                    self.fail(RunError::System { what: "connect the terminal".to_owned(), source });
                }
            }
            self.master = Some(master);
        }
        self.progress.built = Some((capture, ipv6));
        self.release();
    }

    pub(super) fn listening(&mut self, descriptors: Vec<OwnedFd>) {
        match descriptors.into_iter().next().map(Listener::new).transpose() {
            Ok(listener) => listener.into_iter().for_each(|listener| self.listen(listener)),
            Err(error) => {
                let source = std::io::Error::other(error);
                self.fail(RunError::System { what: "watch program starts".to_owned(), source });
            }
        }
    }

    pub(super) fn ready(&mut self, landlock: u32, probes: Vec<Probe>) {
        let open: Vec<String> = probes
            .iter()
            .filter(|probe| !probe.held)
            .map(|probe| format!("  {}: {}", probe.tried, probe.answer))
            .collect();
        if !open.is_empty() {
            self.fail(RunError::SelfTest(open.join("\n")));
            return;
        }
        self.progress.ready = Some((landlock, probes));
        self.release();
    }

    /// The word: only when boundary and gateway stand and the ledger says so.
    pub(super) fn release(&mut self) {
        let progress = &self.progress;
        let (Some((capture, ipv6)), Some((landlock, probes)), Some(gateway)) =
            (&progress.built, &progress.ready, &progress.gateway)
        else {
            return;
        };
        if progress.released || self.error.is_some() {
            return;
        }
        let measured =
            controls::Measured { landlock: *landlock, capture, ipv6: *ipv6, group: &self.group };
        self.controls = controls::list(self.boundary, &measured);
        self.controls.extend(gateway.iter().cloned());
        let self_test =
            probes.iter().map(|probe| format!("{}: {}", probe.tried, probe.answer)).collect();
        let event = Event::Released { controls: self.controls.clone(), self_test };
        if let Err(error) = self.recorder.record(&event) {
            self.fail(RunError::Record(error.into()));
            return;
        }
        self.traps = None;
        self.progress.released = true;
        self.progress.released_ms = self.elapsed_ms();
        if let Err(source) = fdpass::send(self.sandbox.life.as_fd(), b"go", &[]) {
            self.fail(RunError::System { what: "release the agent".to_owned(), source });
        }
    }

    pub(super) fn fail(&mut self, error: RunError) {
        self.error.get_or_insert(error);
        self.end_sandbox();
    }

    /// Kills init, and with it everything inside.
    pub(super) fn end_sandbox(&mut self) {
        self.sandbox.end();
    }

    pub(super) fn end_because(&mut self, cause: &str) {
        self.cause.get_or_insert_with(|| cause.to_owned());
        self.end_sandbox();
    }
}

/// The host's process id behind a process descriptor (`/proc/self/fdinfo`, pidfd_open(2)).
fn pid_of(pidfd: &OwnedFd) -> Option<Pid> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim();
    // -1 stands for a process that is gone.
    let number: i32 = number.parse().ok().filter(|number| *number > 0)?;
    Pid::from_raw(number)
}

/// A step of building failed inside.
pub(super) fn build_error(error: StepError) -> RunError {
    let mend = mend::for_step(&error);
    RunError::Build { error, mend }
}

/// The program could not be started: 127 where there is none, 126 else, as shells do.
pub(super) fn exec_error(program: String, errno: i32) -> RunError {
    const ENOENT: i32 = 2;
    let source = std::io::Error::from_raw_os_error(errno);
    let code = if errno == ENOENT { 127 } else { 126 };
    RunError::Exec { program, source, code }
}
