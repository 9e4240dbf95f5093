//! `/proc` of the own process-id namespace and a minimal `/dev`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ringfence_sys::mounts::{self, Attributes};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
};

use crate::root::Root;
use crate::step::{During, StepError};

/// Host-wide entries of `/proc` that tell about other users or the hardware.
/// What only root may read (`kcore`, `timer_list`) needs no mask: nobody inside is root.
const MASKED: [&str; 4] = ["keys", "key-users", "scsi", "acpi"];
/// The only device nodes inside.
const NODES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links that programs expect in `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Mounts a fresh `/proc`: only this sandbox's processes are in it.
pub fn proc(root: &Root, target: &Path) -> Result<(), StepError> {
    let attributes = Attributes::NO_SUID.and(Attributes::NO_DEVICES).and(Attributes::NO_EXEC);
    let make = || -> rustix::io::Result<OwnedFd> {
        let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes.fsmount())
    };
    let tree = make().during(
        "mount (inside a container this needs an unmasked /proc: docker run --security-opt systempaths=unconfined)",
        target.display(),
    )?;
    root.attach(&tree, target, true)?;
    for name in MASKED {
        root.mask(&target.join(name))?;
    }
    Ok(())
}

/// Builds `/dev` as a directory of the root: six nodes, own pseudo-terminals, own shared memory.
pub fn devices(root: &Root, target: &Path, shared_bytes: u64) -> Result<(), StepError> {
    let quiet = Attributes::NO_SUID.and(Attributes::NO_EXEC);
    for name in NODES {
        let source = Path::new("/dev").join(name);
        let place = mounts::open_place(&source).during("open", source.display())?;
        let node =
            mounts::detach_copy(place.as_fd()).during("copy the mount of", source.display())?;
        mounts::set_attributes(node.as_fd(), quiet, false, None)
            .during("restrict", source.display())?;
        root.attach(&node, &target.join(name), false)?;
    }
    for (name, link) in LINKS {
        root.symlink(&target.join(name), link)?;
    }
    terminals(root, &target.join("pts"))?;
    let shm = target.join("shm");
    let memory = mounts::new_tmpfs(shared_bytes, 0o1777, quiet.and(Attributes::NO_DEVICES))
        .during("create", shm.display())?;
    root.attach(&memory, &shm, true)
}

fn terminals(root: &Root, target: &Path) -> Result<(), StepError> {
    let attributes = Attributes::NO_SUID.and(Attributes::NO_EXEC);
    let make = || -> rustix::io::Result<OwnedFd> {
        let fs = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(fs.as_fd(), "ptmxmode", "0666")?;
        fsconfig_set_string(fs.as_fd(), "mode", "0620")?;
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes.fsmount())
    };
    let tree = make().during("mount", target.display())?;
    root.attach(&tree, target, true)
}
