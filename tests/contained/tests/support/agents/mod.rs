//! Real agents inside the boundary, driven by the scripted model on the host's loopback.
//!
//! An agent is a row of data ([`Kind`]); what is asked of all of them stands once, in [`days`] and
//! [`tasks`]. The agents are no part of the repository: `RINGFENCE_AGENTS_DIR` names the directory that
//! they were installed into. Without it the tests say that they are skipped, and fail where every test
//! must run. The model is a script and the keys are worthless; nothing leaves the machine.

pub mod days;
pub mod kinds;
pub mod tasks;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_contained_tests::needs::has;
use ringfence_contained_tests::{Job, Live, Outcome, skip};
use ringfence_scripted_model::transcript::{self, ToolResult};
use ringfence_scripted_model::{Script, Server};

use crate::support::world::World;

const AGENTS: &str = "RINGFENCE_AGENTS_DIR";
/// The worthless key that every agent is given.
pub const KEY: &str = "sk-test-CANARY-model-key";
/// How long one conversation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);
/// What every agent is asked.
pub const PROMPT: &str = "Please fix the failing test.";

/// An agent, as data.
pub struct Kind {
    /// Its name in messages, and its profile.
    pub profile: &'static str,
    /// Its program below the directory of agents, or a program of the repository's fixtures.
    pub program: &'static str,
    /// Its arguments; `{url}`, `{key}` and `{prompt}` stand for the model's base URL, the key and the task.
    pub arguments: &'static [&'static str],
    /// Its variables; the same words stand for the same.
    pub variables: &'static [(&'static str, &'static str)],
    /// Variables that the profile sets, for the control group.
    pub unprotected: &'static [(&'static str, &'static str)],
    /// What the profile sets otherwise, as arguments of the control group.
    pub unprotected_arguments: &'static [&'static str],
    /// Files of the project that it needs.
    pub files: &'static [(&'static str, &'static str)],
    /// Files that it leaves in the project by itself.
    pub leaves: &'static [&'static str],
    /// Hosts that it asks for by itself, and that its profile leaves closed.
    pub closed: &'static [&'static str],
}

/// One conversation: the world, the model, and what came back to it.
pub struct Day {
    /// The agent.
    pub kind: &'static Kind,
    /// The host.
    pub world: World,
    model: Server,
    transcript: PathBuf,
    agents: Option<PathBuf>,
    program: PathBuf,
}

impl Day {
    /// Prepares a project and the model's script; `sink` is the host that must not be reached.
    /// `None` after saying that the test is skipped.
    pub fn new(kind: &'static Kind, script: &str, sink: &str) -> Option<Self> {
        let (agents, program) = installed(kind)?;
        let world = World::new(&[("sink.test", &["127.0.0.7"])]);
        // No list of hosts: an empty one would take back what the profile opens.
        world.policy_text(&format!("[network]\nresolver = \"{}\"\n", world.dns.address()));
        let project = world.fixture.project();
        let test =
            "from calc import add\nassert add(2, 3) == 5, add(2, 3)\nprint('the tests pass')\n";
        let own = [("calc.py", "def add(a, b):\n    return a - b\n"), ("test_calc.py", test)];
        for (path, text) in own.iter().chain(kind.files) {
            let path = project.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let home = world.fixture.home();
        let settings = "{\"permissions\":{\"deny\":[\"WebFetch\"]}}";
        fs::write(home.join(".claude/settings.json"), settings).unwrap();
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
        Some(Self { kind, world, model, transcript, agents, program })
    }

    /// The model's port.
    pub fn port(&self) -> u16 {
        self.model.address().port()
    }

    fn argv(&self, url: &str) -> Vec<OsString> {
        let words = self.kind.arguments.iter().map(|word| put_in(word, url).into());
        [self.program.clone().into_os_string()].into_iter().chain(words).collect()
    }

    /// The run as a person would start it. The profile is not named where the program tells it.
    fn job(&self, url: &str, mode: &str) -> Job<'_> {
        let mut flags: Vec<OsString> = vec![
            "--workspace".into(),
            mode.into(),
            "--allow".into(),
            format!("host.ringfence:{}", self.port()).into(),
        ];
        match &self.agents {
            Some(agents) => flags.extend(["--ro".into(), agents.clone().into()]),
            None => flags.extend(["-p".into(), self.kind.profile.into()]),
        }
        for (name, value) in self.kind.variables {
            flags.extend(["--env".into(), format!("{name}={}", put_in(value, url)).into()]);
        }
        self.world.job().flags(flags).patience(PATIENCE)
    }

    /// The agent inside, in a `review` workspace.
    pub fn contained(&self) -> Outcome {
        self.contained_in("review")
    }

    /// The agent inside.
    pub fn contained_in(&self, mode: &str) -> Outcome {
        let url = format!("http://host.ringfence:{}", self.port());
        self.job(&url, mode).argv(self.argv(&url))
    }

    /// The control group: the same agent and script on the bare fixture.
    pub fn unprotected(&self) -> Outcome {
        let url = self.model.base_url();
        let mut argv = self.argv(&url);
        argv.extend(self.kind.unprotected_arguments.iter().map(OsString::from));
        let mut command = self.world.job().plain_command(argv);
        for (name, value) in self.kind.variables.iter().chain(self.kind.unprotected) {
            command.env(name, put_in(value, &url));
        }
        Live::start(command, b"", PATIENCE).wait()
    }

    /// What the agent's tools answered.
    pub fn results(&self) -> Vec<ToolResult> {
        transcript::tool_results(&transcript::read(&self.transcript).unwrap())
    }

    /// Everything that came to the model.
    pub fn whole(&self) -> String {
        fs::read_to_string(&self.transcript).unwrap()
    }

    /// Asserts that nothing was denied but what the agent's profile leaves closed, and `also`. What a rule
    /// permits and this machine's little internet does not have is no denial of anybody's.
    pub fn assert_no_false_denial(&self, also: &[&str]) {
        let denials = self.world.fixture.ledger().denials();
        let known = |denial: &String| {
            denial.contains("\"code\":\"unreachable\"")
                || self
                    .kind
                    .closed
                    .iter()
                    .chain(also)
                    .any(|host| denial.contains(&format!("\"{host}\"")))
        };
        let others: Vec<&String> = denials.iter().filter(|denial| !known(denial)).collect();
        assert!(others.is_empty(), "{}: denied without need: {others:#?}", self.kind.profile);
    }
}

/// Results as lines, for messages.
pub fn texts(results: &[ToolResult]) -> String {
    results.iter().map(|result| format!("{}: {}\n", result.id, result.text)).collect()
}

fn put_in(text: &str, url: &str) -> String {
    text.replace("{url}", url).replace("{key}", KEY).replace("{prompt}", PROMPT)
}

/// Whether an agent is installed that not every machine can hold; says it if not.
pub fn held(kind: &Kind) -> bool {
    let directory = std::env::var_os(AGENTS).map(PathBuf::from);
    let held = directory.is_some_and(|directory| directory.join(kind.program).exists());
    if !held {
        let _ = writeln!(std::io::stderr(), "SKIPPED {}: it is not installed", kind.profile);
    }
    held
}

/// Where an agent is, with the directory that must be seen for it.
fn installed(kind: &Kind) -> Option<(Option<PathBuf>, PathBuf)> {
    if !has(kind.profile, &["python3", "curl"]) {
        return None;
    }
    if kind.program.ends_with(".py") {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        return Some((None, fixtures.join(kind.program).canonicalize().unwrap()));
    }
    let Some(directory) = std::env::var_os(AGENTS).map(PathBuf::from) else {
        skip(kind.profile, &format!("{AGENTS} does not name where agents are installed"));
        return None;
    };
    if !has(kind.profile, &["node"]) {
        return None;
    }
    let program = directory.join(kind.program);
    if !program.exists() {
        skip(kind.profile, &format!("{} is not installed", program.display()));
        return None;
    }
    Some((Some(directory.canonicalize().unwrap()), program))
}
