//! Hidden names: every existing match of a deny below the workspace or a grant is masked.
//!
//! The walk costs time in proportion to the tree, so it happens only when a policy hides names. A
//! file with several hard links is hidden under all its names in the walked trees.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Mount, MountKind};
use ringfence_policy::Compiled;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::PlanError;
use crate::limits::HIDE_WALK_ENTRIES;

/// What is hidden at the start, and what watches for more.
#[derive(Default)]
pub struct Hidden {
    /// One mask per hidden thing that exists, parents before children, nothing below a masked
    /// directory.
    pub masks: Vec<Mount>,
    /// Tells of hidden names that come to exist later; `None` where no name is hidden.
    pub watch: Option<HideWatch>,
    /// Patterns that match nothing yet.
    pub unmatched: Vec<String>,
}

/// Looks for everything that the policy hides.
pub fn find(compiled: &Compiled) -> Result<Hidden, PlanError> {
    let mut targets: Vec<PathBuf> = compiled
        .masks
        .iter()
        .map(|mask| mask.path.clone())
        .filter(|path| path.symlink_metadata().is_ok() && visible(compiled, path))
        .collect();
    let mut unmatched = Vec::new();
    let mut watch = None;
    if !compiled.denies.is_empty() {
        let own = watch.insert(HideWatch::new(compiled)?);
        let mut matched = vec![false; compiled.denies.len()];
        for root in own.roots.clone() {
            let mut walk = Walk::new(compiled, &root, own, &mut matched);
            walk.enter(&root)?;
            targets.extend(walk.finish());
        }
        unmatched = compiled
            .denies
            .iter()
            .zip(matched)
            .filter(|(_, matched)| !matched)
            .map(|(rule, _)| format!("hide {} matches nothing yet ({})", rule.pattern, rule.source))
            .collect();
    }
    targets.sort();
    targets.dedup();
    let masks = targets.into_iter().map(|target| Mount { target, kind: MountKind::Mask }).collect();
    Ok(Hidden { masks, watch, unmatched })
}

/// Events that are looked at in one turn.
const EVENTS_PER_TURN: usize = 512;

/// Watches the walked directories, so that a hidden name that comes to exist is masked at once.
pub struct HideWatch {
    notify: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    roots: Vec<PathBuf>,
    /// Whether every directory could be watched.
    pub complete: bool,
    /// Whether that it is not complete has been told.
    pub told: bool,
    /// Whether events were lost, so that everything must be walked once more.
    overflowed: bool,
}

impl HideWatch {
    fn new(compiled: &Compiled) -> Result<Self, PlanError> {
        let mut roots = vec![compiled.workspace.root.clone()];
        roots.extend(compiled.files.iter().map(|grant| grant.path.clone()));
        let notify =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|error| {
                PlanError::Examine { path: compiled.workspace.root.clone(), source: error.into() }
            })?;
        Ok(Self {
            notify,
            directories: HashMap::new(),
            roots,
            complete: true,
            told: false,
            overflowed: false,
        })
    }

    /// The watch itself, to be given up by somebody else.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.notify.as_fd()
    }

    /// What to wait for.
    pub fn interest(&self) -> PollFd<'_> {
        PollFd::new(&self.notify, PollFlags::IN)
    }

    fn add(&mut self, directory: &Path) {
        let events = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        match inotify::add_watch(&self.notify, directory, events) {
            Ok(number) => {
                self.directories.insert(number, directory.to_owned());
            }
            Err(_) => self.complete = false,
        }
    }

    /// The hidden things that have come to exist since the last call.
    pub fn appeared(&mut self, compiled: &Compiled) -> Vec<PathBuf> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 8192];
        let mut touched = Vec::new();
        let mut reader = inotify::Reader::new(&self.notify, &mut buffer);
        // Bounded: what is left wakes the next turn.
        for _ in 0..EVENTS_PER_TURN {
            let Ok(event) = reader.next() else { break };
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                self.overflowed = true;
            } else if let (Some(directory), Some(name)) =
                (self.directories.get(&event.wd()), event.file_name())
            {
                touched.push(directory.join(OsStr::from_bytes(name.to_bytes())));
            }
        }
        self.look(touched, compiled)
    }

    /// After lost events: a walk over everything, at the caller's own pace.
    pub fn missed(&mut self, compiled: &Compiled) -> Vec<PathBuf> {
        if !std::mem::take(&mut self.overflowed) {
            return Vec::new();
        }
        let roots = self.roots.clone();
        self.look(roots, compiled)
    }

    fn look(&mut self, touched: Vec<PathBuf>, compiled: &Compiled) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for path in touched {
            let Some(root) = self.roots.iter().find(|root| path.starts_with(root)).cloned() else {
                continue;
            };
            let mut matched = vec![false; compiled.denies.len()];
            let mut walk = Walk::new(compiled, &root, self, &mut matched);
            // A walk that passes its limit here has already found what it names.
            let _ = walk.look_at(&path);
            found.extend(walk.finish());
        }
        found
    }
}

fn visible(compiled: &Compiled, path: &Path) -> bool {
    path.starts_with(&compiled.workspace.root)
        || compiled.files.iter().any(|grant| path.starts_with(&grant.path))
}

struct Walk<'a> {
    compiled: &'a Compiled,
    root: &'a Path,
    watch: &'a mut HideWatch,
    matched: &'a mut [bool],
    seen: usize,
    hidden: Vec<PathBuf>,
    /// Identities of hidden files that have other names.
    identities: HashSet<(u64, u64)>,
    /// Files with several names that no pattern hides.
    linked: Vec<(PathBuf, (u64, u64))>,
}

impl<'a> Walk<'a> {
    fn new(
        compiled: &'a Compiled,
        root: &'a Path,
        watch: &'a mut HideWatch,
        matched: &'a mut [bool],
    ) -> Self {
        Self {
            compiled,
            root,
            watch,
            matched,
            seen: 0,
            hidden: Vec::new(),
            identities: HashSet::new(),
            linked: Vec::new(),
        }
    }

    /// Watched before it is listed: a name that appears in between is seen at least once.
    fn enter(&mut self, directory: &Path) -> Result<(), PlanError> {
        self.watch.add(directory);
        // A directory that this user cannot list is one that the agent cannot list either.
        let Ok(listing) = fs::read_dir(directory) else { return Ok(()) };
        for entry in listing.flatten() {
            self.look_at(&entry.path())?;
        }
        Ok(())
    }

    fn look_at(&mut self, path: &Path) -> Result<(), PlanError> {
        self.seen += 1;
        if self.seen > HIDE_WALK_ENTRIES {
            let root = self.root.to_owned();
            return Err(PlanError::TooMany { root, limit: HIDE_WALK_ENTRIES });
        }
        let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
        let identity = (metadata.dev(), metadata.ino());
        let linked = metadata.is_file() && metadata.nlink() > 1;
        if self.is_hidden(path, metadata.is_dir()) {
            if linked {
                self.identities.insert(identity);
            }
            if !metadata.is_symlink() {
                self.hidden.push(path.to_owned());
            }
        } else if metadata.is_dir() {
            self.enter(path)?;
        } else if linked {
            self.linked.push((path.to_owned(), identity));
        }
        Ok(())
    }

    fn is_hidden(&mut self, path: &Path, directory: bool) -> bool {
        let Ok(relative) = path.strip_prefix(self.root) else { return false };
        let mut hidden = false;
        for (rule, matched) in self.compiled.denies.iter().zip(self.matched.iter_mut()) {
            if rule.pattern.matches(relative, directory) {
                *matched = true;
                hidden = true;
            }
        }
        hidden
    }

    fn finish(self) -> Vec<PathBuf> {
        let identities = self.identities;
        let twins = self.linked.into_iter().filter(|(_, identity)| identities.contains(identity));
        self.hidden.into_iter().chain(twins.map(|(path, _)| path)).collect()
    }
}
