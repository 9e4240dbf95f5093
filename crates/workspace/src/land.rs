//! One change put into the project: whole or not at all, beneath held directories.
//!
//! A file comes under a temporary name in its own directory, is made durable, and is then renamed:
//! whenever this is killed, each file of the project is the old one or the new one.

use rustix::fs::{AtFlags, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::beneath::{
    Meta, c_name, chmod_exact, look, look_open, open_at, open_dir, open_file, read_link, split,
};
use crate::change::{Change, Kind, Node};
use crate::layer::Layer;
use crate::limits::{COPY_BYTES, TEMPORARY_NAMES, XATTR_BYTES};

/// Why one change was not applied.
#[derive(Debug)]
pub(crate) enum NotLanded {
    /// The project is not as it was when the change was looked at.
    Conflict(String),
    /// A directory that should go still holds something.
    NotEmpty,
    /// It failed.
    Failed(io::Error),
}

impl From<io::Error> for NotLanded {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for NotLanded {
    fn from(error: Errno) -> Self {
        Self::Failed(error.into())
    }
}

type Landed = Result<(), NotLanded>;

/// Puts changes into a project.
pub(crate) struct Landing<'a> {
    layer: &'a Layer,
    /// Directories that were made, with the mode they get when everything is in them.
    made: Vec<(Vec<u8>, u32)>,
    /// The directory changed last, to be made durable.
    touched: Option<(Vec<u8>, OwnedFd)>,
}

impl<'a> Landing<'a> {
    pub(crate) fn new(layer: &'a Layer) -> Self {
        Self { layer, made: Vec::new(), touched: None }
    }

    /// Applies one change. `special` keeps set-user-id and set-group-id bits: only if named.
    pub(crate) fn land(&mut self, change: &Change, special: bool) -> Landed {
        let (parent_path, name) = split(&change.path);
        let parent = self.parent(parent_path)?;
        let now = look(parent.as_fd(), name)?;
        if !same_entry(now.as_ref(), change.seen.as_ref()) {
            let why = "the project's own changed while changes were being applied";
            return Err(NotLanded::Conflict(why.to_owned()));
        }
        match (change.kind, change.node) {
            (Kind::Deleted, node) => delete(parent.as_fd(), name, node)?,
            (Kind::ModeChanged, _) => self.chmod(parent.as_fd(), name, change, special)?,
            (_, Node::File) => self.file(parent.as_fd(), parent_path, name, change, special)?,
            (_, Node::Symlink) => symlink(parent.as_fd(), name, change)?,
            (_, Node::Dir) => self.dir(parent.as_fd(), name, change)?,
            _ => {
                return Err(
                    io::Error::other("only files, links and directories are applied").into()
                );
            }
        }
        self.touch(parent_path, parent)?;
        Ok(())
    }

    /// Sets the modes of new directories, deepest first, and makes the last directory durable.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        for (path, mode) in std::mem::take(&mut self.made).into_iter().rev() {
            let dir = open_dir(self.layer.lower.as_fd(), &path)?;
            // What was inherited (set-group-id) stays.
            let inherited = look_open(&dir)?.mode & 0o2000;
            rustix::fs::fchmod(&dir, Mode::from_raw_mode(mode & 0o1777 | inherited))?;
        }
        match self.touched.take() {
            Some((_, dir)) => Ok(rustix::fs::fsync(dir)?),
            None => Ok(()),
        }
    }

    fn touch(&mut self, path: &[u8], dir: OwnedFd) -> io::Result<()> {
        if let Some((last, fd)) = self.touched.replace((path.to_vec(), dir))
            && last != path
        {
            rustix::fs::fsync(fd)?;
        }
        Ok(())
    }

    /// The project's directory at a path; directories of the layer that it lacks are made.
    fn parent(&mut self, path: &[u8]) -> Result<OwnedFd, NotLanded> {
        match open_dir(self.layer.lower.as_fd(), path) {
            Ok(dir) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(parent_conflict(error)),
        }
        let (above, name) = split(path);
        let dir = self.parent(above)?;
        let upper = open_dir(self.layer.upper.as_fd(), path)?;
        self.make_dir(dir.as_fd(), path, name, &look_open(&upper)?)?;
        open_dir(dir.as_fd(), name).map_err(parent_conflict)
    }

    fn make_dir(&mut self, dir: BorrowedFd<'_>, path: &[u8], name: &[u8], like: &Meta) -> Landed {
        let mode = Mode::from_raw_mode(like.mode & 0o777 | 0o700);
        match rustix::fs::mkdirat(dir, c_name(name)?, mode) {
            Err(Errno::EXIST) => {
                return Err(NotLanded::Conflict("the project has something there now".to_owned()));
            }
            other => other?,
        }
        if rustix::process::geteuid().is_root() {
            let made = open_at(dir, name, OFlags::RDONLY | OFlags::DIRECTORY)?;
            own(made.as_fd(), look_open(dir)?.owner)?;
        }
        self.made.push((path.to_vec(), like.mode));
        Ok(())
    }

    fn dir(&mut self, parent: BorrowedFd<'_>, name: &[u8], change: &Change) -> Landed {
        let upper = open_dir(self.layer.upper.as_fd(), &change.path)?;
        let like = look_open(&upper)?;
        if change.seen.is_none() {
            return self.make_dir(parent, &change.path, name, &like);
        }
        // A directory in place of a file: exchanged, so that there is always one of the two.
        let temporary = temporary(|name| {
            let mode = Mode::from_raw_mode(like.mode & 0o777 | 0o700);
            Ok(rustix::fs::mkdirat(parent, name, mode)?)
        })?;
        let owned = change.seen.map_or(Ok(()), |seen| {
            let made = open_at(parent, temporary.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY)?;
            own(made.as_fd(), seen.owner)
        });
        let result = owned.and_then(|()| {
            let flags = RenameFlags::EXCHANGE;
            Ok(rustix::fs::renameat_with(parent, &*temporary, parent, c_name(name)?, flags)?)
        });
        if let Err(error) = result {
            let _ = rustix::fs::unlinkat(parent, &*temporary, AtFlags::REMOVEDIR);
            return Err(error.into());
        }
        rustix::fs::unlinkat(parent, &*temporary, AtFlags::empty())?;
        self.made.push((change.path.clone(), like.mode));
        Ok(())
    }

    fn chmod(&self, parent: BorrowedFd<'_>, name: &[u8], change: &Change, special: bool) -> Landed {
        let seen = change.seen;
        let inherited =
            seen.filter(|seen| seen.node == Node::Dir).map_or(0, |seen| seen.mode & 0o2000);
        let wanted = change.mode_after.unwrap_or(0);
        let mode = wanted & mask(special && change.node == Node::File) | inherited;
        chmod_exact(parent, name, seen.map(|seen| seen.device), mode)?;
        Ok(())
    }

    fn file(
        &self,
        parent: BorrowedFd<'_>,
        parent_path: &[u8],
        name: &[u8],
        change: &Change,
        special: bool,
    ) -> Landed {
        let upper = open_dir(self.layer.upper.as_fd(), parent_path)?;
        let mut from = open_file(upper.as_fd(), name)?;
        let mut made = None;
        let temporary = temporary(|name| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
            let mode = Mode::RUSR | Mode::WUSR;
            let fd = rustix::fs::openat(parent, name, flags | OFlags::CLOEXEC, mode)?;
            made = Some(File::from(fd));
            Ok(())
        })?;
        let Some(mut to) = made else {
            return Err(io::Error::other("no file was made").into());
        };
        let owner = match change.seen {
            Some(seen) if seen.node == Node::File => Some(seen.owner),
            _ if rustix::process::geteuid().is_root() => Some(look_open(parent)?.owner),
            _ => None,
        };
        let result = copy(&mut from, &mut to, owner, special)
            .map_err(NotLanded::from)
            .and_then(|()| place(parent, &temporary, name, change.seen.as_ref()));
        if result.is_err() {
            let _ = rustix::fs::unlinkat(parent, &*temporary, AtFlags::empty());
        }
        result
    }
}

/// A link or a file where a directory should be is the project's, and is not followed.
fn parent_conflict(error: io::Error) -> NotLanded {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NOENT) => NotLanded::Conflict(
            "a directory above it is a link, a file or gone in the project".to_owned(),
        ),
        _ => NotLanded::Failed(error),
    }
}

/// Whether the project still has what it had. A directory's times change with its entries, which
/// are judged for themselves.
fn same_entry(now: Option<&Meta>, seen: Option<&Meta>) -> bool {
    match (now, seen) {
        (None, None) => true,
        (Some(now), Some(seen)) if now.node == Node::Dir => now.device == seen.device,
        (Some(now), Some(seen)) => now == seen,
        _ => false,
    }
}

fn mask(special: bool) -> u32 {
    if special { 0o7777 } else { 0o1777 }
}

/// Finds a name that is free and makes something under it.
pub(crate) fn temporary(mut make: impl FnMut(&str) -> io::Result<()>) -> io::Result<String> {
    let process = std::process::id();
    for number in 0..TEMPORARY_NAMES {
        let name = format!(".ringfence-apply-{process}-{number}.tmp");
        match make(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Content, attributes, owner, mode; durable.
fn copy(
    from: &mut File,
    to: &mut File,
    owner: Option<(u32, u32)>,
    special: bool,
) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => to.write_all(buffer.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    copy_attributes(from, to)?;
    if let Some(owner) = owner {
        own(to.as_fd(), owner)?;
    }
    // After the owner: a change of owner clears special bits.
    let mode = look_open(&*from)?.mode & mask(special);
    rustix::fs::fchmod(&*to, Mode::from_raw_mode(mode))?;
    to.sync_all()
}

/// Gives an open file to an owner.
pub(crate) fn own(fd: BorrowedFd<'_>, owner: (u32, u32)) -> io::Result<()> {
    let now = look_open(fd)?.owner;
    if now == owner {
        return Ok(());
    }
    let uid = (now.0 != owner.0).then(|| Uid::from_raw(owner.0));
    let gid = (now.1 != owner.1).then(|| Gid::from_raw(owner.1));
    Ok(rustix::fs::fchown(fd, uid, gid)?)
}

/// Copies `user.*` attributes, overlayfs's own excepted. File capabilities and access lists are in
/// other spaces and never copied.
fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let mut list = vec![0u8; XATTR_BYTES];
    let length = match rustix::fs::flistxattr(from, list.as_mut_slice()) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        other => other?,
    };
    let mut value = vec![0u8; XATTR_BYTES];
    for name in list.get(..length).unwrap_or_default().split(|byte| *byte == 0) {
        if !name.starts_with(b"user.") || name.starts_with(b"user.overlay.") {
            continue;
        }
        let name = c_name(name)?;
        let length = rustix::fs::fgetxattr(from, &name, value.as_mut_slice())?;
        let value = value.get(..length).unwrap_or_default();
        match rustix::fs::fsetxattr(to, &name, value, rustix::fs::XattrFlags::empty()) {
            // The project's file system has none; there is nothing to lose there.
            Err(Errno::OPNOTSUPP) => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// Renames a finished temporary entry to its place.
fn place(dir: BorrowedFd<'_>, temporary: &str, name: &[u8], seen: Option<&Meta>) -> Landed {
    let name = c_name(name)?;
    match seen {
        None => match rustix::fs::renameat_with(dir, temporary, dir, &name, RenameFlags::NOREPLACE)
        {
            Err(Errno::EXIST) => {
                Err(NotLanded::Conflict("the project has something there now".to_owned()))
            }
            other => Ok(other?),
        },
        Some(seen) if seen.node == Node::Dir => {
            rustix::fs::renameat_with(dir, temporary, dir, &name, RenameFlags::EXCHANGE)?;
            match rustix::fs::unlinkat(dir, temporary, AtFlags::REMOVEDIR) {
                Ok(()) => Ok(()),
                Err(error) => {
                    rustix::fs::renameat_with(dir, temporary, dir, &name, RenameFlags::EXCHANGE)?;
                    Err(if error == Errno::NOTEMPTY { NotLanded::NotEmpty } else { error.into() })
                }
            }
        }
        Some(_) => Ok(rustix::fs::renameat(dir, temporary, dir, &name)?),
    }
}

fn symlink(dir: BorrowedFd<'_>, name: &[u8], change: &Change) -> Landed {
    let target = c_name(change.target.as_deref().unwrap_or_default())?;
    let temporary = temporary(|name| Ok(rustix::fs::symlinkat(&target, dir, name)?))?;
    let owner = match change.seen {
        _ if !rustix::process::geteuid().is_root() => None,
        Some(seen) if seen.node != Node::Dir => Some(seen.owner),
        _ => Some(look_open(dir)?.owner),
    };
    let owned = owner.map_or(Ok(()), |(uid, gid)| {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        rustix::fs::chownat(dir, &*temporary, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
    });
    let result = owned
        .map_err(NotLanded::from)
        .and_then(|()| place(dir, &temporary, name, change.seen.as_ref()));
    if result.is_err() {
        let _ = rustix::fs::unlinkat(dir, &*temporary, AtFlags::empty());
    }
    result?;
    // What lies there is the link that was judged, byte by byte.
    match read_link(dir, name)? == target.as_bytes() {
        true => Ok(()),
        false => Err(NotLanded::Conflict("it was replaced at once".to_owned())),
    }
}

fn delete(dir: BorrowedFd<'_>, name: &[u8], node: Node) -> Landed {
    let flags = if node == Node::Dir { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(dir, c_name(name)?, flags) {
        Err(Errno::NOTEMPTY) => Err(NotLanded::NotEmpty),
        other => Ok(other?),
    }
}
