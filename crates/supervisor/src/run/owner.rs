//! The loop that owns a running sandbox: it decides, records, relays, watches, and ends it.
//!
//! One thread and one `poll(2)`. Nothing in it waits for anything but that poll, so that a slow
//! terminal, client or gateway never delays a decision.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use ringfence_authority::{Authority, Now};
use ringfence_control::{Answer, Status, Verb};
use ringfence_jail::adjust::Change;
use ringfence_jail::cgroup::Group;
use ringfence_jail::{FromInside, Probe, Sandbox};
use ringfence_model::boundary::Boundary;
use ringfence_model::decision::Decision;
use ringfence_model::enforcement::Control;
use ringfence_model::event::{End, Event};
use ringfence_model::link::{FromGateway, ToGateway};
use ringfence_model::request::Request;
use ringfence_policy::Compiled;
use ringfence_sys::process::{drain_signals, signals, wait_code};
use ringfence_sys::seccomp::notify::Listener;
use ringfence_sys::seccomp::remote::{RemoteError, read_exec};
use ringfence_sys::{fdpass, seccomp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use super::start::Traps;
use super::{Denied, Finished, RunError, controls, system};
use crate::clock;
use crate::control_server::ControlServer;
use crate::limits::TERMINATE_GRACE_MS;
use crate::plan::HideWatch;
use crate::mend;
use crate::recorder::Recorder;
use crate::reload::Reload;
use crate::rundir::RunDir;
use crate::stdio::{self, Pump, RawTerminal};
use crate::watch::Watch;

/// What the owner is made of.
pub struct Parts<'a> {
    /// The run's directory.
    pub run: &'a RunDir,
    /// The policy.
    pub compiled: Arc<Compiled>,
    /// The plan.
    pub boundary: &'a Boundary,
    /// The ledger.
    pub recorder: Recorder,
    /// The sandbox.
    pub sandbox: Sandbox,
    /// The gateway's process.
    pub gateway: OwnedFd,
    /// The gateway's link.
    pub link: OwnedFd,
    /// The control group.
    pub group: Group,
    /// Bytes that go through the supervisor.
    pub pumps: Vec<Pump>,
    /// What the self-test must not reach.
    pub traps: Traps,
    /// Who owns the run.
    pub uid: u32,
    /// Directories that count against the disk limit.
    pub stores: Vec<PathBuf>,
    /// Watches for hidden names that come to exist.
    pub hidden: Option<HideWatch>,
}

/// How far the start has come.
#[derive(Default)]
struct Progress {
    built: Option<(String, bool)>,
    ready: Option<(u32, Vec<Probe>)>,
    gateway: Option<Vec<Control>>,
    released: bool,
}

/// A file grant that will end.
struct Ending {
    at_ms: u64,
    path: PathBuf,
    rule: String,
}

/// Owns one running sandbox.
pub struct Owner<'a> {
    run: &'a RunDir,
    compiled: Arc<Compiled>,
    boundary: &'a Boundary,
    authority: Authority,
    recorder: Recorder,
    sandbox: Sandbox,
    gateway: OwnedFd,
    link: OwnedFd,
    group: Group,
    control: ControlServer,
    signals: OwnedFd,
    listener: Option<Listener>,
    agent: Option<(OwnedFd, Pid)>,
    master: Option<OwnedFd>,
    raw: Option<RawTerminal>,
    pumps: Vec<Pump>,
    traps: Option<Traps>,
    watch: Watch,
    reload: Reload,
    hidden: Option<HideWatch>,
    endings: Vec<Ending>,
    rejudge_at: Option<i64>,
    progress: Progress,
    controls: Vec<Control>,
    /// Set when nothing may be allowed any more, with the reason.
    closed: Option<String>,
    failures: Vec<String>,
    cause: Option<String>,
    code: Option<i32>,
    error: Option<RunError>,
    last_activity_ms: u64,
    kill_at_ms: Option<u64>,
    gateway_gone: bool,
}

/// What a poll told about, in the order of the descriptors.
enum Token {
    Life,
    Init,
    Link,
    Signals,
    Listener,
    Reload,
    Hidden,
    Control,
    Pump(usize),
}

impl<'a> Owner<'a> {
    /// Takes everything over.
    ///
    /// # Errors
    /// The control socket or the signals cannot be had; the sandbox is ended by dropping it.
    pub fn new(parts: Parts<'a>) -> Result<Self, RunError> {
        let control = ControlServer::bind(&parts.run.control(), parts.uid)
            .map_err(system("listen on the control socket"))?;
        let watched = [
            Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::WINCH, Signal::TSTP,
            Signal::CONT, Signal::USR1, Signal::USR2,
        ];
        let numbers = watched.map(Signal::as_raw);
        let signals = signals(&numbers).map_err(system("watch signals"))?;
        let memory = parts.group.enforces().memory;
        let watch = Watch::new(parts.sandbox.pid, &parts.boundary.limits, memory, parts.stores);
        let elapsed = clock::now().elapsed_ms(&parts.recorder.start());
        let endings = endings(&parts.compiled, clock::now().unix_s);
        Ok(Self {
            authority: Authority::new(Arc::clone(&parts.compiled), 1),
            run: parts.run,
            compiled: parts.compiled,
            boundary: parts.boundary,
            recorder: parts.recorder,
            sandbox: parts.sandbox,
            gateway: parts.gateway,
            link: parts.link,
            group: parts.group,
            control,
            signals,
            listener: None,
            agent: None,
            master: None,
            raw: None,
            pumps: parts.pumps,
            traps: Some(parts.traps),
            watch,
            reload: Reload::watch(),
            hidden: parts.hidden,
            endings,
            rejudge_at: None,
            progress: Progress::default(),
            controls: Vec::new(),
            closed: None,
            failures: Vec::new(),
            cause: None,
            code: None,
            error: None,
            last_activity_ms: elapsed,
            kill_at_ms: None,
            gateway_gone: false,
        })
    }

    /// Runs until the sandbox is gone, then writes the end.
    ///
    /// # Errors
    /// The agent never got to run: why.
    pub fn watch_over(mut self) -> Result<Finished, RunError> {
        while !self.turn() {}
        self.finish()
    }

    fn elapsed_ms(&self) -> u64 {
        clock::now().elapsed_ms(&self.recorder.start())
    }

    fn active(&mut self) {
        self.last_activity_ms = self.elapsed_ms();
    }

    /// One wait and what it brings; whether the sandbox is gone.
    fn turn(&mut self) -> bool {
        let (tokens, ready) = self.wait();
        let mut gone = false;
        for (token, events) in tokens.iter().zip(ready) {
            if events.is_empty() {
                continue;
            }
            match token {
                Token::Life => self.hear_inside(),
                Token::Init => gone = true,
                Token::Link => self.hear_gateway(),
                Token::Signals => self.hear_signals(),
                Token::Listener => self.hear_exec(),
                Token::Reload => self.reload_organisation(),
                Token::Hidden => self.hide_what_appeared(),
                Token::Control => {}
                Token::Pump(index) => self.turn_pump(*index),
            }
        }
        self.answer_control();
        self.keep_time();
        gone
    }

    /// Waits for the next event or deadline.
    fn wait(&self) -> (Vec<Token>, Vec<PollFlags>) {
        let mut watched: Vec<(Token, PollFd<'_>)> = Vec::with_capacity(16);
        watched.push((Token::Life, PollFd::new(&self.sandbox.life, PollFlags::IN)));
        if !self.gateway_gone {
            watched.push((Token::Link, PollFd::new(&self.link, PollFlags::IN)));
        }
        watched.push((Token::Signals, PollFd::new(&self.signals, PollFlags::IN)));
        watched.extend(self.listener.iter().map(|l| (Token::Listener, PollFd::new(l, PollFlags::IN))));
        watched.extend(self.reload.interest().map(|fd| (Token::Reload, fd)));
        watched.extend(self.hidden.as_ref().map(|h| (Token::Hidden, h.interest())));
        watched.extend(self.control.interests().map(|fd| (Token::Control, fd)));
        for (index, pump) in self.pumps.iter().enumerate() {
            watched.extend(pump.interest().map(|fd| (Token::Pump(index), fd)));
        }
        watched.push((Token::Init, PollFd::new(&self.sandbox.init, PollFlags::IN)));
        let (tokens, mut fds): (Vec<_>, Vec<_>) = watched.into_iter().unzip();
        let _ = poll(&mut fds, Some(&self.timeout()));
        (tokens, fds.iter().map(PollFd::revents).collect())
    }

    fn timeout(&self) -> Timespec {
        let now = clock::now();
        let elapsed = now.elapsed_ms(&self.recorder.start());
        let idle = elapsed.saturating_sub(self.last_activity_ms);
        let mut ms = self.watch.next_ms(elapsed, idle);
        if let Some(due) = self.recorder.next_due_ns() {
            ms = ms.min(due.saturating_sub(now.boot_ns) / 1_000_000 + 1);
        }
        if let Some(at) = self.kill_at_ms {
            ms = ms.min(at.saturating_sub(elapsed));
        }
        if let Some(ending) = self.endings.first() {
            ms = ms.min(ending.at_ms.saturating_sub(elapsed));
        }
        if let Some(at) = self.rejudge_at {
            ms = ms.min(u64::try_from((at - now.unix_s).max(0)).unwrap_or(0) * 1000);
        }
        let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
        Timespec { tv_sec: seconds, tv_nsec: i64::try_from(ms % 1000).unwrap_or(0) * 1_000_000 }
    }

    // --- the inside ---------------------------------------------------------------------------

    fn hear_inside(&mut self) {
        let Ok((bytes, descriptors)) = fdpass::try_receive(self.sandbox.life.as_fd()) else { return };
        let Ok(message) = serde_json::from_slice::<FromInside>(&bytes) else {
            // The line is closed when init is gone; its process descriptor tells the rest.
            self.end_sandbox();
            return;
        };
        match message {
            FromInside::Failed { error } => {
                let mend = mend::for_step(&error);
                self.fail(RunError::Build { error, mend });
            }
            FromInside::Built { capture, ipv6, .. } => self.built(capture, ipv6, descriptors),
            FromInside::Ready { landlock, probes } => self.ready(landlock, probes, descriptors),
            FromInside::ExecFailed { program, errno } => {
                let source = std::io::Error::from_raw_os_error(errno);
                const ENOENT: i32 = 2;
                let code = if errno == ENOENT { 127 } else { 126 };
                self.fail(RunError::Exec { program, source, code });
            }
            FromInside::Exited { code } => self.code = Some(code),
        }
    }

    fn built(&mut self, capture: String, ipv6: bool, descriptors: Vec<OwnedFd>) {
        let mut descriptors = descriptors.into_iter();
        if let Some(agent) = descriptors.next() {
            if let Some(pid) = pid_of(&agent) {
                self.agent = Some((agent, pid));
            }
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

    fn ready(&mut self, landlock: u32, probes: Vec<Probe>, descriptors: Vec<OwnedFd>) {
        let open: Vec<String> = probes
            .iter()
            .filter(|probe| !probe.held)
            .map(|probe| format!("  {}: {}", probe.tried, probe.answer))
            .collect();
        if !open.is_empty() {
            self.fail(RunError::SelfTest(open.join("\n")));
            return;
        }
        let listener = descriptors.into_iter().next().map(Listener::new).transpose();
        match listener {
            Ok(listener) => self.listener = listener,
            Err(error) => {
                let source = std::io::Error::other(error);
                self.fail(RunError::System { what: "watch program starts".to_owned(), source });
                return;
            }
        }
        self.progress.ready = Some((landlock, probes));
        self.release();
    }

    /// The word: only when boundary and gateway stand and the ledger says so.
    fn release(&mut self) {
        let progress = &self.progress;
        let (Some((capture, ipv6)), Some((landlock, probes)), Some(gateway)) =
            (&progress.built, &progress.ready, &progress.gateway)
        else {
            return;
        };
        if progress.released || self.error.is_some() {
            return;
        }
        let measured = controls::Measured {
            landlock: *landlock,
            capture,
            ipv6: *ipv6,
            group: &self.group,
        };
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
        if let Err(source) = fdpass::send(self.sandbox.life.as_fd(), b"go", &[]) {
            self.fail(RunError::System { what: "release the agent".to_owned(), source });
        }
    }

    fn fail(&mut self, error: RunError) {
        self.error.get_or_insert(error);
        self.end_sandbox();
    }

    /// Kills init, and with it everything inside.
    fn end_sandbox(&mut self) {
        let _ = pidfd_send_signal(&self.sandbox.init, Signal::KILL);
    }

    fn end_because(&mut self, cause: &str) {
        self.cause.get_or_insert_with(|| cause.to_owned());
        self.end_sandbox();
    }

    // --- program starts -----------------------------------------------------------------------

    fn hear_exec(&mut self) {
        let Some(listener) = &self.listener else { return };
        let Ok(seccomp::notify::Readiness::Pending) =
            listener.wait(Some(std::time::Duration::ZERO))
        else {
            self.listener = None;
            return;
        };
        let Ok(notification) = listener.receive() else { return };
        let recorded = match read_exec(listener, &notification) {
            // A search along PATH tries names that do not exist; the kernel will say so itself.
            Ok(seen) if is_absent(notification.pid, &seen.path.bytes) => Ok(()),
            Ok(seen) => {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let truncated = seen.path.truncated || seen.argv.truncated;
                let event = Event::Exec {
                    pid: notification.pid,
                    path: text(&seen.path.bytes),
                    argv: seen.argv.arguments.iter().map(|argument| text(argument)).collect(),
                    truncated,
                };
                self.recorder.exec(&event)
            }
            Err(RemoteError::Notify(_)) => Ok(()),
            Err(error) => {
                let what = format!("a program start of process {} could not be read: {error}", notification.pid);
                self.recorder.exec(&Event::Sensor { what })
            }
        };
        let answer = match recorded {
            Ok(()) => listener.respond_continue(notification.id),
            Err(error) => {
                self.closed.get_or_insert_with(|| error.to_string());
                const EIO: u16 = 5;
                listener.respond_errno(notification.id, EIO)
            }
        };
        // A caller that was killed meanwhile needs no answer.
        let _ = answer;
        self.active();
    }

    // --- the gateway --------------------------------------------------------------------------

    fn hear_gateway(&mut self) {
        loop {
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
    fn lose_gateway(&mut self) {
        if self.gateway_gone {
            return;
        }
        self.gateway_gone = true;
        if !self.progress.released {
            self.fail(RunError::Gateway("it ended before it was ready; `ringfence doctor` examines this host".to_owned()));
            return;
        }
        let what = "the gateway's process is gone; the run is ended".to_owned();
        self.failures.push(what.clone());
        let _ = self.recorder.record(&Event::Sensor { what });
        self.end_because("gateway-lost");
    }

    fn serve_gateway(&mut self, message: FromGateway) {
        let recorded = match message {
            FromGateway::Ready { controls } => {
                self.progress.gateway = Some(controls);
                self.release();
                return;
            }
            FromGateway::Decide { id, flow, request } => {
                let decision = self.decide(flow, &request);
                self.tell_gateway(&ToGateway::Decided { id, decision });
                return self.active();
            }
            FromGateway::Refused { flow, request, decision } => {
                self.recorder.decision(Some(flow), &request, &decision)
            }
            FromGateway::Closed { flow, sent, received, duration_us, error } => {
                self.active();
                self.recorder.outcome(flow, sent, received, duration_us, error)
            }
            FromGateway::Dns { name, record, answer } => {
                let answer = answer.map(|address| address.to_string());
                let event = Event::Dns { name, record, answer, count: 1 };
                self.recorder.record(&event).map(drop)
            }
            FromGateway::Fault { what } => self.recorder.record(&Event::Sensor { what }).map(drop),
        };
        if let Err(error) = recorded {
            self.closed.get_or_insert_with(|| error.to_string());
        }
    }

    /// The one place where a question meets the authority: decided, then recorded, then answered.
    fn decide(&mut self, flow: u64, request: &Request) -> Decision {
        let decision = self.judge(request);
        match self.recorder.decision(Some(flow), request, &decision) {
            Ok(()) => {
                if decision.verdict.is_allow() {
                    self.rejudge_at = match (self.rejudge_at, decision.expires) {
                        (Some(a), Some(b)) => Some(a.min(b)),
                        (a, b) => a.or(b),
                    };
                }
                decision
            }
            Err(error) => {
                self.closed.get_or_insert_with(|| error.to_string());
                Decision::failed(format!("it cannot be recorded: {error}"))
            }
        }
    }

    fn judge(&self, request: &Request) -> Decision {
        if let Some(why) = &self.closed {
            return Decision::failed(why.clone());
        }
        let now = clock::now();
        let elapsed_ms = now.elapsed_ms(&self.recorder.start());
        self.authority.decide(request, Now { unix_s: now.unix_s, elapsed_ms })
    }

    fn tell_gateway(&mut self, message: &ToGateway) {
        let sent = serde_json::to_vec(message)
            .map_err(std::io::Error::from)
            .and_then(|bytes| fdpass::send(self.link.as_fd(), &bytes, &[]));
        if sent.is_err() {
            self.lose_gateway();
        }
    }

    // --- people -------------------------------------------------------------------------------

    fn answer_control(&mut self) {
        for question in self.control.turn() {
            let answer = match &question.verb {
                Verb::Status => Answer::Status(Box::new(self.status())),
                Verb::Judge { request } => Answer::Judged { decision: self.judge(request) },
                Verb::Kill => {
                    let by = format!("uid {}", question.uid);
                    let event = Event::Control { verb: "kill".to_owned(), by };
                    // A full disk must not keep anybody from ending a run.
                    let _ = self.recorder.record(&event);
                    self.end_because("killed");
                    Answer::Killing
                }
            };
            question.answer(&answer);
        }
    }

    fn status(&self) -> Status {
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

    fn hear_signals(&mut self) {
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
    fn signal_agent(&self, number: i32) {
        let Some((agent, pid)) = &self.agent else { return };
        let Some(signal) = Signal::from_named_raw(number) else { return };
        // Only while the process descriptor still stands for a living process is the number its own.
        if pidfd_send_signal(agent, signal).is_ok() {
            let _ = rustix::process::kill_process_group(*pid, signal);
        }
    }

    fn turn_pump(&mut self, index: usize) {
        let Some(pump) = self.pumps.get_mut(index) else { return };
        let before = pump.moved;
        pump.turn();
        if pump.moved != before {
            self.active();
        }
    }

    // --- time and policy ----------------------------------------------------------------------

    fn keep_time(&mut self) {
        let now = clock::now();
        let elapsed = now.elapsed_ms(&self.recorder.start());
        if let Err(error) = self.recorder.flush() {
            self.closed.get_or_insert_with(|| error.to_string());
        }
        if self.kill_at_ms.is_some_and(|at| elapsed >= at) {
            self.end_because("signal");
        }
        self.end_grants(elapsed);
        if self.rejudge_at.is_some_and(|at| now.unix_s >= at) {
            self.rejudge_at = None;
            let generation = self.authority.generation();
            self.tell_gateway(&ToGateway::Generation { generation });
        }
        let idle = elapsed.saturating_sub(self.last_activity_ms);
        if self.cause.is_none()
            && let Some(hit) = self.watch.look(elapsed, idle)
        {
            self.hit(hit.name, hit.limit);
        }
    }

    fn hit(&mut self, name: &str, limit: String) {
        self.failures.push(format!("limit {name} ({limit}) was hit; the run was ended"));
        let event = Event::Limit {
            name: name.to_owned(),
            limit,
            action: "the run was ended".to_owned(),
        };
        let _ = self.recorder.record(&event);
        self.end_because("limit");
    }

    fn end_grants(&mut self, elapsed: u64) {
        while self.endings.first().is_some_and(|ending| ending.at_ms <= elapsed) {
            let ending = self.endings.remove(0);
            if !self.progress.released {
                continue;
            }
            match self.sandbox.handle.change(Change::Unmount(&ending.path)) {
                Ok(()) => {
                    let event = Event::Limit {
                        name: "grant".to_owned(),
                        limit: format!("{} ({})", ending.path.display(), ending.rule),
                        action: "it ended and was unmounted; descriptors that are still open survive".to_owned(),
                    };
                    let _ = self.recorder.record(&event);
                }
                Err(error) => {
                    let limit = format!("{} could not be unmounted at its end: {error}", ending.path.display());
                    self.hit("grant", limit);
                }
            }
        }
    }

    /// The organisation's policy changed: it may only narrow, and what cannot be read closes all.
    fn reload_organisation(&mut self) {
        let Some(change) = self.reload.changed() else { return };
        match change.and_then(|text| narrowed(&self.compiled, &text)) {
            Ok(compiled) if compiled.digest == self.compiled.digest => return,
            Ok(compiled) => self.adopt(Arc::new(compiled)),
            Err(why) => {
                let what = format!("the organisation's policy cannot be used ({why}); everything is denied");
                let _ = self.recorder.record(&Event::Sensor { what: what.clone() });
                self.closed = Some(what);
            }
        }
        let generation = self.authority.generation();
        self.tell_gateway(&ToGateway::Generation { generation });
    }

    /// A hidden name has come to exist on the host (or, in `direct`, inside): it is masked. The moment
    /// between its birth and the mask is the watch's own limit.
    fn hide_what_appeared(&mut self) {
        let Some(hidden) = &mut self.hidden else { return };
        for path in hidden.appeared(&self.compiled) {
            if let Err(error) = self.sandbox.handle.change(Change::Mask(&path)) {
                let what = format!("{} appeared and could not be hidden: {error}", path.display());
                let _ = self.recorder.record(&Event::Sensor { what });
            }
        }
    }

    fn adopt(&mut self, compiled: Arc<Compiled>) {
        let newly_hidden = crate::plan::newly_hidden(&self.compiled, &compiled);
        self.compiled = Arc::clone(&compiled);
        self.authority.replace(Arc::clone(&compiled));
        let recorded = self.recorder.set_policy(&compiled.digest).and_then(|()| {
            self.recorder.record(&Event::Policy {
                generation: self.authority.generation(),
                digest: compiled.digest.clone(),
                layer: ringfence_model::provenance::Layer::Organisation,
                summary: "the organisation's policy changed; forbids were added, none was taken away".to_owned(),
            })
        });
        if let Err(error) = recorded {
            self.closed.get_or_insert_with(|| error.to_string());
        }
        let _ = self.run.write_json("policy.json", compiled.as_ref());
        match newly_hidden {
            Ok(paths) => {
                for path in paths {
                    let _ = self.sandbox.handle.change(Change::Mask(&path));
                }
            }
            Err(error) => self.hit("policy", format!("a new deny cannot be enforced: {error}")),
        }
    }

    // --- the end ------------------------------------------------------------------------------

    fn finish(mut self) -> Result<Finished, RunError> {
        // What init said before it died is still in the socket.
        while let Ok((bytes, _)) = fdpass::try_receive(self.sandbox.life.as_fd()) {
            match serde_json::from_slice(&bytes) {
                Ok(FromInside::Exited { code }) => self.code = Some(code),
                Ok(FromInside::Failed { error }) => {
                    let mend = mend::for_step(&error);
                    self.error.get_or_insert(RunError::Build { error, mend });
                }
                Ok(FromInside::ExecFailed { program, errno }) => {
                    let source = std::io::Error::from_raw_os_error(errno);
                    let code = if errno == 2 { 127 } else { 126 };
                    self.error.get_or_insert(RunError::Exec { program, source, code });
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let waited = wait_code(self.sandbox.init.as_fd()).unwrap_or(137);
        for pump in &mut self.pumps {
            pump.finish_output();
        }
        drop(self.raw.take());
        self.hear_gateway_last();
        let _ = pidfd_send_signal(&self.gateway, Signal::KILL);
        let _ = wait_code(self.gateway.as_fd());
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
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(self.summary(cause, code)),
        }
    }

    /// Outcomes that the gateway has already sent belong into the ledger before its end.
    fn hear_gateway_last(&mut self) {
        while let Ok((bytes, _)) = fdpass::try_receive(self.link.as_fd()) {
            match serde_json::from_slice::<FromGateway>(&bytes) {
                Ok(FromGateway::Decide { .. } | FromGateway::Ready { .. }) => {}
                Ok(message) => self.serve_gateway(message),
                Err(_) => break,
            }
        }
    }

    /// Limits that the kernel enforced silently get their record.
    fn note_group(&mut self) {
        let counters = [
            ("memory", self.group.memory_kills(), "the kernel ended processes"),
            ("processes", self.group.process_refusals(), "new processes were refused"),
        ];
        for (name, count, action) in counters {
            if count > 0 {
                self.failures.push(format!("limit {name} was hit {count} times: {action}"));
                let limit = self.controls.iter().find(|c| c.name == format!("limit.{name}"));
                let limit = limit.map_or_else(String::new, |control| control.requested.clone());
                let event = Event::Limit { name: name.to_owned(), limit, action: action.to_owned() };
                let _ = self.recorder.record(&event);
            }
        }
    }

    fn write_end(&mut self, cause: &str, code: i32) {
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

    fn summary(&self, cause: String, code: i32) -> Finished {
        let (groups, more_denied) = self.recorder.denial_groups();
        let denied = groups
            .iter()
            .map(|group| Denied {
                explanation: ringfence_policy::explain(
                    &self.compiled,
                    &group.request,
                    &group.decision,
                ),
                count: group.count,
            })
            .collect();
        Finished {
            id: self.run.id().clone(),
            code,
            cause,
            failures: self.failures.clone(),
            denied,
            more_denied,
            changes: false,
            mode: self.boundary.workspace.mode,
        }
    }
}

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        // Whatever happens here: no sandbox without its owner.
        let _ = pidfd_send_signal(&self.sandbox.init, Signal::KILL);
        let _ = pidfd_send_signal(&self.gateway, Signal::KILL);
    }
}

fn narrowed(compiled: &Compiled, text: &crate::load::Text) -> Result<Compiled, String> {
    let definition =
        ringfence_policy::DefinitionText { file: &text.path, bytes: &text.bytes };
    compiled.with_organisation(&definition).map_err(|problems| problems.to_string())
}

/// File grants that end during the run, soonest first, in milliseconds after the start.
fn endings(compiled: &Compiled, unix_s: i64) -> Vec<Ending> {
    let mut endings: Vec<Ending> = compiled
        .files
        .iter()
        .filter_map(|rule| {
            let until = rule
                .ends
                .at_unix
                .map(|at| u64::try_from((at - unix_s).max(0)).unwrap_or(0) * 1000);
            let at_ms = match (rule.ends.for_ms, until) {
                (Some(a), Some(b)) => a.min(b),
                (a, b) => a.or(b)?,
            };
            Some(Ending { at_ms, path: rule.path.clone(), rule: rule.id.clone() })
        })
        .collect();
    endings.sort_by_key(|ending| ending.at_ms);
    endings
}

/// Whether an absolute path names nothing in the root of process `pid`.
fn is_absent(pid: u32, path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    if path.first() != Some(&b'/') {
        return false;
    }
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let none = rustix::fs::Mode::empty();
    let Ok(root) = rustix::fs::open(format!("/proc/{pid}/root"), flags, none) else { return false };
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    let within = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    matches!(
        rustix::fs::openat2(&root, path, flags, none, within),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)
    )
}

/// The host's process id behind a process descriptor (`/proc/self/fdinfo`, pidfd_open(2)).
fn pid_of(pidfd: &OwnedFd) -> Option<Pid> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim();
    Pid::from_raw(number.parse().ok()?)
}
