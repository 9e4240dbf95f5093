//! The end of a run: what is left is heard, the last record written, the summary made.

use std::os::fd::AsFd;

use ringfence_jail::FromInside;
use ringfence_model::event::{End, Event};
use ringfence_model::link::FromGateway;
use ringfence_sys::fdpass;
use ringfence_sys::process::wait_code;
use rustix::event::{PollFd, PollFlags, poll};

use super::Owner;
use super::inside::{build_error, exec_error};
use crate::clock;
use crate::denials::Explainer;
use crate::limits::LAST_WORDS_MS;
use crate::plan::{HideWatch, HoldWatch};
use crate::run::{Finished, RunError};

impl Owner<'_> {
    pub(super) fn finish(mut self) -> Result<Finished, RunError> {
        // What init said before it died is still in the socket.
        while let Ok((bytes, _)) = fdpass::try_receive(self.sandbox.life.as_fd()) {
            match serde_json::from_slice(&bytes) {
                Ok(FromInside::Exited { code }) => self.code = Some(code),
                Ok(FromInside::Failed { error }) => {
                    self.error.get_or_insert_with(|| build_error(error));
                }
                Ok(FromInside::ExecFailed { program, errno }) => {
                    self.error.get_or_insert_with(|| exec_error(program, errno));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let waited = wait_code(self.sandbox.init.as_fd()).unwrap_or(137);
        self.sandbox.clear(self.keeper.as_ref().map(|keeper| keeper.pid));
        for pump in &mut self.pumps {
            pump.finish_output();
        }
        drop(self.raw.take());
        self.end_beside();
        self.end_screen(self.code.unwrap_or(waited));
        self.note_removed(self.pumps.iter().map(|pump| pump.removed).sum());
        self.hear_gateway_last();
        self.hand_over_slow_ends();
        self.end_gateway();
        self.note_group();
        let code = self.code.unwrap_or(waited);
        let cause = self.cause.clone().unwrap_or_else(|| match (&self.error, self.code) {
            (Some(_), _) => "failed".to_owned(),
            (None, Some(code)) if code > 128 => "signal".to_owned(),
            (None, Some(_)) => "exit".to_owned(),
            (None, None) => "killed".to_owned(),
        });
        self.write_end(&cause, code);
        self.group.remove();
        if self.error.is_none() {
            self.report_start();
        }
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.summary(cause, code)),
        }
    }

    /// What was taken out of the output of one terminal.
    pub(super) fn note_removed(&mut self, removed: u64) {
        if removed > 0 {
            let what = format!(
                "{removed} control sequences (titles, clipboard, reports and the like) were kept from the terminal"
            );
            let _ = self.recorder.record(&Event::Sensor { what });
        }
    }

    fn end_screen(&mut self, code: i32) {
        let Some(mut screen) = self.screen.take() else { return };
        if let Err(error) = screen.finish(code, &self.run.screen()) {
            self.failures.push(format!("the end of the output could not be kept: {error}"));
        }
        self.note_removed(screen.removed);
    }

    /// The last reference to the sandbox's mounts and to inotify watches: whoever drops those waits
    /// until the kernel has taken dozens of mounts apart, and for a grace period. They go into the
    /// queue of the gateway, which never reads them and is about to be killed, so that the person's
    /// prompt does not wait for it.
    fn hand_over_slow_ends(&self) {
        let hidden = self.hidden.as_ref().map(HideWatch::descriptor);
        let held = self.held.as_ref().map(HoldWatch::descriptor);
        let watches: Vec<_> = hidden.into_iter().chain(held).collect();
        let _ = self.sandbox.handle.send_over(&self.link, &watches);
    }

    /// What the gateway still knows belongs into the ledger before its end: it is told that no more
    /// will be asked, says what its connections moved, and hangs up.
    pub(super) fn hear_gateway_last(&mut self) {
        if self.open_flows.is_empty() && !self.looked_up {
            return;
        }
        let _ = rustix::net::shutdown(&self.link, rustix::net::Shutdown::Write);
        let since = clock::now();
        loop {
            let left = LAST_WORDS_MS.saturating_sub(clock::now().elapsed_ms(&since));
            let patience = clock::timespec(left);
            let mut link = [PollFd::new(&self.link, PollFlags::IN)];
            if left == 0 || !poll(&mut link, Some(&patience)).is_ok_and(|ready| ready > 0) {
                break;
            }
            match fdpass::try_receive(self.link.as_fd()) {
                Ok((bytes, _)) if bytes.is_empty() => break,
                Ok((bytes, _)) => match serde_json::from_slice::<FromGateway>(&bytes) {
                    Ok(FromGateway::Decide { .. } | FromGateway::Ready { .. }) => {}
                    Ok(message) => self.serve_gateway(message),
                    Err(_) => break,
                },
                Err(_) => break,
            }
        }
        for flow in std::mem::take(&mut self.open_flows) {
            let error = Some("cut at the end of the run; what it moved is not known".to_owned());
            let _ = self.recorder.outcome(flow, 0, 0, 0, error);
        }
    }

    /// Limits that the kernel enforced silently get their record.
    pub(super) fn note_group(&mut self) {
        let counters = [
            ("memory", self.group.memory_kills(), "the kernel ended processes"),
            ("processes", self.group.process_refusals(), "new processes were refused"),
        ];
        for (name, count, action) in counters {
            if count > 0 {
                self.failures.push(format!("limit {name} was hit {count} times: {action}"));
                let limit = self.controls.iter().find(|c| c.name == format!("limit.{name}"));
                let limit = limit.map_or_else(String::new, |control| control.requested.clone());
                let event =
                    Event::Limit { name: name.to_owned(), limit, action: action.to_owned() };
                let _ = self.recorder.record(&event);
            }
        }
    }

    pub(super) fn write_end(&mut self, cause: &str, code: i32) {
        let totals = self.recorder.totals();
        let end = End {
            cause: cause.to_owned(),
            code,
            duration_ms: self.elapsed_ms(),
            allowed: totals.allowed,
            denied: totals.denied,
            sent: totals.sent,
            received: totals.received,
            execs: totals.execs,
        };
        let written = self
            .recorder
            .drain()
            .and_then(|()| self.recorder.record(&Event::End(Box::new(end))).map(drop));
        if let Err(error) = written {
            self.failures.push(format!("the ledger has no end: {error}"));
        }
    }

    pub(super) fn summary(&self, cause: String, code: i32) -> Finished {
        let groups = self.recorder.denials();
        let denied = if groups.listed().is_empty() {
            Vec::new()
        } else {
            groups.explained(&Explainer::new(&self.compiled, self.run, false))
        };
        Finished {
            id: self.run.id().clone(),
            code,
            cause,
            failures: self.failures.clone(),
            notes: Vec::new(),
            denied,
            more_denied: groups.more(),
            changes: false,
            mode: self.boundary.workspace.mode,
        }
    }
}
