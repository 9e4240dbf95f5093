//! A person at a terminal: a pseudo-terminal of the test's own, with a command on it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringfence_contained_tests::Fixture;
use rustix::process::{Pid, Signal};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long anything on a terminal may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// The person's side of the terminal, and the command.
pub struct Person {
    child: Child,
    master: Option<File>,
    slave: Option<File>,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Person {
    /// Starts words with this terminal as their controlling one.
    pub fn start(fixture: &Fixture, words: &[impl AsRef<OsStr>]) -> Self {
        let master: OwnedFd =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let master = File::from(master);
        let words = words.iter().map(|word| word.as_ref().to_owned());
        // Without --wait the command itself is the child, and its end is the one that is waited for.
        let argv = ["setsid", "--ctty"].map(OsString::from).into_iter().chain(words);
        let mut command = fixture.job().plain_command(argv);
        let side = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (sink, mut reading) = (Arc::clone(&shown), master.try_clone().unwrap());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = reading.read(&mut part) {
                sink.lock().unwrap().extend_from_slice(&part[..read]);
            }
        });
        Self { child, master: Some(master), slave: Some(slave), shown }
    }

    /// Starts another verb of the program.
    pub fn verb(fixture: &Fixture, arguments: &[&str]) -> Self {
        let mut words = vec![fixture.binary().as_os_str().to_owned()];
        words.extend(arguments.iter().map(OsString::from));
        Self::start(fixture, &words)
    }

    /// The command's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn types(&mut self, keys: &str) {
        self.master.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Everything that was shown so far.
    pub fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until `text` was shown.
    pub fn sees(&self, text: &str) {
        let begun = Instant::now();
        while !self.shown().contains(text) {
            assert!(begun.elapsed() < PATIENCE, "`{text}` was never shown: {:?}", self.shown());
            std::thread::sleep(POLL);
        }
    }

    /// Another size; the command is told by the kernel.
    pub fn resizes(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.as_ref().unwrap(), size).unwrap();
    }

    /// How the terminal is set.
    pub fn settings(&self) -> Termios {
        tcgetattr(self.slave.as_ref().unwrap()).unwrap()
    }

    /// Sends the command a signal.
    pub fn signals(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Closes the terminal, as a window is closed: the kernel tells the session.
    pub fn hangs_up(&mut self) {
        use rustix::process::{WaitOptions, waitpid};
        self.slave = None;
        self.master = None;
        // The reader still has the master; the session is told as by the closing of the last one.
        let pid = Pid::from_raw(self.pid().cast_signed()).unwrap();
        let _ = rustix::process::kill_process_group(pid, Signal::HUP);
        let begun = Instant::now();
        while waitpid(Some(pid), WaitOptions::NOHANG).is_ok_and(|status| status.is_none()) {
            assert!(begun.elapsed() < PATIENCE, "the command outlived its terminal");
            std::thread::sleep(POLL);
        }
    }

    /// Waits for the command's end; its exit code.
    pub fn code(&mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What it wrote last is on its way.
                std::thread::sleep(Duration::from_millis(50));
                return status.code().unwrap_or(-1);
            }
            if begun.elapsed() > PATIENCE {
                let shown = self.shown();
                panic!("still running: {shown:?}");
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
