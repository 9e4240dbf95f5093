//! The list of controls of the Landlock tier: what it does not give stands in it as missing.

use ringfence_model::boundary::{Boundary, ExecMode, WorkspaceMode};
use ringfence_model::enforcement::{Control, Strength};
use ringfence_sys::landlock_rules;

use super::controls::{Measured, landlock, limits};

/// The whole list.
pub fn list(boundary: &Boundary, measured: &Measured<'_>) -> Vec<Control> {
    let mut controls = vec![
        missing(
            "namespaces",
            "tier landlock: none; Landlock and the filter refuse what they would keep apart",
        ),
        missing(
            "root",
            "tier landlock: the host's own; only the plan's places can be read, and names can be asked for",
        ),
        landlock(boundary.floor.landlock, measured.landlock, landlock_rules::kernel_abi()),
        Control::enforced(
            "seccomp",
            "allowlist by system call, without sockets, IPC, inotify and calls that act on other processes",
        ),
        Control::enforced("capabilities", "none, and no_new_privs"),
        Control::enforced("network", "none: no socket can be made but pairs of connected ones"),
        Control::enforced(
            "modes",
            "changes of modes and times are made by the supervisor, in writable places alone",
        ),
        workspace(boundary.workspace.mode),
    ];
    if boundary.exec == ExecMode::Base {
        controls.push(Control {
            name: "exec".to_owned(),
            requested: "only programs of the read-only base".to_owned(),
            supported: "Landlock's right to start programs, no memfd_create".to_owned(),
            enforced:
                "by file; what an allowed interpreter or loader maps by itself is not stopped"
                    .to_owned(),
            strength: Strength::Reduced,
        });
    }
    controls.extend(
        limits(&boundary.limits, measured.group).into_iter().map(|row| limit(boundary, row)),
    );
    controls
}

fn missing(name: &str, enforced: &str) -> Control {
    Control {
        name: name.to_owned(),
        requested: "tier landlock does without".to_owned(),
        supported: "nothing".to_owned(),
        enforced: enforced.to_owned(),
        strength: Strength::Missing,
    }
}

fn workspace(mode: WorkspaceMode) -> Control {
    Control::enforced(
        "workspace",
        match mode {
            // Refused by the plan.
            WorkspaceMode::Review => "nothing",
            WorkspaceMode::Pair => {
                "pair: as direct, and what changes replace is kept; nothing can be moved or linked out of it"
            }
            WorkspaceMode::Direct => {
                "direct: protected paths are read-only; nothing can be made or removed beside them"
            }
            WorkspaceMode::ReadOnly => "read-only",
        },
    )
}

/// Limits that rest on what this tier does not have.
fn limit(boundary: &Boundary, row: Control) -> Control {
    match row.name.as_str() {
        // There is no file system in memory of the sandbox's own.
        "limit.tmp" => Control {
            enforced: "TMPDIR lies on disk, and counts against the disk limit".to_owned(),
            strength: Strength::Reduced,
            ..row
        },
        // RLIMIT_NPROC counts all processes of a user, and none of root's.
        "limit.processes" if !row.enforced.contains("group") => {
            let root = boundary.identity.outside_uid == 0;
            let enforced = if root {
                "nothing: the kernel does not count root's processes (setrlimit)"
            } else {
                "resource limit of the user (setrlimit): processes outside count, too"
            };
            let strength = if root { Strength::Missing } else { Strength::Reduced };
            Control { enforced: enforced.to_owned(), strength, ..row }
        }
        _ => row,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tier_does_not_give_is_never_called_enforced() {
        for name in ["namespaces", "root"] {
            assert_eq!(missing(name, "x").strength, Strength::Missing);
        }
        assert_eq!(workspace(WorkspaceMode::ReadOnly).enforced, "read-only");
    }
}
