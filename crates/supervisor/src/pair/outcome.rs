//! Calls that were let go on, and whether their threads have left them.

use std::collections::HashMap;
use std::fs;

use crate::clock::{self, Moment};
use crate::limits::{CALL_OVER_MS, CALLS_CROSS_MS};

/// The last call of each thread whose outcome is not known.
#[derive(Default)]
pub struct Calls {
    last: HashMap<u32, Call>,
}

struct Call {
    number: u32,
    since: Moment,
    /// Where in the workspace it changes something.
    paths: Vec<Vec<u8>>,
    /// Whether another path may lead somewhere after it.
    leads: bool,
}

impl Calls {
    /// A thread was let go on with a call of this number.
    pub fn went_on(&mut self, thread: u32, number: u32, paths: Vec<Vec<u8>>, leads: bool) {
        self.last.insert(thread, Call { number, since: clock::now(), paths, leads });
    }

    /// Whether it has left that call, or is gone.
    pub fn has_left(&self, thread: u32) -> bool {
        self.last.get(&thread).is_none_or(|call| call.is_left(thread, CALL_OVER_MS))
    }

    /// Forgets the threads that have left.
    pub fn forget_left(&mut self) {
        self.last.retain(|thread, call| !call.is_left(*thread, CALL_OVER_MS));
    }

    /// The other threads whose last call changes what one of these paths stands for; `None` is a path
    /// that stands for nothing so far.
    pub fn crossing(&self, by: u32, paths: &[Option<&[u8]>]) -> Vec<u32> {
        let crosses = |call: &Call, path: &Option<&[u8]>| match path {
            Some(path) => call.paths.iter().any(|other| one_is_in_the_other(path, other)),
            None => call.leads && !call.paths.is_empty(),
        };
        let others = self.last.iter().filter(|(thread, call)| {
            **thread != by && paths.iter().any(|path| crosses(call, path))
        });
        others.map(|(thread, _)| *thread).collect()
    }

    /// Whether a thread may still be in its call.
    pub fn goes_on(&self, thread: u32) -> bool {
        self.last.get(&thread).is_some_and(|call| !call.is_left(thread, CALLS_CROSS_MS))
    }

    /// Whether any thread may still be in its call.
    pub fn go_on(&self) -> bool {
        self.last.iter().any(|(thread, call)| !call.is_left(*thread, CALLS_CROSS_MS))
    }
}

impl Call {
    /// Whether its thread has left it; while that runs it counts as left after `running_ms`.
    fn is_left(&self, thread: u32, running_ms: u64) -> bool {
        // proc_pid_syscall(5): the number of the call that it waits in, -1 outside of one, or `running`.
        let Ok(now) = fs::read_to_string(format!("/proc/{thread}/syscall")) else { return true };
        match now.split_whitespace().next() {
            Some("running") | None => clock::now().elapsed_ms(&self.since) >= running_ms,
            Some(waits_in) => waits_in != self.number.to_string(),
        }
    }
}

fn one_is_in_the_other(one: &[u8], other: &[u8]) -> bool {
    let (above, below) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    above.is_empty()
        || below
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cross_where_one_leads_through_the_other() {
        let crosses = |one: &str, other: &str| {
            let (one, other) = (one.as_bytes(), other.as_bytes());
            one_is_in_the_other(one, other) && one_is_in_the_other(other, one)
        };
        assert!(crosses("a", "a") && crosses("a", "a/b/c") && crosses("", "a"));
        assert!(!crosses("a", "ab") && !crosses("a/b", "a/c") && !crosses("a/b", "b"));
    }
}
