//! Landlock: what may be changed, on top of the constructed root (landlock(7)).
//!
//! The floor is a hard requirement: below it nothing is applied and the caller must abort. Above it
//! every feature that this kernel has is used, and what is missing is said.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::fs::{Mode, OFlags};

/// Why the rules are not in force.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// The kernel has no Landlock, or less than the floor.
    #[error("this kernel offers Landlock ABI {has}, the policy requires {floor}")]
    BelowFloor {
        /// ABI of the kernel; 0 where Landlock is absent or switched off.
        has: u32,
        /// The policy's floor.
        floor: u32,
    },
    /// A rule was refused.
    #[error("the kernel refused a Landlock rule: {0}")]
    Rule(#[from] landlock::RulesetError),
    /// The file system's root cannot be named in a rule.
    #[error("the file system's root cannot be opened: {0}")]
    Root(rustix::io::Errno),
    /// The rule set was accepted, but the kernel does not enforce it.
    #[error("the kernel accepted the Landlock rules but does not enforce them")]
    NotEnforced,
}

/// The Landlock ABI of this kernel; 0 where there is none.
#[must_use]
pub fn kernel_abi() -> u32 {
    const CREATE_RULESET_VERSION: libc::c_ulong = 1;
    // SAFETY: with a null attribute, size 0 and this flag the call only returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// The newest ABI whose rules are laid here.
pub const NEWEST_ABI: u32 = 6;

/// The ABI that is used on a kernel that offers `has`: never more than is laid here.
#[must_use]
pub fn used_abi(has: u32) -> u32 {
    has.min(NEWEST_ABI)
}

fn abi(number: u32) -> ABI {
    match number {
        0 => ABI::Unsupported,
        1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        _ => ABI::V6,
    }
}

/// Confines this thread (and all it starts) to `rules`; `floor` is the least ABI.
///
/// Returns the ABI used, see [`used_abi`]. `no_new_privs` is set on the way.
///
/// # Errors
/// [`LandlockError`]; nothing may be started then.
pub fn confine(writable: Vec<OwnedFd>, floor: u32) -> Result<u32, LandlockError> {
    let has = kernel_abi();
    if has < floor.max(1) {
        return Err(LandlockError::BelowFloor { has, floor: floor.max(1) });
    }
    let level = abi(has);
    // Every way to change something. Looking and starting programs are left to the constructed root
    // and to noexec: a rule for them would only repeat those, at the price of a walk up to the root
    // for each open (measured: half as much again).
    // Truncation is asked for at every open too (it may follow by descriptor); by path it needs a
    // mount that is not read-only, and those are exactly the writable places.
    let left_out: BitFlags<AccessFs> =
        AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::Execute | AccessFs::Truncate;
    let changes = AccessFs::from_all(level) & !left_out;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(changes)?;
    if has >= 6 {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal)?;
    }
    let mut created = ruleset.create()?;
    for place in writable {
        // A rule on a file may only name what files know, so cut what is for directories.
        let access =
            if is_directory(&place) { changes } else { changes & AccessFs::from_file(level) };
        created = created.add_rule(landlock::PathBeneath::new(place, access))?;
    }
    in_force(&created.restrict_self()?)?;
    Ok(used_abi(has))
}

fn in_force(status: &RestrictionStatus) -> Result<(), LandlockError> {
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced => {
            Err(LandlockError::NotEnforced)
        }
    }
}

/// What is permitted at a place and below it, where Landlock alone stands between the agent and the
/// host's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Read files and list directories.
    pub read: bool,
    /// Change, make, remove and rename.
    pub write: bool,
    /// Move and link from one directory to another.
    pub moves: bool,
    /// Start programs.
    pub execute: bool,
    /// Send commands to devices.
    pub devices: bool,
}

impl Rights {
    fn bits(self, level: ABI) -> BitFlags<AccessFs> {
        let looks = AccessFs::ReadFile | AccessFs::ReadDir;
        let nodes = AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev;
        let other = nodes | AccessFs::Execute | AccessFs::Refer;
        let changes = AccessFs::from_all(level) & !(looks | other);
        let mut bits = BitFlags::empty();
        for (given, these) in [
            (self.read, looks),
            (self.write, changes),
            (self.moves, AccessFs::Refer.into()),
            (self.execute, AccessFs::Execute.into()),
            (self.devices, AccessFs::IoctlDev.into()),
        ] {
            if given {
                bits |= these;
            }
        }
        bits
    }
}

/// The ABI below which Landlock alone is no boundary: without it signals reach every process of the
/// same user, and nothing else of this tier holds those.
pub const ALONE_ABI: u32 = 6;

/// Confines this thread (and all it starts) to `places` alone: what is not named can be neither read
/// nor changed nor started, no TCP port can be bound or connected to, no abstract socket and no
/// process outside can be reached. `floor` is the least ABI, and never below [`ALONE_ABI`].
///
/// Places are opened one by one, as many as there may be.
///
/// # Errors
/// [`LandlockError`], or the first place's own error; nothing may be started then.
pub fn confine_alone<E: From<LandlockError>>(
    places: impl Iterator<Item = Result<(OwnedFd, Rights), E>>,
    floor: u32,
) -> Result<u32, E> {
    let has = kernel_abi();
    let floor = floor.max(ALONE_ABI);
    if has < floor {
        return Err(LandlockError::BelowFloor { has, floor }.into());
    }
    let mut rules = rules_alone(abi(has))?;
    for place in places {
        let (place, rights) = place?;
        rules = permit(rules, place, rights.bits(abi(has)), abi(has))?;
    }
    in_force(&rules.restrict_self().map_err(LandlockError::from)?)?;
    Ok(used_abi(has))
}

/// Everything that this level knows is handled, and nothing permitted yet.
fn rules_alone(level: ABI) -> Result<RulesetCreated, LandlockError> {
    Ok(Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(level))?
        .handle_access(AccessNet::from_all(level))?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?)
}

fn permit(
    rules: RulesetCreated,
    place: OwnedFd,
    access: BitFlags<AccessFs>,
    level: ABI,
) -> Result<RulesetCreated, LandlockError> {
    // A rule on a file may only name what files know.
    let access = if is_directory(&place) { access } else { access & AccessFs::from_file(level) };
    Ok(rules.add_rule(landlock::PathBeneath::new(place, access))?)
}

/// A domain out of which no signal goes. It stands for the right to signal everything at once.
#[derive(Debug)]
pub struct SignalDomain(());

impl SignalDomain {
    /// Puts this thread (and all it starts) into a domain of its own. Proven before it is believed:
    /// the parent process must be out of reach afterwards.
    ///
    /// # Errors
    /// [`LandlockError`]; nothing may be started then.
    pub fn enter() -> Result<Self, LandlockError> {
        let has = kernel_abi();
        if has < ALONE_ABI {
            return Err(LandlockError::BelowFloor { has, floor: ALONE_ABI });
        }
        // Every domain denies moving and linking between directories unless it permits that (landlock(7)),
        // and it is not for this one to decide.
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(LandlockError::Root)?;
        let created = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::Refer)?
            .scope(Scope::Signal)?
            .create()?
            .add_rule(landlock::PathBeneath::new(root, AccessFs::Refer))?;
        in_force(&created.restrict_self()?)?;
        if signals_reach_the_parent() {
            return Err(LandlockError::NotEnforced);
        }
        Ok(Self(()))
    }

    /// Kills every process in this domain but the caller, all in one moment: a process that is forking
    /// is hit as well. Without a domain `kill(-1)` would end everything that the user has, so it is
    /// looked once more.
    ///
    /// # Errors
    /// `ESRCH` where nothing is left.
    pub fn kill_everything(&self) -> std::io::Result<()> {
        if signals_reach_the_parent() {
            return Err(std::io::Error::from_raw_os_error(libc::EPERM));
        }
        // SAFETY: plain numbers.
        if unsafe { libc::kill(-1, libc::SIGKILL) } == 0 {
            return Ok(());
        }
        Err(std::io::Error::last_os_error())
    }
}

/// Whether a signal could be sent to the parent, which is outside of any domain of the caller.
fn signals_reach_the_parent() -> bool {
    // SAFETY: plain numbers; signal 0 only asks.
    unsafe { libc::kill(libc::getppid(), 0) == 0 }
}

fn is_directory(place: &OwnedFd) -> bool {
    rustix::fs::fstat(place)
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to be in force is what was laid, not what a newer kernel could do besides.
    #[test]
    fn c19_a_newer_kernel_is_not_said_to_enforce_more() {
        for has in 0..=NEWEST_ABI {
            assert_eq!(used_abi(has), has);
        }
        assert_eq!(used_abi(NEWEST_ABI + 1), NEWEST_ABI);
        assert_eq!(used_abi(u32::MAX), NEWEST_ABI);
        assert_eq!(abi(used_abi(u32::MAX)), abi(u32::MAX), "the rules' own level is the same");
    }
}
