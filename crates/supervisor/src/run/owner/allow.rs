//! A person's answer to a denial, while the sandbox runs: destinations that are permitted from now on,
//! and the end of those that were permitted for a time.
//!
//! The answer stands in the ledger before it holds. It goes the way of every change of policy: a new
//! generation, by which the gateway asks again about what is open. Forbids win as ever.

use std::path::PathBuf;
use std::sync::Arc;

use ringfence_control::{Allowed, Answer, Wanted};
use ringfence_ledger::Stamp;
use ringfence_model::event::Event;
use ringfence_model::host::Ports;
use ringfence_model::link::ToGateway;
use ringfence_model::provenance::{Layer, Source};
use ringfence_policy::{Compiled, Ends, Permit, duration_words};

use super::Owner;
use crate::clock::{self, Moment};
use crate::host::RealHost;
use crate::limits::{ALLOW_AT_ONCE, ALLOW_FOR_MS};

impl Owner<'_> {
    pub(super) fn allow(&mut self, hosts: &[Wanted], for_ms: Option<u64>, uid: u32) -> Answer {
        match self.try_allow(hosts, for_ms, uid) {
            Ok(allowed) => Answer::Allowed(allowed),
            Err(why) => Answer::Refused { why },
        }
    }

    fn try_allow(
        &mut self,
        hosts: &[Wanted],
        for_ms: Option<u64>,
        uid: u32,
    ) -> Result<Allowed, String> {
        let now = clock::now();
        let elapsed = now.elapsed_ms(&self.recorder.start());
        // What is over by now is recorded as over before anything new is.
        self.end_permits(elapsed);
        if let Some(why) = &self.closed {
            return Err(format!("everything is denied in this run: {why}"));
        }
        if self.gateway_gone {
            return Err("this run has no gateway, so nothing can be reached in it".to_owned());
        }
        if self.cause.is_some() || self.error.is_some() {
            return Err("the run is ending".to_owned());
        }
        let by = self.person(uid);
        let permits = permits(hosts, for_ms, elapsed, &by, now)?;
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        let host = RealHost { home: &home, workspace: &self.compiled.workspace.root };
        let found = self.compiled.with_permits(&permits, elapsed, &host);
        let found = found.map_err(|problems| problems.to_string())?;
        let already: Vec<_> =
            found.already.into_iter().map(|(text, by)| (text, by.to_string())).collect();
        if let Some(next) = found.policy {
            let layer = permits.first().map_or(Layer::Grant, |permit| permit.source.layer);
            let names: Vec<&str> = hosts.iter().map(|host| host.text.as_str()).collect();
            let time = for_ms.map(|ms| format!(" for {}", duration_words(ms))).unwrap_or_default();
            let words = format!("{}{time}", names.join(", "));
            let control = Event::Control {
                verb: format!("allow {words}"),
                by: by.clone(),
                argv: Vec::new(),
                code: None,
            };
            self.widen(next, layer, format!("{words}: allowed by {by}"), &control)?;
            self.permit_ends_ms = self.compiled.next_end_ms(elapsed);
        }
        Ok(Allowed {
            generation: self.authority.generation(),
            already,
            closed_ports: self.closed_ports(&permits),
        })
    }

    /// Records a wider policy, and only then lets it hold.
    fn widen(
        &mut self,
        next: Compiled,
        layer: Layer,
        summary: String,
        control: &Event,
    ) -> Result<(), String> {
        let event = Event::Policy {
            generation: self.authority.generation() + 1,
            digest: next.digest.clone(),
            layer,
            summary,
        };
        let recorded = self
            .recorder
            .record(control)
            .and_then(|_| self.recorder.set_policy(&next.digest))
            .and_then(|()| self.recorder.record(&event));
        if let Err(error) = recorded {
            self.shut(error.to_string());
            return Err(format!("it cannot be recorded, so it does not hold: {error}"));
        }
        let next = Arc::new(next);
        self.compiled = Arc::clone(&next);
        self.authority.replace(Arc::clone(&next));
        let _ = self.run.write_json("policy.json", next.as_ref());
        self.ask_again();
        Ok(())
    }

    /// A permit has ended, on the clock that cannot be set: what it alone permitted is cut. The
    /// generation rises, so that a connection which was allowed before and stands only now is asked
    /// about once more.
    pub(super) fn end_permits(&mut self, elapsed: u64) {
        let Some(end) = self.permit_ends_ms.filter(|end| *end <= elapsed) else { return };
        let over = |at: u64| at >= end && at <= elapsed;
        let ended = self.compiled.permits().filter(|rule| rule.ends.for_ms.is_some_and(over));
        let ended: Vec<_> = ended.take(ALLOW_AT_ONCE).collect();
        let layer = ended.first().map_or(Layer::Grant, |rule| rule.source.layer);
        let shown: Vec<String> =
            ended.iter().map(|rule| format!("{} ({})", rule.destination, rule.source)).collect();
        self.authority.replace(Arc::clone(&self.compiled));
        self.permit_ends_ms = self.compiled.next_end_ms(elapsed);
        let recorded = self.recorder.record(&Event::Policy {
            generation: self.authority.generation(),
            digest: self.compiled.digest.clone(),
            layer,
            summary: format!("ended: {}", shown.join(", ")),
        });
        self.ask_again();
        if let Err(error) = recorded {
            self.shut(error.to_string());
        }
    }

    fn ask_again(&mut self) {
        let generation = self.authority.generation();
        self.tell_gateway(&ToGateway::Generation { generation });
    }

    /// Who asks, in words; the control socket lets nobody in but the owner and root.
    fn person(&self, uid: u32) -> String {
        let owner = self.run.info().map(|info| info.person).ok();
        let own = format!("(uid {uid})");
        owner.filter(|name| name.ends_with(&own)).unwrap_or_else(|| format!("uid {uid}"))
    }

    /// Single ports of the permits that the kernel does not lead to the gateway.
    fn closed_ports(&self, permits: &[Permit]) -> Vec<u16> {
        let redirected = self.progress.built.as_ref().is_some_and(|(how, _)| how == "redirect");
        if redirected {
            return Vec::new();
        }
        let captured = &self.boundary.network.named_ports;
        let texts = permits.iter().map(|permit| &permit.source);
        let mut closed: Vec<u16> = self
            .compiled
            .permits()
            .filter(|rule| texts.clone().any(|source| *source == rule.source))
            .map(|rule| rule.destination.ports)
            .flat_map(|Ports { first, last }| [first, last])
            .filter(|port| !captured.contains(port))
            .collect();
        closed.sort_unstable();
        closed.dedup();
        closed
    }
}

/// What was asked, as permits of the policy.
fn permits(
    hosts: &[Wanted],
    for_ms: Option<u64>,
    elapsed: u64,
    by: &str,
    now: Moment,
) -> Result<Vec<Permit>, String> {
    if hosts.is_empty() || hosts.len() > ALLOW_AT_ONCE {
        return Err(format!("one `allow` names 1 to {ALLOW_AT_ONCE} destinations"));
    }
    if for_ms.is_some_and(|ms| ms == 0 || ms > ALLOW_FOR_MS) {
        let most = duration_words(ALLOW_FOR_MS);
        return Err(format!(
            "a grant holds for at most {most}; what is to last longer is remembered"
        ));
    }
    let all = hosts.iter().map(|host| {
        let text = host.text.clone();
        match (&host.written, for_ms) {
            (None, Some(ms)) => {
                let clock = ringfence_ledger::time::rfc3339(Stamp {
                    unix_s: now.unix_s,
                    unix_ns: now.unix_ns,
                    boot_ns: now.boot_ns,
                });
                let clock = clock.get(11..16).unwrap_or_default();
                let words = format!("allowed by {by} at {clock}Z for {}", duration_words(ms));
                let ends = Ends { for_ms: Some(elapsed + ms), at_unix: None };
                Ok(Permit { text, source: Source::grant(words), ends })
            }
            (Some(source), None) if matches!(source.layer, Layer::User | Layer::Project) => {
                Ok(Permit { text, source: source.clone(), ends: Ends::default() })
            }
            _ => Err("a permit is written in a policy, or it has an end".to_owned()),
        }
    });
    all.collect()
}
