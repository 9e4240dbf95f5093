//! Watching held paths: a program outside that replaces or removes one takes the hold off it (the
//! kernel detaches mounts from names that vanish), so it is held again at once.
//!
//! Between the replacement and the new hold lie milliseconds in which the agent could write; the
//! record says that it happened. Events only wake the watch: what is lost is told by the identity of
//! each held path, so that a flood or a lost event hides nothing.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ringfence_model::boundary::{Mount, MountKind};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use super::protect::make_placeholder;

/// One pinned or held path.
#[derive(Clone, Debug)]
struct Held {
    path: PathBuf,
    pin: bool,
    directory: bool,
    /// What was there when it was last held.
    identity: Option<Identity>,
}

/// A path that must be pinned or held again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which.
    pub path: PathBuf,
    /// Whether it is only pinned.
    pub pin: bool,
    /// Whether a placeholder had to be made for it.
    pub made: bool,
}

/// Watches the directories that held paths lie in.
pub struct HoldWatch {
    notify: OwnedFd,
    held: Vec<Held>,
}

/// Device, inode and time of birth: a file system may give a freed inode number to the next file.
type Identity = (u64, u64, Option<SystemTime>);

fn identity(path: &Path) -> Option<Identity> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

/// Buffers of events that are thrown away in one turn; what is left wakes the next.
const DRAINS: usize = 16;

impl HoldWatch {
    /// Begins to watch, after placeholders are made and before the agent starts; `None` where
    /// nothing of the host is held.
    ///
    /// # Errors
    /// What inotify(7) says.
    pub fn start(mounts: &[Mount]) -> io::Result<Option<Self>> {
        let held: Vec<Held> = mounts.iter().filter_map(held).collect();
        if held.is_empty() {
            return Ok(None);
        }
        let notify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let watch = Self { notify, held };
        watch.watch_parents()?;
        Ok(Some(watch))
    }

    fn watch_parents(&self) -> io::Result<()> {
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        for parent in self.held.iter().filter_map(|held| held.path.parent()) {
            inotify::add_watch(&self.notify, parent, events)?;
        }
        Ok(())
    }

    /// The watch itself, to be given up by somebody else.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFd<'_> {
        PollFd::new(&self.notify, PollFlags::IN)
    }

    /// The paths that lost their hold, parents first; missing ones are made again, so that there is
    /// something to hold.
    ///
    /// # Errors
    /// A missing one cannot be made, or a new directory cannot be watched: it is not protected.
    pub fn lost(&mut self) -> io::Result<Vec<Lost>> {
        self.drain();
        let mut lost: Vec<Lost> = Vec::new();
        for held in &mut self.held {
            let now = identity(&held.path);
            // Below a directory that was replaced everything was taken along.
            let below = lost.iter().any(|one| held.path.starts_with(&one.path));
            if now.is_some() && now == held.identity && !below {
                continue;
            }
            let made = now.is_none();
            if made {
                make_placeholder(&held.path, held.directory)?;
            }
            held.identity = identity(&held.path);
            lost.push(Lost { path: held.path.clone(), pin: held.pin, made });
        }
        if !lost.is_empty() {
            // A replaced directory is another one: its own entries are watched anew.
            self.watch_parents()?;
        }
        Ok(lost)
    }

    fn drain(&self) {
        let mut buffer = [0u8; 8192];
        for _ in 0..DRAINS {
            if !rustix::io::read(&self.notify, &mut buffer[..]).is_ok_and(|read| read > 0) {
                return;
            }
        }
    }
}

/// Pins of the constructed root's own directories have no host path that could be replaced.
fn held(mount: &Mount) -> Option<Held> {
    let pin = match mount.kind {
        MountKind::Pin => true,
        MountKind::Hold => false,
        _ => return None,
    };
    let directory = mount.target.is_dir();
    let identity = identity(&mount.target);
    Some(Held { path: mount.target.clone(), pin, directory, identity })
}
