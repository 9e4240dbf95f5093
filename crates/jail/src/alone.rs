//! The Landlock tier: the same boundary where namespaces cannot be had.
//!
//! Landlock holds files, signals, tracing, abstract sockets and TCP; the filter refuses whatever a
//! namespace would have made private (`sys::seccomp::SHARED`). There is no constructed root: a boundary
//! of this tier consists of bind mounts of a place onto itself, and each becomes one Landlock rule.
//! Anything else in a plan is refused, never left out.

mod test;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Boundary, Mount, MountKind, WorkspaceMode};
use ringfence_sys::fdpass;
use ringfence_sys::landlock_rules::{Rights, SignalDomain};
use ringfence_sys::process::{drop_all_capabilities, exit_now, signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::agent::{Start, say};
use crate::beside::Beside;
use crate::idmap;
use crate::init::{Agent, collect, seclude, start_agent, undumpable};
use crate::launch::{Launch, Prepared};
use crate::message::FromInside;
use crate::network::Captured;
use crate::root::open_source;
use crate::step::{During, StepError};

pub use test::{of_the_kernel, run as self_test};

/// Where programs open devices that every program needs.
const DEVICES: [&str; 6] =
    ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Before the fork: what init leaves behind, should somebody kill it, becomes a child of this process.
pub fn adopt_orphans() -> Result<(), StepError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .during("adopt", "what the sandbox may leave")
}

/// Runs as the sandbox's init until the agent ends; the caller exits then.
pub fn main(launch: Launch<'_>, life: OwnedFd, orders: OwnedFd) {
    if let Err(error) = live(&launch, &life, orders) {
        say(&life, &FromInside::Failed { error }, &[]);
        exit_now(125);
    }
}

fn live(launch: &Launch<'_>, life: &OwnedFd, orders: OwnedFd) -> Result<(), StepError> {
    seclude(launch, &Prepared::default(), [life, &orders], Signal::TERM)?;
    await_word(life)?;
    adopt_orphans()?;
    if launch.boundary.identity.owner.is_some() {
        idmap::become_inside(&launch.boundary.identity)?;
        // The change of ids has cleared the death signal (prctl(2)).
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
            .during("tie", "the sandbox to its supervisor")?;
    }
    drop_all_capabilities().during("drop", "capabilities")?;
    rustix::thread::set_no_new_privs(true).during("set", "no_new_privs")?;
    undumpable()?;
    let domain = SignalDomain::enter()?;
    let ends = [Signal::CHILD, Signal::TERM].map(Signal::as_raw);
    let ends = signals(&ends).during("watch", "child processes")?;
    let nothing = Captured { how: "none".to_owned(), ipv6: false };
    // Rules are laid on places that are opened again: see `places`.
    let agent = start_agent(launch, life, &nothing, &[])?;
    watch(launch, life, &ends, &domain, &agent, &mut Beside::new(orders))
}

fn await_word(life: &OwnedFd) -> Result<(), StepError> {
    match fdpass::receive(life.as_fd()) {
        Ok((word, _)) if word == b"mapped" => Ok(()),
        Ok(_) => exit_now(125),
        Err(error) => Err(StepError::new("hear from", "the supervisor", &error)),
    }
}

/// Reaps whatever dies and starts what a person wants beside the agent; the end of the agent's first
/// process, of the supervisor, or its word ends all.
fn watch(
    launch: &Launch<'_>,
    life: &OwnedFd,
    ends: &OwnedFd,
    domain: &SignalDomain,
    agent: &Agent,
    beside: &mut Beside,
) -> Result<(), StepError> {
    loop {
        if let Some(code) = collect(agent.pid, beside)? {
            kill_all(domain);
            say(life, &FromInside::Exited { code }, &[]);
            exit_now(code);
        }
        let mut watched = [
            PollFd::new(life, PollFlags::empty()),
            PollFd::new(ends, PollFlags::IN),
            PollFd::new(&beside.orders, PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(StepError::new("wait for", "events", &error.into())),
        }
        let [supervisor, signal, order] = watched.map(|fd| fd.revents());
        let told = signal.contains(PollFlags::IN)
            && ringfence_sys::process::drain_signals(ends).contains(&Signal::TERM.as_raw());
        if told || supervisor.intersects(PollFlags::HUP | PollFlags::ERR) {
            kill_all(domain);
            exit_now(137);
        }
        if order.contains(PollFlags::IN) {
            beside.serve(launch, &[]);
        }
    }
}

/// Kills everything in the domain and waits until it is gone: every orphan is a child of this process.
fn kill_all(domain: &SignalDomain) {
    loop {
        let _ = domain.kill_everything();
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// In the supervisor, when init was killed from outside: its children have become this process's own,
/// and are killed until none is left but the keeper of a `pair` workspace, which still has to write down what
/// their calls came to. The gateway does not exist in this tier.
pub fn clear_orphans(keeper: Option<Pid>) {
    loop {
        let orphans: Vec<Pid> =
            own_children().into_iter().filter(|pid| Some(*pid) != keeper).collect();
        if orphans.is_empty() {
            return;
        }
        for pid in orphans {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn own_children() -> Vec<Pid> {
    let text = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

/// In the process that becomes the agent: it dies with init, whatever happens to that.
pub fn tie_to_init() -> Result<(), StepError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .during("tie", "the agent to the sandbox's init")
}

/// The path by which a program finds its own terminal again.
pub fn terminal_name(slave: &OwnedFd) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let name = rustix::termios::ttyname(slave, Vec::new()).ok()?;
    Some(PathBuf::from(std::ffi::OsString::from_vec(name.into_bytes())))
}

/// The rules: every place of the plan, the common devices and the sandbox's own terminal.
pub fn places(
    start: &Start<'_>,
    terminal: Option<PathBuf>,
) -> impl Iterator<Item = Result<(OwnedFd, Rights), StepError>> {
    let (boundary, beside) = (start.launch.boundary, start.beside);
    let devices = DEVICES.iter().map(PathBuf::from).chain(terminal);
    // A container without one of them has nothing to be opened there.
    let devices = devices.filter(|path| path.symlink_metadata().is_ok());
    let rights =
        Rights { read: true, write: true, execute: false, devices: true, ..Rights::default() };
    boundary
        .mounts
        .iter()
        .map(move |mount| place(boundary, mount))
        // Opened again for a program beside the agent, and compared again: what somebody outside has
        // replaced since is nobody's any more.
        .filter(move |place| !beside || place.is_ok())
        .chain(devices.map(move |path| Ok((open_source(&path, None)?, rights))))
}

/// One place of the plan as a rule.
fn place(boundary: &Boundary, mount: &Mount) -> Result<(OwnedFd, Rights), StepError> {
    let MountKind::Bind { source, access, exec, identity, .. } = &mount.kind else {
        let target = mount.target.display();
        return Err(StepError::refused("make", target, "tier landlock cannot make anything"));
    };
    if *source != mount.target {
        let cause = format!("tier landlock cannot show it as {}", mount.target.display());
        return Err(StepError::refused("place", source.display(), cause));
    }
    let write = *access == Access::ReadWrite;
    let moves = write && moves(boundary, &mount.target);
    let rights = Rights { read: true, write, moves, execute: *exec, devices: false };
    Ok((open_source(source, *identity)?, rights))
}

/// Whether names may be moved and linked between directories at a place. Out of a `pair` workspace
/// nothing may be, and nothing into it: by a further name outside of it, what is in it could be
/// changed unseen. Elsewhere mounts keep the two apart.
fn moves(boundary: &Boundary, target: &Path) -> bool {
    let workspace = &boundary.workspace;
    workspace.mode != WorkspaceMode::Pair || target.starts_with(&workspace.root)
}
