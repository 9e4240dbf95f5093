//! The constructed root: an empty file system into which only the plan's entries are put.
//!
//! What is not named does not exist. The new root is built on top of the old one, which stays
//! reachable by its own root directory until `pivot_root(2)`, so that sources beneath any path can
//! be opened; nothing is ever looked up through a path that the agent could have changed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ringfence_model::boundary::{Access, Boundary, Mount, MountKind};
use ringfence_sys::mounts::{self, Attributes};
use rustix::fs::{FileType, Mode, OFlags};

use crate::launch::Prepared;
use crate::limits::ROOT_BYTES;
use crate::step::{During, StepError};
use crate::{devices, overlay};

/// Opens a source of the plan and checks that it is still the thing that was judged.
pub fn open_source(path: &Path, identity: Option<(u64, u64)>) -> Result<OwnedFd, StepError> {
    let place = mounts::open_place(path).during("open", path.display())?;
    if let Some(judged) = identity {
        let stat = rustix::fs::fstat(&place).during("examine", path.display())?;
        if (stat.st_dev, stat.st_ino) != judged {
            return Err(StepError::refused(
                "mount",
                path.display(),
                "it was replaced between judgement and mount",
            ));
        }
    }
    Ok(place)
}

/// The root under construction.
pub struct Root {
    mount: OwnedFd,
    void_file: OwnedFd,
    void_directory: OwnedFd,
}

const VOID: &str = "/.ringfence";

impl Root {
    /// An empty root, on top of the old one.
    pub fn new() -> Result<Self, StepError> {
        let object = "the new root";
        let old = mounts::open_place(Path::new("/")).during("open", "the old root")?;
        mounts::make_private(old.as_fd()).during("cut off", "the old root's mounts")?;
        let attributes = Attributes::NO_SUID.and(Attributes::NO_DEVICES);
        let mount = mounts::new_tmpfs(ROOT_BYTES, 0o755, attributes).during("create", object)?;
        mounts::attach(mount.as_fd(), old.as_fd()).during("attach", object)?;
        let void = Path::new(VOID);
        make_directory(mount.as_fd(), void, 0o755)?;
        make_directory(mount.as_fd(), &void.join("empty"), 0)?;
        make_file(mount.as_fd(), &void.join("nothing"), b"", 0)?;
        let void_file = mounts::open_beneath(mount.as_fd(), &void.join("nothing"))
            .during("open", "the void file")?;
        let void_directory = mounts::open_beneath(mount.as_fd(), &void.join("empty"))
            .during("open", "the void directory")?;
        Ok(Self { mount, void_file, void_directory })
    }

    /// The root's mount.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.mount.as_fd()
    }

    /// Makes all entries of the plan, in order.
    pub fn fill(&self, boundary: &Boundary, prepared: &Prepared) -> Result<(), StepError> {
        for (index, mount) in boundary.mounts.iter().enumerate() {
            let trees = prepared.trees.get(index).map_or(&[][..], Vec::as_slice);
            self.make(boundary, mount, trees)?;
        }
        Ok(())
    }

    fn make(
        &self,
        boundary: &Boundary,
        mount: &Mount,
        trees: &[OwnedFd],
    ) -> Result<(), StepError> {
        let target = mount.target.as_path();
        let root = self.as_fd();
        match &mount.kind {
            MountKind::Bind { source, access, exec, identity, .. } => {
                let tree = match trees.first() {
                    Some(tree) => tree.try_clone().during("copy the mount of", source.display())?,
                    None => mounts::detach_copy(open_source(source, *identity)?.as_fd())
                        .during("copy the mount of", source.display())?,
                };
                let attributes = bind_attributes(*access, *exec);
                mounts::set_attributes(tree.as_fd(), attributes, true, None)
                    .during("restrict", source.display())?;
                let directory = is_directory(&tree).during("examine", source.display())?;
                self.attach(&tree, target, directory)
            }
            MountKind::Tmpfs { bytes, mode, exec } => {
                let tree = mounts::new_tmpfs(*bytes, *mode, memory_attributes(*exec))
                    .during("create", target.display())?;
                self.attach(&tree, target, true)
            }
            MountKind::Overlay { lower, upper, work, exec, identity } => {
                let layers = overlay::Layers { lower, upper, work, identity: *identity };
                let tree = overlay::mount(root, layers, trees, *exec)?;
                self.attach(&tree, target, true)
            }
            MountKind::File { content, mode } => {
                make_parents(root, target)?;
                make_file(root, target, content.as_bytes(), *mode)
            }
            MountKind::Directory { mode } => make_directory(root, target, *mode),
            MountKind::Symlink { target: link } => {
                make_parents(root, target)?;
                make_symlink(root, target, link)
            }
            MountKind::Proc => devices::proc(self, target),
            MountKind::Devices => devices::devices(self, target, boundary.limits.tmp),
            MountKind::Mask => self.mask(target),
            MountKind::Pin => self.cover(target, Attributes::NONE, "pin"),
            MountKind::Hold => {
                let held = Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_DEVICES);
                self.cover(target, held, "hold")
            }
        }
    }

    /// Attaches a detached tree at a path of the new root, making the mount point if it is missing.
    pub fn attach(&self, tree: &OwnedFd, target: &Path, directory: bool) -> Result<(), StepError> {
        let place = self.mount_point(target, directory)?;
        mounts::attach(tree.as_fd(), place.as_fd()).during("attach", target.display())
    }

    fn mount_point(&self, target: &Path, directory: bool) -> Result<OwnedFd, StepError> {
        if let Ok(place) = mounts::open_beneath(self.as_fd(), target) {
            return Ok(place);
        }
        make_parents(self.as_fd(), target)?;
        if directory {
            make_directory(self.as_fd(), target, 0o755)?;
        } else {
            make_file(self.as_fd(), target, b"", 0o644)?;
        }
        mounts::open_beneath(self.as_fd(), target).during("open the mount point", target.display())
    }

    /// Puts an empty, unreadable thing over what is at `target`; nothing where there is nothing.
    pub fn mask(&self, target: &Path) -> Result<(), StepError> {
        let place = match mounts::open_beneath(self.as_fd(), target) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(StepError::new("open", target.display(), &error)),
        };
        let directory = is_directory(&place).during("examine", target.display())?;
        let void = if directory { &self.void_directory } else { &self.void_file };
        let tree = mounts::detach_copy(void.as_fd()).during("mask", target.display())?;
        let attributes = Attributes::READ_ONLY.and(Attributes::NO_EXEC);
        mounts::set_attributes(tree.as_fd(), attributes, false, None)
            .during("mask", target.display())?;
        mounts::attach(tree.as_fd(), place.as_fd()).during("mask", target.display())
    }

    /// Mounts what is at `target` over itself: a mount point can neither be renamed nor removed.
    fn cover(&self, target: &Path, attributes: Attributes, verb: &str) -> Result<(), StepError> {
        let place =
            mounts::open_beneath(self.as_fd(), target).during(verb, target.display())?;
        let tree = mounts::detach_copy(place.as_fd()).during(verb, target.display())?;
        if attributes != Attributes::NONE {
            mounts::set_attributes(tree.as_fd(), attributes, true, None)
                .during(verb, target.display())?;
        }
        mounts::attach(tree.as_fd(), place.as_fd()).during(verb, target.display())
    }

    /// Makes the root read-only, enters it and forgets the old one.
    pub fn enter(self) -> Result<(), StepError> {
        let object = "the new root";
        mounts::set_attributes(self.as_fd(), Attributes::READ_ONLY, false, None)
            .during("make read-only", object)?;
        rustix::process::fchdir(self.as_fd()).during("enter", object)?;
        rustix::process::pivot_root(".", ".").during("switch to", object)?;
        rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)
            .during("leave", "the old root")?;
        rustix::process::chdir("/").during("enter", object)
    }
}

fn bind_attributes(access: Access, exec: bool) -> Attributes {
    let mut attributes = Attributes::NO_SUID.and(Attributes::NO_DEVICES);
    if access == Access::ReadOnly {
        attributes = attributes.and(Attributes::READ_ONLY);
    }
    if !exec {
        attributes = attributes.and(Attributes::NO_EXEC);
    }
    attributes
}

/// What an in-memory or overlay mount is restricted to.
pub fn memory_attributes(exec: bool) -> Attributes {
    bind_attributes(Access::ReadWrite, exec)
}

fn is_directory(fd: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode).is_dir())
}

/// The parent of a target beneath `root`, opened, and its last component.
fn parent_of<'a>(root: BorrowedFd<'_>, target: &'a Path) -> Result<(OwnedFd, &'a Path), StepError> {
    let parent = target.parent().unwrap_or(Path::new("/"));
    let name = target
        .file_name()
        .map(Path::new)
        .ok_or_else(|| StepError::refused("make", target.display(), "it has no name"))?;
    let place = mounts::open_beneath(root, parent).during("open", parent.display())?;
    Ok((place, name))
}

/// Makes all missing parents of `target` beneath `root`.
pub fn make_parents(root: BorrowedFd<'_>, target: &Path) -> Result<(), StepError> {
    let Some(parent) = target.parent() else { return Ok(()) };
    if mounts::open_beneath(root, parent).is_ok() {
        return Ok(());
    }
    make_parents(root, parent)?;
    make_directory(root, parent, 0o755)
}

/// Makes a directory beneath `root`; one that exists is left as it is.
pub fn make_directory(root: BorrowedFd<'_>, target: &Path, mode: u32) -> Result<(), StepError> {
    if target == Path::new("/") {
        return Ok(());
    }
    make_parents(root, target)?;
    let (parent, name) = parent_of(root, target)?;
    match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(StepError::new("make", target.display(), &error.into())),
    }
}

/// Makes a file beneath `root`; nothing may be there yet.
pub fn make_file(
    root: BorrowedFd<'_>,
    target: &Path,
    content: &[u8],
    mode: u32,
) -> Result<(), StepError> {
    let (parent, name) = parent_of(root, target)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(mode))
        .during("make", target.display())?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest).during("write", target.display())?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Makes a symbolic link beneath `root`; what a kept home already has there is left as it is.
pub fn make_symlink(root: BorrowedFd<'_>, target: &Path, link: &str) -> Result<(), StepError> {
    let (parent, name) = parent_of(root, target)?;
    match rustix::fs::symlinkat(link, &parent, name) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(StepError::new("make", target.display(), &error.into())),
    }
}
