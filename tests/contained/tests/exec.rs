//! Programs that a person starts beside the agent are exactly as confined as the agent, and nobody
//! else can start any: `ringfence exec` and `ringfence shell`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

#[path = "support/person.rs"]
mod person;

use std::ffi::OsString;
use std::io::{IoSlice, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use person::{PATIENCE, Person};
use ringfence_contained_tests::{Fixture, Live, Outcome, is_root};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::Signal;

/// Programs that a run takes beside its agent.
const MOST: usize = 16;

/// A run that has begun and stays.
fn running(fixture: &Fixture) -> Live {
    let mut live = fixture.job().start_sh("echo up; exec sleep 600");
    live.wait_for("up");
    live
}

/// The words of `ringfence exec -- WORDS`.
fn words<I: IntoIterator<Item: Into<OsString>>>(fixture: &Fixture, argv: I) -> Vec<OsString> {
    let verb = [fixture.binary().into(), "exec".into(), "--".into()];
    verb.into_iter().chain(argv.into_iter().map(Into::into)).collect()
}

/// Starts `ringfence exec -- WORDS` with something on standard input.
fn start<I: IntoIterator<Item: Into<OsString>>>(fixture: &Fixture, input: &str, argv: I) -> Live {
    let command = fixture.job().plain_command(words(fixture, argv));
    Live::start(command, input.as_bytes(), PATIENCE)
}

fn exec<I: IntoIterator<Item: Into<OsString>>>(fixture: &Fixture, argv: I) -> Outcome {
    start(fixture, "", argv).wait()
}

fn end(fixture: &Fixture, live: Live) {
    let first = fixture.runs().remove(0);
    let killed = fixture.ringfence(&["kill", &first]);
    assert_eq!(killed.code, 0, "{killed:?}");
    assert_eq!(live.wait().code, 137);
    fixture.verify_ledgers();
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn streams_are_byte_exact_and_codes_are_the_programs() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    let text: String = (0..100_000).map(|number| format!("{number}\n")).collect();
    let echoed = start(&fixture, &text, ["cat"]).wait();
    assert_eq!((echoed.code, echoed.stdout == text), (0, true), "{}", echoed.stderr);
    let both = exec(&fixture, ["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((both.code, both.stdout.as_str(), both.stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(exec(&fixture, ["sh", "-c", "kill -TERM $$"]).code, 143);
    let missing = exec(&fixture, ["no-such-program"]);
    assert_eq!(missing.code, 127, "{missing:?}");
    assert!(missing.stderr.contains("no-such-program"), "{missing:?}");
    assert_eq!(exec(&fixture, ["/etc/passwd"]).code, 126);
    // A file of the host as a stream is pumped, and a signal reaches the program.
    let pumped = fixture.job().behind("exec <README.md >out.txt", words(&fixture, ["cat"])).wait();
    assert_eq!(pumped.code, 0, "{pumped:?}");
    assert_eq!(std::fs::read_to_string(fixture.project().join("out.txt")).unwrap(), "a project\n");
    let mut trapped = start(
        &fixture,
        "",
        ["sh", "-c", "trap 'exit 9' INT; echo on; while :; do sleep 0.05; done"],
    );
    trapped.wait_for("on");
    trapped.signal(Signal::INT);
    assert_eq!(trapped.wait().code, 9);
    end(&fixture, live);
}

#[test]
fn the_latest_running_run_is_meant_and_the_place_is_the_persons() {
    let fixture = Fixture::new();
    let none = exec(&fixture, ["true"]);
    assert_eq!(none.code, 125);
    assert!(none.stderr.contains("ringfence run -- CMD"), "{none:?}");
    let live = running(&fixture);
    let first = fixture.runs().pop().unwrap();
    assert_eq!(fixture.contained("true").code, 0);
    let here = fixture.job().directory(fixture.project().join("src"));
    let there = here.verb(&["exec", "--", "sh", "-c", "pwd; echo $RINGFENCE_RUN"]);
    let project = fixture.project();
    assert_eq!(there.stdout, format!("{}/src\n{first}\n", project.display()), "{there:?}");
    // Elsewhere the run is named, and the program begins where the agent did.
    let away = fixture.job().directory(fixture.home());
    let there = away.verb(&["exec", &first, "pwd"]);
    assert_eq!(there.stdout, format!("{}\n", project.display()), "{there:?}");
    assert_eq!(fixture.ringfence(&["exec"]).code, 2);
    assert_eq!(fixture.ringfence(&["exec", &first, "x", "--", "true"]).code, 2);
    end(&fixture, live);
    let over = fixture.ringfence(&["exec", &first, "true"]);
    assert_eq!(over.code, 125);
    assert!(over.stderr.contains("is over") && over.stderr.contains("ringfence logs"), "{over:?}");
}

/// S04: in a `pair` workspace what a program beside the agent changes is kept as what the agent changes
/// is, its start recorded, and taken back with it. Control group: in `direct` it is gone.
#[test]
fn s04_what_it_changes_in_a_pair_workspace_is_taken_back() {
    for mode in ["direct", "pair"] {
        let fixture = Fixture::new();
        let root = fixture.project();
        std::fs::create_dir(root.join("deep")).unwrap();
        std::fs::write(root.join("deep/kept"), "kept\n").unwrap();
        let script =
            "echo up; while ! [ -e go ]; do sleep 0.02; done; rm -r deep go; exec sleep 600";
        let mut live = fixture.job().flags(["--workspace", mode]).start_sh(script);
        live.wait_for("up");
        let run = fixture.runs().remove(0);
        let wreck = "rm README.md; echo mine > src/main.txt; mv src moved; : > new; : > go; true";
        let beside = fixture.ringfence(&["exec", &run, "--", "sh", "-c", wreck]);
        assert_eq!((beside.code, beside.stderr.as_str()), (0, ""), "{beside:?}");
        eventually("the agent's own change", || !root.join("deep").exists());
        assert!(
            !root.join("README.md").exists() && !root.join("src").exists(),
            "the attack itself"
        );
        let logs = fixture.ringfence(&["logs"]).stdout;
        assert!(logs.contains("rm [rm README.md]") && logs.contains("mv [mv src moved]"), "{logs}");
        let restored = fixture.ringfence(&["restore"]);
        if mode == "direct" {
            assert_eq!(restored.code, 1, "{restored:?}");
            assert!(!root.join("README.md").exists(), "control group");
        } else {
            assert_eq!(restored.code, 0, "{restored:?}");
            let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
            assert_eq!(
                (read("README.md"), read("deep/kept")),
                ("a project\n".into(), "kept\n".into())
            );
            assert_ne!(read("src/main.txt"), "mine\n");
            assert!(!root.join("moved").exists() && !root.join("new").exists());
        }
        end(&fixture, live);
    }
}

/// S04: many at once, each heard; and what one of them leaves running is heard after its end.
#[test]
fn s04_many_at_once_are_all_heard() {
    const EACH: usize = 30;
    let fixture = Fixture::new();
    let root = fixture.project();
    let name = |who: usize, which: usize| root.join(format!("{who}-{which}"));
    let all = || (0..MOST / 2).flat_map(|who| (0..EACH).map(move |which| (who, which)));
    for (who, which) in all() {
        std::fs::write(name(who, which), format!("{who} {which}")).unwrap();
    }
    let mut live = fixture.job().flags(["--workspace", "pair"]).start_sh("echo up; exec sleep 600");
    live.wait_for("up");
    let wreck = |who: usize| {
        let last = EACH - 1;
        format!(
            "for i in $(seq 0 {}); do rm {who}-$i; done
             (exec >/dev/null 2>&1; sleep 0.3; echo late > {who}-{last}) & true",
            last - 1
        )
    };
    let programs: Vec<Live> =
        (0..MOST / 2).map(|who| start(&fixture, "", ["sh", "-c", &wreck(who)])).collect();
    for program in programs {
        let outcome = program.wait();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{outcome:?}");
    }
    let late = |who| std::fs::read_to_string(name(who, EACH - 1)).unwrap() == "late\n";
    eventually("what was left running", || (0..MOST / 2).all(late));
    assert!(all().all(|(who, which)| which == EACH - 1 || !name(who, which).exists()));
    let restored = fixture.ringfence(&["restore"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    for (who, which) in all() {
        let text = std::fs::read_to_string(name(who, which)).unwrap();
        assert_eq!(text, format!("{who} {which}"));
    }
    end(&fixture, live);
}

/// P11, P13, FS7, S30: what the attack program meets is what it meets as the agent.
#[test]
fn p11_fs7_s30_it_is_exactly_as_confined_as_the_agent() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let live = running(&fixture);
    for attack in [&["doors"][..], &["foreign-abi"], &["sockets"], &["descriptors"]] {
        let as_agent = job.attack(attack);
        let beside = exec(&fixture, job.attack_argv(attack));
        let plain = |outcome: &Outcome| -> Vec<(String, String)> {
            let answers = outcome.answers().into_iter();
            // Pipes have numbers of their own.
            answers
                .map(|(id, what)| (id.to_owned(), what.split(":[").next().unwrap().to_owned()))
                .collect()
        };
        assert!(!as_agent.answers().is_empty());
        assert_eq!(plain(&beside), plain(&as_agent), "{attack:?}");
        if attack != ["descriptors"] {
            let outside = job.unprotected_attack(attack);
            assert_ne!(plain(&outside), plain(&as_agent), "control group: {attack:?}");
        }
    }
    let look = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups)' /proc/self/status;
        ulimit -a; env | grep -v -e '^_=' -e ^SHLVL= -e ^RINGFENCE_RUN= -e ^PWD= | sort;
        ls / $HOME; cat $HOME/.ssh/id_rsa; umask; grep -c . /proc/self/mountinfo";
    let (beside, as_agent) = (exec(&fixture, ["sh", "-c", look]), job.sh(look));
    assert_eq!(beside.text(), as_agent.text());
    let outside = fixture.unprotected("cat $HOME/.ssh/id_rsa");
    assert!(outside.stdout.contains("CANARY"), "control group");
    end(&fixture, live);
}

/// FS1, F03: what Landlock and the mounts refuse the agent they refuse here, and both see the same.
#[test]
fn it_shares_the_agents_world() {
    let fixture = Fixture::new();
    let script = "echo one > /tmp/shared; echo up; while ! [ -e /tmp/answer ]; do sleep 0.02; done
        cat /tmp/answer; exec sleep 600";
    let mut live = fixture.job().start_sh(script);
    live.wait_for("up");
    let beside = exec(
        &fixture,
        ["sh", "-c", "cat /tmp/shared; echo two > /tmp/answer; echo x > /usr/x; echo x > /x"],
    );
    assert_eq!(beside.stdout, "one\n", "{beside:?}");
    assert_eq!(beside.stderr.lines().count(), 2, "{beside:?}");
    live.wait_for("two");
    end(&fixture, live);
}

/// F27, FS5: nothing that the caller left open comes in, and files are not passed.
#[test]
fn f27_fs5_no_descriptor_of_the_host_comes_in() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    let job = fixture.job();
    let open = "exec 10<\"$HOME/.ssh/id_rsa\" 251<\"$HOME\" 77<>\"$HOME/notes/token.txt\" <\"$HOME/.ssh/id_rsa\"";
    let outside = job.behind(open, job.attack_argv(&["descriptors"])).wait();
    let numbers = |outcome: &Outcome| {
        let of_descriptors = outcome.answers().into_iter().filter(|(id, _)| *id == "fd");
        let mut numbers: Vec<u32> = of_descriptors
            .map(|(_, what)| what.split(' ').next().unwrap().parse().unwrap())
            .collect();
        numbers.sort_unstable();
        numbers
    };
    assert!(numbers(&outside).contains(&251), "control group: {outside:?}");
    let inside = job.behind(open, words(&fixture, job.attack_argv(&["descriptors"]))).wait();
    assert_eq!(numbers(&inside), [0, 1, 2], "{inside:?}");
    assert!(!inside.stdout.contains("/home/"), "{inside:?}");
    let all = exec(&fixture, ["sh", "-c", "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -- '->'"]);
    for line in all.stdout.lines() {
        let kind = line.rsplit("-> ").next().unwrap();
        let plain = ["pipe:", "/dev/null", "/proc/"];
        assert!(plain.iter().any(|p| kind.starts_with(p)), "{line}");
    }
    end(&fixture, live);
}

#[test]
fn it_is_recorded_with_its_end_and_without_secrets() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    let outcome = exec(&fixture, ["sh", "-c", "/bin/true; exit 3", "--password", "hunter2hunter2"]);
    assert_eq!(outcome.code, 3);
    let logs = fixture.ringfence(&["logs"]);
    let uid = format!("uid {}", rustix::process::geteuid().as_raw());
    assert!(logs.stdout.contains(&format!("exec by {uid} [sh -c")), "{}", logs.stdout);
    assert!(logs.stdout.contains(&format!("exec-ended by {uid}")), "{}", logs.stdout);
    assert!(logs.stdout.contains(", code 3"), "{}", logs.stdout);
    assert!(logs.stdout.contains("/bin/true [/bin/true]"), "{}", logs.stdout);
    let json = fixture.ringfence(&["logs", "--json"]);
    assert!(!json.stdout.contains("hunter2hunter2"));
    assert_eq!(exec(&fixture, ["no-such-program"]).code, 127);
    assert!(fixture.ringfence(&["logs"]).stdout.contains("code 127"));
    end(&fixture, live);
}

#[test]
fn it_ends_with_the_run_and_the_person_is_told() {
    let fixture = Fixture::new();
    let mut live =
        fixture.job().start_sh("echo up; while ! [ -e /tmp/end ]; do sleep 0.02; done; exit 4");
    live.wait_for("up");
    let mut beside = start(&fixture, "", ["sh", "-c", "echo on; : > /tmp/go; exec sleep 600"]);
    beside.wait_for("on");
    // Its own command may be overtaken by the end that it brings about.
    let _ = exec(&fixture, ["sh", "-c", ": > /tmp/end"]);
    let beside = beside.wait();
    assert_eq!(beside.code, 137, "{beside:?}");
    assert!(beside.stderr.contains("the run ended"), "{beside:?}");
    assert_eq!(live.wait().code, 4);
    fixture.verify_ledgers();
}

#[test]
fn several_run_at_once_and_their_number_is_bounded() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    let mut all: Vec<Live> = (0..MOST)
        .map(|number| {
            start(
                &fixture,
                "",
                ["sh".to_owned(), "-c".to_owned(), format!("echo on{number}; exec sleep 600")],
            )
        })
        .collect();
    for (number, one) in all.iter_mut().enumerate() {
        one.wait_for(&format!("on{number}"));
    }
    let more = exec(&fixture, ["true"]);
    assert_eq!(more.code, 125, "{more:?}");
    assert!(more.stderr.contains("16 programs"), "{more:?}");
    let last = all.pop().unwrap();
    last.signal(Signal::KILL);
    drop(last);
    eventually("a place becomes free", || exec(&fixture, ["true"]).code == 0);
    end(&fixture, live);
    for one in all {
        assert_eq!(one.wait().code, 137);
    }
}

#[test]
fn a_shell_has_a_terminal_of_the_sandboxs_own() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    let mut person = Person::start(&fixture, &[fixture.binary().to_str().unwrap(), "shell"]);
    person.resizes(33, 99);
    let before = person.settings();
    person.types("echo $((40+2)) $TERM; tty; stty size\r");
    person.sees("42 xterm");
    person.sees("/dev/pts/0");
    person.sees("33 99");
    assert_ne!(person.settings().local_modes, before.local_modes, "control group: it is raw");
    person.resizes(20, 70);
    eventually("the new size", || {
        person.types("stty size\r");
        std::thread::sleep(Duration::from_millis(50));
        person.shown().contains("20 70")
    });
    // A key is a signal to what runs in the foreground, and not to the command outside.
    person.types("(echo ready=$((1+1)); sleep 500); echo after=$?\r");
    person.sees("ready=2");
    person.types("\u{3}");
    person.types("echo still $((1+1))\r");
    person.sees("still 2");
    person.types("exit 6\r");
    let settings = |termios: rustix::termios::Termios| {
        (termios.local_modes, termios.input_modes, termios.output_modes)
    };
    assert_eq!(person.code(), 6);
    assert_eq!(settings(person.settings()), settings(before), "the terminal is not put back");
    end(&fixture, live);
}

/// P15: what would reach the clipboard or forge a title is filtered here, too.
#[test]
fn p15_dangerous_sequences_are_filtered_here_too() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    for (printed, raw) in [
        ("\\033]52;c;RVZJTA==\\007", "\u{1b}]52"),
        ("\\033]0;forged\\007", "\u{1b}]0;"),
        ("\\033[21t", "\u{1b}[21t"),
        ("\\033P$q\"p\\033\\\\", "\u{1b}P$q"),
    ] {
        let script = format!("printf 'before{printed}after\\n'");
        let mut outside = Person::start(&fixture, &["sh", "-c", &script]);
        assert_eq!(outside.code(), 0);
        assert!(outside.shown().contains(raw), "control group: {:?}", outside.shown());
        let mut inside = Person::start(&fixture, &words(&fixture, ["sh", "-c", &script]));
        assert_eq!(inside.code(), 0);
        inside.sees("after");
        assert!(!inside.shown().contains(raw), "{:?}", inside.shown());
    }
    let logs = fixture.ringfence(&["logs"]);
    assert!(logs.stdout.contains("control sequences"), "{}", logs.stdout);
    end(&fixture, live);
}

/// Whoever closes the terminal, or kills the command, ends the program: it is told by a hang-up.
#[test]
fn a_closed_terminal_hangs_up() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    let script = |name: &str| {
        format!("trap 'echo $0 > /tmp/{name}; exit' HUP; echo on; while :; do sleep 0.05; done")
    };
    let there = |name: &str| exec(&fixture, ["test", "-e", &format!("/tmp/{name}")]).code == 0;
    let mut closed = Person::start(&fixture, &words(&fixture, ["sh", "-c", &script("closed")]));
    closed.sees("on");
    closed.hangs_up();
    eventually("a hang-up by a closed terminal", || there("closed"));
    let mut killed = start(&fixture, "", ["sh", "-c", &script("killed")]);
    killed.wait_for("on");
    killed.signal(Signal::KILL);
    eventually("a hang-up by a killed command", || there("killed"));
    drop(killed);
    let logs = || fixture.ringfence(&["logs"]).stdout;
    eventually("the record of both ends", || logs().matches("exec-ended").count() >= 2);
    end(&fixture, live);
}

/// S27: another account can start nothing, even where it was let near the socket.
#[test]
fn s27_another_account_starts_nothing() {
    if !is_root() {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let live = running(&fixture);
    let run = fixture.runs().pop().unwrap();
    let copy = fixture.root().join("ringfence");
    ringfence_contained_tests::copy_program(fixture.binary(), &copy);
    let mode = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(fixture.root(), 0o711);
    mode(&copy, 0o755);
    let as_other = || {
        let argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        let argv = argv.iter().map(OsString::from).chain([copy.clone().into()]);
        let argv = argv.chain(["exec", &run, "id"].map(OsString::from));
        Live::start(fixture.job().directory("/").plain_command(argv), b"", PATIENCE).wait()
    };
    assert_ne!(as_other().code, 0);
    let directory = fixture.state().join("ringfence/runs").join(&run);
    let up = directory.ancestors().take_while(|path| *path != fixture.root());
    let before: Vec<_> =
        up.map(|path| (path, std::fs::metadata(path).unwrap().permissions().mode())).collect();
    for (path, _) in &before {
        mode(path, 0o755);
    }
    for (name, bits) in
        [("control.sock", 0o666), ("control.token", 0o644), ("lock", 0o644), ("run.json", 0o644)]
    {
        mode(&directory.join(name), bits);
    }
    let reached = as_other();
    assert_eq!(reached.code, 125, "{reached:?}");
    assert!(!reached.stdout.contains("uid="), "{reached:?}");
    for (path, old) in before {
        mode(path, old);
    }
    assert!(exec(&fixture, ["id"]).stdout.contains("uid="), "control group");
    assert_eq!(fixture.ringfence(&["logs"]).stdout.matches("exec by").count(), 1);
    end(&fixture, live);
}

/// F27, FS5: the supervisor takes nothing but pipes, whatever a client sends: a file or a terminal of
/// the host could be opened anew inside.
#[test]
fn f27_fs5_only_pipes_are_passed() {
    let fixture = Fixture::new();
    let live = running(&fixture);
    let secret = std::fs::File::open(fixture.home().join(".ssh/id_rsa")).unwrap();
    let directory = std::fs::File::open(fixture.home()).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    for wrong in [secret.as_fd(), directory.as_fd(), null.as_fd()] {
        let heard = offered(&fixture, wrong);
        assert!(heard.contains("only pipes"), "{heard}");
    }
    let (read, write) = rustix::pipe::pipe().unwrap();
    drop(write);
    let heard = offered(&fixture, read.as_fd());
    assert!(heard.contains("started") && heard.contains("\"code\":0"), "control group: {heard}");
    end(&fixture, live);
}

/// What the supervisor answers to a program whose standard input is this.
fn offered(fixture: &Fixture, input: BorrowedFd<'_>) -> String {
    let run = fixture.state().join("ringfence/runs").join(fixture.runs().remove(0));
    let token = std::fs::read_to_string(run.join("control.token")).unwrap();
    let ask = format!(
        "{{\"version\":2,\"token\":\"{token}\",\"verb\":{{\"do\":\"exec\",\"argv\":[\"cat\"],\"cwd\":null,\
         \"term\":null,\"streams\":[\"pipe\",\"null\",\"null\"],\"size\":null}}}}\n"
    );
    let mut stream = UnixStream::connect(run.join("control.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let passed = [input];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&passed));
    let bytes = [IoSlice::new(ask.as_bytes())];
    let sent = sendmsg(&stream, &bytes, &mut ancillary, SendFlags::empty()).unwrap();
    assert_eq!(sent, ask.len());
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}
