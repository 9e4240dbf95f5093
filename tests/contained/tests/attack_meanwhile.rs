//! Attacks that use what the host does while a run goes on: F04, F10, F11, F15, F26, F28, with FS3, FS12, FH8.
//!
//! A mount that holds or hides a name goes away in every namespace when the name is replaced or
//! removed outside (rename(2), unlink(2) since Linux 3.18); editors and git save just so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfence_contained_tests::protected::PROTECTED;
use ringfence_contained_tests::{Fixture, Job, Live};
use rustix::process::Signal;

/// Waits for `go` with built-ins and `ls` (an overlay remembers that a name was missing), does
/// the script, says `over`.
fn waiting(script: &str) -> String {
    format!(
        "echo ready; until ls | grep -q '^go$'; do sleep 0.02; done\n{script}\necho over; exit 0"
    )
}

/// What watches from outside needs a moment to see a change; the boundary says so. An attack that
/// comes within it is told apart from one that finds a path open for good.
const NOTICE: Duration = Duration::from_millis(500);

/// Lets a waiting script go on, and waits until it is over or was ended.
fn go(project: &Path, live: &mut Live) {
    std::thread::sleep(NOTICE);
    fs::write(project.join("go"), "").unwrap();
    let begun = Instant::now();
    while live.runs() && !live.stdout().contains("over") {
        assert!(begun.elapsed() < Duration::from_secs(20), "the script does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Replaces a file as editors and git do: a new one beside it, renamed over it.
fn replace(place: &Path, text: &str) {
    let beside = place.with_extension("new-one");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, place).unwrap();
}

fn direct(fixture: &Fixture) -> Job<'_> {
    fixture.job().flags(["--workspace", "direct"])
}

/// F10, F15, FS3: a protected file that the host replaces meanwhile is still protected.
#[test]
fn f10_f15_a_protected_file_that_is_replaced_outside_is_still_held() {
    let fixture = Fixture::new();
    let project = fixture.project();
    fs::write(project.join(".envrc"), "# mine\n").unwrap();
    let script = "echo PLANTED >> .git/config; echo PLANTED >> .envrc
        echo PLANTED > .git/new && mv .git/new .git/config; rm -f .envrc; echo PLANTED > .envrc";
    let mut live = direct(&fixture).start_sh(&waiting(script));
    live.wait_for("ready");
    let config = fs::read_to_string(project.join(".git/config")).unwrap();
    replace(&project.join(".git/config"), &format!("{config}[user]\n\tname = Me\n"));
    replace(&project.join(".envrc"), "# mine, again\n");
    go(&project, &mut live);
    let outcome = live.wait();
    for place in [".git/config", ".envrc"] {
        let text = fs::read_to_string(project.join(place)).unwrap();
        assert!(!text.contains("PLANTED"), "{place} was changed: {text}; {outcome:?}");
        assert!(text.contains("Me") || text.contains("again"), "{place} lost the host's change");
    }
}

/// F10, FS3: a protected directory that the host replaces meanwhile is still protected.
#[test]
fn f10_a_protected_directory_that_is_replaced_outside_is_still_held() {
    let fixture = Fixture::new();
    let project = fixture.project();
    let script = "echo PLANTED > .git/hooks/pre-commit; mkdir -p .git/hooks && echo PLANTED > .git/hooks/post-checkout";
    let mut live = direct(&fixture).start_sh(&waiting(script));
    live.wait_for("ready");
    fs::rename(project.join(".git/hooks"), project.join(".git/hooks-old")).unwrap();
    // The name is held again the moment it is missing: a placeholder may be there first.
    fs::create_dir_all(project.join(".git/hooks")).unwrap();
    go(&project, &mut live);
    let outcome = live.wait();
    let hooks: Vec<_> = fs::read_dir(project.join(".git/hooks")).unwrap().collect();
    assert!(hooks.is_empty(), "hooks were planted: {hooks:?}; {outcome:?}");
}

/// F11, FS3: a held name that was missing is still held when another run in the same project ends.
#[test]
fn f11_another_runs_end_does_not_open_missing_names() {
    let fixture = Fixture::new();
    let project = fixture.project();
    let script = "for f in .envrc .mcp.json .bashrc; do echo PLANTED > $f; done
        mkdir -p .vscode .claude; echo PLANTED > .vscode/tasks.json; echo PLANTED > .claude/settings.json";
    let mut first = direct(&fixture).start_sh(&waiting(script));
    first.wait_for("ready");
    let mut second = direct(&fixture).start_sh("echo second-ran");
    second.shares_its_project();
    let second = second.wait();
    assert!(second.stdout.contains("second-ran") || second.code == 125, "{second:?}");
    go(&project, &mut first);
    let outcome = first.wait();
    for name in [".envrc", ".mcp.json", ".bashrc", ".vscode", ".claude"] {
        let there = project.join(name).symlink_metadata().is_ok();
        assert!(!there, "{name} is on the host after both runs: {outcome:?}");
    }
}

/// F11, FS3: a missing name whose placeholder the host removes (`git clean`) is still held.
#[test]
fn f11_a_placeholder_that_is_removed_outside_opens_nothing() {
    let fixture = Fixture::new();
    let project = fixture.project();
    let script = "echo PLANTED > .envrc; echo PLANTED > .mcp.json; mkdir .vscode && echo PLANTED > .vscode/tasks.json";
    let mut live = direct(&fixture).start_sh(&waiting(script));
    live.wait_for("ready");
    for name in [".envrc", ".mcp.json"] {
        let _ = fs::remove_file(project.join(name));
    }
    let _ = fs::remove_dir_all(project.join(".vscode"));
    go(&project, &mut live);
    let outcome = live.wait();
    for name in [".envrc", ".mcp.json", ".vscode/tasks.json"] {
        let text = fs::read_to_string(project.join(name)).unwrap_or_default();
        assert!(!text.contains("PLANTED"), "{name} was made: {outcome:?}");
    }
    // What the host itself made there would be the host's to keep; here nothing was.
    for name in [".envrc", ".mcp.json", ".vscode"] {
        assert!(project.join(name).symlink_metadata().is_err(), "{name} was left");
    }
}

/// F11: what the host writes into a held name meanwhile is the host's, and is kept.
#[test]
fn f11_what_the_host_makes_meanwhile_is_kept() {
    let fixture = Fixture::new();
    let project = fixture.project();
    // Told apart from a leak of placeholders by its content.
    let mut live = direct(&fixture).flags(["--unprotect", ".idea"]).start_sh(&waiting("true"));
    live.wait_for("ready");
    replace(&project.join(".envrc"), "# the person's own\n");
    fs::create_dir_all(project.join(".vscode")).unwrap();
    fs::write(project.join(".vscode/settings.json"), "{}").unwrap();
    go(&project, &mut live);
    let _ = live.wait();
    let kept = fs::read_to_string(project.join(".envrc")).unwrap_or_default();
    assert_eq!(kept, "# the person's own\n");
    assert!(project.join(".vscode/settings.json").exists(), "the person's own file was removed");
}

/// F04: a hidden file that the host replaces meanwhile is still hidden.
#[test]
fn f04_a_hidden_file_that_is_replaced_outside_is_still_hidden() {
    let fixture = Fixture::new();
    let project = fixture.project();
    for mode in ["review", "direct", "read-only"] {
        fs::write(project.join(".env"), "FIRST-3c11").unwrap();
        let _ = fs::remove_file(project.join("go"));
        let job = fixture.job().flags(["--hide", ".env", "--workspace", mode]);
        let mut live = job.start_sh(&waiting("cat .env; cat ./.env < /dev/null"));
        live.wait_for("ready");
        replace(&project.join(".env"), "SECOND-90ab");
        go(&project, &mut live);
        let outcome = live.wait();
        for secret in ["FIRST-3c11", "SECOND-90ab"] {
            assert!(!outcome.text().contains(secret), "{mode}: {outcome:?}");
        }
    }
}

/// F26, F28, FS12: swapping a granted directory for a link to a place of secrets while a run
/// starts opens nothing.
#[test]
fn f26_f28_a_swap_during_the_start_opens_nothing() {
    const STARTS: u32 = 30;
    let fixture = Fixture::new();
    let places = fixture.root().join("places");
    let (granted, link) = (places.join("granted"), places.join("link"));
    fs::create_dir_all(&granted).unwrap();
    fs::write(granted.join("id_rsa"), "harmless").unwrap();
    symlink(fixture.home().join(".ssh"), &link).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (here, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
            while !over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(here, &granted, here, &link, exchange).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let job = fixture.job().flags(["--ro", granted.to_str().unwrap()]);
        let script = format!("cat '{}/id_rsa' \"$HOME/.ssh/id_rsa\"; exit 0", granted.display());
        let mut started = 0;
        let outcomes: Vec<_> = (0..STARTS).map(|_| job.sh(&script)).collect();
        over.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            started += u32::from(outcome.stdout.contains("harmless"));
            assert!(!outcome.text().contains("CANARY-ssh"), "{outcome:?}");
            assert!([0, 125].contains(&outcome.code), "{outcome:?}");
        }
        assert!(started > 0, "no start ever saw the granted directory: the swap proves nothing");
    });
}

/// FH8: cleaning up after dead runs leaves live ones alone.
#[test]
fn fh8_cleaning_up_leaves_live_runs_alone() {
    let fixture = Fixture::new();
    let script =
        "echo up; n=0; until ls | grep -q '^go$'; do sleep 0.02; done; cat README.md; exit 7";
    let mut live: Vec<Live> = (0..3).map(|_| direct(&fixture).start_sh(script)).collect();
    for run in &mut live {
        run.shares_its_project();
        run.wait_for("up");
    }
    let victim = live.pop().unwrap();
    victim.signal(Signal::KILL);
    let _ = victim.wait();
    for _ in 0..10 {
        assert_eq!(fixture.ringfence(&["ps"]).code, 0);
    }
    let listed = fixture.ringfence(&["ps"]).stdout;
    for run in &mut live {
        assert!(run.runs(), "a live run was ended by another's clean-up: {listed}");
    }
    // Names that are held for the live ones are held still.
    let planted = "echo PLANTED > .envrc && echo opened; exit 0";
    let mut third = direct(&fixture).start_sh(planted);
    third.shares_its_project();
    assert!(!third.wait().stdout.contains("opened"));
    fs::write(fixture.project().join("go"), "").unwrap();
    for run in live {
        let outcome = run.wait();
        assert_eq!(outcome.code, 7, "{outcome:?}");
        assert!(outcome.stdout.contains("a project"), "{outcome:?}");
    }
    for row in PROTECTED.iter().filter(|row| !row.path.starts_with(".git/")) {
        let there = fixture.project().join(row.path).symlink_metadata().is_ok();
        assert!(!there, "{} was left when all were over", row.path);
    }
}
