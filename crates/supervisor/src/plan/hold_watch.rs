//! Watching held paths: a program outside that replaces or removes one takes the hold off it (the
//! kernel detaches mounts from names that vanish), so it is held again at once.
//!
//! Between the replacement and the new hold lie milliseconds in which the agent could write; the
//! record says that it happened.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

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
    directories: HashMap<i32, PathBuf>,
    held: Vec<Held>,
}

impl HoldWatch {
    /// Begins to watch, after placeholders are made and before the agent starts; `None` where
    /// nothing is held.
    ///
    /// # Errors
    /// What inotify(7) says.
    pub fn start(mounts: &[Mount]) -> io::Result<Option<Self>> {
        let held: Vec<Held> = mounts
            .iter()
            .filter_map(|mount| {
                let pin = match mount.kind {
                    MountKind::Pin => true,
                    MountKind::Hold => false,
                    _ => return None,
                };
                let directory = mount.target.is_dir();
                Some(Held { path: mount.target.clone(), pin, directory })
            })
            .collect();
        if held.is_empty() {
            return Ok(None);
        }
        let notify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch = Self { notify, directories: HashMap::new(), held };
        watch.watch_parents()?;
        Ok(Some(watch))
    }

    fn watch_parents(&mut self) -> io::Result<()> {
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        for parent in self.held.iter().filter_map(|held| held.path.parent()) {
            let number = inotify::add_watch(&self.notify, parent, events)?;
            self.directories.insert(number, parent.to_owned());
        }
        Ok(())
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFd<'_> {
        PollFd::new(&self.notify, PollFlags::IN)
    }

    /// The paths that lost their hold since the last call, parents first; missing ones are made
    /// again, so that there is something to hold.
    ///
    /// # Errors
    /// A missing one cannot be made, or a new directory cannot be watched: it is not protected.
    pub fn lost(&mut self) -> io::Result<Vec<Lost>> {
        let touched = self.touched();
        if touched.is_empty() {
            return Ok(Vec::new());
        }
        let mut lost = Vec::new();
        for held in &self.held {
            if !touched.iter().any(|path| held.path.starts_with(path)) {
                continue;
            }
            let missing = held.path.symlink_metadata().is_err();
            if missing {
                make_placeholder(&held.path, held.directory)?;
            }
            lost.push(Lost { path: held.path.clone(), pin: held.pin, made: missing });
        }
        // A replaced directory is another one: its own entries are watched anew.
        self.watch_parents()?;
        // Placeholders that were just made are no news.
        let _ = self.touched();
        Ok(lost)
    }

    fn touched(&self) -> Vec<PathBuf> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 8192];
        let mut reader = inotify::Reader::new(&self.notify, &mut buffer);
        let mut touched = Vec::new();
        while let Ok(event) = reader.next() {
            let (Some(directory), Some(name)) =
                (self.directories.get(&event.wd()), event.file_name())
            else {
                continue;
            };
            let path = directory.join(OsStr::from_bytes(name.to_bytes()));
            if self.held.iter().any(|held| held.path == path) && !touched.contains(&path) {
                touched.push(path);
            }
        }
        touched
    }
}
