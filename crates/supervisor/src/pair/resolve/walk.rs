//! Path resolution as the kernel does it for another thread (path_resolution(7)).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

use crate::limits::NAMED_LINKS;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Where a path ends.
pub(super) enum Followed {
    /// At a name of a directory, which need not exist and is not followed further.
    Name {
        /// The directory.
        parent: OwnedFd,
        /// The name, neither empty nor `.` or `..`.
        name: Vec<u8>,
    },
    /// At something open already: a directory by `.`, a file by a link of `/proc`.
    Object(OwnedFd),
}

/// Where a link leads.
enum Leads {
    /// To be resolved in its place.
    Path(Vec<u8>),
    /// Straight to what is open.
    Object(OwnedFd),
}

/// One resolution.
pub(super) struct Walk<'a> {
    root: &'a OwnedFd,
    caller: u32,
    links: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a OwnedFd, caller: u32) -> Self {
        Self { root, caller, links: 0 }
    }

    /// Resolves all of a path but its last name, and that if it is a link and followed.
    pub(super) fn last(
        &mut self,
        start: OwnedFd,
        path: &[u8],
        follow: bool,
    ) -> io::Result<Followed> {
        let (mut start, mut path) = (start, path.to_vec());
        loop {
            while path.len() > 1 && path.last() == Some(&b'/') {
                path.pop();
            }
            let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
                Some(at) => path.split_at(at + 1),
                None => (&[][..], path.as_slice()),
            };
            let parent = self.directory(start, above)?;
            match name {
                b"" | b"." => return Ok(Followed::Object(parent)),
                b".." => return Ok(Followed::Object(open(&parent, b"..", DIRECTORY)?)),
                _ => {}
            }
            match if follow { self.link(&parent, name)? } else { None } {
                None => return Ok(Followed::Name { parent, name: name.to_vec() }),
                Some(Leads::Object(object)) => return Ok(Followed::Object(object)),
                Some(Leads::Path(target)) => {
                    start = if is_absolute(&target) { self.root.try_clone()? } else { parent };
                    path = target;
                }
            }
        }
    }

    /// The directory of a path whose every part is followed.
    fn directory(&mut self, start: OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
        if path.is_empty() {
            return Ok(start);
        }
        // Nearly always no link is on the way, and the kernel does it in one call.
        let (base, within) = match is_absolute(path) {
            true => (self.root, ResolveFlags::IN_ROOT),
            false => (&start, ResolveFlags::empty()),
        };
        let resolve = within | ResolveFlags::NO_SYMLINKS;
        match rustix::fs::openat2(base, path, DIRECTORY, Mode::empty(), resolve) {
            Ok(directory) => Ok(directory),
            Err(Errno::LOOP | Errno::AGAIN) => self.step_by_step(start, path),
            Err(error) => Err(error.into()),
        }
    }

    fn step_by_step(&mut self, start: OwnedFd, path: &[u8]) -> io::Result<OwnedFd> {
        let mut at = if is_absolute(path) { self.root.try_clone()? } else { start };
        let mut rest = parts(path);
        while let Some(part) = rest.pop() {
            match self.link(&at, &part)? {
                None => at = open(&at, &part, DIRECTORY | OFlags::NOFOLLOW)?,
                Some(Leads::Object(object)) => at = object,
                Some(Leads::Path(target)) => {
                    if is_absolute(&target) {
                        at = self.root.try_clone()?;
                    }
                    rest.extend(parts(&target));
                }
            }
        }
        Ok(at)
    }

    /// Where a name of a directory leads if it is a link.
    fn link(&mut self, directory: &OwnedFd, name: &[u8]) -> io::Result<Option<Leads>> {
        let leads = match (read_link(directory, name)?, name) {
            // Whose it is depends on who looks, and for us there may be none.
            (_, b"self" | b"thread-self") if is_proc(directory)? => self.own(name)?,
            (None, _) => return Ok(None),
            (Some(target), _) if is_proc(directory)? => {
                let resolve = ResolveFlags::NO_MAGICLINKS;
                match rustix::fs::openat2(directory, name, PATH, Mode::empty(), resolve) {
                    Err(Errno::LOOP) => Leads::Object(open(directory, name, PATH)?),
                    _ => Leads::Path(target),
                }
            }
            (Some(target), _) => Leads::Path(target),
        };
        self.links += 1;
        match self.links > NAMED_LINKS {
            true => Err(Errno::LOOP.into()),
            false => Ok(Some(leads)),
        }
    }

    /// The caller's own directory of `/proc`.
    fn own(&self, name: &[u8]) -> io::Result<Leads> {
        let process = self.inner("NStgid:")?;
        Ok(Leads::Path(match name {
            b"self" => process,
            _ => [&*process, b"/task/", &*self.inner("NSpid:")?].concat(),
        }))
    }

    /// A number of the caller in the sandbox's own count: the last of a line of its status
    /// (proc_pid_status(5)).
    fn inner(&self, line: &str) -> io::Result<Vec<u8>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.caller))?;
        let numbers = status.lines().find_map(|text| text.strip_prefix(line));
        let inner = numbers.and_then(|numbers| numbers.split_whitespace().last());
        Ok(inner.ok_or(Errno::SRCH)?.as_bytes().to_vec())
    }
}

const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

fn is_absolute(path: &[u8]) -> bool {
    path.first() == Some(&b'/')
}

fn is_proc(directory: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::fs::fstatfs(directory)?.f_type == PROC_SUPER_MAGIC)
}

/// The parts of a path, the first at the end.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.rev().map(<[u8]>::to_vec).collect()
}

fn open(directory: &OwnedFd, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(directory, name, flags, Mode::empty())?)
}

/// The text of a link; `None` for anything else, and for nothing.
fn read_link(directory: &OwnedFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Ok(text) => Ok(Some(text.into_bytes())),
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
