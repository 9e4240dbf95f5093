//! One command on a fixture's host: inside the boundary, outside it, or another verb.
//!
//! It must never wait for ever: what passes its patience is killed and fails the test.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::census;
use crate::fixture::Fixture;
use crate::limits::{ORDERLY, OUTPUT_BYTES, PATIENCE, POLL};
use crate::protected::PROTECTED;

/// What came of a command.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Exit code as a shell shows it: 128 + n for signal n.
    pub code: i32,
    /// Standard output, lossy.
    pub stdout: String,
    /// Standard error, lossy.
    pub stderr: String,
}

impl Outcome {
    /// Both streams, for searching.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// The answer of one `ID<TAB>ANSWER` line, as `ringfence-attack` prints them.
    ///
    /// # Panics
    /// If there is no such line: an attack that did not run proves nothing.
    #[must_use]
    pub fn answer(&self, id: &str) -> &str {
        self.answers()
            .into_iter()
            .find_map(|(name, answer)| (name == id).then_some(answer))
            .unwrap_or_else(|| panic!("no answer for `{id}` in {self:?}"))
    }

    /// All `ID<TAB>ANSWER` lines.
    #[must_use]
    pub fn answers(&self) -> Vec<(&str, &str)> {
        self.stdout.lines().filter_map(|line| line.split_once('\t')).collect()
    }
}

/// A command to be run.
#[derive(Clone)]
pub struct Job<'a> {
    fixture: &'a Fixture,
    flags: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    input: Vec<u8>,
    patience: Duration,
}

impl<'a> Job<'a> {
    pub(crate) fn new(fixture: &'a Fixture) -> Self {
        let tools = fixture.tools();
        let mut tools_variable = OsString::from("TOOLS=");
        tools_variable.push(tools);
        Self {
            fixture,
            flags: vec!["--ro".into(), tools.into(), "--env".into(), tools_variable],
            environment: Vec::new(),
            directory: fixture.project(),
            input: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// Adds flags of `ringfence run`.
    #[must_use]
    pub fn flags<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, flags: I) -> Self {
        self.flags.extend(flags.into_iter().map(|flag| flag.as_ref().to_owned()));
        self
    }

    /// Takes all flags away, the view of `$TOOLS` too.
    #[must_use]
    pub fn bare(mut self) -> Self {
        self.flags.clear();
        self
    }

    /// Sets a variable of the host's environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts in another directory than the project.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// What comes on standard input; nothing otherwise.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self
    }

    /// How long it may take.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The command `ringfence run FLAGS -- ARGV`, for a caller that starts it by itself.
    #[must_use]
    pub fn command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, argv: I) -> Command {
        let mut command = Command::new(self.fixture.binary());
        command.args(self.words(argv).into_iter().skip(1));
        self.prepare(command)
    }

    /// A command on this host without any boundary.
    #[must_use]
    pub fn plain_command<I: IntoIterator<Item: AsRef<OsStr>>>(&self, argv: I) -> Command {
        let mut argv = argv.into_iter();
        let mut command = Command::new(argv.next().expect("a program"));
        command.args(argv);
        self.prepare(command)
    }

    fn prepare(&self, mut command: Command) -> Command {
        self.fixture.surround(&mut command);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.directory);
        command
    }

    /// Runs `ringfence run FLAGS -- ARGV` to its end.
    #[must_use]
    pub fn argv<I: IntoIterator<Item: AsRef<OsStr>>>(&self, argv: I) -> Outcome {
        self.start(argv).wait()
    }

    /// Runs a shell script inside the boundary to its end.
    #[must_use]
    pub fn sh(&self, script: &str) -> Outcome {
        self.argv(["sh", "-c", script])
    }

    /// Runs a shell script without any boundary, in a process group that is killed afterwards.
    #[must_use]
    pub fn unprotected_sh(&self, script: &str) -> Outcome {
        let mut command = self.plain_command(["sh", "-c", script]);
        command.process_group(0);
        let mut live = Live::start(command, &self.input, self.patience);
        let outcome = live.finish();
        live.kill_group();
        outcome
    }

    /// The words of `ringfence-attack WORDS`, for a wrapper or a start.
    #[must_use]
    pub fn attack_argv(&self, words: &[&str]) -> Vec<OsString> {
        let program = self.fixture.tools().join("ringfence-attack").into_os_string();
        std::iter::once(program).chain(words.iter().map(OsString::from)).collect()
    }

    /// Runs `ringfence-attack WORDS` inside the boundary.
    #[must_use]
    pub fn attack(&self, words: &[&str]) -> Outcome {
        self.argv(self.attack_argv(words))
    }

    /// Runs `ringfence-attack WORDS` without any boundary.
    #[must_use]
    pub fn unprotected_attack(&self, words: &[&str]) -> Outcome {
        let command = self.plain_command(self.attack_argv(words));
        Live::start(command, &self.input, self.patience).wait()
    }

    /// Runs a batch of file attempts (`ID<TAB>VERB<TAB>PATH…` each) inside the boundary.
    #[must_use]
    pub fn batch(&self, attempts: &[String]) -> Outcome {
        self.clone().input(attempts.join("\n")).attack(&["batch"])
    }

    /// Runs a batch of file attempts without any boundary.
    #[must_use]
    pub fn unprotected_batch(&self, attempts: &[String]) -> Outcome {
        self.clone().input(attempts.join("\n")).unprotected_attack(&["batch"])
    }

    /// The words of `ringfence run FLAGS -- ARGV`, for a wrapper.
    #[must_use]
    pub fn words<I: IntoIterator<Item: AsRef<OsStr>>>(&self, argv: I) -> Vec<OsString> {
        let mut words = vec![self.fixture.binary().into(), "run".into()];
        words.extend(self.flags.iter().cloned());
        words.push("--".into());
        words.extend(argv.into_iter().map(|word| word.as_ref().to_owned()));
        words
    }

    /// Starts words behind a line of bash that prepares descriptors, limits or streams.
    #[must_use]
    pub fn behind(&self, preparation: &str, words: Vec<OsString>) -> Live {
        let script = format!("{preparation}; exec \"$0\" \"$@\"");
        let argv = ["bash".into(), "-c".into(), script.into()].into_iter().chain(words);
        Live::start(self.plain_command(argv), &self.input, self.patience)
    }

    /// Runs another verb of the program.
    #[must_use]
    pub fn verb(&self, arguments: &[&str]) -> Outcome {
        let mut command = Command::new(self.fixture.binary());
        command.args(arguments);
        Live::start(self.prepare(command), &self.input, self.patience).wait()
    }

    /// Starts `ringfence run FLAGS -- ARGV` and leaves it running.
    #[must_use]
    pub fn start<I: IntoIterator<Item: AsRef<OsStr>>>(&self, argv: I) -> Live {
        // Counted before the start: what ringfence holds missing names with is there right after.
        let watched = !self.flags.iter().any(|flag| flag == "--unprotect");
        let before = watched.then(|| (self.directory.clone(), present(&self.directory)));
        let mut live = Live::start(self.command(argv), &self.input, self.patience);
        live.placeholders = before;
        live
    }

    /// Starts a shell script inside the boundary and leaves it running.
    #[must_use]
    pub fn start_sh(&self, script: &str) -> Live {
        self.start(["sh", "-c", script])
    }
}

/// The protected paths that exist in a project.
fn present(project: &std::path::Path) -> Vec<&'static str> {
    let exists = |path: &&str| project.join(path).symlink_metadata().is_ok();
    PROTECTED.iter().map(|row| row.path).filter(exists).collect()
}

/// A command that runs.
pub struct Live {
    child: Child,
    streams: Option<(Stream, Stream)>,
    patience: Duration,
    placeholders: Option<(PathBuf, Vec<&'static str>)>,
    status: Option<ExitStatus>,
}

impl Live {
    /// Starts a command with piped streams.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command, input: &[u8], patience: Duration) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        census::started(child.id());
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        // A program that does not read its input is no fault.
        std::thread::spawn(move || drop(stdin.write_all(&input)));
        let out = Stream::read(child.stdout.take().expect("a pipe"));
        let err = Stream::read(child.stderr.take().expect("a pipe"));
        Self { child, streams: Some((out, err)), patience, placeholders: None, status: None }
    }

    /// Does not compare protected paths at the end: another run holds names in the same project.
    pub fn shares_its_project(&mut self) {
        self.placeholders = None;
    }

    /// The process id of what was started (`ringfence` itself, not the agent).
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What standard output has said so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.streams.as_ref().map(|(out, _)| out.text()).unwrap_or_default()
    }

    /// What standard error has said so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.streams.as_ref().map(|(_, err)| err.text()).unwrap_or_default()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("wait for a child");
            if self.status.is_some() {
                census::ended(self.child.id());
            }
        }
        self.status.is_none()
    }

    /// Waits until standard output contains `text`.
    ///
    /// # Panics
    /// If the command ends or its patience passes first.
    pub fn wait_for(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.stdout().contains(text) {
            // What it wrote last may still be on its way to the buffer when it has ended.
            let over = !self.runs() && self.streams.as_ref().is_none_or(|(out, _)| out.ended());
            assert!(
                (!over || self.stdout().contains(text)) && begun.elapsed() < self.patience,
                "`{text}` never came; stdout: {:?}; stderr: {:?}",
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(POLL);
        }
    }

    /// Sends a signal to what was started.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if self.status.is_none()
            && let Some(pid) = pid
        {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Waits for its end.
    #[must_use]
    pub fn wait(mut self) -> Outcome {
        self.finish()
    }

    fn finish(&mut self) -> Outcome {
        let begun = Instant::now();
        while self.runs() {
            if begun.elapsed() > self.patience {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "still running after {:?}; stdout: {:?}; stderr: {:?}",
                    self.patience,
                    self.stdout(),
                    self.stderr()
                );
            }
            std::thread::sleep(POLL);
        }
        let status = self.status.expect("it has ended");
        let (out, err) = self.streams.take().expect("it is waited for once");
        let outcome = Outcome {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: out.finish(),
            stderr: err.finish(),
        };
        if let Some((project, before)) = self.placeholders.take()
            && status.code().is_some()
        {
            let after = present(&project);
            assert_eq!(before, after, "protected paths came or went with the run: {outcome:?}");
        }
        outcome
    }

    /// Kills the process group that it was started in, which must be one of its own.
    pub fn kill_group(&self) {
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.status.is_none() {
            // In order, if it still can; a test that failed leaves nothing behind on the machine.
            self.signal(rustix::process::Signal::CONT);
            self.signal(rustix::process::Signal::TERM);
            let begun = Instant::now();
            while self.runs() && begun.elapsed() < ORDERLY {
                std::thread::sleep(POLL);
            }
        }
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
            census::ended(self.child.id());
        }
    }
}

/// One output stream, read as it comes so that the command never blocks on a full pipe.
struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    fn read(mut source: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut part = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = source.read(&mut part) {
                let mut bytes = shared.lock().expect("the buffer");
                let room = OUTPUT_BYTES.saturating_sub(bytes.len());
                bytes.extend_from_slice(&part[..read.min(room)]);
            }
        });
        Self { bytes, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("the buffer")).into_owned()
    }

    fn ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// The whole text. A survivor that keeps the pipe open must not hang the test: the census
    /// finds it.
    fn finish(self) -> String {
        let begun = Instant::now();
        while !self.reader.is_finished() && begun.elapsed() < Duration::from_secs(2) {
            std::thread::sleep(POLL);
        }
        self.text()
    }
}
