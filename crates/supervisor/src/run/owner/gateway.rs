//! Questions of the gateway: decided, recorded, answered, in this order.

use std::os::fd::AsFd;

use ringfence_authority::Now;
use ringfence_model::decision::{Decision, Verdict};
use ringfence_model::event::Event;
use ringfence_model::link::{FromGateway, ToGateway};
use ringfence_model::request::{Action, Request};
use ringfence_sys::fdpass;

use super::Owner;
use crate::clock;
use crate::limits::LINK_MESSAGES_PER_TURN;
use crate::run::RunError;

impl Owner<'_> {
    pub(super) fn hear_gateway(&mut self) {
        // Bounded: a gateway that floods must not keep the loop from limits and people.
        for _ in 0..LINK_MESSAGES_PER_TURN {
            match fdpass::try_receive(self.link.as_fd()) {
                Ok((bytes, _)) if bytes.is_empty() => return self.lose_gateway(),
                Ok((bytes, _)) => match serde_json::from_slice::<FromGateway>(&bytes) {
                    Ok(message) => self.serve_gateway(message),
                    Err(_) => return self.lose_gateway(),
                },
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => return self.lose_gateway(),
            }
        }
    }

    /// Without the gateway nothing leaves any more, and nobody sees what is tried: the run ends.
    pub(super) fn lose_gateway(&mut self) {
        if self.gateway_gone {
            return;
        }
        self.gateway_gone = true;
        if !self.progress.released {
            let why = self
                .gateway_fault
                .take()
                .unwrap_or_else(|| "it ended before it was ready".to_owned());
            self.fail(RunError::Gateway(format!("{why}\n  `ringfence doctor` examines this host")));
            return;
        }
        let what = "the gateway's process is gone; the run is ended".to_owned();
        self.failures.push(what.clone());
        let _ = self.recorder.record(&Event::Sensor { what });
        self.end_because("gateway-lost");
    }

    pub(super) fn serve_gateway(&mut self, message: FromGateway) {
        let recorded = match message {
            FromGateway::Ready { controls } => {
                self.progress.gateway = Some(controls);
                self.release();
                return;
            }
            FromGateway::Decide { id, flow, request } => {
                let decision = self.decide(flow, &request);
                if decision.verdict.is_allow() && request.action != Action::Resolve {
                    self.open_flows.insert(flow);
                }
                self.tell_gateway(&ToGateway::Decided { id, decision });
                return self.active();
            }
            FromGateway::Refused { flow, request, decision } => {
                // It may refuse, never allow: whatever it says, this is recorded as a denial of its own.
                let decision = Decision {
                    verdict: Verdict::Deny,
                    rules: Vec::new(),
                    generation: self.authority.generation(),
                    expires: None,
                    ..decision
                };
                self.recorder.decision(Some(flow), &request, &decision)
            }
            FromGateway::Closed { flow, sent, received, duration_us, error } => {
                self.open_flows.remove(&flow);
                self.active();
                self.recorder.outcome(flow, sent, received, duration_us, error)
            }
            FromGateway::Dns { name, record, answer } => {
                self.looked_up = true;
                let answer = answer.map(|address| address.to_string());
                let event = Event::Dns { name, record, answer, count: 1 };
                self.recorder.record(&event).map(drop)
            }
            FromGateway::Fault { what } => {
                if self.progress.gateway.is_none() {
                    self.gateway_fault = Some(what.clone());
                }
                self.recorder.record(&Event::Sensor { what }).map(drop)
            }
        };
        if let Err(error) = recorded {
            self.shut(error.to_string());
        }
    }

    /// Nothing may be allowed any more, and what is open is asked about again, so that it closes.
    pub(super) fn shut(&mut self, why: String) {
        if self.closed.is_some() {
            return;
        }
        self.failures.push(format!("everything is denied: {why}"));
        self.closed = Some(why);
        let generation = self.authority.generation();
        self.tell_gateway(&ToGateway::Generation { generation });
    }

    /// The one place where a question meets the authority: decided, then recorded, then answered.
    pub(super) fn decide(&mut self, flow: u64, request: &Request) -> Decision {
        let decision = self.judge(request);
        match self.recorder.decision(Some(flow), request, &decision) {
            Ok(()) => {
                if decision.verdict.is_allow() {
                    // `expires` is cut to whole seconds: one more, and the permit is surely over.
                    let after = decision.expires.map(|second| second + 1);
                    self.rejudge_at = match (self.rejudge_at, after) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                }
                decision
            }
            Err(error) => {
                self.shut(error.to_string());
                Decision::failed(format!("it cannot be recorded: {error}"))
            }
        }
    }

    pub(super) fn judge(&self, request: &Request) -> Decision {
        if let Some(why) = &self.closed {
            return Decision::failed(why.clone());
        }
        let now = clock::now();
        let elapsed_ms = now.elapsed_ms(&self.recorder.start());
        self.authority.decide(request, Now { unix_s: now.unix_s, elapsed_ms })
    }

    pub(super) fn tell_gateway(&mut self, message: &ToGateway) {
        let sent = serde_json::to_vec(message)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fdpass::try_send(self.link.as_fd(), &bytes, &[]));
        // A gateway that does not read must not hold up the one who watches it.
        if sent.is_err() {
            self.lose_gateway();
        }
    }
}
