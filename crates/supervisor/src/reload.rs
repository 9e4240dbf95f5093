//! Watching the organisation's policy: a change reaches running sandboxes within a second.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::load::Text;
use crate::paths::ORGANISATION_POLICY;

/// A watch on the directory of the organisation's policy (or on `/etc` while it does not exist).
pub struct Reload {
    watch: Option<OwnedFd>,
    last: Option<Vec<u8>>,
}

impl Reload {
    /// Begins to watch.
    #[must_use]
    pub fn watch() -> Self {
        let last = Text::read(Path::new(ORGANISATION_POLICY)).ok().flatten().map(|text| text.bytes);
        Self { watch: Self::descriptor(), last }
    }

    fn descriptor() -> Option<OwnedFd> {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
        let events = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE;
        // `/etc` is watched besides, so that a directory made or replaced later is noticed.
        let directory = Path::new(ORGANISATION_POLICY).parent()?;
        let own = inotify::add_watch(&watch, directory, events);
        let above = inotify::add_watch(
            &watch,
            directory.parent()?,
            WatchFlags::CREATE | WatchFlags::MOVED_TO,
        );
        (own.is_ok() || above.is_ok()).then_some(watch)
    }

    /// What to wait for.
    #[must_use]
    pub fn interest(&self) -> Option<PollFd<'_>> {
        self.watch.as_ref().map(|watch| PollFd::new(watch, PollFlags::IN))
    }

    /// The new text if the bytes have changed. A policy that was taken away changes nothing for a
    /// running sandbox: its forbids stay.
    pub fn changed(&mut self) -> Option<Result<Text, String>> {
        // A fresh watch sees a directory that has just come to exist.
        self.watch = Self::descriptor();
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
