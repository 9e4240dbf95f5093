//! Whether a thread has left the call in which it was last heard of.

use std::collections::{HashMap, HashSet};
use std::fs;

use crate::clock::{self, Moment};
use crate::limits::CALL_OVER_MS;

/// The last call of each thread whose outcome is not known.
#[derive(Default)]
pub struct Calls {
    last: HashMap<u32, (u32, Moment)>,
}

impl Calls {
    /// A thread was let go on with a call of this number.
    pub fn went_on(&mut self, thread: u32, number: u32) {
        self.last.insert(thread, (number, clock::now()));
    }

    /// Whether it has left that call, or is gone.
    pub fn has_left(&self, thread: u32) -> bool {
        let Some((number, since)) = self.last.get(&thread) else { return true };
        // proc_pid_syscall(5): the number of the call that it waits in, -1 outside of one, or `running`.
        let Ok(now) = fs::read_to_string(format!("/proc/{thread}/syscall")) else { return true };
        match now.split_whitespace().next() {
            Some("running") | None => clock::now().elapsed_ms(since) >= CALL_OVER_MS,
            Some(waits_in) => waits_in != number.to_string(),
        }
    }

    /// Forgets the threads that have left.
    pub fn forget_left(&mut self) {
        let left: HashSet<u32> =
            self.last.keys().copied().filter(|by| self.has_left(*by)).collect();
        self.last.retain(|thread, _| !left.contains(thread));
    }
}
