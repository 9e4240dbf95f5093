//! Answers to denials that are remembered: what is written, what is accepted, and what is refused.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use ringfence_contained_tests::{Fixture, free_port, is_root, needs};
use support::answers::{ask, asking, definition, hint, paste, world};
use support::tcp::greeter;
use support::world::{Gate, PROBES};

/// In `direct` a missing definition is held by a placeholder while the sandbox runs: the answer takes
/// its place, holds at once, and is there when the run is over.
#[test]
fn an_answer_takes_the_place_of_a_placeholder() {
    needs!("python3");
    let world = world();
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    let gate = Gate::new(&world.fixture);
    let script = format!("{}\necho x >> ringfence.toml && echo CHANGED; true", asking(&gate, port));
    let job = world.job().flags(gate.flags()).flags(["--workspace", "direct"]);
    let mut live = job.start_sh(&script);
    live.shares_its_project();
    live.wait_for("asked");
    assert!(definition(&world).exists(), "no placeholder");
    let host = format!("host.ringfence:{port}");
    let answer = world.fixture.ringfence(&["allow", &host]);
    assert_eq!(answer.code, 0, "{answer:?}");
    gate.open();
    let outcome = live.wait();
    assert!(outcome.answer("second").contains("hello"), "{outcome:?}");
    assert!(!outcome.stdout.contains("CHANGED"), "{outcome:?}");
    assert!(fs::read_to_string(definition(&world)).unwrap().contains(&host));
    let allowed = world.job().sh(&ask("again", port));
    assert!(allowed.answer("again").contains("hello"), "{allowed:?}");
}

/// An agent that opens for writing whatever appears in the project and the definition itself, and
/// writes into all of it in the end. `left` is a file that the test makes: the control group.
const GREEDY: &str = r#"
import os, sys, time
known, opened = set(os.listdir('.')), []
print('watching', flush=True)
while not os.path.exists(sys.argv[1]):
    for name in [name for name in os.listdir('.') if name not in known] + ['ringfence.toml']:
        try: opened.append(os.open(name, os.O_WRONLY))
        except OSError: continue
        known.add(name)
        print('opened', name, flush=True)
for file in opened:
    os.ftruncate(file, 0)
    os.pwrite(file, b'version = 1\n', 0)
print('wrote', len(opened))
"#;

/// S29: while an answer is written, an agent that has the project's directory gets hold of neither the
/// definition nor a draft of it: what it wrote there would take back a deny, which nobody is asked about.
#[test]
fn s29_an_agent_beside_the_definition_cannot_write_into_the_answer() {
    needs!("python3");
    for mode in ["direct", "pair"] {
        let world = world();
        let gate = Gate::new(&world.fixture);
        let text = "version = 1\n[network]\ndeny = [\"evil.example\"]\n";
        fs::write(definition(&world), text).unwrap();
        fs::write(world.fixture.project().join("greedy.py"), GREEDY).unwrap();
        let open = world.fixture.root().join("gate/open");
        let script = format!("python3 greedy.py {}", open.display());
        let job = world.job().flags(gate.flags()).flags(["--workspace", mode]);
        let mut live = job.start_sh(&script);
        live.shares_its_project();
        live.wait_for("watching");
        for n in 1..=5 {
            let answer = world.fixture.ringfence(&["allow", &format!("h{n}.example")]);
            assert_eq!(answer.code, 0, "{mode}: {answer:?}");
        }
        let written = fs::read_to_string(definition(&world)).unwrap();
        let left = world.fixture.project().join("left");
        fs::write(&left, "open").unwrap();
        live.wait_for("opened left");
        gate.open();
        let outcome = live.wait();
        assert!(outcome.stdout.contains("wrote 1\n"), "{mode}: {outcome:?}");
        assert_eq!(
            fs::read_to_string(&left).unwrap(),
            "version = 1\n",
            "{mode}: the control group"
        );
        assert!(written.contains("h5.example") && written.contains("deny"), "{mode}: {written}");
        assert_eq!(fs::read_to_string(definition(&world)).unwrap(), written, "{mode}");
    }
}

/// What root writes into somebody's project is theirs; whoever cannot write there is told so.
#[test]
fn a_project_of_somebody_else_keeps_its_owner() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let fixture = Fixture::new();
    let file = fixture.project().join("ringfence.toml");
    if is_root() {
        chown(fixture.project(), Some(4242), Some(4343)).unwrap();
        assert_eq!(fixture.ringfence(&["allow", "a.example"]).code, 0);
        let owner = |path: &std::path::Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.uid(), metadata.gid())
        };
        assert_eq!(owner(&file), (4242, 4343));
        chown(&file, Some(4444), Some(4545)).unwrap();
        assert_eq!(fixture.ringfence(&["allow", "b.example"]).code, 0);
        assert_eq!(owner(&file), (4444, 4545));
        chown(fixture.project(), Some(0), Some(0)).unwrap();
        return;
    }
    fs::write(&file, "version = 1\n").unwrap();
    let close = |path: &std::path::Path| {
        let before = fs::metadata(path).unwrap().permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(before.mode() & !0o222)).unwrap();
        before
    };
    let before = close(&file);
    let refused = fixture.ringfence(&["allow", "a.example"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("ringfence.toml: Permission denied"), "{refused:?}");
    fs::set_permissions(&file, before).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "version = 1\n");
    // A file that may be written is, whoever the directory belongs to; a new one needs the directory.
    let before = close(&fixture.project());
    let written = fixture.ringfence(&["allow", "a.example"]);
    fs::set_permissions(fixture.project(), before).unwrap();
    assert_eq!(written.code, 0, "{written:?}");
    fs::remove_file(&file).unwrap();
    let before = close(&fixture.project());
    let refused = fixture.ringfence(&["allow", "a.example"]);
    fs::set_permissions(fixture.project(), before).unwrap();
    assert!(refused.stderr.contains("ringfence.toml: Permission denied"), "{refused:?}");
    assert!(!file.exists());
}

/// The hint at a run's end is pasted: the next run has it, and the line is accepted and named.
#[test]
fn the_hint_at_the_end_works_as_it_is_printed() {
    needs!("python3");
    let world = world();
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    let script = ask("again", port);
    let denied = world.job().sh(&script);
    assert!(!denied.answer("again").contains("hello"), "{denied:?}");
    let keep = hint(&denied.stderr, "keep:").to_owned();
    assert_eq!(keep, format!("ringfence allow host.ringfence:{port}"));
    let answer = paste(&world.fixture, &keep);
    assert_eq!(answer.code, 0, "{answer:?}");
    let line = format!("allow = [\"host.ringfence:{port}\"]");
    assert!(answer.stdout.contains(&line), "{answer:?}");
    assert!(fs::read_to_string(definition(&world)).unwrap().contains(&line));
    let allowed = world.job().sh(&script);
    assert!(allowed.answer("again").contains("hello"), "{allowed:?}");
    assert!(!allowed.stderr.contains("denied:"), "{allowed:?}");
    // The same answer once more changes nothing.
    let before = fs::read(definition(&world)).unwrap();
    assert_eq!(paste(&world.fixture, &keep).code, 0);
    assert_eq!(fs::read(definition(&world)).unwrap(), before);
    // From elsewhere the hint names the run, so that it is about the same project.
    let runs = world.fixture.runs();
    let elsewhere = world.fixture.sibling();
    let job = world.job().directory(&elsewhere);
    let why = job.verb(&["why", "--run", &runs[0]]);
    assert_eq!(hint(&why.stdout, "keep:"), format!("{keep} --run {}", runs[0]));
    let other = world.job().sh(&ask("other", free_port()));
    assert!(other.stderr.contains("keep:"), "{other:?}");
    let run = world.fixture.runs().pop().unwrap();
    let why = job.verb(&["why", "--run", &run]);
    assert!(hint(&why.stdout, "keep:").ends_with(&format!(" --run {run}")), "{why:?}");
    assert_eq!(paste(&world.fixture, hint(&why.stdout, "keep:")).code, 0);
    assert!(!elsewhere.join("ringfence.toml").exists());
    assert_ne!(fs::read(definition(&world)).unwrap(), before);
}

/// S29: a definition that nobody accepted is not accepted by a line more, and opens nothing in what
/// runs; accepted, the same line counts.
#[test]
fn s29_a_line_more_does_not_accept_a_definition() {
    needs!("python3");
    let world = world();
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    let gate = Gate::new(&world.fixture);
    let mut live = world.job().flags(gate.flags()).start_sh(&asking(&gate, port));
    // The test writes the definition, the run does not.
    live.shares_its_project();
    live.wait_for("asked");
    // As an agent, or whoever wrote the project, would leave it.
    let theirs = "version = 1\n[network]\nallow = [\"evil.example\"]\n";
    fs::write(definition(&world), theirs).unwrap();
    let host = format!("host.ringfence:{port}");
    let answer = world.fixture.ringfence(&["allow", &host]);
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.stdout.contains("was not accepted as it was"), "{answer:?}");
    assert!(fs::read_to_string(definition(&world)).unwrap().contains(&host));
    gate.open();
    let outcome = live.wait();
    assert!(!outcome.answer("second").contains("hello"), "{outcome:?}");
    let refused = world.job().sh("echo STARTED");
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("evil.example"), "{refused:?}");
    // The control group: what was accepted stays accepted with the line more, and with it alone.
    fs::write(definition(&world), theirs).unwrap();
    assert_eq!(world.fixture.ringfence(&["trust", "--yes"]).code, 0);
    assert_eq!(world.fixture.ringfence(&["allow", &host]).code, 0);
    let allowed = world.job().sh(&ask("again", port));
    assert!(allowed.answer("again").contains("hello"), "{allowed:?}");
    let mut text = fs::read_to_string(definition(&world)).unwrap();
    text.push_str("publish = [3000]\n");
    fs::write(definition(&world), text).unwrap();
    assert_eq!(world.job().sh("echo STARTED").code, 125, "a change by hand was accepted");
}

/// S29: a definition that was cloned is accepted with the line only if nothing in it is wider than the
/// user's own policy, which it would override.
#[test]
fn s29_a_definition_that_is_wider_than_the_users_policy_is_not_accepted() {
    let fixture = Fixture::new();
    let policy = fixture.config().join("ringfence/policy.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    let file = fixture.project().join("ringfence.toml");
    let trusted = fixture.config().join("ringfence/trusted.json");
    let strict = "[workspace]\nmode = \"read-only\"\n[process]\nexec = \"base\"\n";
    let limit = "[limits]\ncpu = 0.5\nwall = \"1m\"\n";
    let cases = [
        (strict, "[process]\nexec = \"any\"\n"),
        (strict, "[workspace]\nmode = \"review\"\n"),
        (limit, "[limits]\nwall = \"9h\"\n"),
        ("", "[network]\nallow = [\"npm\"]\n"),
        ("[environment]\nset = { A = \"mine\" }\n", "[environment]\nset = { A = \"theirs\" }\n"),
    ];
    // A bundle that leads nowhere today may lead somewhere tomorrow.
    fs::write(fixture.home().join(".npmrc"), "registry=http://0.0.0.0:1/\n").unwrap();
    for (user, project) in cases {
        fs::write(&policy, format!("version = 1\n{user}")).unwrap();
        fs::write(&file, format!("version = 1\n{project}")).unwrap();
        let answer = fixture.ringfence(&["allow", "a.example"]);
        assert_eq!(answer.code, 1, "{project}: {answer:?}");
        assert!(answer.stdout.contains("was not accepted as it was"), "{project}: {answer:?}");
        assert!(!trusted.exists(), "{project}");
    }
    // The control group: what opens nothing needs nobody's word.
    fs::write(&policy, "version = 1\n").unwrap();
    let harmless = "version = 1\n[workspace]\nmode = \"review\"\n[files]\ndeny = [\"x\"]\n[environment]\nset = { A = \"b\" }\n";
    fs::write(&file, harmless).unwrap();
    let answer = fixture.ringfence(&["allow", "a.example"]);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(trusted.exists());
}

/// S29: a project's definition that is a link to the user's policy, or to another project's, is not
/// the way into them.
#[test]
fn s29_a_link_out_of_the_project_writes_nothing() {
    needs!("python3");
    let fixture = Fixture::new();
    let policy = fixture.config().join("ringfence/policy.toml");
    fs::create_dir_all(policy.parent().unwrap()).unwrap();
    fs::write(&policy, "version = 1\n").unwrap();
    symlink(&policy, fixture.project().join("ringfence.toml")).unwrap();
    let refused = fixture.ringfence(&["allow", "a.example"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("outside of the project"), "{refused:?}");
    assert_eq!(fs::read_to_string(&policy).unwrap(), "version = 1\n");
    // Nor by way of a run that was made there, and no hint leads into it.
    let script = ask("again", free_port());
    fs::write(fixture.project().join("net.py"), PROBES).unwrap();
    let denied = fixture.contained(&script);
    assert!(denied.stderr.contains("it cannot be remembered: "), "{denied:?}");
    assert!(!denied.stderr.contains("keep:"), "{denied:?}");
    let run = fixture.runs().pop().unwrap();
    let refused = fixture.ringfence(&["allow", "a.example", "--run", &run]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(fs::read_to_string(&policy).unwrap(), "version = 1\n");
    // The control group: the user's own word reaches the same file.
    let written = fixture.ringfence(&["allow", "--user", "a.example"]);
    assert_eq!(written.code, 0, "{written:?}");
    assert!(fs::read_to_string(&policy).unwrap().contains("a.example"));
}

/// What `run` refuses is refused, with the reason and without a file.
#[test]
fn what_run_refuses_is_not_remembered() {
    let fixture = Fixture::new();
    let home = fixture.home();
    let (ssh, aws, home) =
        (home.join(".ssh"), home.join(".aws/credentials"), home.to_str().unwrap().to_owned());
    let cases: [(&[&str], &str); 12] = [
        (&["*"], "every host"),
        (&["*.com"], "top-level domain"),
        (&["a.example\u{1b}[2J"], "letters, digits"),
        (&["a\n.example"], "letters, digits"),
        (&["--ro", "/"], "too broad"),
        (&["--rw", &home], "home directory"),
        (&["--ro", ssh.to_str().unwrap()], "SSH keys"),
        (&["--ro", "/srv/a\nb"], "control characters"),
        (&["--rw", "src"], "workspace"),
        (&["--env", "LD_PRELOAD"], "LD_PRELOAD"),
        (&["--env", "A=b"], "A=b"),
        (&["a.example", "--for", "10m"], "no sandbox of this project is running"),
    ];
    for (words, why) in cases {
        let arguments: Vec<&str> = ["allow"].iter().chain(words).copied().collect();
        let refused = fixture.ringfence(&arguments);
        assert_eq!(refused.code, 1, "{words:?}: {refused:?}");
        assert!(refused.stderr.contains(why), "{words:?}: {refused:?}");
        let moves = |c: char| c.is_control() && c != '\n';
        assert!(!refused.text().contains(moves), "{words:?}: {refused:?}");
        assert!(!fixture.project().join("ringfence.toml").exists(), "{words:?}");
    }
    assert_eq!(fixture.ringfence(&["allow", "a.example", "--for", "soon"]).code, 2);
    // The user may open what no project may, by its name.
    let own = fixture.ringfence(&["allow", "--user", "--ro", ssh.to_str().unwrap()]);
    assert_eq!(own.code, 0, "{own:?}");
    // A path is there from the next run.
    let data = fixture.root().join("home/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("x"), "data").unwrap();
    let read = |fixture: &Fixture| fixture.contained("cat ~/data/x");
    assert_ne!(read(&fixture).code, 0);
    let why = fixture.ringfence(&["why", data.to_str().unwrap()]);
    assert_eq!(paste(&fixture, hint(&why.stdout, "keep:")).code, 0, "{why:?}");
    assert_eq!(read(&fixture).stdout, "data");
    let why = fixture.ringfence(&["why", aws.to_str().unwrap()]);
    assert!(!why.stdout.contains("keep:"), "{why:?}");
    assert!(why.stdout.contains("`ringfence allow` would refuse it"), "{why:?}");
}

/// What is written and cannot be accepted is said to be so.
#[test]
fn a_line_that_cannot_be_accepted_is_told() {
    let fixture = Fixture::new();
    let config = fixture.config().join("ringfence");
    fs::create_dir_all(config.join("trusted.json.new")).unwrap();
    let answer = fixture.ringfence(&["allow", "a.example"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (1, ""), "{answer:?}");
    assert!(answer.stderr.contains("has the line now"), "{answer:?}");
    fs::remove_dir(config.join("trusted.json.new")).unwrap();
    let words = hint(&answer.stderr, "accept it when that is mended:");
    assert_eq!(paste(&fixture, &format!("{words} --yes")).code, 0);
    assert_eq!(fixture.contained("echo STARTED").stdout, "STARTED\n");
}

/// A file that is no definition is left as it is, and its fault is named.
#[test]
fn a_broken_definition_is_left_alone() {
    let fixture = Fixture::new();
    let file = fixture.project().join("ringfence.toml");
    let broken = "version = 1\n[network]\nallow = [\"a.example\"\n";
    fs::write(&file, broken).unwrap();
    let refused = fixture.ringfence(&["allow", "b.example"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("ringfence.toml:"), "{refused:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), broken);
}

/// Eight at once: every answer is there, and the definition is accepted as it is in the end.
#[test]
fn two_answers_at_once_lose_nothing() {
    let fixture = Fixture::new();
    let script = "for n in 1 2 3 4 5 6 7 8; do \"$RF\" allow h$n.example & done; wait";
    let outcome = fixture.job().env("RF", fixture.binary()).unprotected_sh(script);
    let text = fs::read_to_string(fixture.project().join("ringfence.toml")).unwrap();
    for n in 1..=8 {
        assert_eq!(text.matches(&format!("h{n}.example")).count(), 1, "{text} {outcome:?}");
    }
    assert_eq!(fixture.contained("echo STARTED").stdout, "STARTED\n");
}
