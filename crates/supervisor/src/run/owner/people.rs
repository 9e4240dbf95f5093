//! People: the control socket, signals, the terminal.

use ringfence_control::{Answer, Status, Verb};
use ringfence_sys::process::drain_signals;
use rustix::process::{Signal, pidfd_send_signal};

use super::Owner;
use crate::limits::TERMINATE_GRACE_MS;
use crate::pair::ToKeeper;
use crate::recorder::by_a_person;
use crate::stdio;

impl Owner<'_> {
    pub(super) fn answer_control(&mut self) {
        let elapsed = self.elapsed_ms();
        for question in self.control.turn(elapsed) {
            let answer = match &question.verb {
                Verb::Checkpoint { name } => {
                    let (verb, name) = (format!("checkpoint {name}"), name.clone());
                    let message = |id, unix_s| ToKeeper::Mark { id, name, unix_s };
                    self.ask_keeper(question, verb, message);
                    continue;
                }
                Verb::Restore { to } => {
                    let (verb, to) = (format!("restore {to}"), to.clone());
                    let message = |id, unix_s| ToKeeper::Restore { id, to, unix_s };
                    self.ask_keeper(question, verb, message);
                    continue;
                }
                Verb::Allow { hosts, for_ms } => self.allow(hosts, *for_ms, question.uid),
                Verb::Status {} => Answer::Status(Box::new(self.status())),
                Verb::Judge { request } => Answer::Judged { decision: self.judge(request) },
                Verb::Kill {} => {
                    let event = by_a_person("kill", question.uid);
                    // A full disk must not keep anybody from ending a run.
                    let _ = self.recorder.record(&event);
                    self.end_because("killed");
                    Answer::Killing
                }
                Verb::Exec { .. } => {
                    self.start_beside(question);
                    continue;
                }
                Verb::Attach { .. } => {
                    self.attach(question);
                    continue;
                }
            };
            question.answer(&answer);
        }
    }

    pub(super) fn status(&self) -> Status {
        let totals = self.recorder.totals();
        Status {
            init: self.sandbox.pid.as_raw_nonzero().get(),
            generation: self.authority.generation(),
            elapsed_ms: self.elapsed_ms(),
            controls: self.controls.clone(),
            allowed: totals.allowed,
            denied: totals.denied,
            execs: totals.execs,
            sent: totals.sent,
            received: totals.received,
        }
    }

    pub(super) fn hear_signals(&mut self) {
        for number in drain_signals(&self.signals) {
            if number == Signal::WINCH.as_raw() {
                if let Some(master) = &self.master {
                    stdio::copy_size(master);
                }
                continue;
            }
            if number == Signal::TSTP.as_raw() {
                self.signal_agent(number);
                let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
                continue;
            }
            self.signal_agent(number);
            let ends = [Signal::TERM, Signal::HUP].map(Signal::as_raw).contains(&number);
            if ends && self.kill_at_ms.is_none() {
                self.kill_at_ms = Some(self.elapsed_ms() + TERMINATE_GRACE_MS);
                if !self.progress.released {
                    self.end_because("signal");
                }
            }
        }
    }

    /// Passes a signal on to the agent's whole process group.
    pub(super) fn signal_agent(&self, number: i32) {
        let Some((agent, pid)) = &self.agent else { return };
        let Some(signal) = Signal::from_named_raw(number) else { return };
        // Only while the process descriptor still stands for a living process is the number its own.
        if pidfd_send_signal(agent, signal).is_ok() {
            let _ = rustix::process::kill_process_group(*pid, signal);
        }
    }

    pub(super) fn turn_pump(&mut self, index: usize) {
        let Some(pump) = self.pumps.get_mut(index) else { return };
        let before = pump.moved;
        pump.turn();
        if pump.moved != before {
            self.active();
        }
    }
}
