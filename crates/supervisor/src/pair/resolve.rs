//! From a name as a program gives it to the path in the workspace that it stands for.
//!
//! Looked up as the kernel would for the program: from its own root, working directory or descriptor,
//! links followed where the call follows them, those of `/proc` as the program's own. What does not
//! lead into the workspace is nobody's business here; what cannot be looked up is an error.

mod walk;

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use ringfence_sys::seccomp::changes::Named;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::trees::Trees;
use crate::limits::GENERATIONS;
use walk::{Followed, Walk};

/// What a name stands for.
#[derive(Debug)]
pub enum Place {
    /// A path of the workspace, as the journal calls it.
    Inside(Vec<u8>),
    /// Nothing of the workspace.
    Outside,
    /// An open file that is not, or no more, at the path by which it was opened.
    Open(OwnedFd),
}

impl Place {
    /// The path, if it is one.
    pub fn path(&self) -> Option<&[u8]> {
        match self {
            Self::Inside(path) => Some(path),
            Self::Outside | Self::Open(_) => None,
        }
    }
}

/// The sandbox's root, and which trees of it are the workspace.
pub struct Resolver {
    root: OwnedFd,
    trees: Trees,
    /// The name of the sandbox's pid namespace (namespaces(7)).
    processes: PathBuf,
}

impl Resolver {
    /// For the processes of a sandbox, one of which is `pid`.
    ///
    /// # Errors
    /// Its root cannot be opened: the process is gone.
    pub fn new(pid: u32, trees: Trees) -> io::Result<Self> {
        let root = open(&format!("/proc/{pid}/root"))?;
        Ok(Self { root, trees, processes: fs::read_link(format!("/proc/{pid}/ns/pid"))? })
    }

    /// The processes of the sandbox, as the host counts them.
    pub fn processes(&self) -> Vec<u32> {
        let Ok(listed) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_inside = |pid: &u32| {
            fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|space| space == self.processes)
        };
        let inside = pids.filter(is_inside);
        // Where the sandbox has no process ids of its own, it is what the supervisor has started.
        let shared = fs::read_link("/proc/self/ns/pid").is_ok_and(|own| own == self.processes);
        let supervisor = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
        inside.filter(|pid| !shared || descends(*pid, supervisor.unsigned_abs())).collect()
    }

    /// What a name of a thread stands for.
    ///
    /// # Errors
    /// That of the kernel, where the call itself will fail in the same way ([`will_fail`]); another
    /// where it is not known what the name stands for.
    pub fn place(&self, caller: u32, named: &Named) -> io::Result<Place> {
        let start = match (named.path.first(), named.directory) {
            (Some(b'/'), _) => self.root.try_clone()?,
            (_, None) => open(&format!("/proc/{caller}/cwd"))?,
            (_, Some(descriptor)) => open(&format!("/proc/{caller}/fd/{descriptor}"))?,
        };
        let mut walk = Walk::new(&self.root, caller);
        match walk.last(start, &named.path, named.follow)? {
            Followed::Name { parent, name } => {
                let above = self.trees.inside(&path_of(&parent)?);
                Ok(above.map_or(Place::Outside, |above| Place::Inside(join(&above, &name))))
            }
            Followed::Object(object) => self.object(object),
        }
    }

    /// What a program's descriptor stands for.
    ///
    /// # Errors
    /// As [`Resolver::place`].
    pub fn descriptor(&self, caller: u32, descriptor: i32) -> io::Result<Place> {
        self.object(open(&format!("/proc/{caller}/fd/{descriptor}"))?)
    }

    fn object(&self, object: OwnedFd) -> io::Result<Place> {
        let stat = rustix::fs::fstat(&object)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory | FileType::RegularFile => {}
            _ => return Ok(Place::Outside),
        }
        let path = path_of(&object)?;
        let Some(inside) = self.trees.inside(&path) else { return Ok(Place::Outside) };
        // It may have lost that name, and another may have it now.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let there = rustix::fs::openat2(&self.root, &*path, flags, Mode::empty(), resolve)
            .and_then(rustix::fs::fstat);
        match there {
            Ok(there) if (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino) => {
                Ok(Place::Inside(inside))
            }
            _ => Ok(Place::Open(object)),
        }
    }
}

/// Errors that the kernel will give to the call itself: there is nothing at that name to change.
pub fn will_fail(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG | Errno::ACCESS)
    )
}

/// Whether a process was started by another, or by one that it started (proc_pid_stat(5)).
fn descends(mut pid: u32, from: u32) -> bool {
    for _ in 0..GENERATIONS {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        // The name in brackets may hold anything.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        match parent.and_then(|parent| parent.parse().ok()) {
            Some(parent) if parent == from => return true,
            Some(parent) if parent > 1 => pid = parent,
            _ => return false,
        }
    }
    false
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

fn open(path: &str) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// The path of an open file in its own mount namespace (proc_pid_fd(5)).
fn path_of<F: AsFd>(file: F) -> io::Result<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    fs::read_link(link).map(|path| path.into_os_string().into_vec()).map_err(|error| {
        match Errno::from_io_error(&error) {
            // The kernel names no path above a page, though calls reach them step by step.
            Some(Errno::NAMETOOLONG) => io::Error::other("a path above 4096 bytes"),
            _ => error,
        }
    })
}
