//! The probes: each tries for real what a start does, in a forked child.
//!
//! Nothing is inferred from a version, and nothing on the host is changed but for a scratch directory
//! and a control group, which are removed.

use std::fs::{self, File};
use std::net::{Ipv6Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use ringfence_jail::cgroup::{Group, Homes};
use ringfence_jail::{CAPTURE_PORT, DNS_PORT};
use ringfence_model::boundary::Limits;
use ringfence_sys::landlock_rules;
use ringfence_sys::mounts::{self, Attributes};
use ringfence_sys::netlink;
use ringfence_sys::process::Namespaces;
use ringfence_sys::{probe, process, seccomp};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
    fsopen,
};

use super::ask::{Doing, ask, attempt, surprise, waiting};
use super::facts::{Attempt, Groups, Inside, Landlock, Refusal};

const ENOSYS: i32 = 38;
const EFAULT: i32 = 14;
/// Size of the in-memory root that is tried, in bytes.
const ROOT_BYTES: u64 = 1 << 20;

/// Everything that is tried in fresh namespaces of every kind; `scratch` is below the state directory.
pub fn inside(scratch: &Path, uid: u32, gid: u32) -> (Attempt, Inside) {
    match ask(Namespaces::ALL, || stages(scratch, uid, gid)) {
        Ok(inside) => (Ok(()), inside),
        Err(refusal) => (Err(refusal), Inside::default()),
    }
}

fn stages(scratch: &Path, uid: u32, gid: u32) -> Inside {
    let maps = map_own(uid, gid);
    let mut inside = Inside { maps: Some(maps.clone()), ..Inside::default() };
    if maps.is_err() {
        return inside;
    }
    // The network first: the new root hides nothing from it, but keep each probe by itself.
    let network = network();
    if network.is_ok() {
        let to = netlink::Redirect { capture: CAPTURE_PORT, dns: DNS_PORT };
        inside.redirect =
            Some(netlink::redirect_everything(to).doing("load the redirection into nf_tables"));
        inside.ipv6 = Some(ipv6());
    }
    inside.network = Some(network);
    let mounts = mount_root();
    if mounts.is_ok() {
        inside.proc = Some(fresh_proc());
        inside.overlay = Some(overlay(scratch));
    }
    inside.mounts = Some(mounts);
    inside
}

fn map_own(uid: u32, gid: u32) -> Attempt {
    let write = |path: &str, text: String| fs::write(path, text).doing(&format!("write {path}"));
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

fn network() -> Attempt {
    netlink::loopback_up().doing("switch on a loopback device of its own")?;
    netlink::capture_routes(false).doing("make every IPv4 address local")
}

fn ipv6() -> Attempt {
    netlink::capture_routes(true).doing("make every IPv6 address local")?;
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).map(drop).doing("listen on ::1")
}

/// An in-memory root on top of the old one, and a read-only copy of a host directory in it.
fn mount_root() -> Attempt {
    let root = mounts::open_place(Path::new("/")).doing("open / with openat2")?;
    mounts::make_private(root.as_fd()).doing("make the mounts private")?;
    let tree = mounts::detach_copy(root.as_fd()).doing("copy a mount with open_tree")?;
    mounts::set_attributes(tree.as_fd(), Attributes::READ_ONLY, true, None)
        .doing("restrict a mount with mount_setattr")?;
    let attributes = Attributes::NO_SUID.and(Attributes::NO_DEVICES);
    let memory =
        mounts::new_tmpfs(ROOT_BYTES, 0o755, attributes).doing("make a tmpfs with fsopen")?;
    mounts::attach(memory.as_fd(), root.as_fd()).doing("attach a mount with move_mount")
}

fn fresh_proc() -> Attempt {
    let make = || -> rustix::io::Result<OwnedFd> {
        let fs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, Attributes::NO_SUID.fsmount())
    };
    make().map(drop).doing("mount a fresh /proc")
}

fn overlay(scratch: &Path) -> Attempt {
    let mut layers = Vec::new();
    for name in ["lower", "upper", "work"] {
        let path = scratch.join(name);
        layers.push(mounts::open_place(&path).doing(&format!("open {}", path.display()))?);
    }
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let make = || -> rustix::io::Result<OwnedFd> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (key, fd) in ["lowerdir", "upperdir", "workdir"].into_iter().zip(&layers) {
            fsconfig_set_string(fs.as_fd(), key, name(fd))?;
        }
        fsconfig_set_flag(fs.as_fd(), "userxattr")?;
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, Attributes::NO_SUID.fsmount())
    };
    make().map(drop).doing(&format!("mount an overlay in {}", scratch.display()))
}

/// For root: the mounts of both places with mapped owners. `places` are canonical.
pub fn idmap(places: &[&Path]) -> Attempt {
    attempt(Namespaces::NONE, || {
        let keeper = waiting(Namespaces::USER)?;
        let raw = keeper.pid.as_raw_nonzero();
        // Any two ids do: what is examined is whether the file system can do it at all.
        for file in ["uid_map", "gid_map"] {
            let path = format!("/proc/{raw}/{file}");
            fs::write(&path, "0 65534 1").doing(&format!("write {path}"))?;
        }
        let path = format!("/proc/{raw}/ns/user");
        let map = File::open(&path).doing(&format!("open {path}"))?;
        for place in places {
            let name = place.display();
            let place = mounts::open_place(place).doing(&format!("open {name}"))?;
            let tree =
                mounts::detach_copy(place.as_fd()).doing(&format!("copy the mount of {name}"))?;
            mounts::set_attributes(tree.as_fd(), Attributes::NONE, false, Some(map.as_fd()))
                .doing(&format!("map the owners of {name}"))?;
        }
        Ok(())
    })
}

/// Landlock: the ABI, the list of modules, and with `forks` whether it holds a child.
pub fn landlock(scratch: &Path, forks: bool) -> Landlock {
    let modules = fs::read_to_string("/sys/kernel/security/lsm")
        .ok()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    Landlock {
        abi: landlock_rules::kernel_abi(),
        confine: forks.then(|| confine(scratch)),
        modules,
    }
}

/// A confined child may not write any more.
fn confine(scratch: &Path) -> Attempt {
    let file = scratch.join("landlock");
    attempt(Namespaces::NONE, || {
        File::create(&file).doing("write before the rules")?;
        landlock_rules::confine(Vec::new(), 1).map_err(|error| surprise(error.to_string()))?;
        match File::create(&file) {
            Ok(_) => Err(surprise("the rules are accepted but not in force")),
            Err(_) => Ok(()),
        }
    })
}

/// The very filter of a run, with its notification; a refused call must then be refused.
pub fn filter() -> Attempt {
    attempt(Namespaces::NONE, || {
        let options = seccomp::Options { notify_exec: true, ..seccomp::Options::default() };
        let program = seccomp::compile(options, seccomp::Arch::NATIVE)
            .map_err(|error| surprise(format!("the filter does not compile: {error}")))?;
        rustix::thread::set_no_new_privs(true).doing("set no_new_privs")?;
        let listener =
            seccomp::install(&program, true).doing("install a filter with notification")?;
        if listener.is_none() {
            return Err(surprise("the kernel gave no notification descriptor"));
        }
        match probe::io_uring() {
            Err(error) if error.raw_os_error() != Some(EFAULT) => Ok(()),
            _ => Err(surprise("the filter is accepted but not in force")),
        }
    })
}

/// Single calls that a start makes, where they need no privilege; `clone3` alone where it fails, for
/// every other is tried in a child.
pub fn calls() -> Vec<(&'static str, Attempt)> {
    let inside = |probe: fn() -> Attempt| attempt(Namespaces::NONE, probe);
    let fork = inside(|| Ok(()));
    if fork.is_err() {
        return vec![("clone3", fork)];
    }
    vec![
        ("clone3", fork),
        (
            "pidfd_open",
            inside(|| {
                let own = rustix::process::getpid();
                rustix::process::pidfd_open(own, rustix::process::PidfdFlags::empty())
                    .map(drop)
                    .doing("call it")
            }),
        ),
        ("openat2", inside(|| mounts::open_place(Path::new("/")).map(drop).doing("call it"))),
        ("close_range", inside(|| process::cloexec_all().doing("call it"))),
        (
            "mount_setattr",
            inside(|| {
                let root = File::open("/").doing("open /")?;
                // Changes nothing, and is refused without privilege: only its absence tells.
                match mounts::set_attributes(root.as_fd(), Attributes::NONE, false, None) {
                    Err(error) if error.raw_os_error() == Some(ENOSYS) => {
                        Err(error).doing("call it")
                    }
                    _ => Ok(()),
                }
            }),
        ),
    ]
}

/// A control group like a run's, with `forks` a process in it.
pub fn groups(forks: bool) -> Groups {
    const MEMORY: u64 = 1 << 30;
    let limits = Limits {
        memory: Some(MEMORY),
        processes: Some(64),
        cpu_milli: Some(1000),
        ..Limits::default()
    };
    let name = format!("ringfence-doctor-{}", std::process::id());
    let mut group = Group::create(&Homes::find(), &name, &limits);
    let enforces = group.enforces();
    let attach = forks.then(|| join(&group));
    group.remove();
    Groups {
        version: group.version(),
        memory: enforces.memory,
        processes: enforces.processes,
        cpu: enforces.cpu,
        attach,
        systemd: Path::new("/run/systemd/system").is_dir(),
    }
}

fn join(group: &Group) -> Result<(), Refusal> {
    let child = waiting(Namespaces::NONE)?;
    group.attach(child.pid).doing("put a process into the control group")
}
