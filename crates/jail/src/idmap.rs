//! Who the agent is: id maps of its user namespace and of its mounts.
//!
//! An ordinary user maps its own id onto itself. Root maps an unused high id, and id-mapped mounts
//! make the project's files look as if they belonged to it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ringfence_model::boundary::Identity;
use ringfence_sys::fdpass;
use ringfence_sys::process::{Namespaces, Side, exit_now, fork_into, wait_code};
use rustix::process::Pid;

use crate::step::{During, StepError};

fn write(path: &str, text: &str) -> Result<(), StepError> {
    fs::write(path, text).during("write", path)
}

/// Maps the ids of the process `pid`; for root, whose child cannot do it by itself.
pub fn write_maps(pid: Pid, identity: &Identity) -> Result<(), StepError> {
    let pid = pid.as_raw_nonzero();
    let line = |inside: u32, outside: u32| format!("{inside} {outside} 1");
    write(&format!("/proc/{pid}/uid_map"), &line(identity.inside_uid, identity.outside_uid))?;
    write(&format!("/proc/{pid}/gid_map"), &line(identity.inside_gid, identity.outside_gid))
}

/// Maps this process's own ids; for an ordinary user's child.
pub fn write_own_maps(identity: &Identity) -> Result<(), StepError> {
    let line = |inside: u32, outside: u32| format!("{inside} {outside} 1");
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &line(identity.inside_uid, identity.outside_uid))?;
    write("/proc/self/gid_map", &line(identity.inside_gid, identity.outside_gid))
}

/// A user namespace that maps the files' owner to the agent's outside id: what an id-mapped mount
/// wants. It lives as long as the descriptor.
pub fn namespace(owner: (u32, u32), identity: &Identity) -> Result<OwnedFd, StepError> {
    let object = "the user namespace of the mounts";
    let (outer, inner) = fdpass::pair().during("create", object)?;
    match fork_into(Namespaces::USER).during("create", object)? {
        Side::Child => {
            drop(outer);
            // Waits until the parent has what it needs and hangs up.
            let _ = fdpass::receive(inner.as_fd());
            exit_now(0)
        }
        Side::Parent { pid, pidfd } => {
            drop(inner);
            let result = open_mapped(pid, owner, identity);
            drop(outer);
            let _ = wait_code(pidfd.as_fd());
            result
        }
    }
}

fn open_mapped(pid: Pid, owner: (u32, u32), identity: &Identity) -> Result<OwnedFd, StepError> {
    let raw = pid.as_raw_nonzero();
    write(&format!("/proc/{raw}/uid_map"), &format!("{} {} 1", owner.0, identity.outside_uid))?;
    write(&format!("/proc/{raw}/gid_map"), &format!("{} {} 1", owner.1, identity.outside_gid))?;
    let path = format!("/proc/{raw}/ns/user");
    open(Path::new(&path)).during("open", &path)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(fs::File::open(path)?.into())
}

/// Takes on the ids inside; only needed where root mapped a foreign id.
pub fn become_inside(identity: &Identity) -> Result<(), StepError> {
    use rustix::process::{Gid, Uid};
    let (uid, gid) = (Uid::from_raw(identity.inside_uid), Gid::from_raw(identity.inside_gid));
    rustix::thread::set_thread_groups(&[]).during("drop", "supplementary groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).during("become", "the group inside")?;
    rustix::thread::set_keep_capabilities(true).during("keep", "capabilities for the set-up")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).during("become", "the user inside")?;
    Ok(())
}
