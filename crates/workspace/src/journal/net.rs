//! What is different now from a moment of the journal: the changes, without the steps between.
//!
//! The entries are taken back in memory, from the last to the first, which gives for each touched
//! path what was there; that is compared with what is there.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd;

use super::entry::{Act, Identity, Kept, State};
use super::roots::{REPOSITORY, Roots};
use super::store::Store;
use crate::alias::{Alias, aliases};
use crate::beneath::{Meta, below, join, look, names, open_dir, read_link, split};
use crate::change::{Change, Class, Kind, Node};
use crate::classify::host_executed;
use crate::compare::same_content;
use crate::diff::{Sides, open};
use crate::limits::CHANGES;

/// The changes since a moment, and where both sides of each are.
#[derive(Debug)]
pub struct Net {
    /// The changes, names in byte order.
    pub changes: Vec<Change>,
    trees: Trees,
    was: BTreeMap<Vec<u8>, Was>,
}

/// What was at a path.
#[derive(Debug, Clone)]
enum Was {
    Absent,
    /// A file, its content under this number in the store.
    Kept(u64, Kept),
    Link(Vec<u8>, Identity),
    /// A directory that is not there any more.
    Dir(u32, Identity),
    Special(Identity),
    /// What is at this path now, with these permission bits if they were others.
    Now(Vec<u8>, Option<u32>),
}

/// Kind, size and permission bits, as far as they are known.
type Known = (Node, Option<u64>, Option<u32>);

#[derive(Debug)]
struct Trees {
    roots: Roots,
    store: Store,
}

/// Compares the workspace with what it was after the entry `since` (0: at the start).
///
/// `root` is the path of the workspace.
///
/// # Errors
/// The workspace or the store cannot be read.
pub fn net(
    root: &std::path::Path,
    roots: Roots,
    store: Store,
    entries: &[super::Entry],
    since: u64,
) -> io::Result<Net> {
    let trees = Trees { roots, store };
    let aliases = aliases(trees.roots.workspace().as_fd(), root);
    let mut past = Past { trees: &trees, was: BTreeMap::new(), written: HashMap::new() };
    for entry in entries.iter().rev().take_while(|entry| entry.number > since) {
        past.take_back(entry)?;
    }
    let mut was = past.done();
    trees.fill(&mut was)?;
    let mut changes = Vec::new();
    for (path, was) in &was {
        changes.extend(trees.change(path, was, &aliases)?);
    }
    Ok(Net { changes, trees, was })
}

/// The workspace at an earlier moment, as far as it differs from now.
struct Past<'a> {
    trees: &'a Trees,
    was: BTreeMap<Vec<u8>, Was>,
    /// Files that were written in place, as they were before, and the number of that entry.
    written: HashMap<Identity, (u64, Kept)>,
}

impl Past<'_> {
    fn take_back(&mut self, entry: &super::Entry) -> io::Result<()> {
        match &entry.act {
            Act::Mark { .. } | Act::Void { .. } => {}
            Act::Before { path, was } => {
                let was = match was {
                    State::Absent => Was::Absent,
                    State::File(kept) => {
                        if !kept.itself {
                            self.written.insert(kept.identity, (entry.number, kept.clone()));
                        }
                        Was::Kept(entry.number, kept.clone())
                    }
                    State::Link { target, identity } => Was::Link(target.0.clone(), *identity),
                    // It is still there, or again: what is in it is looked at for itself.
                    State::Dir { .. } if self.is_dir(&path.0)? => return Ok(()),
                    State::Dir { mode, identity } => Was::Dir(*mode, *identity),
                    State::Special { identity } => Was::Special(*identity),
                };
                // Nothing was in it at that moment: what is known of it is of later ones.
                drop(self.take(&path.0));
                self.was.insert(path.0.clone(), was);
            }
            Act::Mode { path, mode, .. } => {
                let was = match self.at(&path.0) {
                    Was::Kept(number, kept) => Was::Kept(number, Kept { mode: *mode, ..kept }),
                    Was::Dir(_, identity) => Was::Dir(*mode, identity),
                    Was::Now(there, _) => Was::Now(there, Some(*mode)),
                    other => other,
                };
                self.was.insert(path.0.clone(), was);
            }
            // What was moved there is not: it was made since and removed, or somebody else moved it.
            Act::Moved { to, identity, .. } if self.identity(&to.0)? != Some(*identity) => {}
            Act::Moved { from, to, exchange: true, .. } => {
                let (one, other) = (self.take(&from.0), self.take(&to.0));
                self.put(&from.0, other);
                self.put(&to.0, one);
            }
            Act::Moved { from, to, .. } => {
                if self.identity(&from.0)?.is_none() {
                    let moved = self.take(&to.0);
                    drop(self.take(&from.0));
                    self.put(&from.0, moved);
                    self.was.insert(to.0.clone(), Was::Absent);
                }
            }
        }
        Ok(())
    }

    /// A file that was written is another one under all its names: as it was before the earliest of
    /// those entries.
    fn earliest(&self, was: Was) -> Was {
        match was {
            Was::Kept(number, kept) => match self.written.get(&kept.identity) {
                Some((earlier, before)) if *earlier < number => Was::Kept(*earlier, before.clone()),
                _ => Was::Kept(number, kept),
            },
            other => other,
        }
    }

    fn done(mut self) -> BTreeMap<Vec<u8>, Was> {
        let was = std::mem::take(&mut self.was);
        was.into_iter().map(|(path, was)| (path, self.earliest(was))).collect()
    }

    /// What was at a path, as far as the entries have been taken back.
    fn at(&self, path: &[u8]) -> Was {
        if let Some(was) = self.was.get(path) {
            return self.earliest(was.clone());
        }
        let (above, name) = split(path);
        if name.is_empty() {
            return Was::Now(Vec::new(), None);
        }
        match if above.is_empty() { Was::Now(Vec::new(), None) } else { self.at(above) } {
            Was::Now(there, _) => Was::Now(join(&there, name), None),
            _ => Was::Absent,
        }
    }

    /// Which file, link or directory was at a path.
    fn identity(&self, path: &[u8]) -> io::Result<Option<Identity>> {
        Ok(match self.at(path) {
            Was::Absent => None,
            Was::Kept(_, Kept { identity, .. })
            | Was::Link(_, identity)
            | Was::Dir(_, identity)
            | Was::Special(identity) => Some(identity),
            Was::Now(there, _) => self.trees.look(&there)?.as_ref().map(Identity::from),
        })
    }

    fn is_dir(&self, path: &[u8]) -> io::Result<bool> {
        Ok(match self.at(path) {
            Was::Dir(..) => true,
            Was::Now(there, _) => {
                self.trees.look(&there)?.is_some_and(|meta| meta.node == Node::Dir)
            }
            _ => false,
        })
    }

    /// Takes what was at a path, and what is known of the paths in it, relative to it.
    fn take(&mut self, path: &[u8]) -> Vec<(Vec<u8>, Was)> {
        let mut taken = vec![(Vec::new(), self.at(path))];
        self.was.remove(path);
        let inside: Vec<Vec<u8>> =
            self.was.range(below(path)).map(|(key, _)| key.clone()).collect();
        for key in inside {
            if let Some(was) = self.was.remove(&key) {
                taken.push((key.get(path.len()..).unwrap_or_default().to_vec(), was));
            }
        }
        taken
    }

    fn put(&mut self, path: &[u8], taken: Vec<(Vec<u8>, Was)>) {
        for (rest, was) in taken {
            self.was.insert([path, &rest].concat(), was);
        }
    }
}

impl Trees {
    fn look(&self, path: &[u8]) -> io::Result<Option<Meta>> {
        let (root, path) = self.roots.at(path)?;
        let (above, name) = if path.is_empty() { (path, &b"."[..]) } else { split(path) };
        match open_dir(root.as_fd(), above) {
            Ok(parent) => look(parent.as_fd(), name),
            Err(_) => Ok(None),
        }
    }

    /// Where a directory is that was not there, neither was anything in it, as far as nothing else is
    /// known: the entries do not tell what was made in it once it was there.
    fn fill(&self, was: &mut BTreeMap<Vec<u8>, Was>) -> io::Result<()> {
        let absent = was.iter().filter(|(_, was)| matches!(was, Was::Absent));
        let mut todo: Vec<Vec<u8>> = absent.map(|(path, _)| path.clone()).collect();
        while let Some(path) = todo.pop() {
            if !self.look(&path)?.is_some_and(|now| now.node == Node::Dir) {
                continue;
            }
            let room = CHANGES.saturating_sub(was.len());
            let (root, beneath) = self.roots.at(&path)?;
            let directory = open_dir(root.as_fd(), beneath)?;
            for name in names(directory.as_fd(), room)? {
                let inside = join(&path, &name);
                if let Entry::Vacant(unknown) = was.entry(inside.clone()) {
                    unknown.insert(Was::Absent);
                    todo.push(inside);
                }
            }
        }
        Ok(())
    }

    fn link(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (root, path) = self.roots.at(path)?;
        let (above, name) = split(path);
        read_link(open_dir(root.as_fd(), above)?.as_fd(), name)
    }

    fn open(&self, path: &[u8]) -> io::Result<std::fs::File> {
        let (root, path) = self.roots.at(path)?;
        open(root.as_fd(), path)
    }

    /// The file that was at a path, if one was.
    fn before(&self, was: &Was) -> Option<io::Result<std::fs::File>> {
        match was {
            Was::Kept(number, kept) if kept.missing.is_none() => Some(self.store.content(*number)),
            Was::Now(there, _) => {
                let meta = self.look(there).ok()??;
                (meta.node == Node::File).then(|| self.open(there))
            }
            _ => None,
        }
    }

    /// What is known of what was at a path: kind, size, permission bits.
    fn known(&self, was: &Was) -> io::Result<Option<Known>> {
        Ok(match was {
            Was::Absent => None,
            Was::Kept(_, kept) => Some((Node::File, Some(kept.size), Some(kept.mode))),
            Was::Link(..) => Some((Node::Symlink, None, None)),
            Was::Dir(mode, _) => Some((Node::Dir, None, Some(*mode))),
            Was::Special(_) => Some((Node::Fifo, None, None)),
            Was::Now(there, mode) => self.look(there)?.map(|meta| {
                let size = (meta.node == Node::File).then_some(meta.size);
                (meta.node, size, Some(mode.unwrap_or(meta.mode)))
            }),
        })
    }

    /// Whether two entries of one kind hold the same.
    fn same(&self, path: &[u8], was: &Was, now: &Meta) -> io::Result<bool> {
        if matches!(was, Was::Now(there, _) if there == path) {
            return Ok(true);
        }
        match now.node {
            Node::File => match self.before(was) {
                Some(before) => Ok(same_content(&mut before?, &mut self.open(path)?)?),
                None => Ok(false),
            },
            Node::Symlink => Ok(match was {
                Was::Link(target, _) => self.link(path)? == *target,
                Was::Now(there, _) => self.link(path)? == self.link(there)?,
                _ => false,
            }),
            _ => Ok(!matches!(was, Was::Now(..))),
        }
    }

    fn change(&self, path: &[u8], was: &Was, aliases: &[Alias]) -> io::Result<Option<Change>> {
        let (before, now) = (self.known(was)?, self.look(path)?);
        let kind = match (before, now) {
            (None, None) => return Ok(None),
            (None, Some(_)) => Kind::Added,
            (Some(_), None) => Kind::Deleted,
            (Some((node, ..)), Some(now)) if node != now.node => Kind::TypeChanged,
            (Some((_, _, mode)), Some(now)) => match self.same(path, was, &now)? {
                false => Kind::Modified,
                true if mode.is_some_and(|mode| mode != now.mode) => Kind::ModeChanged,
                true => return Ok(None),
            },
        };
        let (size_before, mode_before) =
            before.map_or((None, None), |(_, size, mode)| (size, mode));
        let node = now.map(|now| now.node).or(before.map(|known| known.0)).unwrap_or(Node::File);
        let file = now.filter(|now| now.node == Node::File);
        let executable = |mode: u32| mode & 0o111 != 0;
        // A repository elsewhere is to its worktree what `.git` is to others.
        let as_own = path.strip_prefix(REPOSITORY).map(|rest| [b".git", rest].concat());
        let place = as_own.as_deref().unwrap_or(path);
        let class = host_executed(place, node == Node::Dir, aliases)
            .map_or(Class::Ordinary, Class::HostExecuted);
        Ok(Some(Change {
            path: path.to_vec(),
            kind,
            node,
            class,
            note: None,
            size_before,
            size_after: file.map(|file| file.size),
            mode_before,
            mode_after: now.filter(|now| now.node != Node::Symlink).map(|now| now.mode),
            target: now.filter(|now| now.node == Node::Symlink).and_then(|_| self.link(path).ok()),
            new_executable: file.is_some_and(|file| executable(file.mode))
                && !mode_before.is_some_and(executable),
            conflict: None,
            seen: None,
        }))
    }
}

impl Sides for Net {
    fn before(&self, change: &Change) -> Option<io::Result<std::fs::File>> {
        self.trees.before(self.was.get(&change.path)?)
    }

    fn after(&self, change: &Change) -> Option<io::Result<std::fs::File>> {
        let present = change.node == Node::File && change.kind != Kind::Deleted;
        present.then(|| self.trees.open(&change.path))
    }
}
