//! The self-test of the Landlock tier: what the process tier proves absent is proven out of reach here.

use std::io;
use std::path::Path;

use ringfence_model::boundary::Boundary;
use ringfence_sys::probe;
use rustix::fs::{Mode, OFlags};
use rustix::process::getppid;

use crate::launch::Probes;
use crate::message::Probe;
use crate::self_test::{self, finding, of_the_host, refused};

/// Address families of the host that must not be had: IPv4 and IPv6 streams and datagrams, Unix
/// streams and datagrams, netlink.
const FAMILIES: [(&str, i32, i32); 7] = [
    ("an IPv4 stream socket", 2, 1),
    ("an IPv4 datagram socket", 2, 2),
    ("an IPv6 stream socket", 10, 1),
    ("an IPv6 datagram socket", 10, 2),
    ("a Unix stream socket", 1, 1),
    ("a Unix datagram socket", 1, 2),
    ("a netlink socket", 16, 3),
];

/// Tries everything; the caller aborts unless all of it held.
pub fn run(boundary: &Boundary, outside: &Probes) -> Vec<Probe> {
    let mut findings = of_the_kernel();
    for path in &boundary.must_be_absent {
        let answer = read(path);
        // What does not exist cannot be read either.
        let held = answer.is_err();
        findings.push(finding(format!("read {}", path.display()), answer, held));
    }
    of_the_host(&mut findings, outside);
    findings
}

/// Tries what nothing that an agent does can make fail; of every program beside it as well.
pub fn of_the_kernel() -> Vec<Probe> {
    let mut findings = self_test::of_the_kernel();
    for (what, family, kind) in FAMILIES {
        refused(&mut findings, &format!("open {what}"), probe::socket(family, kind, 0));
    }
    refused(&mut findings, "signal the sandbox's init", signal_init());
    refused(&mut findings, "read the environment of init", read(&of_init("environ")));
    refused(&mut findings, "look through the root of init", read(&of_init("root/etc")));
    refused(&mut findings, "make a System V segment", probe::shared_memory());
    refused(&mut findings, "change another process's limits", probe::limit_of(getppid()));
    findings
}

fn read(path: &Path) -> io::Result<()> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    Ok(())
}

fn of_init(file: &str) -> std::path::PathBuf {
    let pid = getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
    format!("/proc/{pid}/{file}").into()
}

fn signal_init() -> io::Result<()> {
    let Some(pid) = getppid() else { return Err(io::ErrorKind::NotFound.into()) };
    Ok(rustix::process::test_kill_process(pid)?)
}
