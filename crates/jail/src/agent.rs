//! The last steps of a process that becomes the agent, or a program beside it: limits, Landlock,
//! filter, self-test, exec. They are the same for both.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Boundary, Limits, MountKind, Tier};
use ringfence_sys::landlock_rules;
use ringfence_sys::process::{Program, exit_now, set_standard};
use ringfence_sys::{fdpass, mounts, seccomp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::alone;
use crate::launch::{Launch, Stdio};
use crate::message::FromInside;
use crate::self_test;
use crate::step::{During, StepError};

/// What is started.
pub struct Start<'a> {
    /// The boundary and what binds to it.
    pub launch: &'a Launch<'a>,
    /// The places that Landlock lets change, opened before the agent's first instruction.
    pub places: &'a [OwnedFd],
    /// Program and arguments; none for the user's shell.
    pub argv: &'a [String],
    /// Where it begins.
    pub cwd: &'a Path,
    /// What its terminal is, where that differs from the agent's.
    pub term: Option<&'a str>,
    /// Standard input, output and error.
    pub stdio: &'a [Stdio; 3],
    /// Whether the agent is there already.
    pub beside: bool,
}

/// Becomes the program, or says why not; never returns. `life` is the line on which it says so: the
/// life line for the agent.
pub fn main(start: &Start<'_>, terminal: Option<OwnedFd>, life: &OwnedFd) -> ! {
    let error = match prepare(start, terminal, life) {
        Ok(program) => {
            let error = program.become_it();
            let errno = error.raw_os_error().unwrap_or(0);
            let program = start.argv.first().cloned().unwrap_or_else(|| "a shell".to_owned());
            FromInside::ExecFailed { program, errno }
        }
        Err(error) => FromInside::Failed { error },
    };
    say(life, &error, &[]);
    // As shells do: 127 for a program that is not there, 126 for one that cannot be started.
    const ENOENT: i32 = 2;
    exit_now(match error {
        FromInside::ExecFailed { errno: ENOENT, .. } => 127,
        FromInside::ExecFailed { .. } => 126,
        _ => 125,
    })
}

/// Sends one message; where the supervisor is gone there is nobody left to tell.
pub fn say(life: &OwnedFd, message: &FromInside, descriptors: &[BorrowedFd<'_>]) {
    if let Ok(bytes) = serde_json::to_vec(message) {
        let _ = fdpass::send(life.as_fd(), &bytes, descriptors);
    }
}

fn prepare(
    start: &Start<'_>,
    terminal: Option<OwnedFd>,
    life: &OwnedFd,
) -> Result<Program, StepError> {
    let launch = start.launch;
    let boundary = launch.boundary;
    let program = lay_out(start)?;
    ringfence_sys::process::reset_signals().during("reset", "signals")?;
    rustix::process::setsid().during("start", "a session")?;
    let terminal_name = terminal.as_ref().and_then(alone::terminal_name);
    standard_descriptors(start.stdio, terminal)?;
    ringfence_sys::process::cloexec_all().during("mark", "descriptors close-on-exec")?;
    limit(&boundary.limits, launch.processes_grouped)?;
    rustix::process::chdir(start.cwd).during("enter", start.cwd.display())?;
    rustix::thread::set_no_new_privs(true).during("set", "no_new_privs")?;
    let floor = boundary.floor.landlock;
    let abi = match boundary.tier {
        Tier::Process => landlock_rules::confine(places(start)?, floor)?,
        Tier::Landlock => {
            alone::tie_to_init()?;
            landlock_rules::confine_alone(alone::places(start, terminal_name), floor)?
        }
    };
    let listener = seccomp::install(launch.filter, launch.notify_exec)
        .during("install", "the system call filter")?;
    // Init is hidden from everything; what becomes the agent must be readable for its supervisor,
    // which records what is started. Nothing else runs inside yet; beside the agent it is Landlock
    // that keeps the one from tracing the other, and the two memories hold the same: the plan.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)
        .during("show", "the agent to its supervisor")?;
    // Before the self-test: in a `pair` workspace its attempts wait for an answer, too.
    let descriptors: Vec<_> = listener.iter().map(AsFd::as_fd).collect();
    say(life, &FromInside::Listening {}, &descriptors);
    drop(descriptors);
    drop(listener);
    let probes = match (boundary.tier, start.beside) {
        (Tier::Process, false) => self_test::run(boundary, &launch.probes),
        (Tier::Process, true) => self_test::of_the_kernel(),
        (Tier::Landlock, false) => alone::self_test(boundary, &launch.probes),
        (Tier::Landlock, true) => alone::of_the_kernel(),
    };
    let held = probes.iter().all(|probe| probe.held);
    say(life, &FromInside::Ready { landlock: abi, probes }, &[]);
    if !held {
        exit_now(125);
    }
    // The word comes when the start is in the ledger. No word: nothing starts.
    match fdpass::receive(life.as_fd()) {
        Ok((word, _)) if word == b"go" => Ok(program),
        _ => exit_now(125),
    }
}

fn standard_descriptors(streams: &[Stdio; 3], terminal: Option<OwnedFd>) -> Result<(), StepError> {
    let null = || -> io::Result<OwnedFd> {
        Ok(std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into())
    };
    if let Some(slave) = &terminal {
        rustix::process::ioctl_tiocsctty(slave).during("take", "the terminal")?;
    }
    for (number, stdio) in (0..).zip(streams) {
        let opened;
        let source = match (stdio, &terminal) {
            (Stdio::Pass(fd), _) => fd.as_fd(),
            (Stdio::Terminal, Some(slave)) => slave.as_fd(),
            (Stdio::Terminal, None) | (Stdio::Null, _) => {
                opened = null().during("open", "/dev/null")?;
                opened.as_fd()
            }
        };
        set_standard(source, number).during("set", format!("descriptor {number}"))?;
    }
    Ok(())
}

fn limit(limits: &Limits, processes_grouped: bool) -> Result<(), StepError> {
    let set = |resource: Resource, value: u64, name: &str| -> Result<(), StepError> {
        // Never above what this process may have: lowering always works.
        let hard = getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })
            .during("limit", name)
    };
    set(Resource::Core, 0, "core dumps")?;
    if let Some(value) = limits.processes.filter(|_| !processes_grouped) {
        set(Resource::Nproc, value, "processes")?;
    }
    if let Some(value) = limits.open_files {
        set(Resource::Nofile, value, "open files")?;
    }
    if let Some(value) = limits.file_size {
        set(Resource::Fsize, value, "file size")?;
    }
    Ok(())
}

/// The places that Landlock lets change; everything else is read-only even where a mount is not.
pub fn writable(boundary: &Boundary) -> Result<Vec<OwnedFd>, StepError> {
    let places = boundary.mounts.iter().filter(|mount| match &mount.kind {
        MountKind::Bind { access, .. } => *access == Access::ReadWrite,
        MountKind::Tmpfs { .. } | MountKind::Overlay { .. } => true,
        MountKind::Proc | MountKind::Devices => true,
        _ => false,
    });
    places
        .map(|mount| mounts::open_place(&mount.target).during("open", mount.target.display()))
        .collect()
}

/// As descriptors of this process's own, for Landlock to use up.
fn places(start: &Start<'_>) -> Result<Vec<OwnedFd>, StepError> {
    let copies: io::Result<_> = start.places.iter().map(OwnedFd::try_clone).collect();
    copies.during("keep", "the places that can be changed")
}

fn c_text(text: &[u8], what: &str) -> Result<CString, StepError> {
    CString::new(text).map_err(|_| StepError::refused("pass", what, "it contains a NUL byte"))
}

fn lay_out(start: &Start<'_>) -> Result<Program, StepError> {
    let boundary = start.launch.boundary;
    let shell;
    let (argv, found) = if start.argv.is_empty() {
        let found = shells(boundary);
        let name = found.first().and_then(|path| path.file_name()).unwrap_or_default();
        shell = [name.to_string_lossy().into_owned()];
        (shell.as_slice(), found)
    } else {
        (start.argv, candidates(boundary, start.argv))
    };
    let arguments: Result<Vec<_>, _> =
        argv.iter().map(|text| c_text(text.as_bytes(), "an argument")).collect();
    let mut variables = boundary.environment.clone();
    if let Some(term) = start.term {
        variables.insert("TERM".to_owned(), term.to_owned());
    }
    let environment: Result<Vec<_>, _> = variables
        .iter()
        .map(|(name, value)| c_text(format!("{name}={value}").as_bytes(), name))
        .collect();
    let candidates: Result<Vec<_>, _> = found
        .iter()
        .map(|path| c_text(path.as_os_str().as_bytes(), "the program's path"))
        .collect();
    Ok(Program::new(candidates?, arguments?, environment?))
}

/// Where the program may be: as typed with a slash, else in each directory of `PATH`.
fn candidates(boundary: &Boundary, argv: &[String]) -> Vec<PathBuf> {
    let Some(program) = argv.first() else { return Vec::new() };
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = boundary.environment.get("PATH").map_or("/usr/bin:/bin", String::as_str);
    std::env::split_paths(OsStr::new(path))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .filter(|candidate| candidate.symlink_metadata().is_ok())
        .collect()
}

/// The user's shell inside: what `SHELL` says, else what there is.
fn shells(boundary: &Boundary) -> Vec<PathBuf> {
    let own = boundary.environment.get("SHELL").map(PathBuf::from);
    own.into_iter()
        .chain(["/bin/bash", "/bin/sh"].map(PathBuf::from))
        .filter(|shell| shell.is_absolute() && shell.symlink_metadata().is_ok())
        .collect()
}
