//! What was requested, what this host supports, what is enforced: one list for ledger and `inspect`.

use std::fmt::Write;

use ringfence_jail::cgroup::Group;
use ringfence_model::boundary::{Boundary, ExecMode, Limits, Tier, WorkspaceMode};
use ringfence_model::enforcement::{Control, Strength};
use ringfence_sys::landlock_rules;

/// What the start found out.
pub struct Measured<'a> {
    /// Landlock ABI in force.
    pub landlock: u32,
    /// How the network is captured.
    pub capture: &'a str,
    /// Whether IPv6 exists inside.
    pub ipv6: bool,
    /// The control group.
    pub group: &'a Group,
}

/// The whole list.
pub fn list(boundary: &Boundary, measured: &Measured<'_>) -> Vec<Control> {
    if boundary.tier == Tier::Landlock {
        return super::controls_alone::list(boundary, measured);
    }
    let mut controls = vec![
        Control::enforced("namespaces", "user, mount, process id, network, IPC, host name, cgroup"),
        Control::enforced("root", "constructed: what is not in the plan does not exist"),
        landlock(boundary.floor.landlock, measured.landlock, landlock_rules::kernel_abi()),
        Control::enforced(
            "seccomp",
            "allowlist by system call and by socket family, type and protocol",
        ),
        Control::enforced("capabilities", "none, and no_new_privs"),
        capture(measured),
        workspace(boundary),
    ];
    if boundary.exec == ExecMode::Base {
        controls.push(Control {
            name: "exec".to_owned(),
            requested: "only programs of the read-only base".to_owned(),
            supported: "noexec on everything writable, no memfd_create".to_owned(),
            enforced:
                "by path; what an allowed interpreter or loader maps by itself is not stopped"
                    .to_owned(),
            strength: Strength::Reduced,
        });
    }
    controls.extend(limits(&boundary.limits, measured.group));
    controls
}

/// `floor` is what the policy requires, `abi` what was used, `kernel` what the kernel offers.
pub(super) fn landlock(floor: u32, abi: u32, kernel: u32) -> Control {
    let missing: Vec<&str> = [
        (2, "moves between directories"),
        (5, "device ioctls"),
        (6, "signals and abstract sockets out of the sandbox"),
    ]
    .into_iter()
    .filter(|(since, _)| abi < *since)
    .map(|(_, what)| what)
    .collect();
    let mut enforced = format!("ABI {abi}");
    if kernel != abi {
        let _ = write!(enforced, " (kernel offers {kernel})");
    }
    if !missing.is_empty() {
        enforced.push_str(", without rules for ");
        enforced.push_str(&missing.join(", "));
    }
    Control {
        name: "landlock".to_owned(),
        requested: format!("ABI {floor} or later"),
        supported: format!("ABI {kernel}"),
        enforced,
        strength: if missing.is_empty() { Strength::Enforced } else { Strength::Reduced },
    }
}

fn capture(measured: &Measured<'_>) -> Control {
    let all = "every TCP connection and DNS question goes to the gateway";
    let (mut enforced, strength) = match measured.capture {
        "redirect" => (all.to_owned(), Strength::Enforced),
        // As closed, but what is tried at other ports is seen by nobody.
        other => (
            format!("only named ports lead to the gateway, others are refused ({other})"),
            Strength::Reduced,
        ),
    };
    if !measured.ipv6 {
        enforced.push_str("; IPv6 does not exist inside");
    }
    let name = "network".to_owned();
    let requested = all.to_owned();
    Control { name, requested, supported: enforced.clone(), enforced, strength }
}

fn workspace(boundary: &Boundary) -> Control {
    Control::enforced(
        "workspace",
        match boundary.workspace.mode {
            WorkspaceMode::Review => "review: changes go to a layer of their own",
            WorkspaceMode::Pair => {
                "pair: what changes replace is kept before they happen; protected paths are held read-only"
            }
            WorkspaceMode::Direct => "direct: protected paths are held read-only",
            WorkspaceMode::ReadOnly => "read-only",
        },
    )
}

pub(super) fn limits(limits: &Limits, group: &Group) -> Vec<Control> {
    let by_group = format!("control group version {}", group.version());
    let enforces = group.enforces();
    let mut list = Vec::new();
    let mut push = |name: &str, value: Option<String>, enforced: Option<(String, Strength)>| {
        let Some(requested) = value else { return };
        let (enforced, strength) =
            enforced.unwrap_or_else(|| ("nothing".to_owned(), Strength::Missing));
        list.push(Control {
            name: format!("limit.{name}"),
            requested,
            supported: enforced.clone(),
            enforced,
            strength,
        });
    };
    let rlimit =
        || Some(("resource limit of each process (setrlimit)".to_owned(), Strength::Enforced));
    let watched = |what: &str| Some((format!("watched from outside: {what}"), Strength::Watched));
    let grouped = || Some((by_group.clone(), Strength::Enforced));
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    push(
        "memory",
        limits.memory.map(mib),
        if enforces.memory { grouped() } else { watched("every 0.1 to 1 s, the run is ended") },
    );
    push(
        "processes",
        limits.processes.map(|n| n.to_string()),
        if enforces.processes { grouped() } else { rlimit() },
    );
    push(
        "cpu",
        limits.cpu_milli.map(|milli| format!("{}.{:03} cores", milli / 1000, milli % 1000)),
        if enforces.cpu { grouped() } else { None },
    );
    push("open_files", limits.open_files.map(|n| n.to_string()), rlimit());
    push("file_size", limits.file_size.map(mib), rlimit());
    push("disk", limits.disk.map(mib), watched("at least every second, the run is ended"));
    push(
        "tmp",
        Some(mib(limits.tmp)),
        Some(("size of each file system in memory".to_owned(), Strength::Enforced)),
    );
    push("wall", limits.wall_ms.map(|ms| format!("{} s", ms / 1000)), watched("the run is ended"));
    push("idle", limits.idle_ms.map(|ms| format!("{} s", ms / 1000)), watched("the run is ended"));
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fh4_without_nf_tables_the_network_row_says_reduced() {
        let group = Group::default();
        let row = |how| capture(&Measured { landlock: 6, capture: how, ipv6: true, group: &group });
        assert_eq!(row("redirect").strength, Strength::Enforced);
        let ports = row("ports: nf_tables answered EPROTONOSUPPORT");
        assert_eq!(ports.strength, Strength::Reduced);
        assert!(ports.enforced.contains("others are refused"), "{}", ports.enforced);
    }

    #[test]
    fn c19_the_landlock_row_tells_what_is_used_from_what_the_kernel_offers() {
        let same = landlock(1, 6, 6);
        assert_eq!((same.supported.as_str(), same.enforced.as_str()), ("ABI 6", "ABI 6"));
        assert_eq!(same.strength, Strength::Enforced);
        let newer = landlock(1, 6, 7);
        assert_eq!(newer.supported, "ABI 7");
        assert_eq!(newer.enforced, "ABI 6 (kernel offers 7)");
        assert_eq!(newer.strength, Strength::Enforced);
        let older = landlock(1, 4, 4);
        assert!(older.enforced.contains("without rules for device ioctls"), "{}", older.enforced);
        assert_eq!(older.strength, Strength::Reduced);
    }
}
