//! Tier landlock: how it is chosen, what it refuses to promise, how it is labelled, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use ringfence_contained_tests::limits::{GONE, POLL};
use ringfence_contained_tests::tier::alone;
use ringfence_contained_tests::{
    Fixture, Live, Outcome, is_root, needs, needs_tier, processes_of, skip,
};
use rustix::process::{Pid, Signal, kill_process};

const HIDE: &str = include_str!("fixtures/hide.py");
const PATIENCE: Duration = Duration::from_secs(60);

/// A command where a container engine's default filter is in force: `clone3` does not exist, and
/// namespaces and mounts are refused.
fn in_container(fixture: &Fixture, inner: &Command) -> Outcome {
    let numbers: [i64; 6] = if cfg!(target_arch = "x86_64") {
        [56, 272, 165, 155, 308, 250]
    } else {
        [220, 97, 40, 41, 268, 219]
    };
    let [clone, rest @ ..] = numbers;
    let mut rules = vec!["435=38".to_owned(), format!("{clone}/0x7e020000=1")];
    rules.extend(rest.iter().map(|number| format!("{number}=1")));
    // The mount API, bpf, io_uring.
    rules.extend((428..=433).chain([442, 425, 426, 427]).map(|number| format!("{number}=1")));
    let mut command = Command::new("python3");
    command.args(["-c", HIDE]).args(rules).arg("--");
    command.arg(inner.get_program()).args(inner.get_args());
    fixture.surround(&mut command);
    command.current_dir(fixture.project());
    Live::start(command, b"", PATIENCE).wait()
}

/// Where a container forbids namespaces the default tier is refused and this one starts.
#[test]
fn s36_in_a_container_that_forbids_namespaces_it_starts() {
    needs!("python3");
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let script = ["sh", "-c", "cat README.md; cat ~/.bashrc; chmod 600 README.md"];
    let refused = in_container(&fixture, &fixture.job().command(script));
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("namespaces"), "{refused:?}");
    assert!(!refused.stdout.contains("a project"), "{refused:?}");
    let started = in_container(&fixture, &alone(&fixture).command(script));
    assert_eq!(started.stdout, "a project\n", "{started:?}");
    assert!(started.stderr.contains("weaker: tier landlock"), "{started:?}");
    fixture.verify_ledgers();
}

#[test]
fn what_it_cannot_hold_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let cases: [(&[&str], &str); 3] = [
        (&["--workspace", "review"], "keep changes apart without a mount"),
        (&["--hide", ".env"], "hide .env within what is visible"),
        (&["--publish", "8080"], "publish port 8080"),
    ];
    for (flags, words) in cases {
        let outcome = alone(&fixture).flags(flags).sh("echo STARTED");
        assert_eq!(outcome.code, 125, "{flags:?}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{flags:?}: {outcome:?}");
        assert!(outcome.stderr.contains("tier process"), "no way out is named: {outcome:?}");
        assert!(!outcome.stdout.contains("STARTED"));
    }
    let unknown = fixture.job().flags(["--tier", "microvm"]).sh("true");
    assert_eq!(unknown.code, 125);
    assert!(unknown.stderr.contains("the tiers are process, landlock"), "{unknown:?}");
}

/// It is a widening: a project cannot choose it by itself, and the organisation can forbid it.
#[test]
fn a_project_cannot_choose_it_without_trust() {
    let fixture = Fixture::new();
    let definition = fixture.project().join("ringfence.toml");
    fs::write(&definition, "version = 1\n[process]\ntier = \"landlock\"\n").unwrap();
    let outcome = fixture.contained("echo STARTED");
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(outcome.stderr.contains("runs without namespaces (tier landlock)"), "{outcome:?}");
    // Back to the stronger one is no widening.
    fs::write(&definition, "version = 1\n[process]\ntier = \"process\"\n").unwrap();
    assert_eq!(fixture.contained("echo STARTED").stdout, "STARTED\n");
}

/// C08: a run of this tier ends when the organisation forbids it meanwhile. Its file is laid over `/etc`
/// in a mount namespace of the test's own.
#[test]
fn c08_it_ends_when_the_organisation_forbids_it() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    if !is_root() {
        return skip("an organisation's policy", "only an administrator can write one");
    }
    let at = |name: &str| fixture.root().join(name);
    fs::create_dir_all(at("upper/ringfence")).unwrap();
    fs::create_dir_all(at("work")).unwrap();
    fs::write(at("upper/ringfence/policy.toml"), "version = 1\n").unwrap();
    let prepare = format!(
        "mount --make-rprivate / && mount -t overlay overlay -o 'lowerdir=/etc,upperdir={0}/upper,workdir={0}/work' /etc || exit 9
         {{ until [ -e {0}/change ] || [ ! -d {0} ]; do sleep 0.05; done; mv {0}/change /etc/ringfence/policy.toml; }} > /dev/null 2>&1 & exec \"$0\" \"$@\"",
        fixture.root().display()
    );
    let words = alone(&fixture).words(["sh", "-c", "echo up; sleep 60"]);
    let outer = ["unshare", "--mount", "sh", "-c", &prepare].map(std::ffi::OsString::from);
    let command = fixture.job().plain_command(outer.into_iter().chain(words));
    let mut live = Live::start(command, b"", PATIENCE);
    live.wait_for("up");
    fs::write(at("new"), "version = 1\n[process]\ntier = \"process\"\n").unwrap();
    fs::rename(at("new"), at("change")).unwrap();
    let outcome = live.wait();
    assert_eq!(outcome.code, 137, "{outcome:?}");
    assert!(outcome.stderr.contains("this tier is not permitted any more"), "{outcome:?}");
}

#[test]
fn it_is_labelled_wherever_a_run_is_shown() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let mut live = alone(&fixture).start_sh("echo up; sleep 60");
    live.wait_for("up");
    assert!(live.stderr().contains("weaker: tier landlock"), "{}", live.stderr());
    let run = fixture.runs().pop().unwrap();
    let list = fixture.ringfence(&["ps"]);
    assert!(list.stdout.contains("running (tier landlock)"), "{list:?}");
    let shown = fixture.ringfence(&["inspect", &run]);
    assert!(shown.stdout.contains("tier:      landlock (weaker"), "{shown:?}");
    for name in ["namespaces", "root"] {
        let row = shown.stdout.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row.contains("missing"), "{row}");
    }
    let ledger = fixture.ledger_of(&run);
    let start = ledger.the("start");
    assert_eq!(start["manifest"]["tier"], "landlock", "{start}");
    let risks = start["residual_risks"].to_string();
    for id in ["NAMES", "PROC", "USER", "BASE", "LOCKS", "ORPHANS"] {
        assert!(risks.contains(&format!("RR-TIER-{id}")), "{id}: {risks}");
        assert!(shown.stdout.contains(&format!("RR-TIER-{id}")), "{id}: {shown:?}");
    }
    live.signal(Signal::TERM);
    let _ = live.wait();
}

/// Protected paths in a direct workspace: none can be changed or made, what lies elsewhere can.
#[test]
fn f10_f11_protected_paths_of_a_direct_workspace_hold() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let tries = [
        ("hook", "echo x > .git/hooks/pre-commit"),
        ("config", "echo x >> .git/config"),
        ("replace", "echo x > .git/n && mv .git/n .git/config"),
        ("envrc", "echo x > .envrc"),
        ("editor", "mkdir .vscode && echo x > .vscode/tasks.json"),
        ("move-git", "mv .git git && mkdir -p .git/hooks"),
        ("hard", "ln .git/config src/config && echo x >> src/config"),
        ("definition", "echo x > ringfence.toml"),
        ("case", "mkdir .Git"),
    ];
    let script: String = tries
        .iter()
        .map(|(id, line)| {
            format!("if ( {line} ) 2>/dev/null; then echo '{id}\tDONE'; else echo '{id}\tno'; fi\n")
        })
        .collect();
    let work = "echo new > src/new.txt; mkdir src/deep; mv src/new.txt src/deep/; echo more >> src/main.txt; echo changed > README.md; chmod 600 src/main.txt\n";
    let job = alone(&fixture).flags(["--workspace", "direct"]);
    let inside = job.sh(&format!("{script}{work}"));
    for (id, _) in tries {
        assert_eq!(inside.answer(id), "no", "{id}: {inside:?}");
    }
    assert_eq!(inside.code, 0, "{inside:?}");
    let project = fixture.project();
    assert_eq!(fs::read_to_string(project.join("src/deep/new.txt")).unwrap(), "new\n");
    assert_eq!(fs::read_to_string(project.join("README.md")).unwrap(), "changed\n");
    assert!(!fs::read_to_string(project.join(".git/config")).unwrap().contains("\nx\n"));
    let outside = fixture.unprotected(&script);
    for id in ["hook", "config", "replace", "envrc", "editor", "definition"] {
        assert_eq!(outside.answer(id), "DONE", "control group: {outside:?}");
    }
}

fn attackers(fixture: &Fixture) -> Vec<i32> {
    processes_of(fixture.tools().to_str().unwrap())
        .into_iter()
        .filter(|pid| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("ringfence-attac")
        })
        .collect()
}

fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !holds() {
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(POLL);
    }
    true
}

fn kill(pid: i32) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// The only child of ringfence in this tier: init.
fn init_of(live: &Live) -> i32 {
    let children = format!("/proc/{0}/task/{0}/children", live.pid());
    let text = fs::read_to_string(children).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// P17, P18, FH1, FH2: whatever ends, everything inside ends: the agent, the supervisor, init.
#[test]
fn p17_p18_fh2_nothing_outlives_the_run_whatever_is_killed() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let many = "for i in 1 2 3 4 5 6 7 8; do \"$TOOLS/ringfence-attack\" stubborn 60 & done; setsid \"$TOOLS/ringfence-attack\" stubborn 60 & echo up; sleep 60";
    for part in ["supervisor", "init", "kill", "term"] {
        let mut live = alone(&fixture).start_sh(many);
        live.wait_for("up");
        live.wait_for("stays");
        assert!(within(GONE, || attackers(&fixture).len() >= 9), "control group: they live");
        match part {
            "supervisor" => kill(live.pid().cast_signed()),
            "init" => kill(init_of(&live)),
            "kill" => assert_eq!(fixture.ringfence(&["kill"]).code, 0),
            _ => live.signal(Signal::TERM),
        }
        let _ = live.wait();
        assert!(within(GONE, || attackers(&fixture).is_empty()), "{part}: something outlived");
        assert_eq!(fixture.job().sh("true").code, 0, "the next command heals");
    }
    let ended = alone(&fixture).sh("\"$TOOLS/ringfence-attack\" stubborn 60 & sleep 0.2; exit 7");
    assert_eq!(ended.code, 7, "{ended:?}");
    assert!(within(GONE, || attackers(&fixture).is_empty()));
    fixture.verify_ledgers();
}

/// A storm of forks is ended in one moment, too.
#[test]
fn p18_a_storm_of_forks_ends_with_the_run() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let storm = "\"$TOOLS/ringfence-attack\" fork-bomb & sleep 0.5; exit 4";
    let outcome = alone(&fixture).flags(["--limit", "processes=200"]).sh(storm);
    assert_eq!(outcome.code, 4, "{outcome:?}");
    assert!(within(GONE, || attackers(&fixture).is_empty()), "{:?}", attackers(&fixture));
}

/// Ordinary work: the programs that change modes and times, pipes, terminals, and git's reading.
#[test]
fn ordinary_programs_work() {
    needs!("python3", "git");
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let script = "set -e; cd; cp -p /bin/ls ls; ./ls > /dev/null; touch -d @7 f; tar cf a.tar f; rm f; tar --no-same-owner -xf a.tar
        [ \"$(stat -c %Y f)\" = 7 ]; python3 -c 'import subprocess; subprocess.run([\"true\"], check=True)'
        git -C \"$OLDPWD\" log --oneline > /dev/null; echo a | (read x; echo $x); mktemp > /dev/null; install -m 755 f g; git config user.name; ls -l /usr . > /dev/null; cp -a f h; mkdir p q p/r; python3 -c 'import os; os.rename(\"p/r\", \"q/r\"); os.link(\"f\", \"q/f\")'; echo fine";
    let outcome = alone(&fixture).sh(script);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "a\nTest\nfine\n"), "{outcome:?}");
    let base = alone(&fixture).flags(["--exec", "base"]).sh("cd; cp /bin/true t; ./t && echo RAN");
    assert!(!base.stdout.contains("RAN"), "{base:?}");
}

/// RR-TIER-ORPHANS: init and supervisor killed in the same moment leave processes, confined as before.
#[test]
fn rr_tier_orphans_are_as_said() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let secret = fixture.home().join(".bashrc").display().to_string();
    let witness = fixture.root().join("shared");
    fs::create_dir(&witness).unwrap();
    // Nothing can be made in it, since it could hold protected names.
    fs::write(witness.join("said"), "").unwrap();
    // It waits until its parent is another, and then tries to read what it must not and to start a
    // program: by the shell's own words alone, since nothing can be started any more.
    let wait = "parent() { read -r _ _ _ p _ < /proc/self/stat; }; parent; own=$p; while [ $p = $own ]; do parent; done";
    let script = format!(
        "( {wait}; if read -r x < {secret}; then a=open; else a=held; fi; if /bin/true; then a=$a-starts; fi; echo $a > {}/said ) 2>/dev/null & \"$TOOLS/ringfence-attack\" stubborn 60 & echo up; wait",
        witness.display()
    );
    let flags = ["--rw", witness.to_str().unwrap()];
    let mut live = alone(&fixture).flags(flags).start_sh(&script);
    live.wait_for("up");
    live.wait_for("stays");
    let init = init_of(&live);
    live.signal(Signal::STOP);
    kill(init);
    kill(live.pid().cast_signed());
    let _ = live.wait();
    assert!(!attackers(&fixture).is_empty(), "they are ended after all: say so in the table");
    let said = witness.join("said");
    assert!(within(PATIENCE, || fs::read_to_string(&said).is_ok_and(|text| !text.is_empty())));
    assert_eq!(fs::read_to_string(&said).unwrap(), "held\n");
    attackers(&fixture).into_iter().for_each(kill);
    assert!(within(GONE, || attackers(&fixture).is_empty()));
    assert_eq!(fixture.job().sh("true").code, 0, "the next command heals");
}
