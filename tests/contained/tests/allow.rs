//! Answers to denials that reach a running sandbox, for a time or for good, and never from inside.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::{Live, copy_program, is_root, needs, of_type, skip};
use rustix::process::{Pid, Signal, kill_process};
use support::answers::{ask, asking, definition, hint, paste, world};
use support::tcp::greeter;
use support::world::{Gate, World, eventually};

/// What `why` prints while the sandbox runs is pasted, the next attempt passes, and the answer
/// stands in the ledger before what it permits.
#[test]
fn a_pasted_hint_reaches_the_running_agent() {
    needs!("python3");
    let world = world();
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    let gate = Gate::new(&world.fixture);
    let mut live = world.job().flags(gate.flags()).start_sh(&asking(&gate, port));
    live.wait_for("asked");
    let why = world.fixture.ringfence(&["why"]);
    let now = hint(&why.stdout, "now:").to_owned();
    assert_eq!(now, format!("ringfence allow host.ringfence:{port} --for 10m"));
    let answer = paste(&world.fixture, &now);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(!definition(&world).exists(), "a grant was written");
    gate.open();
    let outcome = live.wait();
    assert!(!outcome.answer("first").contains("hello"), "{outcome:?}");
    assert!(outcome.answer("second").contains("hello"), "{outcome:?}");
    let explained = world.fixture.ringfence(&["why", &format!("host.ringfence:{port}")]);
    let words = "a rule permits it (allowed by";
    assert!(explained.stdout.contains(words), "{explained:?}");
    assert!(explained.stdout.contains(" for 10m)"), "{explained:?}");
    assert!(explained.stdout.contains("rule: grant.network.allow.1"), "{explained:?}");
    let ledger = world.fixture.ledger();
    let at = |found: &dyn Fn(&serde_json::Value) -> bool| {
        ledger.records.iter().position(found).unwrap_or_else(|| panic!("{:#?}", ledger.records))
    };
    let control = at(&|r| {
        of_type(r, "control")
            && r["event"]["verb"] == format!("allow host.ringfence:{port} for 10m")
    });
    let policy = at(&|r| of_type(r, "policy") && r["event"]["generation"] == 2);
    let allowed = at(&|r| of_type(r, "decision") && r["event"]["decision"]["verdict"] == "allow");
    assert!(control < policy && policy < allowed, "{control} {policy} {allowed}");
    let digest = &ledger.records[policy]["event"]["digest"];
    assert_eq!(&ledger.records[allowed]["subject"]["policy"], digest);
    assert_ne!(&ledger.records[0]["subject"]["policy"], digest);
    world.fixture.verify_ledgers();
}

/// C08: when the time is over, a connection that only this answer permitted is cut and new ones are
/// refused, each recorded; a longer-lived one beside it goes on.
#[test]
fn c08_a_grant_that_ends_cuts_what_it_alone_permitted() {
    needs!("python3");
    let world = World::new(&[]);
    let (server, other) = (greeter("127.0.0.1:0", "hello\n"), greeter("127.0.0.1:0", "hello\n"));
    let (port, kept) = (server.port(), other.port());
    world.policy(&[format!("\"host.ringfence:{kept}\"")], &[]);
    let gate = Gate::new(&world.fixture);
    let script = format!(
        "echo asked\n{}\npython3 - <<'END'\n\
         import socket\n\
         held = socket.create_connection(('host.ringfence', {port}), 10)\n\
         kept = socket.create_connection(('host.ringfence', {kept}), 10)\n\
         print('first', held.recv(16), kept.recv(16))\n\
         held.settimeout(30)\n\
         try: print('held', held.recv(16))\n\
         except OSError as error: print('held', type(error).__name__)\n\
         kept.settimeout(1)\n\
         try: print('kept', kept.recv(16))\n\
         except OSError as error: print('kept', type(error).__name__)\n\
         END\n{}",
        gate.wait(),
        ask("again", port)
    );
    let mut live = world.job().flags(gate.flags()).start_sh(&script);
    live.wait_for("asked");
    let answer =
        world.fixture.ringfence(&["allow", &format!("host.ringfence:{port}"), "--for", "3s"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    gate.open();
    let outcome = live.wait();
    assert!(outcome.stdout.contains("first b'hello\\n' b'hello\\n'"), "{outcome:?}");
    let cut =
        outcome.stdout.contains("held ConnectionResetError") || outcome.stdout.contains("held b''");
    assert!(cut, "the open connection was not cut: {outcome:?}");
    assert!(
        outcome.stdout.contains("kept timeout") || outcome.stdout.contains("kept TimeoutError")
    );
    assert!(!outcome.answer("again").contains("hello"), "{outcome:?}");
    world.decisions().assert_denied("host.ringfence", port, "expired");
    let ledger = world.fixture.ledger();
    let summaries: Vec<_> =
        ledger.events("policy").iter().map(|event| event["summary"].to_string()).collect();
    assert!(summaries.iter().any(|words| words.contains("ended: host.ringfence")), "{summaries:?}");
}

/// C08: the end of a grant is recorded although another answer comes before the supervisor has seen it.
#[test]
fn c08_an_end_is_recorded_before_the_next_answer() {
    let world = world();
    let gate = Gate::new(&world.fixture);
    let mut live =
        world.job().flags(gate.flags()).start_sh(&format!("echo asked\n{}", gate.wait()));
    live.wait_for("asked");
    let allow = |host: &str, time: &str| {
        let answer = world.fixture.ringfence(&["allow", host, "--for", time]);
        assert_eq!(answer.code, 0, "{answer:?}");
    };
    allow("a.example", "1s");
    let supervisor = Pid::from_raw(live.pid().cast_signed()).unwrap();
    kill_process(supervisor, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    std::thread::scope(|scope| {
        scope.spawn(|| allow("b.example", "1m"));
        std::thread::sleep(Duration::from_millis(300));
        kill_process(supervisor, Signal::CONT).unwrap();
    });
    gate.open();
    assert_eq!(live.wait().code, 0);
    let ledger = world.fixture.ledger();
    let summaries: Vec<_> =
        ledger.events("policy").iter().map(|event| event["summary"].to_string()).collect();
    let at = |words: &str| summaries.iter().position(|summary| summary.contains(words));
    assert!(at("ended: a.example").is_some(), "{summaries:?}");
    assert!(at("ended: a.example") < at("b.example for 1m"), "{summaries:?}");
}

/// C08: a connection that was allowed before the end and stands only after it is cut, too: the host's
/// queue is full while it is dialled.
#[test]
fn c08_a_dial_that_outlasts_its_grant_is_cut() {
    needs!("python3");
    let world = world();
    let slow = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&slow, 0).unwrap();
    let address = slow.local_addr().unwrap();
    // One is taken by the kernel, and no other gets in before somebody accepts.
    let first = TcpStream::connect(address).unwrap();
    let gate = Gate::new(&world.fixture);
    let port = address.port();
    let script = format!(
        "echo asked\n{}\npython3 - <<'END'\n\
         import socket\n\
         held = socket.create_connection(('host.ringfence', {port}), 20)\n\
         held.settimeout(20)\n\
         held.sendall(b'\\x82')\n\
         try: print('held', held.recv(16))\n\
         except OSError as error: print('held', type(error).__name__)\n\
         END\n",
        gate.wait(),
    );
    let mut live = world.job().flags(gate.flags()).start_sh(&script);
    live.wait_for("asked");
    let host = format!("host.ringfence:{port}");
    assert_eq!(world.fixture.ringfence(&["allow", &host, "--for", "3s"]).code, 0);
    gate.open();
    // Served once the grant is over; what is served is held open and silent.
    let ended = || {
        let ledger = world.fixture.ledger();
        let mut all = ledger.events("policy").into_iter();
        all.any(|event| event["summary"].to_string().contains("ended: "))
    };
    eventually("the end of the grant", ended);
    // What is open is also asked about when the whole second of the end is over; later than that
    // nothing but the new generation tells that this permit has ended.
    std::thread::sleep(Duration::from_millis(1500));
    slow.set_nonblocking(true).unwrap();
    let mut served = Vec::new();
    while live.runs() {
        served.extend(slow.accept());
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcome = live.wait();
    drop((first, served));
    let ledger = world.fixture.ledger();
    let mut outcomes = ledger.events("outcome").into_iter();
    let stood = outcomes.any(|event| event["error"].to_string().contains("no longer allowed"));
    assert!(stood, "the connection never stood: {:#?}", ledger.records);
    let cut =
        outcome.stdout.contains("held ConnectionResetError") || outcome.stdout.contains("held b''");
    assert!(cut, "it outlived its grant: {outcome:?}");
}

/// A file that nobody can write to, root neither, until this is dropped.
struct Sealed(PathBuf);

impl Sealed {
    fn seal(path: PathBuf) -> Option<Self> {
        let done = Command::new("chattr").arg("+i").arg(&path).output().unwrap();
        done.status.success().then_some(Self(path))
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        let _ = Command::new("chattr").arg("-i").arg(&self.0).output();
    }
}

/// What cannot be recorded does not hold, and nothing else does any more.
#[test]
fn an_answer_that_cannot_be_recorded_does_not_hold() {
    needs!("python3", "chattr");
    if !is_root() {
        return skip("a ledger that takes no record", "only root can seal a file");
    }
    let world = world();
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    let gate = Gate::new(&world.fixture);
    let mut live = world.job().flags(gate.flags()).start_sh(&asking(&gate, port));
    live.wait_for("asked");
    let run = world.fixture.runs().pop().unwrap();
    let ledger = world.fixture.state().join("ringfence/runs").join(run).join("ledger.jsonl");
    let Some(sealed) = Sealed::seal(ledger) else {
        return skip("a ledger that takes no record", "this file system seals no files");
    };
    let host = format!("host.ringfence:{port}");
    let answer = world.fixture.ringfence(&["allow", &host, "--for", "10m"]);
    drop(sealed);
    assert_eq!(answer.code, 1, "{answer:?}");
    let why = ["so it does not hold", "everything is denied in this run"];
    assert!(why.iter().any(|why| answer.stdout.contains(why)), "{answer:?}");
    gate.open();
    let outcome = live.wait();
    assert!(!outcome.answer("second").contains("hello"), "{outcome:?}");
    assert!(outcome.stderr.contains("everything is denied"), "{outcome:?}");
}

/// A remembered answer reaches what runs: the project's own sandboxes, and with `--user` all but
/// those whose definition takes back what other layers permit.
#[test]
fn a_remembered_answer_reaches_the_sandboxes_that_follow_it() {
    needs!("python3");
    let world = world();
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    let gate = Gate::new(&world.fixture);
    let script = asking(&gate, port);
    let sibling = world.fixture.sibling();
    fs::copy(world.fixture.project().join("net.py"), sibling.join("net.py")).unwrap();
    let alone = world.fixture.root().join("home/work/alone");
    fs::create_dir_all(&alone).unwrap();
    fs::copy(world.fixture.project().join("net.py"), alone.join("net.py")).unwrap();
    fs::write(alone.join("ringfence.toml"), "version = 1\n[network]\nallow = []\n").unwrap();
    let start = |directory: PathBuf| {
        let mut live = world.job().directory(directory).flags(gate.flags()).start_sh(&script);
        live.shares_its_project();
        live.wait_for("asked");
        live
    };
    let own = start(world.fixture.project());
    let lives: Vec<Live> = [sibling, alone].into_iter().map(start).collect();
    let host = format!("host.ringfence:{port}");
    let dry = world.fixture.ringfence(&["allow", "--user", &host, "--dry-run"]);
    assert_eq!(dry.stdout.matches("would allow").count(), 3, "{dry:?}");
    // A definition that none of them follows opens nothing in them.
    let other = world.fixture.root().join("home/other.toml");
    fs::write(&other, "version = 1\n").unwrap();
    let named = ["allow", "--definition", other.to_str().unwrap(), &host];
    let elsewhere = world.fixture.ringfence(&named);
    assert_eq!(elsewhere.code, 0, "{elsewhere:?}");
    assert!(!elsewhere.stdout.contains("run "), "{elsewhere:?}");
    let project = world.fixture.ringfence(&["allow", &host]);
    assert_eq!(
        (project.code, project.stdout.matches("from now on").count()),
        (0, 1),
        "{project:?}"
    );
    let user = world.fixture.ringfence(&["allow", "--user", &host]);
    assert_eq!((user.code, user.stdout.matches("from now on").count()), (1, 2), "{user:?}");
    assert!(user.stdout.contains("takes back what other layers permit"), "{user:?}");
    gate.open();
    let own = own.wait();
    assert!(own.answer("second").contains("hello"), "{own:?}");
    let mut outcomes = lives.into_iter().map(Live::wait);
    let (sibling, alone) = (outcomes.next().unwrap(), outcomes.next().unwrap());
    assert!(sibling.answer("second").contains("hello"), "{sibling:?}");
    assert!(!alone.answer("second").contains("hello"), "{alone:?}");
    // What cannot be remembered there is not offered to be; for one run it is.
    assert!(alone.stderr.contains("it cannot be remembered: "), "{alone:?}");
    assert!(alone.stderr.contains("now:") && !alone.stderr.contains("keep:"), "{alone:?}");
    let policy = fs::read_to_string(world.fixture.config().join("ringfence/policy.toml")).unwrap();
    assert!(
        policy.contains(&format!("allow = [\"{host}\"]")) || policy.contains(&host),
        "{policy}"
    );
    assert!(policy.contains("resolver = "), "{policy}");
}

/// C02: an agent has no way to answer for the person: not through the program, not through the
/// control socket, not by writing the definition.
#[test]
fn c02_nothing_inside_can_allow_anything() {
    needs!("python3");
    let world = world();
    let fixture = &world.fixture;
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    copy_program(fixture.binary(), &fixture.tools().join("ringfence"));
    let gate = Gate::new(fixture);
    // The same attempts inside and outside; outside they are the control group.
    let attempts = format!(
        "$TOOLS/ringfence allow host.ringfence:{port} --for 10m --run \"$RUN\" >/dev/null 2>&1; echo \"program\t$?\"\n\
         python3 - \"$XDG_STATE_HOME/ringfence/runs/$RUN/control.sock\" <<'END'\n\
         import os, socket, sys\n\
         directory, name = os.path.split(sys.argv[1])\n\
         try:\n\
         \x20   os.chdir(directory)\n\
         \x20   socket.socket(socket.AF_UNIX).connect(name)\n\
         \x20   print('socket\\tconnected')\n\
         except OSError as error: print('socket\\t' + type(error).__name__)\n\
         END\n"
    );
    for mode in ["review", "direct"] {
        let inside = format!(
            "export RUN=\"$RINGFENCE_RUN\"\n{attempts}\
             (cd \"$PWD\" && $TOOLS/ringfence allow host.ringfence:{port}) >/dev/null 2>&1; echo tried\n\
             {}echo asked\n{}\n{}",
            ask("first", port),
            gate.wait(),
            ask("second", port)
        );
        let state = format!("XDG_STATE_HOME={}", fixture.state().display());
        let config = format!("XDG_CONFIG_HOME={}", fixture.config().display());
        let flags = ["--workspace", mode, "--env", &state, "--env", &config];
        let mut live = world.job().flags(flags).flags(gate.flags()).start_sh(&inside);
        live.wait_for("asked");
        let run = fixture.runs().pop().unwrap();
        let trusted = fixture.config().join("ringfence/trusted.json");
        assert!(!trusted.exists(), "the agent's line was accepted");
        let outside = fixture
            .job()
            .env("RUN", &run)
            .env("XDG_STATE_HOME", fixture.state())
            .unprotected_sh(&attempts);
        gate.open();
        let outcome = live.wait();
        assert_ne!(outcome.answer("program"), "0", "{outcome:?}");
        assert_ne!(outcome.answer("socket"), "connected", "{outcome:?}");
        assert!(!outcome.answer("first").contains("hello"), "{mode}: {outcome:?}");
        assert_eq!(outside.answer("program"), "0", "{outside:?}");
        assert_eq!(outside.answer("socket"), "connected", "{outside:?}");
        assert!(outcome.answer("second").contains("hello"), "{mode}: {outcome:?}");
        let left = fs::read_to_string(definition(&world)).unwrap_or_default();
        assert!(!left.contains("host.ringfence"), "{mode}: {left}");
        fs::remove_file(fixture.root().join("gate/open")).unwrap();
    }
}

/// PB2: what the organisation forbids is refused, in a running sandbox and in every file.
#[test]
fn pb2_the_organisations_word_stands() {
    needs!("python3");
    if !is_root() {
        return skip("an organisation's policy", "only an administrator can write one");
    }
    let world = world();
    let fixture = &world.fixture;
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    let (upper, work) = (fixture.root().join("etc-upper"), fixture.root().join("etc-work"));
    fs::create_dir_all(upper.join("ringfence")).unwrap();
    fs::create_dir_all(&work).unwrap();
    let text = format!("version = 1\n[network]\ndeny = [\"host.ringfence:{port}\"]\n");
    fs::write(upper.join("ringfence/policy.toml"), text).unwrap();
    let gate = Gate::new(fixture);
    let job = world.job().flags(gate.flags());
    let host = format!("host.ringfence:{port}");
    // The definition is asked for under the same `/etc`, before the agent starts.
    let outer = "mount --make-rprivate / && mount -t overlay overlay -o \"lowerdir=/etc,upperdir=$UPPER,workdir=$WORK\" /etc \
                 && { \"$0\" allow \"$HOST\"; echo \"code=$?\"; \"$0\" allow --user \"$HOST\"; echo \"code=$?\"; } 2>&1; exec \"$0\" \"$@\"";
    let inner = job.command(["sh", "-c", &asking(&gate, port)]);
    let mut argv: Vec<std::ffi::OsString> =
        ["unshare", "--mount", "sh", "-c", outer].map(Into::into).to_vec();
    argv.push(inner.get_program().to_owned());
    argv.extend(inner.get_args().map(ToOwned::to_owned));
    let mut command = job.plain_command(argv);
    command.env("UPPER", &upper).env("WORK", &work).env("HOST", &host);
    let mut live = Live::start(command, b"", Duration::from_secs(60));
    live.wait_for("asked");
    let for_a_time = fixture.ringfence(&["allow", &host, "--for", "10m"]);
    let written = fixture.ringfence(&["allow", &host]);
    gate.open();
    let outcome = live.wait();
    assert_eq!(outcome.stdout.matches("code=1").count(), 2, "{outcome:?}");
    let words = "only the organisation can change that";
    assert_eq!(outcome.stdout.matches(words).count(), 2, "{outcome:?}");
    for answer in [for_a_time, written] {
        assert_eq!(answer.code, 1, "{answer:?}");
        assert!(answer.stdout.contains(words), "{answer:?}");
    }
    assert!(!outcome.answer("second").contains("hello"), "{outcome:?}");
    assert!(outcome.stderr.contains(words), "{outcome:?}");
    assert!(!outcome.stderr.contains("keep:"), "{outcome:?}");
    // Where the organisation has no say, the same answer works: the control group.
    let allowed = world.job().sh(&ask("again", port));
    assert!(allowed.answer("again").contains("hello"), "{allowed:?}");
}
