//! The loop that owns a running sandbox: it decides, records, relays, watches, and ends it.
//!
//! One thread and one `poll(2)`. Nothing in it waits for anything but that poll, so that a slow
//! terminal, client or gateway never delays a decision.

mod allow;
mod beside;
mod end;
mod exec;
mod gateway;
mod inside;
mod keeper;
mod people;
mod screen;
mod time;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use ringfence_authority::Authority;
use ringfence_jail::cgroup::Group;
use ringfence_jail::{Probe, Sandbox};
use ringfence_model::boundary::Boundary;
use ringfence_model::enforcement::Control;
use ringfence_policy::Compiled;
use ringfence_sys::process::signals;
use ringfence_sys::seccomp::notify::Listener;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, pidfd_send_signal};

use self::beside::Beside;
use self::screen::Screen;
use super::detach::Report;
use super::start::Traps;
use super::{Finished, RunError, system};
use crate::clock;
use crate::control_server::{ControlServer, Question};
use crate::limits::DETACH_LOOK_MS;
use crate::pair::Keeper;
use crate::plan::{HideWatch, HoldWatch};
use crate::recorder::Recorder;
use crate::reload::Reload;
use crate::rundir::RunDir;
use crate::stdio::{Pump, RawTerminal};
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
    /// The gateway's process, where there is a network.
    pub gateway: Option<OwnedFd>,
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
    /// Watches held paths.
    pub held: Option<HoldWatch>,
    /// The organisation's policy as it was compiled.
    pub organisation: Option<Vec<u8>>,
    /// Who waits for the word that a detached run has begun.
    pub report: Option<Report>,
    /// Whether the run has no person's terminal.
    pub detached: bool,
    /// Keeps what changes of a `pair` workspace replace.
    pub keeper: Option<Keeper>,
}

/// How far the start has come.
#[derive(Default)]
struct Progress {
    built: Option<(String, bool)>,
    ready: Option<(u32, Vec<Probe>)>,
    gateway: Option<Vec<Control>>,
    released: bool,
    /// When, in milliseconds after the start: the agent's time begins then.
    released_ms: u64,
}

/// A file grant that will end.
struct Ending {
    at_ms: u64,
    path: PathBuf,
    rule: String,
    covered: bool,
}

/// Owns one running sandbox.
pub struct Owner<'a> {
    run: &'a RunDir,
    compiled: Arc<Compiled>,
    boundary: &'a Boundary,
    authority: Authority,
    recorder: Recorder,
    sandbox: Sandbox,
    gateway: Option<OwnedFd>,
    link: OwnedFd,
    group: Group,
    control: ControlServer,
    signals: OwnedFd,
    /// Program starts: of the agent's tree, and of each program beside it.
    listeners: BTreeMap<u64, Listener>,
    /// Programs that a person started beside the agent.
    beside: Vec<Beside>,
    keeper: Option<Keeper>,
    /// Questions that the keeper will answer.
    asked: Vec<(u64, Question)>,
    agent: Option<(OwnedFd, Pid)>,
    master: Option<OwnedFd>,
    raw: Option<RawTerminal>,
    /// The terminal of a detached run.
    screen: Option<Screen>,
    detached: bool,
    report: Option<Report>,
    pumps: Vec<Pump>,
    traps: Option<Traps>,
    watch: Watch,
    reload: Reload,
    hidden: Option<HideWatch>,
    held: Option<HoldWatch>,
    endings: Vec<Ending>,
    rejudge_at: Option<i64>,
    /// When the next permit ends that is measured from the start, in milliseconds after it.
    permit_ends_ms: Option<u64>,
    progress: Progress,
    controls: Vec<Control>,
    /// Set when nothing may be allowed any more, with the reason.
    closed: Option<String>,
    failures: Vec<String>,
    cause: Option<String>,
    code: Option<i32>,
    error: Option<RunError>,
    last_activity_ms: u64,
    looked_at_ms: u64,
    /// Allowed connections whose end has not been told yet.
    open_flows: BTreeSet<u64>,
    /// Whether any name was looked up.
    looked_up: bool,
    /// Hidden names that have appeared and are not masked yet.
    to_mask: VecDeque<PathBuf>,
    /// Hidden names that were masked during the run.
    masked: usize,
    kill_at_ms: Option<u64>,
    gateway_gone: bool,
    /// What the gateway said before it was ready.
    gateway_fault: Option<String>,
    /// Init has hung up: only its process descriptor says anything more.
    life_gone: bool,
}

/// What a poll told about, in the order of the descriptors.
enum Token {
    Life,
    Init,
    Link,
    Signals,
    Listener(u64),
    Beside,
    Screen,
    Keeper,
    Hidden,
    Held,
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
            Signal::INT,
            Signal::TERM,
            Signal::HUP,
            Signal::QUIT,
            Signal::WINCH,
            Signal::TSTP,
            Signal::CONT,
            Signal::USR1,
            Signal::USR2,
        ];
        let numbers = watched.map(Signal::as_raw);
        let signals = signals(&numbers).map_err(system("watch signals"))?;
        let enforces = parts.group.enforces();
        let watch = Watch::new(
            parts.sandbox.pid,
            &parts.boundary.limits,
            enforces.memory,
            enforces.processes,
            parts.stores,
        );
        let elapsed = clock::now().elapsed_ms(&parts.recorder.start());
        let endings = time::endings(&parts.compiled, parts.boundary, parts.recorder.start().unix_s);
        let gateway_gone = parts.gateway.is_none();
        let progress = Progress { gateway: gateway_gone.then(Vec::new), ..Progress::default() };
        let permit_ends_ms = parts.compiled.next_end_ms(elapsed);
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
            listeners: BTreeMap::new(),
            beside: Vec::new(),
            keeper: parts.keeper,
            asked: Vec::new(),
            agent: None,
            master: None,
            raw: None,
            screen: None,
            detached: parts.detached,
            report: parts.report,
            pumps: parts.pumps,
            traps: Some(parts.traps),
            watch,
            reload: Reload::watch(parts.organisation),
            hidden: parts.hidden,
            held: parts.held,
            endings,
            rejudge_at: None,
            permit_ends_ms,
            progress,
            controls: Vec::new(),
            closed: None,
            failures: Vec::new(),
            cause: None,
            code: None,
            error: None,
            last_activity_ms: elapsed,
            looked_at_ms: elapsed,
            open_flows: BTreeSet::new(),
            looked_up: false,
            to_mask: VecDeque::new(),
            masked: 0,
            kill_at_ms: None,
            gateway_gone,
            gateway_fault: None,
            life_gone: false,
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

    fn end_gateway(&self) {
        if let Some(gateway) = &self.gateway {
            let _ = pidfd_send_signal(gateway, Signal::KILL);
        }
    }

    fn elapsed_ms(&self) -> u64 {
        clock::now().elapsed_ms(&self.recorder.start())
    }

    /// For how long the agent has run and been idle. Building the boundary takes none of its time,
    /// however slow the host is.
    fn agent_ms(&self, elapsed: u64) -> (u64, u64) {
        if !self.progress.released {
            return (0, 0);
        }
        let released = self.progress.released_ms;
        let idle_since = self.last_activity_ms.max(released);
        (elapsed.saturating_sub(released), elapsed.saturating_sub(idle_since))
    }

    fn active(&mut self) {
        self.last_activity_ms = self.elapsed_ms();
    }

    /// One wait and what it brings; whether the sandbox is gone.
    fn turn(&mut self) -> bool {
        let (tokens, ready) = self.wait();
        let (mut gone, mut turn_beside, mut turn_screen) = (false, false, false);
        for (token, events) in tokens.iter().zip(ready) {
            if events.is_empty() {
                continue;
            }
            match token {
                Token::Life => self.hear_inside(),
                Token::Init => gone = true,
                Token::Link => self.hear_gateway(),
                Token::Signals => self.hear_signals(),
                Token::Listener(number) => self.hear_exec(*number),
                Token::Beside => turn_beside = true,
                Token::Screen => turn_screen = true,
                Token::Keeper => self.hear_keeper(),
                Token::Hidden => self.hide_what_appeared(),
                Token::Held => self.hold_again(),
                Token::Control => {}
                Token::Pump(index) => self.turn_pump(*index),
            }
        }
        let elapsed = self.elapsed_ms();
        let is_due = |at: u64| elapsed >= at;
        if turn_beside || self.beside.iter().filter_map(Beside::due_ms).any(is_due) {
            self.turn_beside();
        }
        if turn_screen || self.screen.as_ref().and_then(Screen::due_ms).is_some_and(is_due) {
            self.turn_screen();
        }
        self.answer_control();
        self.look_at_start();
        self.keep_time();
        gone
    }

    /// Waits for the next event or deadline.
    fn wait(&self) -> (Vec<Token>, Vec<PollFlags>) {
        let mut watched: Vec<(Token, PollFd<'_>)> = Vec::with_capacity(16);
        if !self.life_gone {
            watched.push((Token::Life, PollFd::new(&self.sandbox.life, PollFlags::IN)));
        }
        if !self.gateway_gone {
            watched.push((Token::Link, PollFd::new(&self.link, PollFlags::IN)));
        }
        watched.push((Token::Signals, PollFd::new(&self.signals, PollFlags::IN)));
        for (number, listener) in &self.listeners {
            watched.push((Token::Listener(*number), PollFd::new(listener, PollFlags::IN)));
        }
        watched
            .extend(self.beside.iter().flat_map(Beside::interests).map(|fd| (Token::Beside, fd)));
        let screen = self.screen.iter().flat_map(Screen::interests);
        watched.extend(screen.map(|fd| (Token::Screen, fd)));
        watched.extend(
            self.keeper.iter().map(|k| (Token::Keeper, PollFd::new(&k.link, PollFlags::IN))),
        );
        watched.extend(self.hidden.as_ref().map(|h| (Token::Hidden, h.interest())));
        watched.extend(self.held.as_ref().map(|h| (Token::Held, h.interest())));
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
        let (ran, idle) = self.agent_ms(elapsed);
        let mut ms = self.watch.next_ms(ran, idle);
        if let Some(due) = self.recorder.next_due_ns() {
            ms = ms.min(due.saturating_sub(now.boot_ns) / 1_000_000 + 1);
        }
        let at = self.kill_at_ms.into_iter().chain(self.control.next_due_ms());
        let at = at.chain(self.beside.iter().filter_map(Beside::due_ms));
        let at = at.chain(self.screen.as_ref().and_then(Screen::due_ms)).min();
        if let Some(at) = at {
            ms = ms.min(at.saturating_sub(elapsed));
        }
        if self.report.is_some() && self.progress.released {
            ms = ms.min(DETACH_LOOK_MS);
        }
        if let Some(ending) = self.endings.first() {
            ms = ms.min(ending.at_ms.saturating_sub(elapsed));
        }
        if let Some(at) = self.permit_ends_ms {
            ms = ms.min(at.saturating_sub(elapsed));
        }
        if let Some(at) = self.rejudge_at {
            ms = ms.min(u64::try_from((at - now.unix_s).max(0)).unwrap_or(0) * 1000);
        }
        clock::timespec(ms)
    }
}

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        // Whatever happens here: no sandbox without its owner.
        self.sandbox.end();
        self.end_gateway();
    }
}
