//! From a name as a program gives it to the path in the workspace that it stands for.
//!
//! Looked up as the program would: from its own root, links followed where the call follows them.
//! What does not lead into the workspace is nobody's business here.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use ringfence_sys::seccomp::changes::Named;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::limits::NAMED_LINKS;

/// The sandbox's root and where the workspace is in it.
pub struct Resolver {
    root: OwnedFd,
    /// The workspace's path, with a slash at its end.
    workspace: Vec<u8>,
}

impl Resolver {
    /// For the processes of a sandbox, one of which is `pid`.
    ///
    /// # Errors
    /// Its root cannot be opened: the process is gone.
    pub fn new(pid: u32, workspace: &std::path::Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
        let mut workspace = workspace.as_os_str().as_bytes().to_vec();
        workspace.push(b'/');
        Ok(Self { root, workspace })
    }

    /// The path of a name relative to the workspace; `None` where it leads elsewhere or nowhere.
    pub fn place(&self, pid: u32, named: &Named) -> Option<Vec<u8>> {
        let mut full = match named.path.first()? {
            b'/' => named.path.clone(),
            _ => join(&base(pid, named.directory)?, &named.path),
        };
        for _ in 0..NAMED_LINKS {
            if let Some(target) = descriptor_link(pid, &full) {
                return self.beneath(&target);
            }
            while full.len() > 1 && full.last() == Some(&b'/') {
                full.pop();
            }
            let at = full.iter().rposition(|byte| *byte == b'/')?;
            let (above, name) = (full.get(..at)?, full.get(at + 1..)?);
            if matches!(name, b"" | b"." | b"..") {
                return None;
            }
            let parent = self.open(if above.is_empty() { b"/" } else { above })?;
            let above = path_of(&parent)?;
            match named.follow.then(|| link(&parent, name)).flatten() {
                Some(target) if target.first() == Some(&b'/') => full = target,
                Some(target) => full = join(&above, &target),
                None => return self.beneath(&join(&above, name)),
            }
        }
        None
    }

    /// The path in the workspace of what a program's descriptor stands for.
    pub fn descriptor(&self, pid: u32, descriptor: i32) -> Option<Vec<u8>> {
        self.beneath(&read(&format!("/proc/{pid}/fd/{descriptor}"))?)
    }

    fn open(&self, path: &[u8]) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve).ok()
    }

    fn beneath(&self, path: &[u8]) -> Option<Vec<u8>> {
        path.strip_prefix(self.workspace.as_slice()).map(<[u8]>::to_vec)
    }
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above == b"/" { [b"/", name].concat() } else { [above, b"/", name].concat() }
}

/// Where a relative path of a program starts.
fn base(pid: u32, directory: Option<i32>) -> Option<Vec<u8>> {
    match directory {
        None => read(&format!("/proc/{pid}/cwd")),
        Some(descriptor) => read(&format!("/proc/{pid}/fd/{descriptor}")),
    }
}

fn read(link: &str) -> Option<Vec<u8>> {
    fs::read_link(link).ok().map(PathBuf::into_os_string).map(OsStringExt::into_vec)
}

fn path_of(directory: &OwnedFd) -> Option<Vec<u8>> {
    read(&format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

/// Where a link leads; `None` for anything else.
fn link(parent: &OwnedFd, name: &[u8]) -> Option<Vec<u8>> {
    let stat = rustix::fs::statat(parent.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return None;
    }
    Some(rustix::fs::readlinkat(parent.as_fd(), name, Vec::new()).ok()?.into_bytes())
}

/// Names of open files (proc_pid_fd(5)): `/dev/fd/3`, `/proc/self/fd/3`. They are of the program that
/// asks, whoever looks them up.
fn descriptor_link(pid: u32, path: &[u8]) -> Option<Vec<u8>> {
    let number = match path {
        b"/dev/stdin" => b"0".as_slice(),
        b"/dev/stdout" => b"1",
        b"/dev/stderr" => b"2",
        _ => [b"/dev/fd/".as_slice(), b"/proc/self/fd/", b"/proc/thread-self/fd/"]
            .iter()
            .find_map(|start| path.strip_prefix(*start))?,
    };
    let number: i32 = std::str::from_utf8(number).ok()?.parse().ok()?;
    read(&format!("/proc/{pid}/fd/{number}"))
}
