//! A person's terminal: a pseudo-terminal with a shell on it, and what it has shown.
//!
//! It must never leave its shell running.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

/// What the shell shows when it waits for a line.
pub const PROMPT: &str = "newcomer> ";
/// Between two looks.
const POLL: Duration = Duration::from_millis(1);

/// The person's side, and the shell.
pub struct Terminal {
    child: Child,
    master: File,
    shown: Arc<Mutex<Vec<u8>>>,
    seen: usize,
    patience: Duration,
}

impl Terminal {
    /// Starts a shell, whose `PS1` is set, on a terminal of its own.
    ///
    /// # Panics
    /// If there is no terminal, or the command cannot be started.
    pub fn start(mut command: Command, patience: Duration) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        unlockpt(&master).expect("unlocked");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let name = name.to_str().expect("a plain name");
        let slave = File::options().read(true).write(true).open(name).expect("its other side");
        let side = || Stdio::from(slave.try_clone().expect("a copy"));
        command.env("PS1", PROMPT).env("TERM", "xterm");
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("a shell");
        let master = File::from(master);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut reading) = (Arc::clone(&shown), master.try_clone().expect("a copy"));
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = reading.read(&mut part) {
                sink.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&part[..read]);
            }
        });
        Self { child, master, shown, seen: 0, patience }
    }

    /// Types a line.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn types(&mut self, line: &str) {
        self.master.write_all(format!("{line}\n").as_bytes()).expect("a terminal");
    }

    /// Everything that was shown so far.
    pub fn shown(&self) -> String {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&shown).into_owned()
    }

    /// Waits until `text` was shown behind what was seen last.
    ///
    /// # Panics
    /// If it is never shown.
    pub fn sees(&mut self, text: &str) {
        let begun = Instant::now();
        loop {
            let shown = self.shown();
            if let Some(at) = shown.get(self.seen..).and_then(|fresh| fresh.find(text)) {
                self.seen += at + text.len();
                return;
            }
            assert!(begun.elapsed() < self.patience, "`{text}` was never shown: {shown:?}");
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the shell has ended.
    ///
    /// # Panics
    /// If it does not.
    pub fn ends(&mut self) {
        let begun = Instant::now();
        while self.child.try_wait().expect("a child").is_none() {
            assert!(begun.elapsed() < self.patience, "the shell does not end: {:?}", self.shown());
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
