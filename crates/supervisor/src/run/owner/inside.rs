//! What the sandbox's init says, and the release of the agent.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ringfence_jail::{FromInside, INIT_NAME, Probe, StepError};
use ringfence_model::event::Event;
use ringfence_sys::fdpass;
use rustix::process::Pid;

use super::Owner;
use super::screen::Screen;
use crate::mend;
use crate::run::detach::Detached;
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
            // Told on a program's own line alone.
            FromInside::Started { .. } => {}
        }
    }

    pub(super) fn built(&mut self, capture: String, ipv6: bool, descriptors: Vec<OwnedFd>) {
        let mut descriptors = descriptors.into_iter();
        if let Some(agent) = descriptors.next()
            && let Some(pid) = pid_of(&agent)
        {
            self.agent = Some((agent, pid));
        }
        if let Some(master) = descriptors.next()
            && let Err(source) = self.connect(master)
        {
            self.fail(RunError::System { what: "connect the terminal".to_owned(), source });
        }
        self.progress.built = Some((capture, ipv6));
        self.release();
    }

    fn connect(&mut self, master: OwnedFd) -> io::Result<()> {
        if self.detached {
            self.screen = Some(Screen::new(master)?);
            return Ok(());
        }
        let (pumps, raw) = stdio::connect_terminal(&master)?;
        self.pumps.extend(pumps);
        self.raw = raw;
        self.master = Some(master);
        Ok(())
    }

    /// Tells the caller of a detached run that the agent runs, once it has become its program: until
    /// then the start can still fail, and the process is called as init is.
    pub(super) fn look_at_start(&mut self) {
        let (true, Some((_, pid))) = (self.report.is_some(), &self.agent) else { return };
        if !self.progress.released || self.error.is_some() {
            return;
        }
        let name = std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
        if self.code.is_some() || name.is_ok_and(|name| name.trim_end() != INIT_NAME) {
            self.report_start();
        }
    }

    pub(super) fn report_start(&mut self) {
        let Some(report) = self.report.take() else { return };
        let word = Detached::Running(self.run.id().clone());
        if report.say(&word).is_err() {
            // Whoever started it is gone before they knew of it.
            self.end_because("signal");
        }
    }

    pub(super) fn listening(&mut self, descriptors: Vec<OwnedFd>) {
        if let Err(source) = self.listen_to(descriptors.into_iter().next()) {
            self.fail(RunError::System { what: "watch program starts".to_owned(), source });
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
pub(super) fn pid_of(pidfd: &OwnedFd) -> Option<Pid> {
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
    let source = io::Error::from_raw_os_error(errno);
    let code = if errno == ENOENT { 127 } else { 126 };
    RunError::Exec { program, source, code }
}
