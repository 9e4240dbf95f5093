//! From facts to rows: what is there, what is needed, and the command that mends the rest.
//!
//! Pure: it looks at nothing but the facts. A row is `missing` only where a default run is refused
//! or ended for it, so that the exit code and the start agree.

use serde::Serialize;

use super::facts::{Attempt, Binary, Facts, Landlock, Place, Policy, Refusal};
use crate::limits::{CLOCK_LEAST_S, DISK_RESERVE_BYTES};

const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;
const EUSERS: i32 = 87;

/// How well one thing is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As a default run wants it.
    Ok,
    /// A run starts, with less than it could have.
    Weaker,
    /// A run is refused.
    Missing,
}

/// One line of the examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Of what.
    pub name: String,
    /// How well it is there.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What a default run needs.
    pub needed: String,
    /// What mends it; may be several lines.
    pub mend: Option<String>,
}

fn row(name: &str, state: State, found: impl Into<String>, needed: &str) -> Row {
    Row { name: name.to_owned(), state, found: found.into(), needed: needed.to_owned(), mend: None }
}

impl Row {
    fn mended_by(self, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..self }
    }
}

/// All rows.
#[must_use]
pub fn rows(facts: &Facts) -> Vec<Row> {
    let mut rows = vec![kernel(&facts.kernel), calls(facts), namespaces(facts)];
    rows.extend(mounts(facts));
    rows.extend(facts.idmap.as_ref().map(idmap));
    rows.push(landlock(facts));
    rows.extend(facts.seccomp.as_ref().map(|attempt| seccomp(facts, attempt)));
    rows.extend(network(facts));
    rows.push(groups(facts));
    rows.extend(facts.places.iter().map(|place| private(place, facts.uid)));
    rows.push(disk(facts));
    rows.extend(facts.policies.iter().map(policy));
    rows.push(binary(facts));
    rows.push(clock(facts.clock));
    rows.push(container(facts));
    rows.push(trial(facts));
    shorten(rows)
}

/// A long mend stands once; rows behind it refer to it.
fn shorten(mut rows: Vec<Row>) -> Vec<Row> {
    let mut first: Vec<(String, String)> = Vec::new();
    for row in &mut rows {
        let Some(mend) = row.mend.clone().filter(|mend| mend.contains('\n')) else { continue };
        match first.iter().find(|(known, _)| *known == mend) {
            Some((_, name)) => row.mend = Some(format!("as for {name}")),
            None => first.push((mend, row.name.clone())),
        }
    }
    rows
}

fn contained(facts: &Facts) -> bool {
    facts.container.is_one()
}

/// The mend of something that the kernel has, but that this process may not do.
fn permit(facts: &Facts, refusal: &Refusal, otherwise: &str) -> String {
    if contained(facts) {
        facts.container.mend()
    } else {
        format!("{otherwise} ({})", refusal.words)
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn kernel(release: &str) -> Row {
    let needed = "Linux 5.13 or later; 6.12 has every layer";
    match version(release) {
        Some(version) if version >= (5, 13) => row("kernel", State::Ok, release, needed),
        Some(_) => row("kernel", State::Missing, release, needed)
            .mended_by("start a kernel of 5.13 or later; most distributions package one"),
        None => row("kernel", State::Weaker, format!("`{release}`, which is no version"), needed),
    }
}

fn calls(facts: &Facts) -> Row {
    let name = "system calls";
    let needed = "clone3, pidfd_open, openat2, close_range, mount_setattr";
    let failed: Vec<&(&str, Attempt)> =
        facts.calls.iter().filter(|(_, attempt)| attempt.is_err()).collect();
    if failed.is_empty() {
        return row(name, State::Ok, "all there", needed);
    }
    let absent = failed
        .iter()
        .all(|(_, attempt)| attempt.as_ref().is_err_and(|refusal| refusal.errno == ENOSYS));
    let words: Vec<String> = failed
        .iter()
        .filter_map(|(call, attempt)| Some(format!("{call}: {}", attempt.as_ref().err()?.words)))
        .collect();
    let mend = match (contained(facts), absent) {
        (true, _) => facts.container.mend(),
        (false, true) => {
            "start a kernel of 5.13 or later, or take off the filter that hides them".to_owned()
        }
        (false, false) => "take off the filter or security module that refuses them".to_owned(),
    };
    row(name, State::Missing, words.join("; "), needed).mended_by(mend)
}

fn namespaces(facts: &Facts) -> Row {
    let name = "namespaces";
    let needed = "user, mount, process id, network, IPC, host name and cgroup namespaces";
    let inside =
        [Some(&facts.namespaces), facts.inside.maps.as_ref(), facts.inside.mounts.as_ref()];
    let Some(refusal) = inside.into_iter().flatten().find_map(|attempt| attempt.as_ref().err())
    else {
        return row(name, State::Ok, "made, mapped and mounted in", needed);
    };
    let switched_off = facts.switches.unprivileged.as_deref() == Some("0")
        || facts.switches.most.as_deref() == Some("0")
        || facts.switches.apparmor.as_deref() == Some("1");
    let used_up = [ENOSPC, EUSERS].contains(&refusal.errno);
    let mend = if switched_off || used_up {
        // A container's settings are its host's: the command is for the host then.
        facts.switches.mend(refusal.errno)
    } else if contained(facts) {
        facts.container.mend()
    } else if refusal.errno == ENOSYS {
        "start a kernel of 5.13 or later, or take off the filter that hides clone3".to_owned()
    } else {
        "a security module or a system call filter forbids them: look in `sudo dmesg` and permit \
         them for this program"
            .to_owned()
    };
    row(name, State::Missing, refusal.words.clone(), needed).mended_by(mend)
}

/// `/proc` and the overlay, where they could be tried.
fn mounts(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(attempt) = &facts.inside.proc {
        let needed = "a fresh /proc for the sandbox's own processes";
        rows.push(match attempt {
            Ok(()) => row("proc", State::Ok, "mounted", needed),
            Err(refusal) => {
                row("proc", State::Missing, refusal.words.clone(), needed).mended_by(permit(
                    facts,
                    refusal,
                    "unmount what covers parts of /proc: `findmnt -R /proc` shows it",
                ))
            }
        });
    }
    if let Some(attempt) = &facts.inside.overlay {
        let needed =
            "overlayfs in a user namespace (Linux 5.11), on the state directory's file system";
        rows.push(match attempt {
            Ok(()) => row("overlay", State::Ok, "mounted with userxattr", needed),
            Err(refusal) => row("overlay", State::Missing, refusal.words.clone(), needed)
                .mended_by(
                    "keep the state on a local file system such as ext4, xfs or btrfs:\n  \
                 export XDG_STATE_HOME=DIRECTORY\nor do without copy-on-write:\n  \
                 ringfence run --workspace direct -- AGENT",
                ),
        });
    }
    rows
}

fn idmap(attempt: &Attempt) -> Row {
    let name = "id-mapped mounts";
    let needed = "for root: of the state's and the project's file system (Linux 5.12 and later)";
    match attempt {
        Ok(()) => row(name, State::Ok, "made", needed),
        Err(refusal) => row(name, State::Missing, refusal.words.clone(), needed)
            .mended_by("run ringfence as an ordinary user, who needs none"),
    }
}

fn landlock(facts: &Facts) -> Row {
    let name = "landlock";
    let needed = "ABI 1 (Linux 5.13), switched on; ABI 6 (Linux 6.12) has all that is used";
    let landlock = &facts.landlock;
    if landlock.abi == 0 {
        let found = match &landlock.modules {
            Some(list) => format!("none; the security modules are {list}"),
            None => "none".to_owned(),
        };
        let on =
            landlock.modules.as_ref().is_some_and(|list| list.split(',').any(|m| m == "landlock"));
        let mend = match (contained(facts), on) {
            (true, true) => facts.container.mend(),
            (false, true) => {
                "the kernel has it switched on: take off the filter that hides it".to_owned()
            }
            (true, false) => format!(
                "{}\nor, where the host's kernel has it switched off, there\n{}",
                facts.container.mend(),
                boot(landlock)
            ),
            (false, false) => boot(landlock),
        };
        return row(name, State::Missing, found, needed).mended_by(mend);
    }
    if let Some(Err(refusal)) = &landlock.confine {
        return row(
            name,
            State::Missing,
            format!("ABI {}, but {}", landlock.abi, refusal.words),
            needed,
        )
        .mended_by(permit(facts, refusal, "take off the filter that refuses it"));
    }
    let lacks: Vec<&str> = [
        (2, "moves between directories are refused rather than judged"),
        (5, "device ioctls have no second layer"),
        (6, "abstract sockets and signals have no second layer"),
    ]
    .into_iter()
    .filter(|(since, _)| landlock.abi < *since)
    .map(|(_, cost)| cost)
    .collect();
    if lacks.is_empty() {
        let tried = if landlock.confine.is_some() { "in force" } else { "not tried" };
        return row(name, State::Ok, format!("ABI {}, {tried}", landlock.abi), needed);
    }
    row(name, State::Weaker, format!("ABI {}: {}", landlock.abi, lacks.join(", ")), needed)
        .mended_by(
            "start a kernel of 6.12 or later; a definition's `require.landlock` refuses less",
        )
}

fn boot(landlock: &Landlock) -> String {
    let parameter = match &landlock.modules {
        Some(list) => format!("lsm=landlock,{list}"),
        None => {
            "lsm=landlock,LIST, with the LIST that /sys/kernel/security/lsm shows now".to_owned()
        }
    };
    format!(
        "in a kernel of 5.13 or later, switch it on by a boot parameter and restart:\n  {parameter}"
    )
}

fn seccomp(facts: &Facts, attempt: &Attempt) -> Row {
    let needed = "system call filters with user notification (Linux 5.5)";
    match attempt {
        Ok(()) => row("seccomp", State::Ok, "installed, in force", needed),
        Err(refusal) => row("seccomp", State::Missing, refusal.words.clone(), needed).mended_by(
            permit(facts, refusal, "start a kernel with CONFIG_SECCOMP_FILTER, 5.13 or later"),
        ),
    }
}

fn network(facts: &Facts) -> Vec<Row> {
    let mut rows = Vec::new();
    if let Some(Err(refusal)) = &facts.inside.network {
        let needed = "a loopback device and local routes of the sandbox's own";
        let mend = permit(facts, refusal, "start a kernel with CONFIG_NET_NS and IPv4");
        rows.push(row("network", State::Missing, refusal.words.clone(), needed).mended_by(mend));
        return rows;
    }
    if let Some(attempt) = &facts.inside.redirect {
        let needed = "nf_tables with NAT redirection, to capture every port";
        rows.push(match attempt {
            Ok(()) => row("network", State::Ok, "every port is captured", needed),
            Err(refusal) => row(
                "network",
                State::Weaker,
                format!(
                    "only ports that the policy names lead to the gateway, others are refused: {}",
                    refusal.words
                ),
                needed,
            )
            .mended_by("sudo modprobe -a nf_tables nft_chain_nat nft_redir"),
        });
    }
    if let Some(attempt) = &facts.inside.ipv6 {
        let needed = "IPv6 in the kernel, to capture it";
        rows.push(match attempt {
            Ok(()) => row("ipv6", State::Ok, "captured", needed),
            Err(refusal) => {
                let found =
                    format!("does not exist inside, IPv4 is not affected: {}", refusal.words);
                row("ipv6", State::Weaker, found, needed).mended_by(
                    "sudo sysctl -w net.ipv6.conf.all.disable_ipv6=0, where the kernel has it",
                )
            }
        });
    }
    rows
}

fn groups(facts: &Facts) -> Row {
    let name = "control groups";
    let needed = "a writable group with memory and pids, to limit all processes together";
    let groups = &facts.groups;
    if let Some(Err(refusal)) = &groups.attach {
        let found = format!(
            "version {}, but a process cannot be put in: {}",
            groups.version, refusal.words
        );
        return row(name, State::Missing, found, needed).mended_by(delegate(facts));
    }
    let [enforced, other] = [true, false].map(|wanted| {
        let all = [(groups.memory, "memory"), (groups.processes, "processes"), (groups.cpu, "cpu")];
        let names: Vec<&str> =
            all.into_iter().filter(|(is, _)| *is == wanted).map(|(_, name)| name).collect();
        names.join(", ")
    });
    if groups.memory && groups.processes && groups.cpu {
        return row(name, State::Ok, format!("version {}: {enforced}", groups.version), needed);
    }
    let found = if groups.version == 0 {
        "none is writable".to_owned()
    } else {
        format!("version {} without {other}", groups.version)
    };
    let mut instead = Vec::new();
    if !groups.memory {
        instead.push("memory is watched, and the run ended above its limit");
    }
    if !groups.processes {
        instead.push("processes are limited by setrlimit");
    }
    if !groups.cpu {
        instead.push("processor time is not limited");
    }
    row(name, State::Weaker, format!("{found}: {}", instead.join(", ")), needed)
        .mended_by(delegate(facts))
}

fn delegate(facts: &Facts) -> &'static str {
    if facts.groups.systemd && facts.uid == 0 {
        "systemd-run --scope -p Delegate=yes ringfence run -- AGENT"
    } else if facts.groups.systemd {
        "systemd-run --user --scope -p Delegate=yes ringfence run -- AGENT"
    } else if contained(facts) {
        "limit the whole container instead, which holds for everything in it:\n  docker run --memory 8g --pids-limit 4096 --cpus 2 IMAGE"
    } else {
        "let an administrator delegate a control group with memory, pids and cpu to you"
    }
}

fn private(place: &Place, uid: u32) -> Row {
    let name = format!("{} directory", place.name);
    let needed = "yours alone (mode 700), where nobody else can replace it";
    let path = place.path.display();
    if let Some(parent) = &place.exposed_by {
        let parent = parent.display();
        return row(
            &name,
            State::Weaker,
            format!("{path}: others can replace it in {parent}"),
            needed,
        )
        .mended_by(format!("chmod go-w {parent}"));
    }
    match &place.found {
        None => row(&name, State::Ok, format!("{path}, not made yet"), needed),
        Some(Err(cause)) => row(&name, State::Missing, format!("{path}: {cause}"), needed)
            .mended_by(format!("make it yours, or set {} to another place", variable(place.name))),
        Some(Ok((_, owner))) if *owner != uid => {
            row(&name, State::Weaker, format!("{path} belongs to user {owner}"), needed)
                .mended_by(format!("set {} to a directory of yours", variable(place.name)))
        }
        Some(Ok((mode, _))) if mode & 0o077 != 0 => {
            row(&name, State::Weaker, format!("{path} has mode {mode:o}"), needed)
                .mended_by(format!("chmod 700 {path}"))
        }
        Some(Ok((mode, _))) => row(&name, State::Ok, format!("{path}, mode {mode:o}"), needed),
    }
}

fn variable(name: &str) -> &'static str {
    if name == "state" { "XDG_STATE_HOME" } else { "XDG_CONFIG_HOME" }
}

fn disk(facts: &Facts) -> Row {
    let needed = format!("{} MiB; a run is ended below", DISK_RESERVE_BYTES >> 20);
    match &facts.free {
        Ok(bytes) if *bytes >= DISK_RESERVE_BYTES => {
            row("disk", State::Ok, format!("{} MiB free for the state directory", bytes >> 20), &needed)
        }
        Ok(bytes) => row("disk", State::Missing, format!("{} MiB free", bytes >> 20), &needed)
            .mended_by("free some space (`ringfence prune` removes what was not used for long), or set XDG_STATE_HOME to another disk"),
        Err(cause) => row("disk", State::Weaker, format!("not known: {cause}"), &needed),
    }
}

fn policy(policy: &Policy) -> Row {
    let name = format!("{} policy", policy.name);
    let needed = "readable and valid, where there is one";
    let path = policy.path.display();
    match &policy.valid {
        None => row(&name, State::Ok, "none", needed),
        Some(Ok(())) => row(&name, State::Ok, format!("{path}, valid"), needed),
        Some(Err(cause)) => {
            row(&name, State::Missing, cause.clone(), needed).mended_by(if policy.name == "user" {
                format!("edit {path}; `ringfence policy check` reads it again")
            } else {
                format!(
                    "let your administrator mend {path}; `ringfence policy check` reads it again"
                )
            })
        }
    }
}

fn binary(facts: &Facts) -> Row {
    let needed = "nobody but you and root can change the program";
    let Binary { path, mode, owner, exposed_by } = match &facts.binary {
        Ok(binary) => binary,
        Err(cause) => return row("program", State::Weaker, format!("not known: {cause}"), needed),
    };
    let path = path.display();
    if let Some(parent) = exposed_by {
        let parent = parent.display();
        return row(
            "program",
            State::Weaker,
            format!("{path}: others can replace it in {parent}"),
            needed,
        )
        .mended_by(format!("chmod go-w {parent}"));
    }
    if mode & 0o022 != 0 {
        return row("program", State::Weaker, format!("{path} has mode {mode:o}"), needed)
            .mended_by(format!("chmod go-w {path}"));
    }
    if *owner != 0 && *owner != facts.uid {
        return row("program", State::Weaker, format!("{path} belongs to user {owner}"), needed)
            .mended_by("install a copy of your own, or one of root's");
    }
    row("program", State::Ok, format!("{path}, mode {mode:o}"), needed)
}

fn clock(now: i64) -> Row {
    let needed = "a clock that is right: certificates and the ledger's times depend on it";
    if now >= CLOCK_LEAST_S {
        return row("clock", State::Ok, format!("{now} seconds since 1970"), needed);
    }
    row("clock", State::Weaker, format!("{now} seconds since 1970, which is past"), needed)
        .mended_by("sudo timedatectl set-ntp true")
}

fn container(facts: &Facts) -> Row {
    let needed = "none around, or one that permits what a boundary is made of";
    let masked = facts.container.masked.join(", ");
    let found = match (facts.container.marker, masked.as_str()) {
        (None, "") => "none".to_owned(),
        (Some(marker), "") => format!("inside one ({marker})"),
        (None, masked) => format!("parts of /proc are covered: {masked}"),
        (Some(marker), masked) => {
            format!("inside one ({marker}), which covers parts of /proc: {masked}")
        }
    };
    // The rows above say what it forbids and how to permit that; by itself it forbids nothing.
    row("container", State::Ok, found, needed)
}

fn trial(facts: &Facts) -> Row {
    let needed = "a default run of `true`, made for this and thrown away";
    match &facts.trial {
        Ok(()) => row("trial run", State::Ok, "started, contained, ended", needed),
        Err(words) => {
            let (found, rest) = words.split_once('\n').unwrap_or((words, ""));
            let row = row("trial run", State::Missing, found, needed);
            // Its advice to come here would lead in a circle.
            let advice: Vec<&str> =
                rest.lines().filter(|line| !line.contains("ringfence doctor")).collect();
            if advice.is_empty() {
                row.mended_by("what the rows above name; if they name nothing, please report it")
            } else {
                row.mended_by(advice.join("\n"))
            }
        }
    }
}

/// The last line: what a default run will get.
#[must_use]
pub fn verdict(rows: &[Row]) -> String {
    let named = |state: State| -> Vec<&str> {
        let rows = rows.iter().filter(|row| row.state == state);
        rows.map(|row| row.name.as_str()).collect()
    };
    let (missing, weaker) = (named(State::Missing), named(State::Weaker));
    if !missing.is_empty() {
        return format!("a default run would be refused: {}", missing.join(", "));
    }
    if weaker.is_empty() {
        return "a default run would start, with every layer".to_owned();
    }
    format!("a default run would start; weaker than it could be: {}", weaker.join(", "))
}
