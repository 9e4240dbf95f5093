//! How long a newcomer takes from the built program to the first thing that a real agent does inside: a
//! fresh home, a terminal, the two commands that are typed, and the question that is answered. Beside it
//! the same agent started without ringfence, in turns. The model is a script on the loopback.
//!
//! It must never count a tool call that was not contained: the agent is asked for a secret of the host.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and its result is printed"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ringfence_scripted_model::{Script, Server, transcript};
use support::terminal::{PROMPT, Terminal};
use support::{Place, headline, median, percentile};

/// Where the agents are installed, as for the tests of real agents.
const AGENTS: &str = "RINGFENCE_AGENTS_DIR";
/// The agent's program there.
const AGENT: &str = "node_modules/.bin/claude";
/// What the agent is told to do, and what is typed for it.
const TASK: &str = "claude --dangerously-skip-permissions -p 'Show me what you can read'";
/// The model's key: worthless.
const KEY: &str = "sk-bench-worthless-key";
/// What the model says: one command, which must not find the secret inside.
const SCRIPT: &str = r#"{"turns": [
    {"tools": [{"name": "run", "input": {"command": "cat '{{secret}}'; echo done"}}]},
    {"text": "That is all."}
]}"#;
/// Newcomers; each has a home in which nothing was ever started.
const ROUNDS: usize = 10;
/// Keystrokes a second: some 40 words a minute.
const TYPED_PER_SECOND: f64 = 3.3;
/// How often the model is asked whether the tool has answered.
const POLL: Duration = Duration::from_millis(2);
/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// One newcomer's time.
struct Taken {
    /// Keys pressed.
    typed: usize,
    /// From each line's end to what it is for: the next prompt, the question, the tool's answer.
    waited: Duration,
    /// The part of it from the last line's end on.
    turn: Duration,
}

fn main() {
    let agents = std::env::var_os(AGENTS).map(PathBuf::from);
    let Some(agents) = agents.filter(|agents| agents.join(AGENT).exists()) else {
        println!("not measured: {AGENTS} names no directory with {AGENT}");
        return;
    };
    headline(&Place::new());
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (with, without) = (newcomer(&agents, true), newcomer(&agents, false));
        // The first turn only warms caches of the kernel's, which a machine in use has warm.
        if round > 0 {
            inside.push(with);
            outside.push(without);
        }
    }
    report(&inside, &outside);
}

/// One fresh home, one terminal, one first turn.
fn newcomer(agents: &Path, contained: bool) -> Taken {
    let place = Place::untouched();
    let project = place.project("first");
    let record = project.with_file_name("transcript.jsonl");
    let secret = place.secret();
    let words = BTreeMap::from([("secret".to_owned(), secret.display().to_string())]);
    let script = Script::parse(SCRIPT, &words).expect("the script");
    let model = Server::start(script, Some(&record), 0).expect("the model");
    let host = if contained { "host.ringfence" } else { "127.0.0.1" };
    let url = format!("http://{host}:{}", model.address().port());
    let path = format!(
        "{}:{}:/usr/local/bin:/usr/bin:/bin",
        place.tools_with_the_program().display(),
        agents.join("node_modules/.bin").display()
    );
    let mut shell = place.outside(&project, "setsid");
    shell.args(["--ctty", "sh", "-i"]).env("PATH", path);
    if !contained {
        // What the profile sets inside, and the account that a script stands for.
        shell.env("ANTHROPIC_BASE_URL", &url).env("ANTHROPIC_API_KEY", KEY);
        shell.env("IS_SANDBOX", "1").env("DISABLE_AUTOUPDATER", "1");
        shell.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    }
    let mut terminal = Terminal::start(shell, PATIENCE);
    terminal.sees(PROMPT);
    let mut taken = Taken { typed: 0, waited: Duration::ZERO, turn: Duration::ZERO };
    if contained {
        taken.step(&mut terminal, "ringfence init", PROMPT);
        account(&project, &url);
        taken.step(&mut terminal, &format!("ringfence run -- {TASK}"), "[y/N]");
        taken.last(&mut terminal, "y", &record);
    } else {
        taken.last(&mut terminal, TASK, &record);
    }
    let answers = transcript::tool_results(&transcript::read(&record).expect("the transcript"));
    let told = answers.iter().any(|answer| answer.text.contains(support::SECRET.trim()));
    assert_eq!(told, !contained, "contained: {contained}; {answers:?}");
    terminal.sees(PROMPT);
    terminal.types("exit");
    terminal.ends();
    taken
}

/// The script's stand-in for an account: not typed, not counted; it makes the definition one that must
/// be accepted.
fn account(project: &Path, url: &str) {
    let definition = project.join("ringfence.toml");
    let text = fs::read_to_string(&definition).expect("what init wrote");
    let host = url.trim_start_matches("http://");
    let set = format!("set = {{ ANTHROPIC_BASE_URL = \"{url}\", ANTHROPIC_API_KEY = \"{KEY}\" }}");
    let text = text
        .replace("[network]\n", &format!("[network]\nallow = [\"{host}\"]\n"))
        .replace("[environment]\n", &format!("[environment]\n{set}\n"));
    fs::write(definition, text).expect("the definition");
}

impl Taken {
    fn step(&mut self, terminal: &mut Terminal, line: &str, until: &str) {
        let begun = Instant::now();
        terminal.types(line);
        terminal.sees(until);
        self.typed += line.len() + 1;
        self.waited += begun.elapsed();
    }

    /// The line after which the agent works; it is over when the model has the tool's answer.
    fn last(&mut self, terminal: &mut Terminal, line: &str, record: &Path) {
        let begun = Instant::now();
        terminal.types(line);
        while !answered(record) {
            assert!(begun.elapsed() < PATIENCE, "no tool was called: {}", terminal.shown());
            std::thread::sleep(POLL);
        }
        self.typed += line.len() + 1;
        self.turn = begun.elapsed();
        self.waited += self.turn;
    }

    fn seconds(&self) -> f64 {
        self.waited.as_secs_f64() + self.typed as f64 / TYPED_PER_SECOND
    }
}

/// Whether an answer of a tool has come; a line that is being written is read the next time.
fn answered(record: &Path) -> bool {
    transcript::read(record).is_ok_and(|records| !transcript::tool_results(&records).is_empty())
}

fn report(inside: &[Taken], outside: &[Taken]) {
    println!("to the first tool call of a real agent, {ROUNDS} newcomers, medians (and worst)");
    println!(
        "{:28} {:>16} {:>18} {:>8} {:>22}",
        "", "waited, s", "of it the turn, s", "keys", "with typing, s"
    );
    for (name, taken) in [("ringfence", inside), ("the agent alone", outside)] {
        let pair = |of: fn(&Taken) -> Duration| {
            let times: Vec<Duration> = taken.iter().map(of).collect();
            let worst = percentile(&times, 100).as_secs_f64();
            format!("{:.2} ({worst:.2})", median(&times).as_secs_f64())
        };
        let whole = |taken: &Taken| Duration::from_secs_f64(taken.seconds());
        println!(
            "{name:28} {:>16} {:>18} {:>8} {:>22}",
            pair(|taken| taken.waited),
            pair(|taken| taken.turn),
            taken.first().map_or(0, |taken| taken.typed),
            pair(whole),
        );
    }
    let middle = |of: &[Taken]| {
        median(&of.iter().map(|taken| taken.waited).collect::<Vec<_>>()).as_secs_f64()
    };
    println!("waited, ringfence / alone: x {:.2}", middle(inside) / middle(outside));
}
