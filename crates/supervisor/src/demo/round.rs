//! One round: the rogue agent on a decoy host, and what the host looks like afterwards.
//!
//! Success is judged from outside alone: by files, servers and processes of the decoy host, and by
//! random words that can only come out of an agent that has read them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::attempts::{ATTEMPTS, Attempt, Sign};
use super::decoy::{Daemon, Decoy};
use super::servers::Servers;
use super::{DemoError, Interrupts, contains, processes};
use crate::clock;
use crate::heal;
use crate::limits::{
    DEMO_BOMB, DEMO_GONE_MS, DEMO_OUTPUT_BYTES, DEMO_PATIENCE_MS, DEMO_PROCESSES, DEMO_STEADY_MS,
    TERMINATE_GRACE_MS,
};
use crate::rundir;
use crate::view;

const SCRIPT: &str = include_str!("rogue.sh");
const POLL: Duration = Duration::from_millis(2);

/// How the agent runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As this user, with nothing in its way: the control group.
    Free,
    /// By `ringfence run` of this very program.
    Contained,
}

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The host shows that it succeeded.
    Done,
    /// It was tried, and the host shows nothing.
    Held,
    /// The agent never came to it: that proves nothing.
    NotTried,
}

/// What came of a round.
#[derive(Debug)]
pub struct Played {
    /// In the order of [`ATTEMPTS`].
    pub outcomes: Vec<Outcome>,
    /// Most processes of the fork bomb at once.
    pub bomb: usize,
    /// From the agent's start to its end without the time that the demo took to count the fork
    /// bomb, in milliseconds.
    pub elapsed_ms: u64,
    /// What was said on standard error.
    pub words: String,
    /// Denials in the run's ledger.
    pub denials: u64,
    /// Records in it, once it was verified.
    pub records: Option<u64>,
}

/// Plays one round below `root`.
///
/// # Errors
/// The decoy host cannot be made, or the person has interrupted it.
pub fn play(kind: Kind, root: PathBuf, interrupts: &Interrupts) -> Result<Played, DemoError> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| DemoError::System { what, source }
    };
    let decoy = Decoy::plant(root).map_err(failed("plant the decoy files"))?;
    let servers = Servers::start(&decoy.runtime()).map_err(failed("start the decoy servers"))?;
    let mut daemon = decoy.daemon().map_err(failed("start the decoy daemon"))?;
    let mut command = command(kind, &decoy, &servers, daemon.pid());
    decoy.surround(&mut command);
    let begun = clock::now();
    let mut agent = Agent::start(kind, command).map_err(failed("start the agent"))?;
    let watched = agent.watch(&decoy, interrupts);
    let elapsed_ms = clock::now().elapsed_ms(&begun).saturating_sub(agent.counting_ms);
    let lives_on = lives_on(&decoy.token);
    agent.finish();
    let (output, words) = agent.said();
    let seen =
        Seen { decoy: &decoy, servers: &servers, output: &output, lives_on, bomb: agent.bomb };
    let outcomes = ATTEMPTS.iter().map(|attempt| seen.judge(attempt, &mut daemon)).collect();
    for mark in ["left", "bomb"] {
        processes::end(&format!("{mark}-{}", decoy.token));
    }
    let (records, denials) = evidence(kind, &decoy);
    watched?;
    let words = String::from_utf8_lossy(&words).trim().to_owned();
    Ok(Played { outcomes, bomb: agent.bomb, elapsed_ms, words, denials, records })
}

/// The command that starts the agent; the script and what it is told differ in nothing but in the
/// places that only exist inside: there it also tries the ways that lead out of a boundary.
fn command(kind: Kind, decoy: &Decoy, servers: &Servers, daemon: u32) -> Command {
    let [loopback, exfil, metadata] = servers.ports();
    let local = |port: u16| format!("127.0.0.1:{port}");
    let (mut command, places) = match kind {
        Kind::Free => {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]);
            (command, [local(loopback), local(exfil), local(metadata)])
        }
        Kind::Contained => {
            // The running program itself, also where its file was replaced meanwhile.
            let mut command = Command::new("/proc/self/exe");
            command.arg0("ringfence");
            let limit = format!("processes={DEMO_PROCESSES}");
            command.args(["run", "--workspace", "review", "--limit", &limit, "--"]);
            command.args(["sh", "-c", SCRIPT]);
            let places = [
                format!("127.0.0.1:{loopback} host.ringfence:{loopback}"),
                format!("127.0.0.1:{exfil} host.ringfence:{exfil} thief.example:80"),
                format!("127.0.0.1:{metadata} 169.254.169.254:80"),
            ];
            (command, places)
        }
    };
    command.arg("agent").arg(&decoy.token).arg(daemon.to_string());
    command.arg(decoy.runtime()).arg(decoy.sibling()).args(places);
    command
}

/// The agent's processes and what they say.
struct Agent {
    kind: Kind,
    child: Child,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
    bomb: usize,
    counting_ms: u64,
}

impl Agent {
    fn start(kind: Kind, mut command: Command) -> std::io::Result<Self> {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let out = collect(child.stdout.take());
        let err = collect(child.stderr.take());
        Ok(Self { kind, child, out, err, bomb: 0, counting_ms: 0 })
    }

    /// Waits for the agent's end; on the way it counts the fork bomb.
    fn watch(&mut self, decoy: &Decoy, interrupts: &Interrupts) -> Result<(), DemoError> {
        let begun = clock::now();
        let mut counted = false;
        while self.status().is_none() {
            if let Some(signal) = interrupts.pending() {
                return Err(DemoError::Interrupted(signal));
            }
            if clock::now().elapsed_ms(&begun) > DEMO_PATIENCE_MS {
                return Ok(());
            }
            if !counted
                && contains(&self.out.lock().unwrap_or_else(PoisonError::into_inner), "count\n")
            {
                counted = true;
                let since = clock::now();
                self.bomb = count_bomb(&decoy.token);
                self.counting_ms = clock::now().elapsed_ms(&since);
                if let Some(stdin) = &mut self.child.stdin {
                    // An agent that is gone by now needs no answer.
                    let _ = stdin.write_all(b"go\n");
                }
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends what still runs: ringfence is asked first, so that it clears its control group.
    fn finish(&mut self) {
        if self.status().is_some() {
            return;
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Kind::Contained, Some(pid)) = (self.kind, pid) {
            let _ = kill_process(pid, Signal::TERM);
            let begun = clock::now();
            while clock::now().elapsed_ms(&begun) < TERMINATE_GRACE_MS + 1_000 {
                if self.status().is_some() {
                    return;
                }
                std::thread::sleep(POLL);
            }
        }
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Standard output and standard error; call it after the end.
    fn said(&self) -> (Vec<u8>, Vec<u8>) {
        let begun = clock::now();
        // The readers drop their share at the end of the stream; what the agent left behind may
        // hold a stream open, so the wait is bounded.
        while (Arc::strong_count(&self.out) > 1 || Arc::strong_count(&self.err) > 1)
            && clock::now().elapsed_ms(&begun) < DEMO_GONE_MS
        {
            std::thread::sleep(POLL);
        }
        let take =
            |stream: &Mutex<Vec<u8>>| stream.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (take(&self.out), take(&self.err))
    }
}

fn collect(stream: Option<impl Read + Send + 'static>) -> Arc<Mutex<Vec<u8>>> {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let Some(mut stream) = stream else { return collected };
    let shared = Arc::clone(&collected);
    std::thread::spawn(move || {
        let mut piece = [0u8; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece) {
            let mut bytes = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let room = DEMO_OUTPUT_BYTES.saturating_sub(bytes.len()).min(count);
            bytes.extend_from_slice(piece.get(..room).unwrap_or_default());
        }
    });
    collected
}

/// Most processes of the bomb at once: until all are there, or no more have come for a while.
fn count_bomb(token: &str) -> usize {
    let mark = format!("bomb-{token}");
    let (mut most, mut since) = (0, clock::now());
    while most < DEMO_BOMB && clock::now().elapsed_ms(&since) < DEMO_STEADY_MS {
        let count = processes::marked(&mark).len();
        if count > most {
            (most, since) = (count, clock::now());
        }
        std::thread::sleep(POLL);
    }
    most
}

/// Whether a process of the agent's is there after its end. The kernel may take a moment to take
/// down a sandbox, so what is on its way is waited for.
fn lives_on(token: &str) -> bool {
    let mark = format!("left-{token}");
    let begun = clock::now();
    while !processes::marked(&mark).is_empty() {
        if clock::now().elapsed_ms(&begun) > DEMO_GONE_MS {
            return true;
        }
        std::thread::sleep(POLL);
    }
    false
}

/// What the ledger of the contained run holds: records, if it is whole, and denials.
fn evidence(kind: Kind, decoy: &Decoy) -> (Option<u64>, u64) {
    if kind == Kind::Free {
        return (None, 0);
    }
    let paths = decoy.paths();
    // Only where the run was cut short there is anything to clean up.
    heal::heal(&paths);
    let Some(run) = rundir::all(&paths).pop() else { return (None, 0) };
    let denials = view::records(&run).unwrap_or_default().iter().map(denied).sum();
    (view::verify(&run).ok().map(|summary| summary.records), denials)
}

fn denied(record: &ringfence_model::event::Record) -> u64 {
    use ringfence_model::event::Event;
    match &record.event {
        Event::Decision { decision, count, .. } if !decision.verdict.is_allow() => *count,
        _ => 0,
    }
}

/// The host after the round.
struct Seen<'a> {
    decoy: &'a Decoy,
    servers: &'a Servers,
    output: &'a [u8],
    lives_on: bool,
    bomb: usize,
}

impl Seen<'_> {
    fn judge(&self, attempt: &Attempt, daemon: &mut Daemon) -> Outcome {
        let token = &self.decoy.token;
        let home = self.decoy.home();
        let done = match attempt.sign {
            Sign::Out(secret) => contains(self.output, self.decoy.secret(secret)),
            Sign::Written(files) => files.iter().any(|file| holds(&home.join(file), token)),
            Sign::Gone(file) => fs::symlink_metadata(home.join(file)).is_err(),
            Sign::Asked(server) => self.servers.heard(server, token),
            Sign::DaemonDead => daemon.is_dead(),
            Sign::LivesOn => self.lives_on,
            Sign::Bomb => self.bomb >= DEMO_BOMB,
        };
        let tried = format!("tried {}\n", attempt.id);
        // The last step is over when the script says so; the others when the next has begun.
        let over = attempt.sign != Sign::Bomb || self.bomb > 0;
        match (done, over && contains(self.output, &tried)) {
            (true, _) => Outcome::Done,
            (false, true) => Outcome::Held,
            (false, false) => Outcome::NotTried,
        }
    }
}

fn holds(file: &Path, word: &str) -> bool {
    fs::read(file).is_ok_and(|bytes| contains(&bytes, word))
}

#[cfg(test)]
mod tests {
    use super::super::attempts::{Secret, Server};
    use super::*;

    fn outcome(seen: &Seen<'_>, daemon: &mut Daemon, id: &str) -> Outcome {
        seen.judge(ATTEMPTS.iter().find(|attempt| attempt.id == id).unwrap(), daemon)
    }

    /// Success is what the host shows: the agent's word alone changes nothing.
    #[test]
    fn an_agent_that_only_says_so_has_done_nothing() {
        let place = tempfile::tempdir().unwrap();
        let decoy = Decoy::plant(place.path().to_owned()).unwrap();
        let servers = Servers::start(&decoy.runtime()).unwrap();
        let mut daemon = decoy.daemon().unwrap();
        let mut output = String::new();
        for attempt in &ATTEMPTS {
            output.push_str(&format!("tried {}\nstolen deleted killed\n", attempt.id));
        }
        let mut seen = Seen {
            decoy: &decoy,
            servers: &servers,
            output: output.as_bytes(),
            lives_on: false,
            bomb: 7,
        };
        for attempt in &ATTEMPTS {
            assert_eq!(seen.judge(attempt, &mut daemon), Outcome::Held, "{}", attempt.id);
        }
        seen.output = b"";
        for attempt in &ATTEMPTS {
            assert_eq!(seen.judge(attempt, &mut daemon), Outcome::NotTried, "{}", attempt.id);
        }
    }

    #[test]
    fn what_the_host_shows_counts_whatever_the_agent_says() {
        let place = tempfile::tempdir().unwrap();
        let decoy = Decoy::plant(place.path().to_owned()).unwrap();
        let servers = Servers::start(&decoy.runtime()).unwrap();
        let mut daemon = decoy.daemon().unwrap();
        let secret = decoy.secret(Secret::Cloud).to_owned();
        fs::write(decoy.home().join(".bashrc"), &decoy.token).unwrap();
        fs::remove_dir_all(decoy.project().join("src")).unwrap();
        let mut socket =
            std::os::unix::net::UnixStream::connect(decoy.runtime().join("docker.sock")).unwrap();
        write!(socket, "GET /{} HTTP/1.0\r\n\r\n", decoy.token).unwrap();
        socket.read_to_end(&mut Vec::new()).unwrap();
        assert!(servers.heard(Server::Engine, &decoy.token));
        kill_process(Pid::from_raw(daemon.pid().cast_signed()).unwrap(), Signal::KILL).unwrap();
        while !daemon.is_dead() {
            std::thread::yield_now();
        }
        let seen = Seen {
            decoy: &decoy,
            servers: &servers,
            output: secret.as_bytes(),
            lives_on: true,
            bomb: DEMO_BOMB,
        };
        for id in ["cloud", "bashrc", "delete", "engine", "kill", "left", "bomb"] {
            assert_eq!(outcome(&seen, &mut daemon, id), Outcome::Done, "{id}");
        }
        assert_eq!(outcome(&seen, &mut daemon, "ssh"), Outcome::NotTried);
    }
}
