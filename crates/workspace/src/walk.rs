//! The walk over an upper layer: from its entries and the project beneath to a list of changes.
//!
//! Its cost is that of the changes: the project is looked at only where the layer has an entry, and
//! listed only where a whole directory was removed or hidden, or to find names that differ in case
//! from new ones. It changes nothing.

use ringfence_model::text::visible_bytes;
use rustix::fs::OFlags;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::beneath::{Meta, join, look, names, open_at, open_dir, open_file, read_link};
use crate::change::{Change, Class, Kind, Node};
use crate::classify::{class, fold, host_executed, note};
use crate::compare::same_content;
use crate::error::{WorkspaceError, too_deep};
use crate::layer::Layer;
use crate::limits::{CASE_SCAN_ENTRIES, CHANGES, DEPTH};
use crate::mark::{Origin, is_opaque, is_whiteout, origin};

/// One directory during the walk.
struct Place {
    upper: OwnedFd,
    /// The project's directory there, if it has one.
    lower: Option<OwnedFd>,
    path: Vec<u8>,
    depth: usize,
    /// Whether the project's entries that the layer does not name are gone.
    opaque: bool,
    /// Why all beneath is held back, if it is (hooks of a bare repository).
    held: Option<&'static str>,
}

const BARE: &str = "it belongs to a bare repository, and git runs commands from there";
/// What of a repository names programs, or leads to some, as in `.git`.
const BARE_NAMES: [&str; 8] = [
    "branches",
    "commondir",
    "config",
    "config.worktree",
    "hooks",
    "rebase-apply",
    "rebase-merge",
    "remotes",
];

const HISTORY: &str = "the history of a repository would go with it";

/// All changes of a layer: parents before what they hold, names in byte order.
pub(crate) fn changes(layer: &Layer) -> Result<Vec<Change>, WorkspaceError> {
    let open = |fd: &OwnedFd| open_dir(fd.as_fd(), b"").map_err(|source| read_error(b".", source));
    let mut walk =
        Walk { layer, out: Vec::new(), inodes: HashSet::new(), vacated: 0, copied: Vec::new() };
    walk.dir(&Place {
        upper: open(&layer.upper)?,
        lower: Some(open(&layer.lower)?),
        path: Vec::new(),
        depth: 0,
        opaque: false,
        held: None,
    })?;
    walk.mark_removed_on_host();
    Ok(walk.out)
}

struct Walk<'a> {
    layer: &'a Layer,
    out: Vec<Change>,
    /// Inodes of the project that the layer has something to say about.
    inodes: HashSet<u64>,
    /// Files of the project that are gone or that something not copied from them stands for: only
    /// so many files can have been renamed in the layer.
    vacated: usize,
    /// Changes that look new but were copied from a file of the project.
    copied: Vec<(usize, Origin)>,
}

fn read_error(path: &[u8], source: io::Error) -> WorkspaceError {
    WorkspaceError::Read { path: visible_bytes(path), source }
}

impl Walk<'_> {
    fn push(&mut self, change: Change) -> Result<(), WorkspaceError> {
        if self.out.len() >= CHANGES {
            return Err(WorkspaceError::TooMany);
        }
        self.out.push(change);
        Ok(())
    }

    fn dir(&mut self, place: &Place) -> Result<(), WorkspaceError> {
        let failed = |source| read_error(&place.path, source);
        let upper_names = names(place.upper.as_fd(), CHANGES).map_err(failed)?;
        let mut all = upper_names.clone();
        let hidden = place.lower.as_ref().filter(|_| place.opaque);
        if let Some(lower) = hidden {
            all.extend(names(lower.as_fd(), CHANGES).map_err(failed)?);
            all.sort_unstable();
            all.dedup();
        }
        let bare = self.is_bare(place);
        let first = self.out.len();
        for name in all {
            let path = join(&place.path, &name);
            let failed = |source| read_error(&path, source);
            let low = match &place.lower {
                Some(lower) => look(lower.as_fd(), &name).map_err(failed)?,
                None => None,
            };
            self.inodes.extend(low.map(|low| low.device.1));
            let named = upper_names.binary_search(&name).is_ok();
            let up = if named { look(place.upper.as_fd(), &name).map_err(failed)? } else { None };
            let held = place.held.or_else(|| {
                let runs = bare && BARE_NAMES.contains(&fold(&name).as_str());
                runs.then_some(BARE)
            });
            match up {
                Some(up) => self.entry(place, &name, path, up, low, held)?,
                None => self.deleted(place, &name, path, low, held, named)?,
            }
        }
        self.mark_case_twins(place, first)
    }

    /// Whether git would take this directory for a repository by itself, or for the part of one
    /// that holds its configuration (gitrepository-layout(5), `commondir`).
    fn is_bare(&self, place: &Place) -> bool {
        let has = |name: &[u8]| {
            let in_dir = |dir: &OwnedFd| matches!(look(dir.as_fd(), name), Ok(Some(_)));
            in_dir(&place.upper) || place.lower.as_ref().is_some_and(in_dir)
        };
        let own = has(b"HEAD") && (has(b"objects") || has(b"commondir"));
        (own || (has(b"objects") && has(b"refs")))
            && fold(place.path.rsplit(|b| *b == b'/').next().unwrap_or_default()) != ".git"
    }

    fn entry(
        &mut self,
        place: &Place,
        name: &[u8],
        path: Vec<u8>,
        up: Meta,
        low: Option<Meta>,
        held: Option<&'static str>,
    ) -> Result<(), WorkspaceError> {
        match is_whiteout(place.upper.as_fd(), name, &up) {
            Ok(true) => return self.deleted(place, name, path, low, held, true),
            Ok(false) => {}
            Err(error) => return self.unreadable(path, up, low, &error),
        }
        if up.node != Node::Dir {
            return self.leaf(place, name, path, up, low, held);
        }
        let opened = open_at(place.upper.as_fd(), name, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(|dir| Ok((is_opaque(&dir)?, dir)));
        let (own_opaque, dir) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.unreadable(path, up, low, &error),
        };
        let lower = match (&place.lower, low) {
            (Some(lower), Some(low)) if low.node == Node::Dir => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let opened = open_at(lower.as_fd(), name, flags)
                    .and_then(|dir| look(dir.as_fd(), b".").map(|_| dir));
                match opened {
                    Ok(dir) => Some(dir),
                    Err(error) => return self.unreadable(path, up, Some(low), &error),
                }
            }
            _ => None,
        };
        // Set-group-id on a directory is inherited, and executes nothing.
        let bits = |meta: Meta| meta.mode & 0o1777;
        let kind = match low {
            None => Some(Kind::Added),
            Some(low) if low.node != Node::Dir => Some(Kind::TypeChanged),
            Some(low) => (bits(low) != bits(up)).then_some(Kind::ModeChanged),
        };
        if let Some(kind) = kind {
            if let (Kind::TypeChanged, Some(low)) = (kind, &low) {
                self.vacate(low);
            }
            let mut change = self.change(path.clone(), kind, up, low, None, held);
            if kind == Kind::ModeChanged {
                // A directory's ctime is of its entries, which are judged one by one.
                change.conflict = None;
            }
            self.push(change)?;
        }
        if place.depth + 1 >= DEPTH {
            return self.deep(path, up, low);
        }
        self.dir(&Place {
            upper: dir,
            lower,
            path,
            depth: place.depth + 1,
            opaque: place.opaque || own_opaque,
            held,
        })
    }

    /// An entry that is no directory.
    fn leaf(
        &mut self,
        place: &Place,
        name: &[u8],
        path: Vec<u8>,
        up: Meta,
        low: Option<Meta>,
        held: Option<&'static str>,
    ) -> Result<(), WorkspaceError> {
        let mut target = None;
        if up.node == Node::Symlink {
            let link = read_link(place.upper.as_fd(), name).map_err(|e| read_error(&path, e))?;
            target = Some(link);
        }
        let kind = match low {
            None => Some(Kind::Added),
            Some(low) if low.node != up.node => Some(Kind::TypeChanged),
            Some(low) => match self.differs(place, name, &up, &low, target.as_deref()) {
                Ok(kind) => kind,
                Err(error) => return self.unreadable(path, up, Some(low), &error),
            },
        };
        if let Err(error) = self.count_origin(place, name, &up, low.as_ref()) {
            return self.unreadable(path, up, low, &error);
        }
        let Some(kind) = kind else { return Ok(()) };
        if let (Kind::TypeChanged, Some(Node::Dir), Some(lower)) =
            (kind, low.map(|low| low.node), &place.lower)
        {
            self.deleted_beneath(lower.as_fd(), name, &path, place.depth + 1, held)?;
        }
        let mut change = self.change(path, kind, up, low, target, held);
        if let (Some(target), Class::Ordinary) = (&change.target, &change.class)
            && self.leads_out(place, target)
        {
            change.class =
                Class::HostExecuted("it is a link that leads out of the project".to_owned());
        }
        self.push(change)
    }

    /// Whether following a link's target from its place would leave the project, links that are
    /// already there included.
    fn leads_out(&self, place: &Place, target: &[u8]) -> bool {
        let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_MAGICLINKS;
        let full = join(&place.path, target);
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mode = rustix::fs::Mode::empty();
        matches!(
            rustix::fs::openat2(&self.layer.lower, full.as_slice(), flags, mode, resolve),
            // A loop of links leads nowhere.
            Err(rustix::io::Errno::XDEV)
        )
    }

    /// In what an entry differs from the project's of the same type; `None` if in nothing.
    fn differs(
        &self,
        place: &Place,
        name: &[u8],
        up: &Meta,
        low: &Meta,
        target: Option<&[u8]>,
    ) -> io::Result<Option<Kind>> {
        let Some(lower) = &place.lower else {
            return Ok(Some(Kind::Added));
        };
        match up.node {
            Node::File => {
                let same = up.size == low.size && {
                    let mut a = open_file(place.upper.as_fd(), name)?;
                    let mut b = open_file(lower.as_fd(), name)?;
                    same_content(&mut a, &mut b)?
                };
                Ok(match same {
                    false => Some(Kind::Modified),
                    true if up.mode != low.mode => Some(Kind::ModeChanged),
                    true => None,
                })
            }
            Node::Symlink => {
                let same = target == Some(read_link(lower.as_fd(), name)?.as_slice());
                Ok((!same).then_some(Kind::Modified))
            }
            // Something special over something special: shown, and refused by its class.
            _ => Ok(Some(Kind::Modified)),
        }
    }

    fn change(
        &self,
        path: Vec<u8>,
        kind: Kind,
        up: Meta,
        low: Option<Meta>,
        target: Option<Vec<u8>>,
        held: Option<&'static str>,
    ) -> Change {
        let mut class = class(&path, &up, target.as_deref(), &self.layer.aliases);
        if let (Class::Ordinary, Some(why)) = (&class, held) {
            class = Class::HostExecuted(why.to_owned());
        }
        let file_size = |meta: &Meta| (meta.node == Node::File).then_some(meta.size);
        let executable = |meta: &Meta| meta.node == Node::File && meta.mode & 0o111 != 0;
        let conflict = low
            .filter(|low| low.node != Node::Dir && self.layer.changed_since(low))
            .map(|_| "the project's own changed since the run started".to_owned());
        Change {
            note: note(&path, up.node == Node::Dir),
            path,
            kind,
            node: up.node,
            class,
            size_before: low.as_ref().and_then(file_size),
            size_after: file_size(&up),
            mode_before: low.map(|low| low.mode),
            mode_after: Some(up.mode),
            target,
            new_executable: executable(&up) && !low.as_ref().is_some_and(executable),
            conflict,
            seen: low,
        }
    }

    /// An entry of the project that is gone. `named` is whether the layer says so itself.
    fn deleted(
        &mut self,
        place: &Place,
        name: &[u8],
        path: Vec<u8>,
        low: Option<Meta>,
        held: Option<&'static str>,
        named: bool,
    ) -> Result<(), WorkspaceError> {
        let Some(low) = low else {
            // A whiteout inside a hidden or new directory says nothing.
            if !named || place.opaque || place.lower.is_none() {
                return Ok(());
            }
            let mut change = self.gone(path, None, held);
            change.conflict = Some("the project has nothing there (any more)".to_owned());
            return self.push(change);
        };
        self.push_gone(place.lower.as_ref().map(AsFd::as_fd), name, path, low, place.depth, held)
    }

    fn push_gone(
        &mut self,
        lower: Option<BorrowedFd<'_>>,
        name: &[u8],
        path: Vec<u8>,
        low: Meta,
        depth: usize,
        held: Option<&'static str>,
    ) -> Result<(), WorkspaceError> {
        self.inodes.insert(low.device.1);
        self.vacated += usize::from(low.node == Node::File);
        let history = low.node == Node::Dir && fold(name) == ".git";
        let held = held.or(history.then_some(HISTORY));
        let change = self.gone(path.clone(), Some(low), held);
        self.push(change)?;
        match lower {
            Some(lower) if low.node == Node::Dir => {
                self.deleted_beneath(lower, name, &path, depth + 1, held)
            }
            _ => Ok(()),
        }
    }

    /// Everything in a directory of the project that is gone as a whole.
    fn deleted_beneath(
        &mut self,
        lower: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        depth: usize,
        held: Option<&'static str>,
    ) -> Result<(), WorkspaceError> {
        let failed = |source| read_error(path, source);
        if depth >= DEPTH {
            return Err(failed(io::Error::other(too_deep())));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let opened =
            open_at(lower, name, flags).and_then(|dir| look(dir.as_fd(), b".").map(|_| dir));
        let dir = match (opened, self.out.last_mut()) {
            (Ok(dir), _) => dir,
            (Err(error), Some(change)) if change.path == path => {
                change.class = Class::Refused(format!("the project's own cannot be read: {error}"));
                return Ok(());
            }
            (Err(error), _) => return Err(failed(error)),
        };
        for name in names(dir.as_fd(), CHANGES).map_err(failed)? {
            if let Some(low) = look(dir.as_fd(), &name).map_err(failed)? {
                let path = join(path, &name);
                self.push_gone(Some(dir.as_fd()), &name, path, low, depth, held)?;
            }
        }
        Ok(())
    }

    fn gone(&self, path: Vec<u8>, low: Option<Meta>, held: Option<&'static str>) -> Change {
        let node = low.map_or(Node::File, |low| low.node);
        let why = host_executed(&path, node == Node::Dir, &self.layer.aliases);
        let changed = low.filter(|low| low.node != Node::Dir && self.layer.changed_since(low));
        Change {
            note: note(&path, node == Node::Dir),
            path,
            kind: Kind::Deleted,
            node,
            class: match why.or(held.map(str::to_owned)) {
                Some(why) => Class::HostExecuted(why),
                None => Class::Ordinary,
            },
            size_before: low.filter(|low| low.node == Node::File).map(|low| low.size),
            size_after: None,
            mode_before: low.map(|low| low.mode),
            mode_after: None,
            target: None,
            new_executable: false,
            conflict: changed.map(|_| "the project's own changed since the run started".to_owned()),
            seen: low,
        }
    }

    fn unreadable(
        &mut self,
        path: Vec<u8>,
        up: Meta,
        low: Option<Meta>,
        error: &io::Error,
    ) -> Result<(), WorkspaceError> {
        let kind = if low.is_some() { Kind::Modified } else { Kind::Added };
        let mut change = self.change(path, kind, up, low, None, None);
        change.class = Class::Refused(format!("it cannot be read: {error}"));
        self.push(change)
    }

    fn deep(&mut self, path: Vec<u8>, up: Meta, low: Option<Meta>) -> Result<(), WorkspaceError> {
        let mut change = self.change(join(&path, b"..."), Kind::Added, up, low, None, None);
        change.class = Class::Refused(too_deep());
        change.seen = None;
        self.push(change)
    }

    /// Notes whether a file was copied up, for [`Self::mark_removed_on_host`]. Called before the
    /// change itself is kept.
    fn count_origin(
        &mut self,
        place: &Place,
        name: &[u8],
        up: &Meta,
        low: Option<&Meta>,
    ) -> io::Result<()> {
        let origin = match up.node {
            Node::File => origin(place.upper.as_fd(), name)?,
            _ => None,
        };
        match (origin, low) {
            // With several names one of them may be the old one.
            (Some(origin), None) if up.links == 1 => self.copied.push((self.out.len(), origin)),
            (None, Some(low)) => self.vacate(low),
            _ => {}
        }
        Ok(())
    }

    /// Something that is no copy stands where the project has a file: that file may have been renamed.
    fn vacate(&mut self, low: &Meta) {
        if low.node == Node::File {
            self.vacated += 1;
            self.inodes.insert(low.device.1);
        }
    }

    /// A file that was copied up from one that the project has no more. Was it renamed in the
    /// layer, the project still has it under the old name, which the layer then says is gone. An
    /// overlay in a user namespace notes only that a file was copied, not from which: then files
    /// are counted, and more copies than gone names means that the project lost one. What this
    /// misses lands as a new file; nothing is overwritten by it.
    fn mark_removed_on_host(&mut self) {
        let copied = std::mem::take(&mut self.copied);
        let lost = copied.len() > self.vacated;
        for (at, origin) in copied {
            let removed = match origin.is_known() {
                true => !self.inodes.iter().any(|inode| origin.may_be(*inode)),
                false => lost,
            };
            if let Some(change) = self.out.get_mut(at).filter(|_| removed) {
                let why = "the project's file was removed since the run started";
                change.conflict.get_or_insert_with(|| why.to_owned());
            }
        }
    }

    /// Names that are new here and equal another one but for case: on many file systems they are
    /// one file, so the new one would replace the other there.
    fn mark_case_twins(&mut self, place: &Place, first: usize) -> Result<(), WorkspaceError> {
        let depth = if place.path.is_empty() { 0 } else { place.path.len() + 1 };
        let own = |change: &Change| !change.path.get(depth..).unwrap_or_default().contains(&b'/');
        let added: Vec<usize> = (first..self.out.len())
            .filter(|at| self.out.get(*at).is_some_and(|c| c.kind == Kind::Added && own(c)))
            .collect();
        if added.is_empty() {
            return Ok(());
        }
        let failed = |source| read_error(&place.path, source);
        let mut by_fold: HashMap<String, Vec<Vec<u8>>> = Default::default();
        let mut known = names(place.upper.as_fd(), CHANGES).map_err(failed)?;
        if let Some(lower) = &place.lower {
            known.extend(names(lower.as_fd(), CASE_SCAN_ENTRIES).map_err(failed)?);
        }
        known.sort_unstable();
        known.dedup();
        // A name that goes makes room for its twin: that is a change of case.
        let gone: HashSet<&[u8]> = self
            .out
            .iter()
            .skip(first)
            .filter(|change| change.kind == Kind::Deleted && own(change))
            .filter_map(|change| change.path.get(depth..))
            .collect();
        known.retain(|name| !gone.contains(name.as_slice()));
        for name in known {
            by_fold.entry(fold(&name)).or_default().push(name);
        }
        for at in added {
            let Some(change) = self.out.get_mut(at) else {
                continue;
            };
            let name = change.path.get(depth..).unwrap_or_default();
            let twins = by_fold.get(&fold(name)).map(Vec::as_slice).unwrap_or_default();
            if let Some(twin) = twins.iter().find(|twin| twin.as_slice() != name) {
                change.conflict = Some(format!(
                    "its name differs from `{}` only in case or invisible characters",
                    visible_bytes(twin)
                ));
            }
        }
        Ok(())
    }
}
