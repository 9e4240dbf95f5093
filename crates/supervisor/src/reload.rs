//! Watching the organisation's policy: a change reaches running sandboxes within a second.
//!
//! The file's state is looked at several times a second. An inotify watch would tell sooner, but the
//! kernel takes some 15 ms to give one up, which every single run would pay at its end.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::load::Text;
use crate::paths::ORGANISATION_POLICY;

/// What tells one state of a file from another: device, inode, size, time of change.
type State = Option<(u64, u64, u64, i64, i64)>;

/// The organisation's policy as it was last seen.
pub struct Reload {
    /// The bytes that are in force.
    last: Option<Vec<u8>>,
    /// The file they were read from; unknown at first, so that the first look reads it.
    state: Option<State>,
}

impl Reload {
    /// Begins to watch; `last` is what was compiled, so that a change since then is found.
    #[must_use]
    pub fn watch(last: Option<Vec<u8>>) -> Self {
        Self { last, state: None }
    }

    /// The new text if the bytes have changed. A policy that was taken away changes nothing for a
    /// running sandbox: its forbids stay.
    pub fn changed(&mut self) -> Option<Result<Text, String>> {
        let now = state();
        if self.state == Some(now) {
            return None;
        }
        self.state = Some(now);
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

fn state() -> State {
    let metadata = fs::metadata(ORGANISATION_POLICY).ok()?;
    let (seconds, nanoseconds) = (metadata.ctime(), metadata.ctime_nsec());
    Some((metadata.dev(), metadata.ino(), metadata.len(), seconds, nanoseconds))
}
