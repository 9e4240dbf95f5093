//! Killing parts of a run, and refusing to die with it: P17, P18, P19, P20, F29, with FH1, FH2, FH6, FH8.
//!
//! Only processes that a test has started itself are killed, by their ids.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use ringfence_contained_tests::limits::{GONE, KILLS, KILLS_VARIABLE, POLL};
use ringfence_contained_tests::{Census, Fixture, Live, descends_from_us, processes_of};
use rustix::process::{Pid, Signal, kill_process};

fn kill(pid: i32) {
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

fn own(live: &Live) -> i32 {
    live.pid().cast_signed()
}

fn name_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Processes started from the fixture's own attack program, by what they run.
fn attackers(fixture: &Fixture) -> Vec<i32> {
    processes_of(fixture.tools().to_str().unwrap())
        .into_iter()
        .filter(|pid| name_of(*pid).starts_with("ringfence-attac"))
        .collect()
}

/// Waits until a condition holds, or the patience for it has passed.
fn within(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(POLL);
    }
}

/// P17, FH2: a child that ignores every signal and leaves its session ends with the run.
#[test]
fn p17_fh2_a_stubborn_child_ends_with_the_run() {
    let fixture = Fixture::new();
    let script = "\"$TOOLS/ringfence-attack\" stubborn 60 > out & while ! grep -q stays out; do sleep 0.02; done; exit 6";
    let _ = fixture.unprotected(script);
    let survivors = attackers(&fixture);
    survivors.iter().for_each(|pid| kill(*pid));
    assert_eq!(survivors.len(), 1, "control group: the child outlives its parent");
    assert!(within(GONE, || attackers(&fixture).is_empty()));
    fs::remove_file(fixture.project().join("out")).unwrap();
    let inside = fixture.contained(script);
    assert_eq!(inside.code, 6, "{inside:?}");
    assert!(within(GONE, || attackers(&fixture).is_empty()), "a child outlived its run");
}

/// P17, FH2: the end of ringfence by a signal, and `ringfence kill`, take everything with them.
#[test]
fn p17_fh2_signals_and_kill_take_everything() {
    let fixture = Fixture::new();
    let script =
        "for i in 1 2 3; do \"$TOOLS/ringfence-attack\" stubborn 60 & done; trap '' TERM INT HUP
        echo up; sleep 60";
    for signal in [Some(Signal::INT), Some(Signal::TERM), Some(Signal::HUP), None] {
        let mut live = fixture.job().start_sh(script);
        live.wait_for("up");
        live.wait_for("stays");
        match signal {
            Some(signal) => live.signal(signal),
            None => {
                let killed = fixture.ringfence(&["kill"]);
                assert_eq!(killed.code, 0, "{killed:?}");
            }
        }
        // A terminal's Ctrl-C is for the agent; an agent that ignores it is ended by what follows.
        if !within(Duration::from_secs(8), || !live.runs()) {
            live.signal(Signal::TERM);
        }
        let outcome = live.wait();
        assert_ne!(outcome.code, 0, "{signal:?}: {outcome:?}");
        assert!(within(GONE, || attackers(&fixture).is_empty()), "{signal:?}: something outlived");
    }
    fixture.verify_ledgers();
}

/// P17: a child that keeps the output open does not keep the run.
#[test]
fn p17_a_child_that_holds_the_output_does_not_hold_the_run() {
    let fixture = Fixture::new();
    let outcome =
        fixture.contained("sleep 600 & (setsid sleep 600 &) ; echo first-is-over; exit 3");
    assert_eq!(outcome.code, 3, "{outcome:?}");
    assert!(outcome.stdout.contains("first-is-over"), "{outcome:?}");
}

/// P17, FH2: stopped processes end like all others, and `kill` says the same when said twice.
#[test]
fn p17_fh2_stopped_processes_end() {
    let fixture = Fixture::new();
    let mut live =
        fixture.job().start_sh("sleep 60 & kill -STOP $!; echo up; kill -STOP $$; sleep 60");
    live.wait_for("up");
    let run = fixture.runs().pop().unwrap();
    let killed = fixture.ringfence(&["kill", &run]);
    assert_eq!(killed.code, 0, "{killed:?}");
    let outcome = live.wait();
    assert_ne!(outcome.code, 0, "{outcome:?}");
    let again = fixture.ringfence(&["kill", &run]);
    assert!(again.text().contains(&run) || again.code == 0, "{again:?}");
    fixture.verify_ledgers();
}

/// P18, FH1, F29: the supervisor's death is the agent's; the next command heals what is left.
#[test]
fn p18_fh1_f29_the_supervisors_death_ends_everything() {
    let fixture = Fixture::new();
    for mode in ["review", "direct"] {
        let job = fixture.job().flags(["--workspace", mode]);
        let mut live = job.start_sh(
            "for i in 1 2 3 4 5 6 7 8; do \"$TOOLS/ringfence-attack\" stubborn 60 & done; echo up; sleep 60",
        );
        live.wait_for("up");
        live.wait_for("stays");
        kill(own(&live));
        let _ = live.wait();
        assert!(within(GONE, || attackers(&fixture).is_empty()), "{mode}: something outlived");
        heal(&fixture);
    }
}

/// Runs a harmless command, after which nothing may be left, and verifies every ledger.
fn heal(fixture: &Fixture) {
    let listed = fixture.ringfence(&["ps"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    let left = Census::take(fixture).left();
    assert!(left.is_empty(), "left after a kill:\n{}", left.join("\n"));
    for placeholder in [".envrc", ".mcp.json", ".vscode", ".claude", ".idea"] {
        let path = fixture.project().join(placeholder);
        assert!(path.symlink_metadata().is_err(), "{placeholder} was left in the project");
    }
    fixture.verify_ledgers();
}

/// A small generator (xorshift64): which part dies when is repeatable from its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// P18, F29, FH1, FH8: any part is killed at any moment: nothing is left, every ledger is whole.
#[test]
fn p18_f29_fh8_any_part_dies_at_any_moment() {
    let kills = std::env::var(KILLS_VARIABLE).ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let fixture = Fixture::new();
    let script =
        "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo $i > count; /bin/true; done & sleep 20";
    for round in 0..kills {
        let mode = ["review", "direct"][chance.below(2) as usize];
        let mut live = fixture.job().flags(["--workspace", mode]).start_sh(script);
        // Most kills hit the start, where most is half done.
        std::thread::sleep(Duration::from_micros(chance.below(60_000)));
        let mut parts = descends_from_us(own(&live));
        parts.push(own(&live));
        let victim = parts[chance.below(parts.len() as u64) as usize];
        let what = format!("round {round}, {mode}: {} of {} parts", name_of(victim), parts.len());
        kill(victim);
        // An agent's child is not a part of the run: then the rest is ended from outside.
        if !within(Duration::from_millis(300), || !live.runs()) {
            kill(own(&live));
        }
        let _ = live.wait();
        let listed = fixture.ringfence(&["ps"]);
        assert_eq!(listed.code, 0, "{what}: {listed:?}");
        let left = Census::take(&fixture).left();
        assert!(left.is_empty(), "{what}: left:\n{}", left.join("\n"));
        let placeholder = fixture.project().join(".envrc");
        assert!(placeholder.symlink_metadata().is_err(), "{what}: a placeholder was left");
    }
    fixture.verify_ledgers();
    let after = fixture.contained("cat README.md");
    assert!(after.stdout.contains("a project"), "the next run works: {after:?}");
}

/// P18, FH6: without its gateway a run has no way out, and ends.
#[test]
fn p18_fh6_the_gateways_death_opens_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    serve(listener);
    let fixture = Fixture::new();
    let allow = format!("host.ringfence:{port}");
    let job = fixture.job().flags(["--allow", &allow]);
    let once = format!("exec 3<>/dev/tcp/host.ringfence/{port} && head -c 5 <&3");
    let works = job.argv(["bash", "-c", &once]);
    assert_eq!(works.stdout, "hello", "control group: {works:?}");
    let script = format!(
        "({once}); echo up; while ! [ -e /tmp/never ]; do (exec 3<>/dev/tcp/host.ringfence/{port} && \
         echo \"got $(head -c 5 <&3)\") 2>/dev/null; sleep 0.05; done"
    );
    let mut live = job.start(["bash", "-c", &script]);
    live.wait_for("got hello");
    let gateways: Vec<i32> = descends_from_us(own(&live))
        .into_iter()
        .filter(|pid| name_of(*pid).contains("gate") || command_of(*pid).contains("gateway"))
        .collect();
    assert!(!gateways.is_empty(), "no gateway process was found");
    gateways.iter().for_each(|pid| kill(*pid));
    assert!(within(GONE, || !live.runs()), "the run goes on without its gateway");
    let outcome = live.wait();
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert_eq!(fixture.ledger().the("end")["cause"], "gateway-lost");
    fixture.verify_ledgers();
}

fn command_of(pid: i32) -> String {
    fs::read(format!("/proc/{pid}/cmdline"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Answers every connection with `hello`, for as long as the test's process lives.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"hello");
        }
    });
}

/// P20: while the one that decides does not answer, nothing is let through.
#[test]
fn p20_a_decider_that_does_not_answer_lets_nothing_through() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    serve(listener);
    let fixture = Fixture::new();
    let allow = format!("host.ringfence:{port}");
    let once = format!(
        "{{ exec 3<>/dev/tcp/host.ringfence/{port} && read -r -N 5 -u 3 x && echo \"got $x\"; exec 3>&-; }}"
    );
    // In the direct mode the test can speak with the agent through the project. Only built-ins, as
    // a program's start is something to be recorded as well.
    let script = format!(
        "{once}; echo up; until [ -e go ]; do :; done; : > asked; {once} > answer; : > answered; sleep 60"
    );
    let job = fixture.job().flags(["--allow", &allow, "--workspace", "direct"]);
    let mut live = job.start(["bash", "-c", &script]);
    live.wait_for("got hello");
    live.wait_for("up");
    live.signal(Signal::STOP);
    fs::write(fixture.project().join("go"), "").unwrap();
    let project = fixture.project();
    assert!(within(GONE, || project.join("asked").exists()), "the agent never asked");
    std::thread::sleep(Duration::from_millis(500));
    let answer = fs::read_to_string(project.join("answer")).unwrap_or_default();
    assert!(!answer.contains("hello"), "let through while nobody decided");
    live.signal(Signal::CONT);
    live.signal(Signal::TERM);
    let _ = live.wait();
}

/// P19: a storm of interrupted calls neither hangs the decision nor opens it.
#[test]
fn p19_an_interrupt_storm_neither_hangs_nor_opens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener);
    let fixture = Fixture::new();
    let outside = fixture.job().unprotected_attack(&["interrupted", &address.to_string()]);
    assert!(outside.answers().iter().any(|(answer, _)| *answer == "DONE"), "control: {outside:?}");
    // A documentation address (RFC 5737): nobody is there, and no rule names it.
    for target in [address.to_string(), format!("192.0.2.1:{}", address.port())] {
        let inside = fixture.job().attack(&["interrupted", &target]);
        assert_eq!(inside.code, 0, "{inside:?}");
        let total: u32 =
            inside.answers().iter().map(|(_, count)| count.parse::<u32>().unwrap()).sum();
        assert_eq!(total, 200, "{inside:?}");
        assert!(inside.answers().iter().all(|(answer, _)| *answer != "DONE"), "{inside:?}");
    }
}

/// P18: with almost no descriptors left it refuses, or works; it never runs with less.
#[test]
fn p18_exhausted_descriptors_open_nothing() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let words = || job.words(["sh", "-c", "echo ran; cat \"$HOME/.ssh/id_rsa\"; exit 0"]);
    for limit in [6, 8, 12, 16, 20, 24, 32, 48, 64] {
        let outcome = job.behind(&format!("ulimit -n {limit}"), words()).wait();
        assert!(!outcome.text().contains("CANARY-ssh"), "{limit}: {outcome:?}");
        let refused = outcome.code != 0 && !outcome.stdout.contains("ran");
        assert!(refused || outcome.code == 0, "{limit}: {outcome:?}");
    }
}

/// S36, FH5: where nothing can be written to the ledger, nothing starts.
#[test]
fn s36_without_a_ledger_nothing_starts() {
    let fixture = Fixture::new();
    let ran = fixture.project().join("ran");
    fs::write(fixture.state().join("ringfence"), "a file where the state should be").unwrap();
    let outcome = fixture.job().flags(["--workspace", "direct"]).sh("touch ran; echo ran");
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(!outcome.stdout.contains("ran") && !ran.exists(), "{outcome:?}");
    assert!(outcome.stderr.contains("state"), "the error names the place: {outcome:?}");
    fs::remove_file(fixture.state().join("ringfence")).unwrap();
}
