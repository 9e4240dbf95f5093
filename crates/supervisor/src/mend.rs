//! What a person can do when a host lacks something: one sentence and one command per cause.

use ringfence_jail::{LaunchError, StepError};

use crate::container::Container;

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const EINVAL: i32 = 22;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;
const EUSERS: i32 = 87;

/// Where Landlock is missing or too old.
pub const LANDLOCK: &str = "switch Landlock on: add `landlock` to the kernel's `lsm=` boot parameter (Linux 5.13 or later); `ringfence doctor` examines this host";
/// Where seccomp is missing.
pub const SECCOMP: &str = "use a kernel with CONFIG_SECCOMP_FILTER (Linux 5.0 or later), or a container that permits seccomp(2); `ringfence doctor` examines this host";

/// For a start that failed in the kernel's first answer.
#[must_use]
pub fn for_launch(error: &LaunchError) -> Option<String> {
    match error {
        LaunchError::Namespaces { source } => Some(namespaces(source.raw_os_error().unwrap_or(0))),
        LaunchError::Step(step) => for_step(step),
    }
}

/// The kernel settings that can forbid user namespaces, as their files say; `None` where a kernel
/// has no such setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// `kernel.unprivileged_userns_clone` (Debian and others).
    pub unprivileged: Option<String>,
    /// `user.max_user_namespaces`.
    pub most: Option<String>,
    /// `kernel.apparmor_restrict_unprivileged_userns` (Ubuntu 23.10 and later).
    pub apparmor: Option<String>,
}

impl Switches {
    /// Reads them.
    #[must_use]
    pub fn read() -> Self {
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
            Some(text.trim().to_owned())
        };
        Self {
            unprivileged: read("kernel/unprivileged_userns_clone"),
            most: read("user/max_user_namespaces"),
            apparmor: read("kernel/apparmor_restrict_unprivileged_userns"),
        }
    }

    /// Why user namespaces are refused with this error number, and the command that permits them.
    #[must_use]
    pub fn mend(&self, errno: i32) -> String {
        let is = |switch: &Option<String>, value: &str| switch.as_deref() == Some(value);
        if is(&self.unprivileged, "0") {
            return "unprivileged user namespaces are switched off; permit them with:\n  sudo sysctl -w kernel.unprivileged_userns_clone=1".to_owned();
        }
        if is(&self.most, "0") {
            return "the number of user namespaces is limited to 0; permit them with:\n  sudo sysctl -w user.max_user_namespaces=15000".to_owned();
        }
        if is(&self.apparmor, "1") {
            return "AppArmor restricts user namespaces to programs with a profile; install ringfence's with:\n  sudo install -m 644 packaging/apparmor/ringfence /etc/apparmor.d/ringfence && sudo apparmor_parser -r /etc/apparmor.d/ringfence".to_owned();
        }
        match errno {
            ENOSPC | EUSERS => "the number of user namespaces is used up; raise it with:\n  sudo sysctl -w user.max_user_namespaces=15000".to_owned(),
            ENOSYS => "this kernel lacks clone3 (Linux 5.3), or a container's filter hides it; `ringfence doctor` examines this host".to_owned(),
            EPERM | EACCES => format!(
                "something forbids namespaces; {}\n  `ringfence doctor` examines this host",
                Container::find().mend()
            ),
            _ => "`ringfence doctor` examines this host".to_owned(),
        }
    }
}

/// Why user namespaces are refused, and the command that permits them.
#[must_use]
pub fn namespaces(errno: i32) -> String {
    Switches::read().mend(errno)
}

/// For a step of building that failed.
#[must_use]
pub fn for_step(error: &StepError) -> Option<String> {
    let step = error.step.as_str();
    if step == "create" && error.object.contains("user namespace") {
        return Some(namespaces(error.errno));
    }
    if step.starts_with("write") && error.object.contains("_map") && error.errno == EPERM {
        return Some(namespaces(EPERM));
    }
    if step == "create" && error.object.contains("user namespace") {
        return Some(namespaces(error.errno));
    }
    if step.contains("copy-on-write") && [EPERM, EINVAL, ENOSYS].contains(&error.errno) {
        return Some("this kernel or file system cannot make an unprivileged overlay (Linux 5.11); use `--workspace direct` or `--workspace read-only`".to_owned());
    }
    if error.object == "Landlock" {
        return Some(LANDLOCK.to_owned());
    }
    if error.errno != 0 {
        return Some("`ringfence doctor` examines this host".to_owned());
    }
    None
}
