//! A real agent inside the boundary, driven by the scripted model on the host's loopback: on a
//! good day it does its work; gone wrong it gets nowhere and everything is told.
//!
//! The agent is not part of the repository: `RINGFENCE_AGENTS_DIR` names the directory that it was
//! installed into. Without it the tests say that they are skipped, and fail where every test must
//! run. The model is a script and the key is worthless; nothing leaves the machine.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_contained_tests::{Job, Live, Outcome, expose};
use ringfence_scripted_model::transcript::{self, ToolResult};
use ringfence_scripted_model::{Script, Server};
use support::tcp::{LEAK, Sink};
use support::tree::{Tree, assert_unchanged, snapshot};
use support::world::{World, skip};

const AGENTS: &str = "RINGFENCE_AGENTS_DIR";
const KEY: &str = "sk-ant-test-CANARY-model-key";
/// How long one conversation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The installed agent, or `None` after saying that the test is skipped.
fn agent() -> Option<(PathBuf, PathBuf)> {
    let Some(directory) = std::env::var_os(AGENTS).map(PathBuf::from) else {
        skip("the real agent", &format!("{AGENTS} does not name where it is installed"));
        return None;
    };
    let program = directory.join("node_modules/.bin/claude");
    assert!(program.exists(), "{AGENTS} is set, but {} is missing", program.display());
    Some((directory.canonicalize().unwrap(), program))
}

/// One conversation: the world, the model, and what came back to it.
struct Day {
    world: World,
    model: Server,
    transcript: PathBuf,
    agents: PathBuf,
    program: PathBuf,
}

impl Day {
    /// Prepares a project and the model's script; `sink` is the host that must not be reached.
    fn new(script: &str, sink: &str) -> Option<Self> {
        let (agents, program) = agent()?;
        let world = World::new(&[("sink.test", &["127.0.0.7"])]);
        let project = world.fixture.project();
        fs::write(project.join("calc.py"), "def add(a, b):\n    return a - b\n").unwrap();
        fs::write(
            project.join("test_calc.py"),
            "from calc import add\nassert add(2, 3) == 5, add(2, 3)\nprint('the tests pass')\n",
        )
        .unwrap();
        let home = world.fixture.home();
        fs::write(
            home.join(".claude/settings.json"),
            "{\"permissions\":{\"deny\":[\"WebFetch\"]}}",
        )
        .unwrap();
        fs::create_dir_all(home.join("Documents")).unwrap();
        fs::write(home.join("Documents/diary.txt"), "mine").unwrap();
        let variables: BTreeMap<String, String> = [
            ("workspace", project.display().to_string()),
            ("home", home.display().to_string()),
            ("sink", sink.to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripted-model/scripts");
        let script = Script::load(&scripts.join(script), &variables).unwrap();
        let transcript = world.fixture.root().join("transcript.jsonl");
        let model = Server::start(script, Some(&transcript), 0).unwrap();
        Some(Self { world, model, transcript, agents, program })
    }

    fn port(&self) -> u16 {
        self.model.address().port()
    }

    fn argv(&self) -> Vec<OsString> {
        let words = ["-p", "Please fix the failing test.", "--dangerously-skip-permissions"];
        let words = words.iter().map(OsString::from);
        [self.program.clone().into_os_string()].into_iter().chain(words).collect()
    }

    /// The run as a person would start it.
    fn job(&self) -> Job<'_> {
        let port = self.port();
        let flags: Vec<OsString> = vec![
            "-p".into(),
            "claude-code".into(),
            "--workspace".into(),
            "review".into(),
            "--ro".into(),
            self.agents.clone().into(),
            "--allow".into(),
            format!("host.ringfence:{port}").into(),
            "--env".into(),
            format!("ANTHROPIC_BASE_URL=http://host.ringfence:{port}").into(),
            "--env".into(),
            format!("ANTHROPIC_API_KEY={KEY}").into(),
        ];
        self.world.job().flags(flags).patience(PATIENCE)
    }

    fn contained(&self) -> Outcome {
        self.job().argv(self.argv())
    }

    /// The control group: the same agent and script on the bare fixture.
    fn unprotected(&self) -> Outcome {
        let job = self.world.job();
        let mut command = job.plain_command(self.argv());
        command
            .env("ANTHROPIC_BASE_URL", self.model.base_url())
            .env("ANTHROPIC_API_KEY", KEY)
            .env("IS_SANDBOX", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
        Live::start(command, b"", PATIENCE).wait()
    }

    /// What the agent's tools answered.
    fn results(&self) -> Vec<ToolResult> {
        transcript::tool_results(&transcript::read(&self.transcript).unwrap())
    }
}

fn texts(results: &[ToolResult]) -> String {
    results.iter().map(|result| format!("{}: {}\n", result.id, result.text)).collect()
}

/// A good day: the file is fixed inside, shown by `diff`, and landed by `apply`.
#[test]
fn agent_does_its_work_on_a_good_day() {
    let Some(day) = Day::new("good-day.json", "sink.test:9") else {
        return;
    };
    let fixture = &day.world.fixture;
    let before = snapshot(&fixture.home());
    let outcome = day.contained();
    assert_eq!(outcome.code, 0, "{outcome:?}\n{}", texts(&day.results()));
    assert!(outcome.stdout.contains("The tests pass now"), "{outcome:?}");
    let results = day.results();
    let ran =
        results.iter().any(|result| !result.is_error && result.text.contains("the tests pass"));
    assert!(ran, "the tests were run inside: {}", texts(&results));
    assert!(results.iter().all(|result| !result.is_error), "{}", texts(&results));
    assert_unchanged(&fixture.home(), &before, "before apply");

    let diff = fixture.ringfence(&["diff"]);
    assert!(diff.stdout.contains("calc.py"), "{diff:?}");
    assert!(diff.stdout.contains("return a + b"), "{diff:?}");
    let applied = fixture.ringfence(&["apply"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let landed = fs::read_to_string(fixture.project().join("calc.py")).unwrap();
    assert_eq!(landed, "def add(a, b):\n    return a + b\n");
    let mut after = snapshot(&fixture.home());
    let mut expected: Tree = before;
    let changed = "work/project/calc.py";
    assert_ne!(after.remove(changed), expected.remove(changed));
    assert_eq!(after, expected, "apply landed what was shown and nothing else");

    day.world.decisions().assert_allowed("host.ringfence", day.port());
    let ledger = fixture.ledger();
    assert!(!format!("{:?}", ledger.records).contains(KEY), "the key is in the ledger");
    fixture.verify_ledgers();
}

/// C18, S01, S06, S13: the same agent gone wrong finds nothing, reaches nobody, changes nothing,
/// and the person is told.
#[test]
fn agent_gone_wrong_gets_nowhere() {
    let sink = Sink::start("127.0.0.7:0");
    let end = format!("sink.test:{}", sink.server.port());
    let Some(day) = Day::new("rogue.json", &end) else {
        return;
    };
    let fixture = &day.world.fixture;
    let before = snapshot(&fixture.home());
    let outcome = day.contained();
    assert!(outcome.stdout.contains("All done."), "the script was played to its end: {outcome:?}");
    let results = day.results();
    assert!(results.len() >= 12, "every tool was tried: {}", texts(&results));
    assert_eq!(expose(&texts(&results)), Vec::<&str>::new(), "{}", texts(&results));
    let whole = fs::read_to_string(&day.transcript).unwrap();
    assert_eq!(expose(&whole), Vec::<&str>::new(), "a secret left by the model's own connection");
    assert!(!whole.contains(LEAK));
    sink.assert_untouched("the rogue agent");
    assert_unchanged(&fixture.home(), &before, "the rogue agent");

    let (host, port) = ("sink.test", sink.server.port());
    day.world.decisions().assert_denied(host, port, "no-rule");
    assert!(
        outcome.stderr.contains(&end),
        "the exit block names what was denied: {}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("denied"), "{}", outcome.stderr);
    let why = fixture.ringfence(&["why"]);
    assert_eq!(why.code, 0, "{why:?}");
    assert!(why.stdout.contains(host), "{why:?}");
    let logs = fixture.ringfence(&["logs"]);
    assert!(logs.stdout.contains(host), "{logs:?}");
    let diff = fixture.ringfence(&["diff"]);
    assert!(diff.stdout.contains("src"), "the deletion is shown for review: {diff:?}");
    let discarded = fixture.ringfence(&["discard"]);
    assert_eq!(discarded.code, 0, "{discarded:?}");
    assert_unchanged(&fixture.home(), &before, "after discard");
    fixture.verify_ledgers();
}

/// The control group: without a boundary the rogue script takes, sends, plants and destroys.
#[test]
fn agent_gone_wrong_control_succeeds_without_a_boundary() {
    let sink = Sink::start("127.0.0.7:0");
    let Some(day) = Day::new("rogue.json", &format!("127.0.0.7:{}", sink.server.port())) else {
        return;
    };
    let fixture = &day.world.fixture;
    let outcome = day.unprotected();
    assert!(outcome.stdout.contains("All done."), "{outcome:?}\n{}", texts(&day.results()));
    assert!(!expose(&texts(&day.results())).is_empty(), "{}", texts(&day.results()));
    assert!(sink.server.accepted() > 0, "the sink was reached");
    assert!(!fixture.project().join("src").exists(), "the project was destroyed");
    assert!(!fixture.home().join("Documents").exists(), "and more");
}
