//! The control group of the harness itself: the census finds what a run could leave (F29, FH8, S25).
//!
//! A census that finds nothing proves something only if it can find.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use ringfence_contained_tests::{Census, Fixture, expose};

fn finds(fixture: &Fixture, what: &str) -> bool {
    Census::take(fixture).now().iter().any(|line| line.starts_with(what))
}

/// F29: a process is found by its environment, its directory, or its command line.
#[test]
fn f29_the_census_finds_a_process() {
    let fixture = Fixture::new();
    assert!(!finds(&fixture, "process"));
    for way in ["environment", "directory", "arguments"] {
        let mut command = std::process::Command::new("sleep");
        command.arg("60").env_clear().stdin(Stdio::null());
        match way {
            "environment" => command.env("HOME", fixture.home()),
            "directory" => command.current_dir(fixture.project()),
            _ => {
                command = std::process::Command::new("tail");
                command.arg("-f").arg(fixture.project().join("README.md")).env_clear();
                command.stdout(Stdio::null())
            }
        };
        let mut child = command.spawn().unwrap();
        let found = finds(&fixture, "process");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found, "not found by its {way}");
        assert!(!finds(&fixture, "process"), "found after its end");
    }
}

/// F29: a socket and the journal of a run that nobody ended are found.
#[test]
fn f29_the_census_finds_sockets_and_journals() {
    let fixture = Fixture::new();
    let runs = fixture.state().join("ringfence/runs/0123456789abcdef");
    let live = fixture.state().join("ringfence/live");
    fs::create_dir_all(&runs).unwrap();
    fs::create_dir_all(&live).unwrap();
    assert!(Census::take(&fixture).now().is_empty());
    let socket = UnixListener::bind(runs.join("control")).unwrap();
    assert!(finds(&fixture, "socket"));
    drop(socket);
    fs::remove_file(runs.join("control")).unwrap();
    fs::write(live.join("0123456789abcdef"), "").unwrap();
    assert!(finds(&fixture, "journal"));
    fs::remove_dir_all(fixture.state().join("ringfence")).unwrap();
    assert!(Census::take(&fixture).now().is_empty());
}

/// F29: a mount of another process's namespace is found through that process.
#[test]
fn f29_the_census_finds_a_mount_in_a_namespace() {
    let fixture = Fixture::new();
    let project = fixture.project();
    let script =
        format!("mount --bind '{0}' '{0}' && echo up && cd / && exec sleep 60", project.display());
    let mut child = std::process::Command::new("unshare")
        .args(["-Urm", "sh", "-c", &script, "none"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let found = finds(&fixture, "process");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, "up\n", "this host allows no user namespaces");
    assert!(found);
}

/// S25: every decoy is planted, and is recognised in a text.
#[test]
fn s25_every_decoy_is_recognised() {
    let fixture = Fixture::new();
    for canary in ringfence_contained_tests::CANARIES {
        let text = fs::read_to_string(fixture.home().join(canary.path)).unwrap();
        assert_eq!(expose(&text), [canary.path]);
    }
}
