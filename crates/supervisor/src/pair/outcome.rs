//! Calls that were let go on, and whether their threads have left them.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs;

use crate::clock::{self, Moment};
use crate::limits::{CALL_OVER_MS, CALL_PROCESSOR_NS, CALLS_CROSS_MS};

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
    /// Processor time that its thread had taken when another call first waited for it.
    processor: Cell<Option<u64>>,
}

impl Calls {
    /// A thread was let go on with a call of this number.
    pub fn went_on(&mut self, thread: u32, number: u32, paths: Vec<Vec<u8>>, leads: bool) {
        let (since, processor) = (clock::now(), Cell::new(None));
        self.last.insert(thread, Call { number, since, paths, leads, processor });
    }

    /// Whether it has left that call, or is gone.
    pub fn has_left(&self, thread: u32) -> bool {
        self.last.get(&thread).is_none_or(|call| call.is_left(thread))
    }

    /// Forgets the threads that have left.
    pub fn forget_left(&mut self) {
        self.last.retain(|thread, call| !call.is_left(*thread));
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
        self.last.get(&thread).is_some_and(|call| call.goes_on(thread))
    }

    /// Whether any thread may still be in its call.
    pub fn go_on(&self) -> bool {
        self.last.iter().any(|(thread, call)| call.goes_on(*thread))
    }
}

/// Where a thread is.
enum Where {
    /// Gone, or waiting elsewhere than in the call.
    Elsewhere,
    /// Waiting in the call.
    Inside,
    /// On a processor, or for one: in the call or outside of it.
    Running,
}

impl Call {
    fn thread(&self, thread: u32) -> Where {
        // proc_pid_syscall(5): the number of the call that it waits in, -1 outside of one, or `running`.
        let Ok(now) = fs::read_to_string(format!("/proc/{thread}/syscall")) else {
            return Where::Elsewhere;
        };
        match now.split_whitespace().next() {
            Some("running") | None => Where::Running,
            Some(waits_in) if waits_in == self.number.to_string() => Where::Inside,
            Some(_) => Where::Elsewhere,
        }
    }

    /// Whether its thread has surely left it.
    fn is_left(&self, thread: u32) -> bool {
        match self.thread(thread) {
            Where::Elsewhere => true,
            Where::Inside => false,
            Where::Running => clock::now().elapsed_ms(&self.since) >= CALL_OVER_MS,
        }
    }

    /// Whether it may still be going on, for one that waits for it: a thread that has had a processor
    /// for long enough has left it, and one that had none has not begun.
    fn goes_on(&self, thread: u32) -> bool {
        match self.thread(thread) {
            Where::Elsewhere => return false,
            Where::Inside => return true,
            Where::Running => {}
        }
        let Some(now) = processor_ns(thread) else { return false };
        let first = self.processor.get().unwrap_or(now);
        self.processor.set(Some(first));
        now - first.min(now) < CALL_PROCESSOR_NS
            && clock::now().elapsed_ms(&self.since) < CALLS_CROSS_MS
    }
}

/// Processor time of a thread: the first number of its scheduler statistics (proc_pid_schedstat(5)).
fn processor_ns(thread: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
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
