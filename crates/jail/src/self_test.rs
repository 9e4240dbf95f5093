//! The self-test: the finished boundary is attacked once before the agent's first instruction.
//!
//! It runs in the very process that will become the agent, behind every filter. A surprise is a
//! reason to stop, never a warning.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ringfence_model::boundary::Boundary;
use ringfence_sys::probe;
use rustix::fs::{Mode, OFlags};

use crate::launch::Probes;
use crate::message::Probe;

/// How long a connection to the host's loopback may take to be refused.
const CONNECT_PATIENCE: Duration = Duration::from_millis(200);

/// Tries everything; the caller aborts unless all of it held.
pub fn run(boundary: &Boundary, outside: &Probes) -> Vec<Probe> {
    let mut findings = of_the_kernel();
    for path in &boundary.must_be_absent {
        let answer = rustix::fs::lstat(path);
        let held = matches!(answer, Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR));
        let answer = answer.map(drop).map_err(io::Error::from);
        findings.push(finding(format!("see {}", path.display()), answer, held));
    }
    of_the_host(&mut findings, outside);
    findings
}

/// Tries what the supervisor has put where nothing inside may reach it.
pub(crate) fn of_the_host(findings: &mut Vec<Probe>, outside: &Probes) {
    let socket = probe::abstract_socket(&outside.abstract_name);
    refused(findings, "reach the supervisor's abstract socket", socket);
    refused(findings, "reach the host's loopback", reach_loopback(outside.loopback_port));
}

/// Tries what only the kernel answers: nothing that an agent does can make these fail, so they are
/// asked again of every program that is started beside it.
pub fn of_the_kernel() -> Vec<Probe> {
    let mut findings = Vec::new();
    refused(&mut findings, "open a raw socket", probe::raw_socket());
    refused(&mut findings, "open a packet socket", probe::packet_socket());
    refused(&mut findings, "make a user namespace", probe::new_user_namespace());
    refused(&mut findings, "mount a file system", probe::mount());
    let ring = probe::io_uring();
    let past_the_filter = ring.as_ref().is_err_and(|e| e.raw_os_error() == Some(EFAULT));
    let held = ring.is_err() && !past_the_filter;
    findings.push(finding("set up an io_uring".to_owned(), ring, held));
    refused(&mut findings, "write to the base", write_base());
    refused(&mut findings, "hold a capability", hold_capability());
    findings
}

/// `EFAULT`: io_uring looked at its arguments, so the filter let it through.
const EFAULT: i32 = 14;

pub(crate) fn refused(findings: &mut Vec<Probe>, tried: &str, answer: io::Result<()>) {
    let held = answer.is_err();
    findings.push(finding(tried.to_owned(), answer, held));
}

pub(crate) fn finding(tried: String, answer: io::Result<()>, held: bool) -> Probe {
    let answer = answer.map_or_else(|error| error.to_string(), |()| "it worked".to_owned());
    Probe { tried, answer, held }
}

fn reach_loopback(port: u16) -> io::Result<()> {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    TcpStream::connect_timeout(&address, CONNECT_PATIENCE).map(drop)
}

fn write_base() -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::open("/usr/.ringfence-self-test", flags, Mode::from_raw_mode(0o600))?;
    Ok(())
}

/// Fails as long as no capability is held.
fn hold_capability() -> io::Result<()> {
    let sets = rustix::thread::capabilities(None)?;
    let none = rustix::thread::CapabilitySet::empty();
    if sets.effective == none && sets.permitted == none && sets.inheritable == none {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "no capability is held"));
    }
    Ok(())
}
