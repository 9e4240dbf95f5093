//! Pid 1 of a sandbox: builds the boundary, starts the agent, reaps, ends.
//!
//! It is a fork of the launcher that has wiped its command line and environment; it holds no secret,
//! no capability once the boundary stands, and enforces nothing: everything that binds the agent is
//! in the kernel by then. When it dies, for whatever reason, the kernel kills everything inside.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use ringfence_sys::fdpass;
use ringfence_sys::process::{
    Namespaces, Side, close_all_but, drop_all_capabilities, exit_now, fork_into,
    scrub_arguments_and_environment,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, Pid, Signal, WaitOptions};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

use crate::agent::{self, Start, say};
use crate::beside::Beside;
use crate::idmap;
use crate::launch::{Launch, Prepared, Stdio, kept};
use crate::message::FromInside;
use crate::network::{self, Captured};
use crate::root::Root;
use crate::step::{During, StepError};

/// What init, and what it forks, is called until it has become a program.
pub const NAME: &str = "ringfence-init";

/// Runs as pid 1 until the agent ends; the caller exits then.
pub fn main(launch: Launch<'_>, prepared: &Prepared, life: OwnedFd, orders: OwnedFd) {
    if let Err(error) = live(&launch, prepared, &life, orders) {
        say(&life, &FromInside::Failed { error }, &[]);
        exit_now(125);
    }
}

fn live(
    launch: &Launch<'_>,
    prepared: &Prepared,
    life: &OwnedFd,
    orders: OwnedFd,
) -> Result<(), StepError> {
    seclude(launch, prepared, [life, &orders], Signal::KILL)?;
    await_mapping(launch, life)?;
    bound_watches();
    let captured = network::capture(&launch.boundary.network, launch.gateway.as_fd())?;
    let hostname = &launch.boundary.identity.hostname;
    rustix::system::sethostname(hostname.as_bytes()).during("set", "the host name")?;
    let root = Root::new()?;
    root.fill(launch.boundary, prepared)?;
    root.enter()?;
    drop_all_capabilities().during("drop", "capabilities")?;
    rustix::thread::set_no_new_privs(true).during("set", "no_new_privs")?;
    undumpable()?;
    let places = agent::writable(launch.boundary)?;
    let agent = start_agent(launch, life, &captured, &places)?;
    reap(launch, life, &agent, &mut Beside::new(orders), &places)
}

/// Cuts the fork off from what the launcher was: its death, descriptors, arguments, environment.
/// `death` is what the supervisor's end means to init.
pub(crate) fn seclude(
    launch: &Launch<'_>,
    prepared: &Prepared,
    lines: [&OwnedFd; 2],
    death: Signal,
) -> Result<(), StepError> {
    rustix::process::set_parent_process_death_signal(Some(death))
        .during("tie", "the sandbox to its supervisor")?;
    // Keys typed at the terminal are for the agent alone.
    rustix::process::setsid().during("leave", "the caller's session")?;
    let mut keep = kept(launch, prepared);
    keep.extend(lines.map(AsFd::as_fd));
    close_all_but(&keep).during("close", "inherited descriptors")?;
    scrub_arguments_and_environment(c"ringfence-init");
    rustix::thread::set_name(c"ringfence-init").during("set", "the process name")?;
    rustix::process::umask(rustix::fs::Mode::empty());
    Ok(())
}

pub(crate) fn undumpable() -> Result<(), StepError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .during("hide", "the memory of init")
}

/// Waits for the supervisor to have set the stage; an ordinary user's child maps itself.
fn await_mapping(launch: &Launch<'_>, life: &OwnedFd) -> Result<(), StepError> {
    let identity = &launch.boundary.identity;
    if identity.owner.is_none() {
        idmap::write_own_maps(identity)?;
    }
    match fdpass::receive(life.as_fd()) {
        Ok((word, _)) if word == b"mapped" => {}
        Ok(_) => exit_now(125),
        Err(error) => return Err(StepError::new("hear from", "the supervisor", &error)),
    }
    if identity.owner.is_some() {
        idmap::become_inside(identity)?;
        // The change of ids has cleared the death signal (prctl(2)).
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
            .during("tie", "the sandbox to its supervisor")?;
    }
    Ok(())
}

pub(crate) struct Agent {
    pub(crate) pid: Pid,
}

/// inotify(7) counts per user, through all of a user's namespaces: without a bound of its own the
/// sandbox could use up what the supervisor needs to watch protected paths. Half stays outside.
fn bound_watches() {
    for name in ["max_inotify_instances", "max_inotify_watches"] {
        let host = std::fs::read_to_string(format!("/proc/sys/user/{name}"));
        let Some(limit) = host.ok().and_then(|text| text.trim().parse::<u64>().ok()) else {
            continue;
        };
        let _ = std::fs::write(format!("/proc/sys/user/{name}"), (limit / 2).to_string());
    }
}

pub(crate) fn start_agent(
    launch: &Launch<'_>,
    life: &OwnedFd,
    captured: &Captured,
    places: &[OwnedFd],
) -> Result<Agent, StepError> {
    let wants_terminal = launch.stdio.iter().any(|stdio| matches!(stdio, Stdio::Terminal));
    let terminal =
        if wants_terminal { Some(open_terminal().during("open", "a terminal")?) } else { None };
    let (master, slave) = terminal.unzip();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match fork_into(Namespaces::NONE).during("start", "the agent")? {
        Side::Child => {
            drop(master);
            let start = Start {
                launch,
                places,
                argv: &launch.boundary.argv,
                cwd: &launch.boundary.cwd,
                term: None,
                stdio: &launch.stdio,
                beside: false,
            };
            agent::main(&start, slave, life)
        }
        Side::Parent { pid, pidfd } => {
            drop(slave);
            let message = FromInside::Built {
                capture: captured.how.clone(),
                ipv6: captured.ipv6,
                terminal: master.is_some(),
            };
            let mut descriptors = vec![pidfd.as_fd()];
            descriptors.extend(master.iter().map(AsFd::as_fd));
            say(life, &message, &descriptors);
            Ok(Agent { pid })
        }
    }
}

/// A pair of the sandbox's own: master and slave.
pub fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let open = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), open, rustix::fs::Mode::empty())?;
    Ok((master, slave))
}

/// Reaps whatever dies, makes sockets for published ports, starts what a person wants beside the
/// agent, ends with the agent's first process.
fn reap(
    launch: &Launch<'_>,
    life: &OwnedFd,
    agent: &Agent,
    beside: &mut Beside,
    places: &[OwnedFd],
) -> Result<(), StepError> {
    let children = ringfence_sys::process::child_signals().during("watch", "child processes")?;
    loop {
        if let Some(code) = collect(agent.pid, beside)? {
            say(life, &FromInside::Exited { code }, &[]);
            exit_now(code);
        }
        let mut watched = [
            PollFd::new(life, PollFlags::empty()),
            PollFd::new(&launch.gateway, PollFlags::IN),
            PollFd::new(&children, PollFlags::IN),
            PollFd::new(&beside.orders, PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(StepError::new("wait for", "events", &error.into())),
        }
        let [supervisor, gateway, child, order] = watched.map(|fd| fd.revents());
        let gone = PollFlags::HUP | PollFlags::ERR;
        if supervisor.intersects(gone) {
            exit_now(137);
        }
        if child.contains(PollFlags::IN) {
            ringfence_sys::process::drain_signals(&children);
        }
        if order.contains(PollFlags::IN) {
            beside.serve(launch, places);
        }
        if gateway.intersects(gone) || (gateway.contains(PollFlags::IN) && !serve_gateway(launch)) {
            // The gateway is gone: nothing leaves any more. The supervisor ends the run.
            wait_for_the_end(life);
        }
    }
}

fn wait_for_the_end(life: &OwnedFd) -> ! {
    let mut watched = [PollFd::new(life, PollFlags::empty())];
    let _ = poll(&mut watched, None);
    exit_now(137)
}

/// Collects every dead child; the agent's code when it is among them.
pub(crate) fn collect(agent: Pid, beside: &mut Beside) -> Result<Option<i32>, StepError> {
    let mut code = None;
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let ended = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    (None, Some(signal)) => 128 + signal,
                    (None, None) => 255,
                };
                if pid == agent {
                    code = Some(ended);
                } else {
                    beside.ended(pid, ended);
                }
            }
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(code),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(StepError::new("reap", "children", &error.into())),
        }
    }
}

/// Answers one request of the gateway for a socket of this network namespace; false when the gateway
/// has hung up.
fn serve_gateway(launch: &Launch<'_>) -> bool {
    match fdpass::try_receive(launch.gateway.as_fd()) {
        Ok((request, _)) if request.is_empty() => return false,
        Ok((request, _)) if request == br#"{"want":"tcp4"}"# => {}
        Ok(_) | Err(_) => return true,
    }
    // Where no socket can be had, or the gateway does not read, it waits in vain and says so.
    if let Ok(socket) = network::fresh_socket() {
        let answer = br#"{"have":"tcp4"}"#;
        let _ = fdpass::try_send(launch.gateway.as_fd(), answer, &[socket.as_fd()]);
    }
    true
}
