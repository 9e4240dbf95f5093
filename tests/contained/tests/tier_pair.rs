//! `pair` workspaces in tier landlock: what is changed in the project can be taken back there, too, and
//! nothing is changed by a name outside of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

mod support;

use std::fs;

use ringfence_contained_tests::tier::alone;
use ringfence_contained_tests::{Fixture, Job, needs, needs_tier, skip};
use rustix::process::{Pid, Signal, kill_process};
use support::tree::{assert_unchanged, snapshot};

fn pair(fixture: &Fixture) -> Job<'_> {
    alone(fixture).flags(["--workspace", "pair"])
}

/// Whether the keeper may read what it must (Yama); root's always may.
fn keeper_reads(fixture: &Fixture) -> bool {
    let outcome = pair(fixture).sh("true");
    let lacks = outcome.code == 125 && outcome.stderr.contains("ptrace_scope");
    if lacks {
        assert!(outcome.stderr.contains("--workspace direct"), "no way out: {outcome:?}");
        skip("pair in tier landlock", &outcome.stderr);
    }
    assert!(lacks || outcome.code == 0, "{outcome:?}");
    !lacks
}

/// S04, and changes of modes and times, which somebody else makes in this tier. Control group:
/// `direct` takes nothing back.
#[test]
fn s04_what_is_changed_in_the_tier_is_taken_back() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    if !keeper_reads(&fixture) {
        return;
    }
    let root = fixture.project();
    fs::write(root.join("src/other.txt"), "other\n").unwrap();
    let before = snapshot(&root);
    let work = "set -e; echo changed > README.md; chmod 600 README.md; cd src; echo more >> main.txt
        chmod 700 main.txt; touch -d @7 main.txt; mkdir -p deep/er; mv main.txt deep/er/; ln deep/er/main.txt second
        ln -s second link; rm other.txt; echo new > new; chmod 000 deep/er; stat -c %a-%Y second; chmod 700 deep/er";
    for mode in ["direct", "pair"] {
        let outcome = alone(&fixture).flags(["--workspace", mode]).sh(work);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "700-7\n"), "{mode}: {outcome:?}");
        assert_ne!(snapshot(&root), before, "{mode}: nothing was changed");
        let restored = fixture.ringfence(&["restore"]);
        if mode == "pair" {
            assert_eq!(restored.code, 0, "{restored:?}");
            assert_unchanged(&root, &before, "after taking back");
            break;
        }
        assert_eq!(restored.code, 1, "{restored:?}");
        for made in ["second", "link", "new"] {
            fs::remove_file(root.join("src").join(made)).unwrap();
        }
        fs::rename(root.join("src/deep/er/main.txt"), root.join("src/main.txt")).unwrap();
        fs::remove_dir_all(root.join("src/deep")).unwrap();
        put_back(&root, &before);
    }
    fixture.verify_ledgers();
}

/// Contents and modes as the fixture made them.
fn put_back(root: &std::path::Path, before: &support::tree::Tree) {
    use std::os::unix::fs::PermissionsExt;
    for (file, text) in
        [("README.md", "a project\n"), ("src/other.txt", "other\n"), ("src/main.txt", "")]
    {
        let path = root.join(file);
        let mode = u32::from_str_radix(before[file].split(' ').next().unwrap(), 8).unwrap();
        if !text.is_empty() {
            fs::write(&path, text).unwrap();
        } else {
            let now = fs::read_to_string(&path).unwrap();
            fs::write(&path, now.trim_end_matches("more\n")).unwrap();
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode & 0o777)).unwrap();
    }
    assert_unchanged(root, before, "put back by hand");
}

/// A second name outside of the project would be a way to change it unseen. Control group: `direct`.
#[test]
fn nothing_is_moved_or_linked_out_of_the_project() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    if !keeper_reads(&fixture) {
        return;
    }
    let script = "echo x > src/a; mkdir -p \"$TMPDIR/d\"; echo y > \"$TMPDIR/in\"
        try() { id=$1; shift; if \"$@\" 2>/dev/null; then printf '%s\\tDONE\\n' $id; else printf '%s\\tno\\n' $id; fi; }
        try link-out ln src/a \"$TMPDIR/b\"; try link-home ln src/a ~/b; try link-in ln \"$TMPDIR/in\" src/in
        try move-out mv --no-copy src/a ~/c; try inside ln src/a src/same";
    let job = |mode| alone(&fixture).flags(["--workspace", mode]);
    let (kept, direct) = (job("pair").sh(script), job("direct").sh(script));
    // What a `mv` too old for the flag does not know fails outside, too.
    for id in ["link-out", "link-home", "link-in"] {
        assert_eq!(direct.answer(id), "DONE", "control group: {id}: {direct:?}");
        assert_eq!(kept.answer(id), "no", "{id}: {kept:?}");
    }
    assert_eq!(kept.answer("move-out"), "no", "{kept:?}");
    assert_eq!(kept.answer("inside"), "DONE", "{kept:?}");
}

/// FH1, FH2: without its keeper the run ends, without its init as well; what was changed until then can
/// be taken back.
#[test]
fn fh1_fh2_without_keeper_or_init_the_run_ends_in_the_tier() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    if !keeper_reads(&fixture) {
        return;
    }
    let before = snapshot(&fixture.project());
    for (part, words) in [("ringfence-keep", "keeps what changes replace is gone"), ("", "")] {
        let script =
            "echo x > src/loop; echo ready; while :; do echo x > src/loop; sleep 0.05; done";
        let mut live = pair(&fixture).start_sh(script);
        live.wait_for("ready");
        let list = format!("/proc/{0}/task/{0}/children", live.pid());
        let children = fs::read_to_string(list).unwrap();
        let is_keeper = |pid: &&str| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim() == "ringfence-keep")
        };
        let victim = children
            .split_whitespace()
            .find(|pid| is_keeper(pid) != part.is_empty())
            .unwrap_or_else(|| panic!("no {part} among {children}"));
        kill_process(Pid::from_raw(victim.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        let outcome = live.wait();
        assert_eq!(outcome.code, 137, "{part}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{outcome:?}");
        assert!(fixture.project().join("src/loop").exists(), "the attack itself");
        let restored = fixture.ringfence(&["restore"]);
        assert_eq!(restored.code, 0, "{part}: {restored:?}");
        assert_unchanged(&fixture.project(), &before, "after taking back");
    }
}

/// At a terminal as well nothing is written in the project unless it is asked for, and it is said how.
#[test]
fn at_a_terminal_the_project_is_read_only_by_default() {
    needs!("script");
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let shown = |job: Job<'_>| {
        let words = job.words(["sh", "-c", "echo x > src/new && echo WRITTEN"]);
        let quoted: Vec<String> = words
            .iter()
            .map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''")))
            .collect();
        let line = quoted.join(" ");
        let command = job.plain_command(["script", "-qec", &line, "/dev/null"]);
        let live = ringfence_contained_tests::Live::start(
            command,
            b"",
            std::time::Duration::from_secs(60),
        );
        live.wait().stdout
    };
    let default = shown(alone(&fixture));
    assert!(
        default.contains("the project is read-only, the default of tier landlock"),
        "{default}"
    );
    assert!(default.contains("--workspace pair"), "{default}");
    assert!(!default.contains("WRITTEN") && !fixture.project().join("src/new").exists());
    let direct = shown(alone(&fixture).flags(["--workspace", "direct"]));
    assert!(direct.contains("WRITTEN"), "control group: {direct}");
}
