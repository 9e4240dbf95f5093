//! The example unit for a headless agent: its command is run as systemd would run it, without a terminal
//! and with nothing but the unit's own variables.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::{Job, Live, needs, skip};
use ringfence_scripted_model::{Script, Server};
use support::world::World;

const UNIT: &str = include_str!("../../../packaging/systemd/ringfence-agent.service");
const PROGRAM: &str = "/usr/bin/ringfence";
const PATIENCE: Duration = Duration::from_secs(60);

/// The values of a key, in order.
fn values(key: &str) -> Vec<&'static str> {
    let value = |line: &'static str| line.strip_prefix(key)?.strip_prefix('=');
    UNIT.lines().filter_map(value).collect()
}

/// The unit's command with this host's program and model in the place of the example's.
fn command(world: &World, port: u16) -> Command {
    let job: Job<'_> = world.job().bare();
    let line = values("ExecStart").pop().unwrap();
    let line = line.replace("model.example.com", &format!("host.ringfence:{port}"));
    let mut words = line.split(' ').map(str::to_owned);
    assert_eq!(words.next().unwrap(), PROGRAM);
    let own = world.fixture.binary().display().to_string();
    let mut command = job.plain_command(std::iter::once(own).chain(words));
    command
        .env("MODEL_URL", format!("http://host.ringfence:{port}/v1"))
        .env("MODEL_KEY", "sk-test-CANARY-model-key")
        .env_remove("TERM");
    command
}

/// The unit's agent does its work, bounded in memory and not in time.
#[test]
fn the_example_unit_runs_an_agent_without_a_terminal() {
    needs!("python3");
    let world = World::new(&[]);
    world.policy_text("");
    let project = world.fixture.project();
    fs::write(project.join("calc.py"), "def add(a, b):\n    return a - b\n").unwrap();
    fs::write(project.join("test_calc.py"), "print('the tests pass')\n").unwrap();
    let agent = include_str!("fixtures/service_agent.py").replace("sys.argv[1]", "'serve'");
    fs::write(project.join("agent.py"), agent).unwrap();
    let variables: BTreeMap<String, String> =
        [("workspace".to_owned(), project.display().to_string())].into();
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../scripted-model/scripts/good-day.json");
    let model = Server::start(Script::load(&script, &variables).unwrap(), None, 0).unwrap();

    let outcome = Live::start(command(&world, model.address().port()), b"", PATIENCE).wait();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.contains("The tests pass now"), "{outcome:?}");
    let diff = world.fixture.ringfence(&["diff"]);
    assert!(diff.stdout.contains("return a + b"), "{diff:?}");
    world.decisions().assert_allowed("host.ringfence", model.address().port());
    assert!(world.fixture.ledger().denials().is_empty());

    let shown = world.fixture.ringfence(&["policy", "show", "-p", "service"]);
    assert!(shown.stdout.contains("limit memory      1073741824"), "{shown:?}");
    for endless in ["limit wall", "limit idle"] {
        assert!(!shown.stdout.contains(endless), "{endless}: {shown:?}");
    }
    world.fixture.verify_ledgers();
}

/// The unit's stop signal ends the agent in order, with the code that the unit calls a success; the
/// fixture's census sees that nothing is left.
#[test]
fn the_example_unit_stops_in_order() {
    needs!("python3");
    let world = World::new(&[]);
    let agent = "import time\nprint('serving')\ntime.sleep(1000)\n";
    fs::write(world.fixture.project().join("agent.py"), agent).unwrap();
    let mut live = Live::start(command(&world, 9), b"", PATIENCE);
    // At once, although standard output is no terminal.
    live.wait_for("serving");
    live.signal(rustix::process::Signal::TERM);
    let outcome = live.wait();
    assert_eq!(values("SuccessExitStatus"), [outcome.code.to_string()], "{outcome:?}");
    world.fixture.verify_ledgers();
}

/// What systemd itself says to the unit, where its checker is installed.
#[test]
fn the_example_unit_is_understood() {
    for (key, value) in [("KillMode", "mixed"), ("Delegate", "yes"), ("Restart", "on-failure")] {
        assert_eq!(values(key), [value], "{key}");
    }
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        skip("the unit by systemd's own checker", "systemd-analyze is not installed");
        return;
    }
    let world = World::new(&[]);
    let file = world.fixture.root().join("ringfence-agent.service");
    let own = world.fixture.binary().display().to_string();
    fs::write(&file, UNIT.replace(PROGRAM, &own)).unwrap();
    let verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"];
    let words = verify.iter().map(|word| (*word).to_owned());
    let checked = world.job().bare().plain_command(words.chain([file.display().to_string()]));
    let outcome = Live::start(checked, b"", PATIENCE).wait();
    assert_eq!((outcome.code, outcome.text().trim()), (0, ""), "{outcome:?}");
}
