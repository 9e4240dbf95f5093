//! What runs on the host while a row does: a server that it reaches, or a client of a server inside.
//!
//! It must never outlive its row.

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use ringfence_contained_tests::{Fixture, Live};

use crate::{Row, Words};

/// How long it may take until it can be used.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two attempts.
const POLL: Duration = Duration::from_millis(50);

/// A script with a process group of its own.
pub struct Beside(Live);

impl Beside {
    /// Starts it and waits until it can be used.
    ///
    /// # Errors
    /// It cannot be used in time; the words say what it wrote.
    pub fn start(fixture: &Fixture, row: &Row, words: &Words) -> Result<Self, String> {
        let script = words.put_in(&row.beside);
        let mut command = fixture.job().plain_command(["sh", "-c", &script]);
        command.process_group(0);
        let beside = Self(Live::start(command, b"", Duration::from_secs(row.patience)));
        let ready = words.put_in(&row.ready);
        let begun = Instant::now();
        while !ready.is_empty() {
            let asked = fixture.unprotected(&ready);
            if asked.code == 0 {
                break;
            }
            if begun.elapsed() > PATIENCE {
                let said = beside.0.stderr();
                return Err(format!(
                    "what runs beside it is never ready: {asked:?}; it says {said:?}"
                ));
            }
            std::thread::sleep(POLL);
        }
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.kill_group();
    }
}
