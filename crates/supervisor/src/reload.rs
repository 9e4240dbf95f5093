//! Watching the organisation's policy: a change reaches running sandboxes within a second.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::load::Text;
use crate::paths::ORGANISATION_POLICY;

/// A watch on the directory of the organisation's policy and on the one above it.
pub struct Reload {
    watch: Option<OwnedFd>,
    /// The bytes that are in force.
    last: Option<Vec<u8>>,
    /// Whether the bytes must be compared although no event came.
    look: bool,
}

impl Reload {
    /// Begins to watch; `last` is what was compiled, so that a change since then is found at once.
    #[must_use]
    pub fn watch(last: Option<Vec<u8>>) -> Self {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        let own = Self { watch, last, look: true };
        own.watch_again();
        own
    }

    /// A directory that has just come to exist, or was replaced, is watched too; adding a watch that
    /// is there already changes nothing.
    fn watch_again(&self) {
        let Some(watch) = &self.watch else { return };
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE;
        let directory = Path::new(ORGANISATION_POLICY).parent().unwrap_or(Path::new("/etc"));
        let _ = inotify::add_watch(watch, directory, events);
        let above = directory.parent().unwrap_or(Path::new("/"));
        let _ = inotify::add_watch(watch, above, WatchFlags::CREATE | WatchFlags::MOVED_TO);
    }

    /// What to wait for.
    #[must_use]
    pub fn interest(&self) -> Option<PollFd<'_>> {
        self.watch.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN))
    }

    /// Whether the bytes must be looked at without an event: right after the start, and always
    /// where there is no watch.
    pub fn is_due(&mut self) -> bool {
        std::mem::take(&mut self.look) || self.watch.is_none()
    }

    /// The new text if the bytes have changed. A policy that was taken away changes nothing for a
    /// running sandbox: its forbids stay.
    pub fn changed(&mut self) -> Option<Result<Text, String>> {
        if let Some(watch) = &self.watch {
            let mut buffer = [0u8; 4096];
            while rustix::io::read(watch, &mut buffer[..]).is_ok_and(|read| read > 0) {}
        }
        self.watch_again();
        match Text::read(Path::new(ORGANISATION_POLICY)) {
            Ok(Some(text)) if self.last.as_ref() == Some(&text.bytes) => None,
            Ok(Some(text)) => {
                self.last = Some(text.bytes.clone());
                Some(Ok(text))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }
}
