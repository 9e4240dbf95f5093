//! What a run left on the host: processes, mounts, control groups, sockets, journals.
//!
//! It looks from outside and by state alone; it never asks the program under test. It must not
//! mistake another test's processes for this fixture's: those are told apart by the fixture's path,
//! which stands in a process's mounts, environment, command line or open files.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use crate::fixture::Fixture;
use crate::limits::{GONE, GROUP_DEPTH, POLL};

/// What tests of this process have started and not yet waited for.
static STARTED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

/// Notes a child that a test has started by itself: it is not an orphan.
pub(crate) fn started(pid: u32) {
    STARTED.lock().expect("the list").push(pid.cast_signed());
}

/// Notes that a child was waited for.
pub(crate) fn ended(pid: u32) {
    STARTED.lock().expect("the list").retain(|known| *known != pid.cast_signed());
}

/// The question what is left of one fixture.
pub struct Census {
    marker: String,
    state: PathBuf,
    runs: Vec<String>,
}

impl Census {
    /// Makes this process the parent of every descendant whose own parent dies, so that none is
    /// lost from sight.
    pub fn adopt_orphans() {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }

    /// A census of a fixture.
    #[must_use]
    pub fn take(fixture: &Fixture) -> Self {
        Self {
            marker: fixture.root().to_string_lossy().into_owned(),
            state: fixture.state(),
            runs: fixture.runs(),
        }
    }

    /// Everything that is still there when the patience for it has passed; one line each.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        let begun = Instant::now();
        loop {
            let left = self.now();
            if left.is_empty() || begun.elapsed() > GONE {
                return left;
            }
            std::thread::sleep(POLL);
        }
    }

    /// Everything that is there at this moment; one line each.
    #[must_use]
    pub fn now(&self) -> Vec<String> {
        let mut left: Vec<String> = processes_of(&self.marker)
            .into_iter()
            .map(|pid| format!("process {pid}: {}", describe(pid)))
            .collect();
        left.extend(self.mounts());
        left.extend(self.groups());
        sockets(&self.state, &mut left);
        left
    }

    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = table.lines().filter(|line| line.contains(&self.marker));
        ours.map(|line| format!("mount: {line}")).collect()
    }

    /// Control groups that carry a run's id in their name.
    fn groups(&self) -> Vec<String> {
        let mut left = Vec::new();
        if !self.runs.is_empty() {
            let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            for line in table.lines().filter(|line| line.contains(" - cgroup")) {
                if let Some(point) = line.split(' ').nth(4) {
                    self.search(Path::new(point), GROUP_DEPTH, &mut left);
                }
            }
        }
        left
    }

    fn search(&self, directory: &Path, depth: usize, left: &mut Vec<String>) {
        let Ok(listing) = fs::read_dir(directory) else {
            return;
        };
        for entry in listing.flatten().filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.runs.iter().any(|run| name.contains(run)) {
                left.push(format!("control group: {}", entry.path().display()));
            } else if depth > 0 {
                self.search(&entry.path(), depth - 1, left);
            }
        }
    }
}

/// Sockets below the state directory, and journals of runs that nobody cleaned up after.
fn sockets(state: &Path, left: &mut Vec<String>) {
    let Ok(listing) = fs::read_dir(state) else {
        return;
    };
    for entry in listing.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let path = entry.path();
        if kind.is_socket() {
            left.push(format!("socket: {}", path.display()));
        } else if path.parent().is_some_and(|p| p.ends_with("ringfence/live")) {
            left.push(format!("journal of a live run: {}", path.display()));
        } else if kind.is_dir() && entry.file_name() != "upper" {
            sockets(&path, left);
        }
    }
}

/// All process ids, this test's own process excepted.
fn all() -> Vec<i32> {
    let own = std::process::id().cast_signed();
    let Ok(listing) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .collect()
}

/// The live processes that carry `marker` in mounts, environment, command line or links.
///
/// A process of a boundary that forbids its inspection (init, the gateway) has neither; it is
/// counted when it descends from this test and no test could have started it itself.
#[must_use]
pub fn processes_of(marker: &str) -> Vec<i32> {
    let mut found: Vec<i32> =
        all().into_iter().filter(|pid| alive(*pid) && carries(*pid, marker)).collect();
    found.sort_unstable();
    found
}

fn carries(pid: i32, marker: &str) -> bool {
    let place = |name: &str| format!("/proc/{pid}/{name}");
    let holds = |bytes: Vec<u8>| bytes.windows(marker.len()).any(|part| part == marker.as_bytes());
    let mut readable = false;
    for name in ["cmdline", "environ", "mountinfo"] {
        if let Ok(bytes) = fs::read(place(name)) {
            readable |= name == "environ";
            if holds(bytes) {
                return true;
            }
        }
    }
    let linked = ["cwd", "root", "exe"]
        .iter()
        .any(|name| fs::read_link(place(name)).is_ok_and(|to| to.starts_with(marker)));
    linked || (!readable && orphan(pid))
}

/// Whether an uninspectable process of the product has lost the process that owned it: its parent
/// is this very test, which adopted it.
fn orphan(pid: i32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let own = STARTED.lock().expect("the list").contains(&pid);
    !own && name.starts_with("ringfence") && parent(pid) == Some(std::process::id().cast_signed())
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, …
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| !matches!(fields.first().map(String::as_str), Some("Z" | "X")))
}

fn parent(pid: i32) -> Option<i32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// All live processes that descend from `ancestor`, itself excepted; parents before children.
#[must_use]
pub fn descends_from_us(ancestor: i32) -> Vec<i32> {
    let pairs: Vec<(i32, i32)> =
        all().into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![ancestor];
    let mut next = 0;
    while let Some(older) = family.get(next).copied() {
        family.extend(pairs.iter().filter(|(_, parent)| *parent == older).map(|(pid, _)| *pid));
        next += 1;
    }
    family.retain(|pid| *pid != ancestor && alive(*pid));
    family
}

fn describe(pid: i32) -> String {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    let name = String::from_utf8_lossy(&read("comm")).trim().to_owned();
    format!("{name} [{words}] state {:?}", stat(pid).unwrap_or_default().first())
}
