//! Limits that the kernel does not enforce here: looked at from outside, and acted on.
//!
//! Everything is read from the host's side (`/proc` of the host, the file system's free space);
//! nothing that the sandbox says counts.

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::Limits;
use rustix::process::Pid;

use crate::limits::{DISK_RESERVE_BYTES, WATCH_FAST_MS, WATCH_SLOW_MS};

/// What is watched for one run.
pub struct Watch {
    init: Pid,
    memory: Option<u64>,
    disk: Option<u64>,
    wall_ms: Option<u64>,
    idle_ms: Option<u64>,
    /// Processes and threads, where only a resource limit holds them.
    processes: Option<u64>,
    processes_told: bool,
    processes_near: bool,
    /// Directories whose growth counts against the disk limit.
    stores: Vec<PathBuf>,
    free_at_start: u64,
    interval_ms: u64,
}

/// A limit that was hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which.
    pub name: &'static str,
    /// The limit, in words.
    pub limit: String,
}

impl Watch {
    /// Watches `limits` of the sandbox below `init`; memory only where no control group does it.
    #[must_use]
    pub fn new(
        init: Pid,
        limits: &Limits,
        memory_is_enforced: bool,
        processes_are_grouped: bool,
        stores: Vec<PathBuf>,
    ) -> Self {
        Self {
            init,
            memory: limits.memory.filter(|_| !memory_is_enforced),
            processes: limits.processes.filter(|_| !processes_are_grouped),
            processes_told: false,
            processes_near: false,
            disk: limits.disk,
            wall_ms: limits.wall_ms,
            idle_ms: limits.idle_ms,
            free_at_start: stores.first().map_or(u64::MAX, |store| free(store)),
            stores,
            interval_ms: WATCH_FAST_MS,
        }
    }

    /// How long to sleep until the next look, given how long the run has lasted and been idle.
    #[must_use]
    pub fn next_ms(&self, elapsed_ms: u64, idle_ms: u64) -> u64 {
        let left =
            |limit: Option<u64>, used: u64| limit.map_or(u64::MAX, |l| l.saturating_sub(used));
        self.interval_ms.min(left(self.wall_ms, elapsed_ms)).min(left(self.idle_ms, idle_ms))
    }

    /// Whether time is up; costs nothing.
    #[must_use]
    pub fn time_is_up(&self, elapsed_ms: u64, idle_ms: u64) -> Option<Hit> {
        if let Some(limit) = self.wall_ms.filter(|limit| elapsed_ms >= *limit) {
            return Some(Hit { name: "wall", limit: seconds(limit) });
        }
        if let Some(limit) = self.idle_ms.filter(|limit| idle_ms >= *limit) {
            return Some(Hit { name: "idle", limit: seconds(limit) });
        }
        None
    }

    /// Milliseconds from one look to the next.
    #[must_use]
    pub fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// Looks once at what costs something to look at.
    pub fn look(&mut self) -> Option<Hit> {
        let mut near = false;
        if let Some(limit) = self.memory {
            let used = memory_below(self.init);
            if used > limit {
                return Some(Hit { name: "memory", limit: bytes(limit) });
            }
            near |= used > limit / 4;
        }
        if let Some(hit) = self.look_at_disk(&mut near) {
            return Some(hit);
        }
        self.interval_ms = if near || self.processes_near { WATCH_FAST_MS } else { WATCH_SLOW_MS };
        None
    }

    /// Tells once that the resource limit on processes is reached: new ones are refused by the
    /// kernel, which counts nothing that could be read.
    pub fn processes_full(&mut self) -> Option<Hit> {
        let limit = self.processes.filter(|_| !self.processes_told)?;
        let tasks = tasks_below(self.init);
        self.processes_near = tasks * 4 > limit * 3;
        // Init counts too, and one may be dying.
        (tasks + 2 >= limit).then(|| {
            self.processes_told = true;
            Hit { name: "processes", limit: limit.to_string() }
        })
    }

    fn look_at_disk(&self, near: &mut bool) -> Option<Hit> {
        let store = self.stores.first()?;
        let free = free(store);
        if free < DISK_RESERVE_BYTES {
            let limit = format!("{} must stay free on the host", bytes(DISK_RESERVE_BYTES));
            return Some(Hit { name: "disk", limit });
        }
        let limit = self.disk?;
        // Others write to the same file system too, so the exact sum is only taken when the free
        // space has shrunk enough for the limit to be in question.
        let shrunk = self.free_at_start.saturating_sub(free);
        *near |= shrunk > limit / 4;
        if shrunk > limit && self.stores.iter().map(|store| used(store)).sum::<u64>() > limit {
            return Some(Hit { name: "disk", limit: bytes(limit) });
        }
        None
    }
}

/// Free bytes for ordinary users on the file system of `path`.
fn free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes on disk below `path`; links are not followed.
fn used(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            sum += metadata.blocks() * 512;
            if metadata.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}

/// Resident memory of all processes below `init`, shared pages counted once per process.
fn memory_below(init: Pid) -> u64 {
    let page = rustix::param::page_size() as u64;
    processes_below(init).iter().map(|pid| resident_pages(*pid) * page).sum()
}

/// Threads of all processes below `init`.
fn tasks_below(init: Pid) -> u64 {
    let count = |pid: &i32| {
        fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |tasks| tasks.count() as u64)
    };
    processes_below(init).iter().map(count).sum()
}

fn resident_pages(pid: i32) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/statm"))
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse().ok())
        .unwrap_or(0)
}

/// Every process below `init`, itself included: orphans become init's own children, so the tree
/// misses none.
#[must_use]
pub fn processes_below(init: Pid) -> Vec<i32> {
    let mut all = vec![init.as_raw_nonzero().get()];
    let mut index = 0;
    while let Some(pid) = all.get(index).copied() {
        index += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
    all
}

fn seconds(ms: u64) -> String {
    format!("{} s", ms / 1000)
}

fn bytes(count: u64) -> String {
    format!("{} MiB", count >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(limits: &Limits) -> Watch {
        let own = rustix::process::getpid();
        Watch::new(own, limits, false, true, vec![std::env::temp_dir()])
    }

    #[test]
    fn fh4_wall_and_idle_are_named() {
        let limits = Limits { wall_ms: Some(1000), idle_ms: Some(500), ..Limits::default() };
        let watch = watch(&limits);
        assert_eq!(watch.time_is_up(999, 0), None);
        assert_eq!(watch.time_is_up(1000, 0).unwrap().name, "wall");
        assert_eq!(watch.time_is_up(600, 500).unwrap().name, "idle");
        assert_eq!(watch.next_ms(990, 0), 10);
    }

    #[test]
    fn fh4_memory_of_the_whole_tree_is_watched() {
        let limits = Limits { memory: Some(1), ..Limits::default() };
        assert_eq!(watch(&limits).look().unwrap().name, "memory");
        let limits = Limits { memory: Some(u64::MAX), ..Limits::default() };
        assert_eq!(watch(&limits).look(), None);
    }
}
