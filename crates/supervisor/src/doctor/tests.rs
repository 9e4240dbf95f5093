//! Rows from injected facts: each lack is named as what it is, with what mends it (S36).

use std::path::PathBuf;

use super::facts::{Binary, Facts, Groups, Inside, Landlock, Place, Policy, Refusal};
use super::rows::{Row, State, rows, verdict};
use crate::container::{Container, Engine};
use crate::mend::Switches;

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENOSPC: i32 = 28;
const ENOSYS: i32 = 38;

fn refusal(errno: i32, words: &str) -> Refusal {
    Refusal { errno, words: words.to_owned() }
}

/// A host that has everything.
fn whole() -> Facts {
    let fine = Some(Ok(()));
    Facts {
        uid: 1000,
        kernel: "6.12.3-generic".to_owned(),
        namespaces: Ok(()),
        switches: Switches {
            unprivileged: Some("1".to_owned()),
            most: Some("62000".to_owned()),
            apparmor: Some("0".to_owned()),
        },
        inside: Inside {
            maps: fine.clone(),
            mounts: fine.clone(),
            proc: fine.clone(),
            overlay: fine.clone(),
            network: fine.clone(),
            redirect: fine.clone(),
            ipv6: fine,
        },
        idmap: None,
        landlock: Landlock {
            abi: 6,
            confine: Some(Ok(())),
            modules: Some("capability,landlock,yama".to_owned()),
        },
        seccomp: Some(Ok(())),
        calls: vec![("clone3", Ok(())), ("openat2", Ok(()))],
        groups: Groups {
            version: 2,
            memory: true,
            processes: true,
            cpu: true,
            attach: Some(Ok(())),
            systemd: true,
        },
        clock: 1_790_000_000,
        places: vec![Place {
            name: "state",
            path: "/home/ada/.local/state/ringfence".into(),
            found: Some(Ok((0o700, 1000))),
            exposed_by: None,
        }],
        free: Ok(1 << 34),
        policies: vec![Policy {
            name: "user",
            path: "/home/ada/.config/ringfence/policy.toml".into(),
            valid: None,
        }],
        container: Container::default(),
        binary: Ok(Binary {
            path: "/usr/bin/ringfence".into(),
            mode: 0o755,
            owner: 0,
            exposed_by: None,
        }),
        trial: Ok(()),
    }
}

/// The one row that is not ok; fails if there is another.
fn only(facts: &Facts, name: &str, state: State) -> Row {
    let mut odd: Vec<Row> = rows(facts).into_iter().filter(|row| row.state != State::Ok).collect();
    assert_eq!(odd.len(), 1, "{odd:#?}");
    let row = odd.remove(0);
    assert_eq!((row.name.as_str(), row.state), (name, state), "{row:?}");
    row
}

#[track_caller]
fn mends(row: &Row, words: &[&str]) {
    let mend = row.mend.as_deref().unwrap_or_default();
    for word in words {
        assert!(mend.contains(word), "`{word}` is not in: {mend}");
    }
}

/// No namespaces: nothing that needs them could be tried.
fn without_namespaces(errno: i32) -> Facts {
    Facts {
        namespaces: Err(refusal(errno, "cannot fork into namespaces: no")),
        inside: Inside::default(),
        ..whole()
    }
}

#[test]
fn s36_a_whole_host_has_nothing_to_mend() {
    let rows = rows(&whole());
    assert!(rows.iter().all(|row| row.state == State::Ok && row.mend.is_none()), "{rows:#?}");
    assert_eq!(verdict(&rows), "a default run would start, with every layer");
}

#[test]
fn s36_user_namespaces_switched_off_name_their_switch() {
    let mut facts = without_namespaces(EPERM);
    facts.switches.unprivileged = Some("0".to_owned());
    mends(
        &only(&facts, "namespaces", State::Missing),
        &["sudo sysctl -w kernel.unprivileged_userns_clone=1"],
    );
    let mut facts = without_namespaces(ENOSPC);
    facts.switches.most = Some("0".to_owned());
    let row = only(&facts, "namespaces", State::Missing);
    mends(&row, &["sudo sysctl -w user.max_user_namespaces=15000"]);
    assert_eq!(verdict(&rows(&facts)), "a default run would be refused: namespaces");
    mends(
        &only(&without_namespaces(ENOSPC), "namespaces", State::Missing),
        &["is used up", "max_user_namespaces"],
    );
}

/// Ubuntu lets the namespace be made and then refuses what is done in it.
#[test]
fn s36_the_apparmor_restriction_names_the_profile() {
    for at_maps in [true, false] {
        let mut facts = whole();
        facts.switches.apparmor = Some("1".to_owned());
        let refused =
            Some(Err(refusal(EACCES, "cannot write /proc/self/uid_map: Permission denied")));
        facts.inside = if at_maps {
            Inside { maps: refused, ..Inside::default() }
        } else {
            Inside { mounts: refused, proc: None, overlay: None, ..facts.inside }
        };
        let row = only(&facts, "namespaces", State::Missing);
        mends(&row, &["packaging/apparmor/ringfence", "apparmor_parser -r"]);
        assert!(row.found.contains("uid_map"));
    }
    // The restriction alone, with a profile that lifts it, is nothing to report.
    let mut lifted = whole();
    lifted.switches.apparmor = Some("1".to_owned());
    assert!(rows(&lifted).iter().all(|row| row.state == State::Ok));
}

#[test]
fn s36_no_landlock_names_the_boot_parameter() {
    let mut facts = whole();
    facts.landlock = Landlock {
        abi: 0,
        confine: Some(Err(refusal(0, "this kernel offers Landlock ABI 0"))),
        modules: Some("capability,yama,apparmor".to_owned()),
    };
    let row = only(&facts, "landlock", State::Missing);
    mends(&row, &["lsm=landlock,capability,yama,apparmor"]);
    facts.landlock.abi = 4;
    let row = only(&facts, "landlock", State::Missing);
    assert!(row.found.starts_with("ABI 4, but"), "{row:?}");
}

/// What each missing ABI costs.
#[test]
fn s36_an_older_landlock_says_what_it_lacks() {
    let costs = ["moves", "ioctls", "signals"];
    for (abi, lacks) in [(1, 3), (2, 2), (3, 2), (4, 2), (5, 1)] {
        let mut facts = whole();
        facts.landlock.abi = abi;
        let row = only(&facts, "landlock", State::Weaker);
        for (index, cost) in costs.iter().enumerate() {
            assert_eq!(row.found.contains(cost), index >= costs.len() - lacks, "{abi}: {row:?}");
        }
        mends(&row, &["6.12"]);
        let verdict = verdict(&rows(&facts));
        assert_eq!(verdict, "a default run would start; weaker than it could be: landlock");
    }
}

#[test]
fn s36_an_old_kernel_is_named_with_the_version_that_is_needed() {
    for (release, state) in [
        ("5.12.19", State::Missing),
        ("4.18.0-553.el8", State::Missing),
        ("5.13.0", State::Ok),
        ("6.1.0-9-amd64", State::Ok),
        ("10.0", State::Ok),
        ("unknown", State::Weaker),
    ] {
        let facts = Facts { kernel: release.to_owned(), ..whole() };
        let row = rows(&facts).into_iter().find(|row| row.name == "kernel").unwrap();
        assert_eq!(row.state, state, "{release}");
        if state == State::Missing {
            mends(&row, &["5.13"]);
        }
    }
    let mut facts = whole();
    facts.calls = vec![("clone3", Ok(())), ("openat2", Err(refusal(ENOSYS, "cannot call it: no")))];
    let row = only(&facts, "system calls", State::Missing);
    assert!(row.found.starts_with("openat2") && !row.found.contains("clone3"), "{row:?}");
    mends(&row, &["5.13"]);
}

#[test]
fn s36_inside_a_container_the_flags_are_named() {
    let flags = [
        "docker run",
        "seccomp=unconfined",
        "apparmor=unconfined",
        "systempaths=unconfined",
        "--tier landlock",
    ];
    let container = Container {
        engine: Engine::Docker,
        marker: Some("/.dockerenv"),
        masked: vec!["/proc/acpi".to_owned(), "/proc/kcore".to_owned()],
        filtered: true,
        profile: Some("docker-default".to_owned()),
        label: false,
    };
    let mut facts = without_namespaces(EPERM);
    facts.container = container.clone();
    mends(&only(&facts, "namespaces", State::Missing), &flags);
    // The same refusal outside of one is not blamed on a container.
    let outside = only(&without_namespaces(EPERM), "namespaces", State::Missing);
    assert!(!outside.mend.unwrap().contains("docker"));
    let mut facts = Facts { container, ..whole() };
    facts.inside.proc = Some(Err(refusal(EPERM, "cannot mount a fresh /proc: no")));
    mends(&only(&facts, "proc", State::Missing), &flags);
    facts.inside.proc = Some(Ok(()));
    let rows = rows(&facts);
    let row = rows.iter().find(|row| row.name == "container").unwrap();
    assert_eq!(row.state, State::Ok, "a container that permits everything is no lack");
    assert!(row.found.contains("/.dockerenv") && row.found.contains("/proc/kcore"), "{row:?}");
}

#[test]
fn s36_each_other_lack_is_one_row_with_its_mend() {
    type Spoil = fn(&mut Facts);
    let cases: [(Spoil, &str, State, &str); 15] = [
        (
            |f| f.inside.overlay = Some(Err(refusal(22, "no"))),
            "overlay",
            State::Missing,
            "--workspace direct",
        ),
        (
            |f| f.inside.redirect = Some(Err(refusal(93, "no"))),
            "network",
            State::Weaker,
            "modprobe",
        ),
        (|f| f.inside.ipv6 = Some(Err(refusal(97, "no"))), "ipv6", State::Weaker, "disable_ipv6=0"),
        (
            |f| f.seccomp = Some(Err(refusal(EPERM, "no"))),
            "seccomp",
            State::Missing,
            "CONFIG_SECCOMP_FILTER",
        ),
        (
            |f| f.idmap = Some(Err(refusal(22, "no"))),
            "id-mapped mounts",
            State::Missing,
            "ordinary user",
        ),
        (
            |f| f.groups.memory = false,
            "control groups",
            State::Weaker,
            "systemd-run --user --scope -p Delegate=yes",
        ),
        (
            |f| f.groups.attach = Some(Err(refusal(16, "busy"))),
            "control groups",
            State::Missing,
            "Delegate=yes",
        ),
        (|f| f.clock = 0, "clock", State::Weaker, "set-ntp"),
        (|f| f.free = Ok(1 << 20), "disk", State::Missing, "XDG_STATE_HOME"),
        (
            |f| f.places[0].found = Some(Ok((0o755, 1000))),
            "state directory",
            State::Weaker,
            "chmod 700 /home/ada/.local/state/ringfence",
        ),
        (
            |f| f.places[0].found = Some(Ok((0o700, 7))),
            "state directory",
            State::Weaker,
            "XDG_STATE_HOME",
        ),
        (
            |f| f.places[0].exposed_by = Some(PathBuf::from("/srv/shared")),
            "state directory",
            State::Weaker,
            "chmod go-w /srv/shared",
        ),
        (
            |f| f.policies[0].valid = Some(Err("line 3: no".to_owned())),
            "user policy",
            State::Missing,
            "ringfence policy check",
        ),
        (
            |f| f.binary.as_mut().unwrap().mode = 0o775,
            "program",
            State::Weaker,
            "chmod go-w /usr/bin/ringfence",
        ),
        (|f| f.trial = Err("no\n  do this".to_owned()), "trial run", State::Missing, "do this"),
    ];
    for (spoil, name, state, mend) in cases {
        let mut facts = whole();
        spoil(&mut facts);
        mends(&only(&facts, name, state), &[mend]);
        let starts = state != State::Missing;
        let words = if starts { "would start; weaker" } else { "would be refused" };
        let said = verdict(&rows(&facts));
        assert!(said.contains(words) && said.ends_with(name), "{said}");
    }
}

/// What is not enforced is said to be replaced by what, never by nothing.
#[test]
fn s36_limits_without_a_control_group_say_what_replaces_them() {
    let mut facts = whole();
    facts.groups = Groups {
        version: 0,
        memory: false,
        processes: false,
        cpu: false,
        attach: Some(Ok(())),
        systemd: false,
    };
    let row = only(&facts, "control groups", State::Weaker);
    for word in ["none is writable", "watched", "setrlimit", "processor time is not limited"] {
        assert!(row.found.contains(word), "{row:?}");
    }
    mends(&row, &["delegate"]);
}

/// What the default filter of a container engine does: nothing at all can be forked, so nothing that
/// needs it is blamed, and the flags stand once.
#[test]
fn s36_a_missing_clone3_is_named_alone() {
    let mut facts = without_namespaces(ENOSYS);
    facts.calls = vec![("clone3", Err(refusal(ENOSYS, "cannot fork with clone3: no")))];
    (facts.seccomp, facts.landlock.confine, facts.groups.attach) = (None, None, None);
    let odd = |facts: &Facts| -> Vec<Row> {
        rows(facts).into_iter().filter(|row| row.state != State::Ok).collect()
    };
    let names = |rows: &[Row]| -> Vec<String> { rows.iter().map(|row| row.name.clone()).collect() };
    let outside = odd(&facts);
    assert_eq!(names(&outside), ["system calls", "namespaces"]);
    for row in &outside {
        mends(row, &["5.13"]);
        assert!(!row.mend.as_ref().unwrap().contains("doctor"), "that would be a circle");
    }
    facts.container.engine = Engine::Podman;
    let inside = odd(&facts);
    assert_eq!(names(&inside), ["system calls", "namespaces"]);
    mends(&inside[0], &["podman run"]);
    assert_eq!(inside[1].mend.as_deref(), Some("as for system calls"));
}

/// A kernel that lists Landlock has it; then a filter hides it, and no boot parameter helps.
#[test]
fn s36_a_hidden_landlock_is_no_matter_of_the_boot_parameter() {
    let mut facts = whole();
    facts.landlock.abi = 0;
    let row = only(&facts, "landlock", State::Missing);
    mends(&row, &["take off the filter"]);
    facts.container.engine = Engine::Docker;
    mends(&only(&facts, "landlock", State::Missing), &["seccomp=unconfined"]);
}
