//! The review workspace's mount: the project below, the run's own layer on top.
//!
//! Made inside the sandbox's user namespace with `userxattr`, so that it needs no privilege and the
//! layer's marks are ordinary `user.overlay.*` attributes.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ringfence_sys::mounts;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, UnmountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use crate::root::{make_directory, memory_attributes, open_source};
use crate::step::{During, StepError};

/// The host directories of one overlay.
pub struct Layers<'a> {
    /// The project.
    pub lower: &'a Path,
    /// The run's layer.
    pub upper: &'a Path,
    /// Overlayfs's scratch directory beside it.
    pub work: &'a Path,
    /// What `lower` was when it was judged.
    pub identity: Option<(u64, u64)>,
}

/// Opened layers, in the order lower, upper, work.
type Opened = [OwnedFd; 3];

/// Mounts the overlay, detached. `trees` holds the id-mapped trees that root prepared, if any.
pub fn mount(
    root: BorrowedFd<'_>,
    layers: Layers<'_>,
    trees: &[OwnedFd],
    exec: bool,
) -> Result<OwnedFd, StepError> {
    let object = layers.lower.display();
    match trees {
        [lower, store] => {
            let stage = Stage::new(root, lower, store)?;
            create(&stage.open(&layers)?, exec, object)
        }
        _ => {
            let opened = [
                open_source(layers.lower, layers.identity)?,
                open_source(layers.upper, None)?,
                open_source(layers.work, None)?,
            ];
            create(&opened, exec, object)
        }
    }
}

fn create(
    opened: &Opened,
    exec: bool,
    object: impl std::fmt::Display,
) -> Result<OwnedFd, StepError> {
    let [lower, upper, work] = opened;
    // Descriptors named by path: no character of the real path can be mistaken for a separator.
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let make = || -> rustix::io::Result<OwnedFd> {
        let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(fs.as_fd(), "source", "ringfence")?;
        fsconfig_set_string(fs.as_fd(), "lowerdir", name(lower))?;
        fsconfig_set_string(fs.as_fd(), "upperdir", name(upper))?;
        fsconfig_set_string(fs.as_fd(), "workdir", name(work))?;
        fsconfig_set_flag(fs.as_fd(), "userxattr")?;
        // Without it the end of every run would write out the whole host file system that the layer
        // lies on, and every fsync inside would wait for the disk. The layer is never mounted again;
        // after a power cut it may be torn, as the documentation says.
        fsconfig_set_flag(fs.as_fd(), "volatile")?;
        fsconfig_create(fs.as_fd())?;
        fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, memory_attributes(exec).fsmount())
    };
    make().during("mount a copy-on-write layer over", object)
}

/// Id-mapped trees can only serve as layers while they are attached somewhere: here, for a moment.
struct Stage<'a> {
    root: BorrowedFd<'a>,
}

const STAGE_LOWER: &str = "/.ringfence/lower";
const STAGE_STORE: &str = "/.ringfence/store";

impl<'a> Stage<'a> {
    fn new(root: BorrowedFd<'a>, lower: &OwnedFd, store: &OwnedFd) -> Result<Self, StepError> {
        for (tree, at) in [(lower, STAGE_LOWER), (store, STAGE_STORE)] {
            make_directory(root, Path::new(at), 0o755)?;
            let place = mounts::open_beneath(root, Path::new(at)).during("open", at)?;
            mounts::attach(tree.as_fd(), place.as_fd()).during("stage", at)?;
        }
        Ok(Self { root })
    }

    fn open(&self, layers: &Layers<'_>) -> Result<Opened, StepError> {
        let within =
            |path: &Path| Path::new(STAGE_STORE).join(path.file_name().unwrap_or_default());
        let open = |path: &Path| {
            mounts::open_beneath(self.root, path).during("open the layer", path.display())
        };
        Ok([
            open(Path::new(STAGE_LOWER))?,
            open(&within(layers.upper))?,
            open(&within(layers.work))?,
        ])
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        for at in [STAGE_LOWER, STAGE_STORE] {
            if let Ok(place) = mounts::open_beneath(self.root, Path::new(at)) {
                let path = format!("/proc/self/fd/{}", place.as_raw_fd());
                // The overlay keeps its own private clones of the layers; what could not be
                // detached here stays under a directory that `enter` leaves read-only.
                let _ = rustix::mount::unmount(path, UnmountFlags::DETACH);
            }
        }
    }
}
