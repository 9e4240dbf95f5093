//! Attacks on the kernel's interface: P01, P02, P06, P07, P11, P13, P22, P24, P26, with S30, FS6, FS7, FS8.
//!
//! No call here can change the machine, even where it is let through.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use ringfence_contained_tests::limits::ONLY_INSIDE;
use ringfence_contained_tests::{Fixture, is_root};

/// Doors that an ordinary user finds locked outside as well: by privilege, or by a host's settings.
const LOCKED_FOR_USERS: &[&str] = &[
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "fsopen",
    "fsmount",
    "fspick",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "mount_setattr",
    "statmount",
    "listmount",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "acct",
    "quotactl",
    "sethostname",
    "settimeofday",
    "clock_settime",
    "syslog",
    "migrate_pages",
    "fanotify_init",
    "open_by_handle_at",
    "io_uring_setup",
    "seccomp-new-listener",
    "unshare-mount",
    "unshare-net",
    "unshare-pid",
    "unshare-user",
    "upper-half-unshare",
    "clone-user",
    "clone-mount",
    "clone-net",
    "clone-pid",
    "setns",
    "prctl-set-mm",
    "keyctl",
];

/// Doors that a kernel may lack altogether, by its age or its configuration.
const MAY_BE_MISSING: &[&str] = &[
    "open_tree_attr",
    "statmount",
    "listmount",
    "memfd_secret",
    "userfaultfd",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "quotactl",
    "acct",
    "kcmp",
    "move_pages",
    "migrate_pages",
    "perf_event_open",
    "bpf",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "process_vm_readv",
    "process_vm_writev",
    "swapon",
    "fanotify_init",
    "seccomp-new-listener",
];

/// P01, P02, P07, P22, P26, S30, FS8: every door is locked inside, by the filter's own answer.
#[test]
fn p01_p02_p07_p22_p26_s30_every_door_is_locked() {
    let fixture = Fixture::new();
    let inside = fixture.job().attack(&["doors"]);
    let answers = inside.answers();
    assert!(answers.len() > 60, "{inside:?}");
    let wrong: Vec<String> = answers
        .iter()
        .filter(|(id, answer)| *answer != if *id == "clone3" { "ENOSYS" } else { "EPERM" })
        .map(|(id, answer)| format!("{id}: {answer}"))
        .collect();
    assert!(wrong.is_empty(), "not locked:\n{}", wrong.join("\n"));
}

/// The control group of the doors: outside, the same calls reach the kernel.
#[test]
fn s30_control_group_the_doors_are_open_outside() {
    let fixture = Fixture::new();
    let outside = fixture.job().unprotected_attack(&["doors"]);
    let locked: Vec<String> = outside
        .answers()
        .into_iter()
        .filter(|(_, answer)| ["EPERM", "EACCES", "ENOSYS"].contains(answer))
        .filter(|(id, answer)| {
            let missing = *answer == "ENOSYS" && MAY_BE_MISSING.contains(id);
            let for_users = !is_root() && LOCKED_FOR_USERS.contains(id);
            !missing && !for_users
        })
        .map(|(id, answer)| format!("{id}: {answer}"))
        .collect();
    assert!(locked.is_empty(), "locked outside as well:\n{}", locked.join("\n"));
}

/// P03, FS8: with `--debug` a program may be traced inside, and nothing else opens.
#[test]
fn p03_debug_opens_tracing_and_nothing_else() {
    let fixture = Fixture::new();
    let inside = fixture.job().flags(["--debug"]).attack(&["doors"]);
    let opened = [
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "pidfd_getfd",
        "kcmp",
        "personality-no-randomize",
    ];
    for (id, answer) in inside.answers() {
        let refusal = if id == "clone3" { "ENOSYS" } else { "EPERM" };
        assert_eq!(answer != refusal, opened.contains(&id), "{id}: {answer}");
    }
    let text = fixture.ledger().the("start").to_string();
    assert!(text.contains("\"debug\":true"), "the ledger does not say that tracing was opened");
}

/// P06: other ABIs of the processor do not get past the filter.
#[test]
fn p06_foreign_abis_are_refused() {
    let fixture = Fixture::new();
    let inside = fixture.job().attack(&["foreign-abi"]);
    assert_eq!(inside.answer("x32-getpid"), "ENOSYS");
    #[cfg(target_arch = "x86_64")]
    for id in ["i386-getpid", "i386-unshare"] {
        let answer = inside.answer(id);
        // Killed by the filter (SIGSYS), or no such entry in this kernel (SIGSEGV).
        assert!(answer == "Other" || answer == "ENOSYS", "{id}: {answer}");
    }
}

/// P22, N23, S30, FS7: only ordinary sockets can be made, whatever stands in the upper half.
#[test]
fn p22_n23_s30_only_ordinary_sockets() {
    let fixture = Fixture::new();
    let inside = fixture.job().attack(&["sockets"]);
    let outside = fixture.job().unprotected_attack(&["sockets"]);
    let permitted = ["unix-stream", "inet-tcp", "inet-udp", "inet6-tcp", "netlink-route"];
    let families = ["alg", "vsock", "packet", "rxrpc", "xdp", "bluetooth"];
    for (id, answer) in inside.answers() {
        let kind = id.trim_end_matches("-upper-half");
        let expected = match kind {
            "fast-open" => "EOPNOTSUPP",
            kind if permitted.contains(&kind) => "DONE",
            kind if families.contains(&kind) => "EAFNOSUPPORT",
            _ => "EPROTONOSUPPORT",
        };
        assert_eq!(answer, expected, "{id}");
    }
    assert!(inside.answers().len() > 40);
    // Control group: outside some that are refused inside can be made, so the refusal is ours.
    let made = |id: &str| outside.answer(id) == "DONE";
    assert!(permitted.into_iter().all(made));
    assert_ne!(outside.answer("fast-open"), "EOPNOTSUPP", "control group");
    let open = [
        "netlink-uevent",
        "netlink-audit",
        "mptcp",
        "udplite",
        "alg",
        "vsock",
        "packet",
        "inet-raw",
    ];
    let open = open.into_iter().filter(|id| made(id)).count();
    assert!(open >= if is_root() { 3 } else { 1 }, "control group: {outside:?}");
}

/// P11, P13, FS6: no capability, no new privileges, not root, and setuid programs gain nothing.
#[test]
fn p11_p13_no_privilege_and_none_to_be_had() {
    let fixture = Fixture::new();
    let script = "cat /proc/self/status; id -u; id -g; id -G";
    let inside = fixture.contained(script);
    let value = |name: &str| {
        let line = inside.stdout.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_else(|| panic!("{inside:?}"))
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "CapBnd:"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!(value("NoNewPrivs:"), "1");
    assert_eq!(value("Seccomp:"), "2");
    assert_ne!(value("Uid:"), "0");
    assert_ne!(value("Gid:"), "0");
    let groups: Vec<&str> = inside.stdout.lines().last().unwrap().split(' ').collect();
    assert!(!groups.contains(&"0"), "the agent is in the group of root: {groups:?}");
    let gain = fixture.contained(
        "for p in su sudo mount newgrp passwd fusermount3 pkexec chsh; do
            command -v $p >/dev/null && echo | timeout 2 $p -c 'id -u' 2>&1; done
         perl -e '$> = 0; $< = 0; print \"uid $> $<\\n\"'; exit 0",
    );
    assert!(!gain.stdout.lines().any(|line| line == "0" || line == "uid 0 0"), "{gain:?}");
    if is_root() {
        let outside = fixture.unprotected(script);
        let line = outside.stdout.lines().find(|line| line.starts_with("CapEff:")).unwrap();
        assert!(!line.contains("0000000000000000"), "control group: {line}");
    }
}

/// P01, P02: with the ordinary tools: no namespace, no mount, no way back through a mask.
#[test]
fn p01_p02_tools_cannot_reshape_the_view() {
    let fixture = Fixture::new();
    let script = "unshare -Ur true; echo \"user $?\"; unshare -Urm mount -t tmpfs none /mnt; echo \"mount $?\"
        umount /proc; echo \"umount $?\"; mount --bind / /mnt; echo \"bind $?\"
        mount -t proc proc /mnt; echo \"proc $?\"; chroot / true; echo \"chroot $?\"
        nsenter -t 1 -m true; echo \"nsenter $?\"; exit 0";
    let inside = fixture.contained(&format!("{ONLY_INSIDE}{script}"));
    for tool in ["user", "mount", "umount", "bind", "proc", "chroot", "nsenter"] {
        let succeeded = inside.stdout.lines().any(|line| line == format!("{tool} 0"));
        assert!(!succeeded, "{tool}: {inside:?}");
        assert!(inside.stdout.contains(&format!("{tool} ")), "{tool}: {inside:?}");
    }
    let outside = fixture.unprotected("unshare -Ur true; echo \"user $?\"");
    assert!(outside.stdout.contains("user 0"), "control group: {outside:?}");
}

/// S31, FS1: what of /proc and /sys steers the machine can be neither written nor read.
#[test]
fn s31_fs1_the_machine_cannot_be_steered() {
    let fixture = Fixture::new();
    let written = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sysrq-trigger",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sys/kernel/hotplug",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/release_agent",
        "/proc/self/oom_score_adj_not",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/1/oom_score_adj",
        "/sys/power/state",
    ];
    let read =
        ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/kmsg", "/dev/mem", "/dev/kmsg"];
    let mut attempts: Vec<String> =
        written.iter().map(|path| format!("write {path}\topen-write\t{path}")).collect();
    attempts.extend(read.iter().map(|path| format!("read {path}\tread\t{path}")));
    let inside = fixture.job().batch(&attempts);
    assert_eq!(inside.answers().len(), attempts.len(), "{inside:?}");
    for (id, answer) in inside.answers() {
        assert!(["EACCES", "EPERM", "EROFS", "ENOENT"].contains(&answer), "{id}: {answer}");
    }
}

/// P24: nested, it says which layer is missing; twice at once, both work.
#[test]
fn p24_nested_and_twice() {
    let fixture = Fixture::new();
    let binary = fixture.binary().to_str().unwrap().to_owned();
    let nested = fixture
        .job()
        .flags(["--ro", &binary])
        .sh(&format!("'{binary}' run -- sh -c 'echo inner ran'; echo \"code $?\""));
    if !nested.stdout.contains("inner ran") {
        assert!(nested.stdout.contains("code 125"), "{nested:?}");
        assert!(nested.stderr.contains("namespace"), "the missing layer is not named: {nested:?}");
    }
    let mut first = fixture.job().start_sh("echo up; sleep 0.5; echo one > a; cat b; exit 4");
    first.wait_for("up");
    let second = fixture.contained("echo two > b; cat a; exit 5");
    assert_eq!(second.code, 5, "{second:?}");
    let first = first.wait();
    assert_eq!(first.code, 4, "{first:?}");
    assert!(!first.stdout.contains("two"), "two runs share a layer: {first:?}");
}
