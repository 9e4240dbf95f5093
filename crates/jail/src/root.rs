//! The constructed root: an empty file system into which only the plan's entries are put.
//!
//! What is not named does not exist. The new root is built on top of the old one, which stays
//! reachable by its own root directory until `pivot_root(2)`, so that sources beneath any path can
//! be opened; nothing is ever looked up through a path that the agent could have changed.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ringfence_model::boundary::{Access, Boundary, Mount, MountKind};
use ringfence_sys::mounts::{self, Attributes};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};

use crate::launch::Prepared;
use crate::limits::{COPY_BYTES, ROOT_BYTES};
use crate::step::{During, StepError};
use crate::{devices, overlay};

/// Opens a source of the plan and checks that it is still the thing that was judged.
pub fn open_source(path: &Path, identity: Option<(u64, u64)>) -> Result<OwnedFd, StepError> {
    let place = mounts::open_place(path).during("open", path.display())?;
    check_identity(&place, path, identity)?;
    Ok(place)
}

fn check_identity(
    place: &OwnedFd,
    path: &Path,
    identity: Option<(u64, u64)>,
) -> Result<(), StepError> {
    let Some(judged) = identity else { return Ok(()) };
    let stat = rustix::fs::fstat(place).during("examine", path.display())?;
    if (stat.st_dev, stat.st_ino) == judged {
        return Ok(());
    }
    Err(StepError::refused("mount", path.display(), "it was replaced between judgement and mount"))
}

/// The root under construction.
pub struct Root {
    mount: OwnedFd,
    void_file: OwnedFd,
    void_directory: OwnedFd,
    /// The directory that the last entry was made in: most of the next ones are made there too.
    parent: RefCell<Option<(PathBuf, Rc<OwnedFd>)>>,
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
        let place = mounts::open_beneath(mount.as_fd(), void).during("open", VOID)?;
        make_file_in(&place, Path::new("nothing"), b"", 0).during("make", "the void file")?;
        let void_file = mounts::open_beneath(mount.as_fd(), &void.join("nothing"))
            .during("open", "the void file")?;
        let void_directory = mounts::open_beneath(mount.as_fd(), &void.join("empty"))
            .during("open", "the void directory")?;
        Ok(Self { mount, void_file, void_directory, parent: RefCell::new(None) })
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

    fn make(&self, boundary: &Boundary, mount: &Mount, trees: &[OwnedFd]) -> Result<(), StepError> {
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
            MountKind::File { content, mode } => self.file(target, content.as_bytes(), *mode),
            MountKind::Copy { source, identity } => {
                let content = read_source(source, *identity)?;
                self.file(target, &content, 0o644)
            }
            MountKind::Directory { mode } => make_directory(root, target, *mode),
            MountKind::Symlink { target: link } => self.symlink(target, link),
            MountKind::Proc => devices::proc(self, target),
            MountKind::Devices => devices::devices(self, target, boundary.limits.tmp),
            MountKind::Mask => self.mask(target),
            MountKind::Pin => self.cover(target, Attributes::NONE, "pin"),
            MountKind::Anchor => {
                make_directory(root, target, 0o755)?;
                self.cover(target, Attributes::NONE, "pin")
            }
            MountKind::Hold => {
                let held =
                    Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_DEVICES);
                self.cover(target, held, "hold")
            }
        }
    }

    /// Attaches a detached tree at a path of the new root, making the mount point if it is missing.
    pub fn attach(&self, tree: &OwnedFd, target: &Path, directory: bool) -> Result<(), StepError> {
        let place = self.mount_point(target, directory)?;
        mounts::attach(tree.as_fd(), place.as_fd()).during("attach", target.display())?;
        self.forget_below(target);
        Ok(())
    }

    /// The directory of `target`, opened; made if it is missing.
    fn parent_of<'a>(&self, target: &'a Path) -> Result<(Rc<OwnedFd>, &'a Path), StepError> {
        let parent = target.parent().unwrap_or(Path::new("/"));
        let name = target
            .file_name()
            .map(Path::new)
            .ok_or_else(|| StepError::refused("make", target.display(), "it has no name"))?;
        if let Some((path, place)) = &*self.parent.borrow()
            && path == parent
        {
            return Ok((Rc::clone(place), name));
        }
        make_parents(self.as_fd(), target)?;
        let place = mounts::open_beneath(self.as_fd(), parent).during("open", parent.display())?;
        let place = Rc::new(place);
        *self.parent.borrow_mut() = Some((parent.to_owned(), Rc::clone(&place)));
        Ok((place, name))
    }

    /// Something was mounted at `target`: what was opened there before is covered now.
    fn forget_below(&self, target: &Path) {
        let mut parent = self.parent.borrow_mut();
        if parent.as_ref().is_some_and(|(path, _)| path.starts_with(target)) {
            *parent = None;
        }
    }

    /// Makes a file that the agent cannot change. In the constructed root itself nothing may be there
    /// yet; what a kept home has in its place stays below it, unchanged.
    fn file(&self, target: &Path, content: &[u8], mode: u32) -> Result<(), StepError> {
        let (parent, name) = self.parent_of(target)?;
        if device(&parent).during("examine", target.display())?
            == device(&self.mount).during("examine", "the new root")?
        {
            return make_file_in(&parent, name, content, mode).during("make", target.display());
        }
        let place = self.mount_point(target, false)?;
        if !is_file(&place).during("examine", target.display())? {
            return Err(StepError::refused("make", target.display(), "it exists and is no file"));
        }
        // Made elsewhere and mounted: nothing of the home's is written to, and no name is left.
        let void = mounts::open_beneath(self.as_fd(), Path::new(VOID)).during("open", VOID)?;
        let made = Path::new("made");
        make_file_in(&void, made, content, mode).during("make", target.display())?;
        let result = Self::show(&void, made, &place).during("attach", target.display());
        rustix::fs::unlinkat(&void, made, AtFlags::empty()).during("make", target.display())?;
        result
    }

    /// Mounts a file of the constructed root at a place, read-only.
    fn show(directory: &OwnedFd, name: &Path, place: &OwnedFd) -> io::Result<()> {
        let file = mounts::open_beneath(directory.as_fd(), name)?;
        let tree = mounts::detach_copy(file.as_fd())?;
        mounts::set_attributes(tree.as_fd(), Attributes::READ_ONLY, false, None)?;
        mounts::attach(tree.as_fd(), place.as_fd())
    }

    /// Makes a symbolic link; what a kept home already has there is left as it is.
    pub fn symlink(&self, target: &Path, link: &str) -> Result<(), StepError> {
        let (parent, name) = self.parent_of(target)?;
        match rustix::fs::symlinkat(link, &*parent, name) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(error) => Err(StepError::new("make", target.display(), &error.into())),
        }
    }

    fn mount_point(&self, target: &Path, directory: bool) -> Result<OwnedFd, StepError> {
        let (parent, name) = self.parent_of(target)?;
        let made = if directory {
            rustix::fs::mkdirat(&*parent, name, Mode::from_raw_mode(0o755))
        } else {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&*parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        };
        match made {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => {
                return Err(StepError::new(
                    "make the mount point",
                    target.display(),
                    &error.into(),
                ));
            }
        }
        mounts::open_beneath(parent.as_fd(), name).during("open the mount point", target.display())
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
        mounts::attach(tree.as_fd(), place.as_fd()).during("mask", target.display())?;
        self.forget_below(target);
        Ok(())
    }

    /// Mounts what is at `target` over itself: a mount point can neither be renamed nor removed.
    fn cover(&self, target: &Path, attributes: Attributes, verb: &str) -> Result<(), StepError> {
        let place = mounts::open_beneath(self.as_fd(), target).during(verb, target.display())?;
        let tree = mounts::detach_copy(place.as_fd()).during(verb, target.display())?;
        if attributes != Attributes::NONE {
            mounts::set_attributes(tree.as_fd(), attributes, true, None)
                .during(verb, target.display())?;
        }
        mounts::attach(tree.as_fd(), place.as_fd()).during(verb, target.display())?;
        self.forget_below(target);
        Ok(())
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

fn is_file(fd: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode).is_file())
}

/// The file system that something lies on.
fn device(fd: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(fd)?.st_dev)
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

/// Makes a file in an opened directory; nothing may be there yet.
fn make_file_in(parent: impl AsFd, name: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode))?;
    let mut rest = content;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Reads a small file of the host, the one that was judged.
fn read_source(path: &Path, identity: Option<(u64, u64)>) -> Result<Vec<u8>, StepError> {
    use std::io::Read;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let place = rustix::fs::openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve)
        .during("open", path.display())?;
    check_identity(&place, path, identity)?;
    let mut content = Vec::new();
    std::fs::File::from(place)
        .take(COPY_BYTES)
        .read_to_end(&mut content)
        .during("read", path.display())?;
    Ok(content)
}
