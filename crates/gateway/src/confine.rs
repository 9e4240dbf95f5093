//! How the gateway gives up what it does not need, before it reads one byte from the sandbox.
//!
//! Every step must succeed: a gateway that is less confined than it says does not start.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use ringfence_model::enforcement::Control;
use ringfence_sys::seccomp::Arch;
use rustix::process::{Gid, Resource, Rlimit, Uid};

use crate::config::Config;
use crate::error::{GatewayError, starting};
use crate::filter;

/// Files of the host's resolver. They may be replaced while the gateway runs, so their directories
/// are what Landlock names, and links are followed to where they lead now and may lead later.
const RESOLVER_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
/// Where the common resolver managers keep the real file.
const RESOLVER_PLACES: [&str; 3] =
    ["/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf"];

/// What holds after [`confine`].
pub(crate) struct Confined {
    pub(crate) controls: Vec<Control>,
    /// Connections that the descriptor limit leaves room for; it cannot be asked any more.
    pub(crate) flows: usize,
}

/// Confines this process and says what holds. Must run while it has one thread.
pub(crate) fn confine(config: &Config) -> Result<Confined, GatewayError> {
    close_foreign(config)?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(starting("forbid core dumps"))?;
    raise_descriptors()?;
    let flows = flows_that_fit();
    drop_privileges(config.drop_to)?;
    // A change of ids clears it (prctl(2), PR_SET_PDEATHSIG): without this, a gateway that root
    // started and that no longer listens to its link would outlive the supervisor.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(starting("tie its life to the supervisor's"))?;
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(starting("make itself unreadable to others"))?;
    rustix::thread::set_no_new_privs(true).map_err(starting("set no_new_privs"))?;
    let abi = landlock()?;
    let arch = Arch::NATIVE;
    let program =
        filter::program(arch).map_err(|error| GatewayError::Seccomp { what: error.to_string() })?;
    ringfence_sys::seccomp::install(&program, false)
        .map_err(starting("install its seccomp filter"))?;
    let controls = vec![
        Control::enforced(
            "gateway.landlock",
            format!(
                "ABI {abi}: read files below the directories of the resolver's files (/etc), nothing else"
            ),
        ),
        Control::enforced(
            "gateway.seccomp",
            "allowlist: no exec, no new process, no write to files, IP sockets only",
        ),
        Control::enforced(
            "gateway.privileges",
            "no capability, no_new_privs, not dumpable, no core",
        ),
    ];
    Ok(Confined { controls, flows })
}

/// Standard streams become /dev/null, everything that the configuration does not own is closed.
fn close_foreign(config: &Config) -> Result<(), GatewayError> {
    use rustix::fs::{Mode, OFlags};
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(starting("open /dev/null"))?;
    for number in 0..=2 {
        ringfence_sys::process::set_standard(null.as_fd(), number)
            .map_err(starting("detach from the terminal"))?;
    }
    let mut keep: Vec<BorrowedFd<'_>> =
        vec![config.link.as_fd(), config.listeners.as_fd(), null.as_fd()];
    keep.extend(config.publish.iter().map(|(listener, _)| listener.as_fd()));
    ringfence_sys::process::close_all_but(&keep).map_err(starting("close foreign descriptors"))
}

/// As many descriptors as the hard limit gives: each connection may need six.
fn raise_descriptors() -> Result<(), GatewayError> {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let wanted = crate::limits::FLOWS as u64 * crate::limits::DESCRIPTORS_PER_FLOW
        + crate::limits::DESCRIPTORS_RESERVED;
    let current = now.maximum.map_or(wanted, |hard| hard.min(wanted));
    let limit = Rlimit { current: Some(current), maximum: Some(current) };
    rustix::process::setrlimit(Resource::Nofile, limit)
        .map_err(starting("set its descriptor limit"))
}

fn flows_that_fit() -> usize {
    use crate::limits::{DESCRIPTORS_PER_FLOW, DESCRIPTORS_RESERVED, FLOWS};
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let fit = limit.saturating_sub(DESCRIPTORS_RESERVED) / DESCRIPTORS_PER_FLOW;
    usize::try_from(fit).unwrap_or(FLOWS).min(FLOWS)
}

fn drop_privileges(drop_to: Option<(u32, u32)>) -> Result<(), GatewayError> {
    if let Some((uid, gid)) = drop_to {
        if uid == 0 || gid == 0 || uid == u32::MAX || gid == u32::MAX {
            return Err(GatewayError::DropToRoot);
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        rustix::thread::set_thread_groups(&[]).map_err(starting("drop its groups"))?;
        rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(starting("change its group"))?;
        rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(starting("change its user"))?;
    }
    ringfence_sys::process::drop_all_capabilities().map_err(starting("drop its capabilities"))
}

fn landlock() -> Result<u32, GatewayError> {
    let number = ringfence_sys::landlock_rules::kernel_abi();
    let abi = match number {
        0 | 1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        _ => ABI::V6,
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if number >= 4 {
        // It listens on nothing of its own: every listener is handed over, bound already.
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    if number >= 6 {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    }
    let mut created = ruleset.create()?;
    let look: BitFlags<AccessFs> = AccessFs::ReadFile.into();
    for place in resolver_directories() {
        // What does not exist cannot be read: no rule is needed for it.
        if let Ok(descriptor) = PathFd::new(&place) {
            created = created.add_rule(PathBeneath::new(descriptor, look))?;
        }
    }
    match created.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok(number),
        RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced => {
            Err(GatewayError::LandlockNotEnforced)
        }
    }
}

/// The directories that hold the resolver's files, now or after a manager replaced them.
fn resolver_directories() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = RESOLVER_PLACES.iter().map(PathBuf::from).collect();
    for file in RESOLVER_FILES {
        let file = Path::new(file);
        places.extend(file.parent().map(Path::to_owned));
        if let Ok(real) = file.canonicalize() {
            // Never a whole tree for an unusual link, such as one to a file in `/` or in a home.
            let near = real.starts_with("/etc")
                || real.starts_with("/run")
                || real.starts_with("/usr/lib/systemd");
            let place = real.parent().filter(|parent| near && parent.components().count() > 2);
            places.push(place.map_or_else(|| real.clone(), Path::to_owned));
        }
    }
    places.sort();
    places.dedup();
    places
}
