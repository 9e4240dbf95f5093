//! Control groups: limits over all processes of a run together, and a kill that misses none.
//!
//! Version 2 where its controllers are delegated to this user, else version 1 where its directories
//! are writable, else none (the supervisor watches instead). See cgroups(7).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::Limits;
use rustix::process::Pid;

/// Which limits a group enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enforces {
    /// Memory of all processes together.
    pub memory: bool,
    /// Number of processes.
    pub processes: bool,
    /// Processor time.
    pub cpu: bool,
}

/// The directories of one run's group: one in version 2, one per controller in version 1.
#[derive(Debug, Default)]
pub struct Group {
    directories: Vec<PathBuf>,
    enforces: Enforces,
    version: u8,
}

/// Where the control groups of this process are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    /// Version 2: this process's own directory.
    unified: Option<PathBuf>,
    /// Version 1: controller and this process's own directory in its hierarchy.
    legacy: Vec<(String, PathBuf)>,
}

impl Homes {
    /// Finds them from `/proc/self/cgroup` and `/proc/self/mountinfo`.
    #[must_use]
    pub fn find() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::parse(&own, &mounts)
    }

    /// Reads the two files' text (proc_pid_cgroup(5), proc_pid_mountinfo(5)).
    #[must_use]
    pub fn parse(own: &str, mounts: &str) -> Self {
        let mut homes = Self::default();
        for line in mounts.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(root), Some(point)) = (left.split(' ').nth(3), left.split(' ').nth(4)) else {
                continue;
            };
            let mut kinds = right.split(' ');
            let (kind, options) = (kinds.next().unwrap_or(""), kinds.nth(1).unwrap_or(""));
            let place = |own_path: &str| {
                let below = Path::new(own_path).strip_prefix(root).ok()?;
                Some(Path::new(point).join(below))
            };
            for entry in own.lines() {
                let mut parts = entry.splitn(3, ':');
                let _number = parts.next();
                let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
                if kind == "cgroup2" && names.is_empty() {
                    homes.unified = place(path);
                } else if kind == "cgroup" {
                    for name in names.split(',').filter(|n| !n.is_empty()) {
                        if options.split(',').any(|option| option == name)
                            && let Some(directory) = place(path)
                        {
                            homes.legacy.push((name.to_owned(), directory));
                        }
                    }
                }
            }
        }
        homes
    }

    /// Where a group of this name may be made: what a crash between making and noting it could leave.
    #[must_use]
    pub fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let legacy = ["memory", "pids", "cpu"].into_iter().filter_map(|c| self.legacy(c));
        let unified = self.unified.iter().flat_map(|home| [Some(home.as_path()), home.parent()]);
        let homes: Vec<&Path> = legacy.chain(unified.flatten()).collect();
        let writable =
            |home: &&Path| rustix::fs::access(*home, rustix::fs::Access::WRITE_OK).is_ok();
        homes.into_iter().filter(writable).map(|home| home.join(name)).collect()
    }

    fn legacy(&self, controller: &str) -> Option<&Path> {
        self.legacy.iter().find(|(name, _)| name == controller).map(|(_, path)| path.as_path())
    }
}

fn delegated(home: &Path, controller: &str) -> bool {
    fs::read_to_string(home.join("cgroup.controllers"))
        .is_ok_and(|text| text.split_whitespace().any(|name| name == controller))
}

impl Group {
    /// Makes a group named `name` with `limits`; one that enforces nothing where nothing is
    /// writable. Never fails: what could not be set is not in [`Group::enforces`].
    #[must_use]
    pub fn create(homes: &Homes, name: &str, limits: &Limits) -> Self {
        let mut group = Self::default();
        if let Some(home) = &homes.unified
            && ["memory", "pids", "cpu"].iter().any(|c| delegated(home, c))
        {
            group.create_unified(home, name, limits);
        }
        if group.directories.is_empty() {
            group.create_legacy(homes, name, limits);
        }
        group
    }

    fn create_unified(&mut self, home: &Path, name: &str, limits: &Limits) {
        // Controllers reach children only through the parent's subtree_control; a group with
        // processes of its own cannot hand them down, so the run's group goes beside this process.
        let parent = match fs::write(home.join("cgroup.subtree_control"), "+memory +pids +cpu") {
            Ok(()) => home,
            Err(_) => match home.parent() {
                Some(parent) => parent,
                None => return,
            },
        };
        let directory = parent.join(name);
        if fs::create_dir(&directory).is_err() {
            return;
        }
        self.version = 2;
        let put = |file: &str, value: String| fs::write(directory.join(file), value).is_ok();
        if let Some(bytes) = limits.memory {
            self.enforces.memory = put("memory.max", bytes.to_string());
            put("memory.swap.max", "0".to_owned());
            put("memory.oom.group", "1".to_owned());
        }
        if let Some(count) = limits.processes {
            self.enforces.processes = put("pids.max", count.to_string());
        }
        if let Some(milli) = limits.cpu_milli {
            self.enforces.cpu = put("cpu.max", format!("{} 100000", milli * 100));
        }
        self.directories.push(directory);
    }

    fn create_legacy(&mut self, homes: &Homes, name: &str, limits: &Limits) {
        let mut make = |controller: &str| -> Option<PathBuf> {
            let directory = homes.legacy(controller)?.join(name);
            fs::create_dir(&directory).ok()?;
            self.directories.push(directory.clone());
            Some(directory)
        };
        let put = |directory: &Path, file: &str, value: String| {
            fs::write(directory.join(file), value).is_ok()
        };
        if let Some(bytes) = limits.memory
            && let Some(directory) = make("memory")
        {
            self.enforces.memory = put(&directory, "memory.limit_in_bytes", bytes.to_string());
            put(&directory, "memory.memsw.limit_in_bytes", bytes.to_string());
        }
        if let Some(count) = limits.processes
            && let Some(directory) = make("pids")
        {
            self.enforces.processes = put(&directory, "pids.max", count.to_string());
        }
        if let Some(milli) = limits.cpu_milli
            && let Some(directory) = make("cpu")
        {
            put(&directory, "cpu.cfs_period_us", "100000".to_owned());
            self.enforces.cpu = put(&directory, "cpu.cfs_quota_us", (milli * 100).to_string());
        }
        if !self.directories.is_empty() {
            self.version = 1;
        }
    }

    /// What the group enforces.
    #[must_use]
    pub fn enforces(&self) -> Enforces {
        self.enforces
    }

    /// 2, 1, or 0 where there is none.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// The directories, for the journal of what a crash may leave.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// Puts a process (and all it will start) into the group.
    ///
    /// # Errors
    /// What writing `cgroup.procs` says.
    pub fn attach(&self, pid: Pid) -> io::Result<()> {
        for directory in &self.directories {
            fs::write(directory.join("cgroup.procs"), pid.as_raw_nonzero().to_string())?;
        }
        Ok(())
    }

    /// How often the kernel killed something here for want of memory.
    #[must_use]
    pub fn memory_kills(&self) -> u64 {
        self.counter(&["memory.events", "memory.oom_control"], "oom_kill")
    }

    /// How often a new process was refused.
    #[must_use]
    pub fn process_refusals(&self) -> u64 {
        self.counter(&["pids.events"], "max")
    }

    fn counter(&self, files: &[&str], key: &str) -> u64 {
        let paths =
            self.directories.iter().flat_map(|d| files.iter().map(move |file| d.join(file)));
        paths
            .filter_map(|path| fs::read_to_string(path).ok())
            .flat_map(|text| {
                text.lines()
                    .filter_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok())
                    .collect::<Vec<_>>()
            })
            .sum()
    }

    /// Removes the group; the processes must be gone.
    pub fn remove(&mut self) {
        self.directories.retain(|directory| {
            fs::remove_dir(directory).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fh4_homes_are_found_in_both_versions() {
        let own = "12:memory:/user/a\n5:cpu,cpuacct:/\n0::/user.slice/run\n";
        let mounts = "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            31 20 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let homes = Homes::parse(own, mounts);
        assert_eq!(homes.legacy("memory"), Some(Path::new("/sys/fs/cgroup/memory/user/a")));
        assert_eq!(homes.legacy("cpu"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct/")));
        assert_eq!(homes.legacy("pids"), None);
        assert_eq!(homes.unified, Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice/run")));
    }

    #[test]
    fn fh4_version_2_limits_are_written_where_controllers_are_delegated() {
        let home = std::env::temp_dir().join(format!("ringfence-cgroup-{}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        fs::write(home.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let homes = Homes { unified: Some(home.clone()), legacy: Vec::new() };
        let limits = Limits {
            memory: Some(1 << 30),
            processes: Some(64),
            cpu_milli: Some(1500),
            ..Limits::default()
        };
        let group = Group::create(&homes, "run", &limits);
        let read = |file: &str| fs::read_to_string(home.join("run").join(file)).unwrap();
        assert_eq!(group.enforces(), Enforces { memory: true, processes: true, cpu: true });
        assert_eq!(read("memory.max"), (1u64 << 30).to_string());
        assert_eq!(read("pids.max"), "64");
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(group.version(), 2);
        fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn fh4_without_any_writable_group_nothing_is_claimed() {
        let limits = Limits { memory: Some(1), ..Limits::default() };
        let group = Group::create(&Homes::default(), "run", &limits);
        assert_eq!((group.enforces(), group.version()), (Enforces::default(), 0));
    }
}
