//! Attacks on files outside the workspace: F01 to F09, with controls FS1, FS4, DX1.
//!
//! Nothing here may touch a real secret: every target is a decoy of the fixture.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use ringfence_contained_tests::{CANARIES, Fixture, expose};

fn outside_of_project(fixture: &Fixture) -> Vec<String> {
    let home = fixture.home();
    CANARIES.iter().map(|c| home.join(c.path).display().to_string()).collect()
}

fn read_host(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// F01, F02, F03, DX1: what was not named does not exist: not to open, not to list, not to stat.
#[test]
fn f01_f02_f03_secrets_and_siblings_do_not_exist() {
    let fixture = Fixture::new();
    let paths = outside_of_project(&fixture);
    let mut attempts = Vec::new();
    for verb in ["read", "stat", "lstat"] {
        attempts.extend(paths.iter().map(|path| format!("{verb} {path}\t{verb}\t{path}")));
    }
    let outside = fixture.job().unprotected_batch(&attempts);
    let inside = fixture.job().batch(&attempts);
    assert_eq!(outside.answers().len(), attempts.len(), "{outside:?}");
    for (id, answer) in outside.answers() {
        assert_eq!(answer, "DONE", "control group: {id}");
    }
    assert_eq!(inside.answers().len(), attempts.len(), "{inside:?}");
    for (id, answer) in inside.answers() {
        assert_eq!(answer, "ENOENT", "{id}");
    }
    // The same as for a path that never was: existence cannot be told.
    let never = format!("never\tlstat\t{}/.never-was", fixture.home().display());
    assert_eq!(fixture.job().batch(&[never]).answer("never"), "ENOENT");
}

/// F01, S01: a search of everything that can be seen finds no decoy.
#[test]
fn f01_a_search_finds_no_secret() {
    let fixture = Fixture::new();
    let script = "grep -rhs CANARY- \"$HOME\" /tmp /run /var /etc /mnt 2>/dev/null; exit 0";
    let control = "grep -rhs CANARY- \"$HOME\"; exit 0";
    assert_eq!(expose(&fixture.unprotected(control).stdout).len(), CANARIES.len());
    let inside = fixture.contained(script);
    assert_eq!(inside.code, 0, "{inside:?}");
    assert_eq!(expose(&inside.text()), Vec::<&str>::new());
}

/// F02, FS1: places of the host that no program needs are absent, whoever starts the run.
#[test]
fn f02_places_of_the_host_are_absent() {
    let fixture = Fixture::new();
    let places = [
        "/root",
        "/boot",
        "/srv",
        "/media",
        "/home",
        "/var/log",
        "/var/lib",
        "/var/spool",
        "/etc/shadow",
        "/etc/sudoers",
        "/etc/ssh",
        "/etc/cron.d",
        "/run/systemd",
        "/run/dbus",
        "/run/user",
        "/run/docker.sock",
        "/sys/kernel",
        "/sys/fs",
        "/sys/firmware",
        "/dev/kmsg",
        "/dev/mem",
        "/dev/kvm",
        "/dev/fuse",
        "/dev/net/tun",
        "/dev/vda",
        "/dev/sda",
        "/lost+found",
    ];
    let there: Vec<&str> = places
        .into_iter()
        .filter(|place| Path::new(place).symlink_metadata().is_ok())
        .filter(|place| !fixture.root().starts_with(place))
        .collect();
    assert!(there.len() > 5, "a host without these places proves nothing: {there:?}");
    let attempts: Vec<String> =
        there.iter().map(|place| format!("{place}\tlstat\t{place}")).collect();
    let inside = fixture.job().batch(&attempts);
    for place in there {
        assert_eq!(inside.answer(place), "ENOENT", "{place}");
    }
}

/// F04: a hidden name is hidden in every depth and under every hard link.
#[test]
fn f04_a_hidden_name_is_hidden_everywhere() {
    let fixture = Fixture::new();
    let project = fixture.project();
    fs::create_dir_all(project.join("a/b/c")).unwrap();
    for place in [".env", "a/.env", "a/b/c/.env"] {
        fs::write(project.join(place), "HIDDEN-5e1f").unwrap();
    }
    fs::hard_link(project.join(".env"), project.join("a/innocent.txt")).unwrap();
    symlink(".env", project.join("link")).unwrap();
    let script = "cat .env a/.env ./a//b/./c/.env a/innocent.txt link; ls -la . a; exit 0";
    assert_eq!(fixture.unprotected(script).stdout.matches("HIDDEN-5e1f").count(), 5);
    for mode in ["review", "direct", "read-only"] {
        let job = fixture.job().flags(["--hide", ".env", "--workspace", mode]);
        let inside = job.sh(script);
        assert_eq!(inside.code, 0, "{mode}: {inside:?}");
        assert!(!inside.text().contains("HIDDEN-5e1f"), "{mode}: {inside:?}");
        // Making room and looking again, copying, moving: still nothing.
        let moved = job.sh("mv .env x; cp a/.env y; mv a z; cat x y z/.env z/b/c/.env; exit 0");
        assert!(!moved.text().contains("HIDDEN-5e1f"), "{mode}: {moved:?}");
    }
}

/// F04: a file of a hidden name that the host makes while the run goes on is hidden as well.
#[test]
fn f04_a_hidden_name_that_appears_later_is_hidden() {
    let fixture = Fixture::new();
    let project = fixture.project();
    fs::create_dir(project.join("a")).unwrap();
    let script =
        "echo ready; until ls | grep -q '^go$'; do sleep 0.02; done; cat a/.env; echo over";
    for mode in ["review", "direct"] {
        let _ = fs::remove_file(project.join("go"));
        let _ = fs::remove_file(project.join("a/.env"));
        let job = fixture.job().flags(["--hide", ".env", "--workspace", mode]);
        let mut live = job.start_sh(script);
        live.wait_for("ready");
        fs::write(project.join("a/.env"), "LATER-77c0").unwrap();
        fs::write(project.join("go"), "").unwrap();
        live.wait_for("over");
        assert!(!live.wait().text().contains("LATER-77c0"), "{mode}");
    }
}

/// F05, PB2: a deny inside an allowed parent wins, in whatever order both are said.
#[test]
fn f05_a_deny_wins_over_its_allowed_parent() {
    let fixture = Fixture::new();
    let notes = fixture.home().join("notes");
    fs::write(notes.join("plain.txt"), "PLAIN-1d").unwrap();
    let notes = notes.to_str().unwrap();
    let script = "cat \"$HOME/notes/token.txt\" \"$HOME/notes/plain.txt\"; exit 0";
    assert!(fixture.unprotected(script).stdout.contains("CANARY-notes"));
    for grant in ["--ro", "--rw"] {
        for flags in [[grant, notes, "--hide", "token.txt"], ["--hide", "token.txt", grant, notes]]
        {
            let inside = fixture.job().flags(flags).sh(script);
            assert!(inside.stdout.contains("PLAIN-1d"), "{flags:?}: {inside:?}");
            assert!(!inside.text().contains("CANARY-notes"), "{flags:?}: {inside:?}");
        }
    }
}

/// F05, DX1: granting a parent of a place of secrets does not open the place.
#[test]
fn f05_a_granted_home_does_not_open_its_secrets() {
    let fixture = Fixture::new();
    let home = fixture.home();
    let inside = fixture
        .job()
        .flags(["--ro", home.to_str().unwrap()])
        .sh("cat ~/.ssh/id_rsa ~/.aws/credentials ~/.netrc ~/.config/gh/hosts.yml; exit 0");
    for secret in ["CANARY-ssh", "CANARY-aws", "CANARY-netrc", "CANARY-gh"] {
        assert!(!inside.text().contains(secret), "{secret}: {inside:?}");
    }
}

/// F06: a deny that can match nothing is said, never silent.
#[test]
fn f06_a_deny_that_matches_nothing_is_said() {
    let fixture = Fixture::new();
    for pattern in ["no-such-name", "secrts/", "a//b", "~/.nothing-here"] {
        let outcome = fixture.job().flags(["--hide", pattern]).sh("exit 0");
        let named = outcome.stderr.contains(pattern.trim_end_matches('/'));
        assert!(named, "`--hide {pattern}` was silent: {outcome:?}");
    }
}

/// F07, FS4, PB4: a link in the workspace leads nowhere outside, whoever made it.
#[test]
fn f07_a_symbolic_link_leads_nowhere() {
    let fixture = Fixture::new();
    symlink(fixture.home().join("notes"), fixture.project().join("made-outside")).unwrap();
    let script = "ln -s \"$HOME/notes\" made-inside
        for link in made-outside made-inside; do echo WRITTEN > $link/token.txt; done
        ln -s \"$HOME/notes/token.txt\" file-link; echo WRITTEN >> file-link; exit 0";
    let victim = fixture.home().join("notes/token.txt");
    let before = read_host(&victim);
    for mode in ["review", "direct"] {
        let inside = fixture.job().flags(["--workspace", mode]).sh(script);
        assert_eq!(read_host(&victim), before, "{mode}");
        assert!(
            inside.stderr.to_lowercase().contains("nonexistent")
                || inside.stderr.to_lowercase().contains("no such file"),
            "{mode}: {inside:?}"
        );
        let _ = fs::remove_file(fixture.project().join("made-inside"));
        let _ = fs::remove_file(fixture.project().join("file-link"));
    }
    let _ = fixture.unprotected(script);
    assert_ne!(read_host(&victim), before, "control group");
}

/// F08: a protected name that is itself a link is not protected by its name: the start is refused,
/// or what it points to does not change.
#[test]
fn f08_a_protected_name_that_is_a_link() {
    let fixture = Fixture::new();
    let elsewhere = fixture.project().join("innocent");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("settings.json"), "ORIGINAL").unwrap();
    symlink("innocent", fixture.project().join(".claude")).unwrap();
    let script = "echo ran; echo '{\"hooks\":1}' > .claude/settings.json; exit 0";
    let inside = fixture.job().flags(["--workspace", "direct"]).sh(script);
    assert_eq!(read_host(&elsewhere.join("settings.json")), "ORIGINAL", "{inside:?}");
    if inside.code == 125 {
        assert!(inside.stderr.contains(".claude"), "the refusal names the link: {inside:?}");
        assert!(!inside.stdout.contains("ran"), "{inside:?}");
    }
    let _ = fixture.unprotected(script);
    assert_ne!(read_host(&elsewhere.join("settings.json")), "ORIGINAL", "control group");
}

/// F09: a second name for a file outside cannot be made.
#[test]
fn f09_no_hard_link_to_what_is_outside() {
    let fixture = Fixture::new();
    let key = fixture.home().join(".ssh/id_rsa").display().to_string();
    let granted = fixture.home().join("notes/token.txt").display().to_string();
    let notes = fixture.home().join("notes").display().to_string();
    let attempts = [
        format!("absent\tlink\t{key}\tone"),
        "base\tlink\t/usr/bin/env\ttwo".to_owned(),
        format!("granted\tlink\t{granted}\tthree"),
    ];
    let outside = fixture.job().unprotected_batch(&attempts);
    assert_eq!(outside.answer("absent"), "DONE", "control group");
    assert_eq!(outside.answer("granted"), "DONE", "control group");
    for name in ["one", "three"] {
        fs::remove_file(fixture.project().join(name)).unwrap();
    }
    let _ = fs::remove_file(fixture.project().join("two"));
    let inside = fixture.job().flags(["--ro", &notes]).batch(&attempts);
    assert_eq!(inside.answer("absent"), "ENOENT");
    assert_eq!(inside.answer("base"), "EXDEV");
    assert_eq!(inside.answer("granted"), "EXDEV");
}
