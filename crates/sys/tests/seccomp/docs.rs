//! `docs/seccomp.md` is what the table says. `UPDATE_DOCS=1 cargo test -p ringfence-sys` writes it.

use super::*;
use ringfence_sys::seccomp::{Class, Rule};
use std::fmt::Write;
use std::path::Path;

fn title(class: Class) -> &'static str {
    match class {
        Class::File => "Reading and writing open files",
        Class::Path => "Names, metadata and watches of files",
        Class::Memory => "Memory of the caller",
        Class::Process => "Processes",
        Class::Identity => "Users, groups, capabilities",
        Class::Signal => "Signals",
        Class::Thread => "Threads and scheduling",
        Class::Time => "Clocks and timers",
        Class::Poll => "Waiting for readiness",
        Class::Network => "Sockets",
        Class::Ipc => "Inter-process communication",
        Class::Sandbox => "Restrictions on oneself",
        Class::System => "The machine",
        Class::Mount => "Mounts and namespaces",
        Class::Trace => "Other processes",
        Class::Kernel => "Code and keys in the kernel",
        Class::Absent => "Without an implementation",
    }
}

/// What a rule with arguments allows, and how the rest is answered.
fn words(rule: Rule) -> Option<(&'static str, &'static str)> {
    Some(match rule {
        Rule::Allow | Rule::Names | Rule::Refuse | Rule::Missing => return None,
        Rule::Debug => ("with `debug`", "EPERM"),
        Rule::MemfdCreate => ("unless only the base may be executed", "EPERM"),
        Rule::Execve => ("always; seen by the supervisor where exec is recorded", "-"),
        Rule::Clone => ("without a `CLONE_NEW*` flag", "EPERM"),
        Rule::Unshare => ("`CLONE_FILES`, `CLONE_FS`, `CLONE_SYSVSEM`", "EPERM"),
        Rule::Personality => ("`PER_LINUX`, the query; `ADDR_NO_RANDOMIZE` with `debug`", "EPERM"),
        Rule::Prctl => (
            "options up to 79, `PR_SET_VMA`, `PR_SET_PTRACER`; not `PR_SET_MM` (rewrites what \
             `/proc` shows), `PR_SET_MEMORY_MERGE` (page sharing is a side channel)",
            "EPERM; unknown options EINVAL",
        ),
        Rule::Seccomp => (
            "all operations; no listener, which would answer for other programs",
            "EPERM; unknown operations EINVAL",
        ),
        Rule::Socket => (
            "`AF_UNIX`; `AF_INET` and `AF_INET6` with TCP or UDP; `AF_NETLINK` with \
             `NETLINK_ROUTE`",
            "EAFNOSUPPORT for a family, EPROTONOSUPPORT for a type or protocol",
        ),
        Rule::Socketpair => ("`AF_UNIX`", "EAFNOSUPPORT, EPROTONOSUPPORT"),
        Rule::Ioctl => (
            "all but terminal injection (`TIOCSTI`, `TIOCLINUX`, `TIOCSETD`, `TIOCCONS`, console \
             key maps) and subvolume commands of btrfs and bcachefs, whose snapshots would hold \
             what the boundary hides",
            "EPERM; ENOTTY for subvolumes",
        ),
        Rule::SendArg2 | Rule::SendArg3 => ("without `MSG_FASTOPEN`", "EOPNOTSUPP"),
        Rule::MknodArg1 | Rule::MknodArg2 => {
            ("regular files, FIFOs, sockets, without set-id bits", "EPERM")
        }
        Rule::ModeArg1 | Rule::ModeArg2 => ("a mode without set-id bits", "EPERM"),
        Rule::OpenArg1 | Rule::OpenArg2 => (
            "always without `O_CREAT` and `O_TMPFILE`; with them a mode without set-id bits",
            "EPERM",
        ),
        Rule::Renameat2 => ("without `RENAME_WHITEOUT`, which makes a device node", "EINVAL"),
    })
}

fn names(class: Class, keep: impl Fn(Rule) -> bool) -> Vec<&'static Syscall> {
    SYSCALLS.iter().filter(|s| s.class == class && keep(s.rule)).collect()
}

fn classes() -> Vec<Class> {
    let mut classes: Vec<_> = SYSCALLS.iter().map(|s| s.class).collect();
    classes.dedup();
    classes
}

fn render() -> String {
    let mut out = String::from(HEAD);
    out += "\n## Allowed by their arguments\n\n| syscall | allowed | otherwise |\n|---|---|---|\n";
    for s in SYSCALLS {
        if let Some((allowed, otherwise)) = words(s.rule) {
            writeln!(out, "| `{}` | {allowed} | {otherwise} |", s.name).unwrap();
        }
    }
    out += "\n## Refused whatever the arguments\n\n| syscall | errno | why |\n|---|---|---|\n";
    for class in classes() {
        for s in names(class, |r| matches!(r, Rule::Refuse | Rule::Missing)) {
            let errno = if s.rule == Rule::Refuse { "EPERM" } else { "ENOSYS" };
            writeln!(out, "| `{}` | {errno} | {} |", s.name, s.why).unwrap();
        }
    }
    out += "\n## Allowed\n\n| class | syscalls |\n|---|---|\n";
    for class in classes() {
        let list = names(class, |r| matches!(r, Rule::Allow | Rule::Names));
        if !list.is_empty() {
            let list: Vec<_> = list.iter().map(|s| format!("`{}`", s.name)).collect();
            writeln!(out, "| {} | {} |", title(class), list.join(" ")).unwrap();
        }
    }
    out
}

const HEAD: &str = "\
# The syscall filter

Every process inside a boundary runs under one seccomp filter, laid before its first instruction
and for good. It is an allowlist: a syscall that is not on this page does not exist inside (ENOSYS),
so that a new kernel brings nothing new into old boundaries. This page is generated from the
table in `crates/sys/src/seccomp/table.rs`; a test fails when the two differ.

- Refusals are errno values that programs know how to handle; nothing is killed but a process that
  tries another ABI (i386 on x86_64, 32-bit ARM on aarch64): SIGSYS. x32 answers ENOSYS.
- Arguments that the kernel reads as 32 bits are compared as 32 bits: bits above hide nothing.
- What lies behind a pointer cannot be filtered. Hence `clone3` and `openat2` answer ENOSYS (their
  flags and mode are in memory), and addresses, paths and message headers are the business of the
  other layers.
- No file gets a set-user-id (04000) or set-group-id (02000) bit. Inside neither has an effect
  (`nosuid`, `no_new_privs`), but a file in a writable grant or a `direct` workspace is on the host's
  disk, where whoever runs it would have the rights of its owner.
- The filter is one layer of several: mounts, namespaces, Landlock, empty capability sets and
  `no_new_privs` hold without it.

Known limits: `MADV_MERGEABLE` is allowed (same-page merging is off unless the host turned it on);
a file system's own ioctls are allowed except those listed; `execve` seen by the supervisor is a
record of what the memory held when it was read, not a decision.

A directory's set-group-id bit cannot be told from a file's, so `chmod g+s` is refused, and so is every
`chmod` that keeps the bit on a directory that inherited it: `git init --shared` fails, `git add` in a
shared repository needs `umask 002`, and `cp -p`, `tar -p` or `shutil.copytree` of marked files and
directories report an error. New directories still inherit the bit. A file that already has a
set-id bit on the host loses it when it is written with `write` or truncated, but not when it is
written through a shared mapping: no such file belongs into a writable grant.
";

#[test]
fn the_page_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/seccomp.md");
    let rendered = render();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let page = std::fs::read_to_string(&path).expect("docs/seccomp.md is there");
    assert!(page == rendered, "docs/seccomp.md is stale; run this test with UPDATE_DOCS=1");
}
