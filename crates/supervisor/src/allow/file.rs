//! The file that an answer is written into: read once, written in place, or not touched. A missing one
//! is made as a whole.
//!
//! The file may lie in a project that somebody else wrote, so a link out of it is not followed. What
//! has changed since it was read is never overwritten.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ringfence_sys::mounts;
use rustix::fs::{
    AtFlags, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, fallocate,
    fchown, fstat, fsync, openat, renameat_with, unlinkat,
};

use crate::limits::POLICY_FILE_BYTES;
use crate::load::read_up_to;

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is a link that leads out of the project.
    #[error(
        "{} leads to {}, outside of the project, so nothing was written; edit that file yourself, or answer for all of your projects with --user",
        link.display(),
        target.display()
    )]
    Outside {
        /// The link.
        link: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot write {}: {source}; nothing was changed", path.display())]
    System {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else wrote it at the same time.
    #[error("{} was changed by somebody else at the same time; nothing was written, do it again", .0.display())]
    Changed(PathBuf),
}

/// A file of policy, which may not exist yet.
pub struct Target {
    /// Its canonical path.
    pub path: PathBuf,
    /// What it says, if it exists.
    pub old: Option<Vec<u8>>,
    directory: OwnedFd,
    state: Option<Stat>,
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

impl Target {
    /// Reads the file at `named`; its directory must exist. Links are followed, but not out of `within`.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(named: &Path, within: Option<&Path>) -> Result<Self, FileError> {
        let failed = |source| FileError::System { path: named.to_owned(), source };
        let path = canonical(named).map_err(failed)?;
        if within.is_some_and(|within| !path.starts_with(within)) {
            return Err(FileError::Outside { link: named.to_owned(), target: path });
        }
        // The path is canonical: whatever has become a link since is not followed.
        let parent = path.parent().unwrap_or(Path::new("/"));
        let directory = mounts::open_place(parent).map_err(failed)?;
        let mut target = Self { path, old: None, directory, state: None };
        target.read().map_err(failed)?;
        Ok(target)
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    fn read(&mut self) -> io::Result<()> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(&self.directory, self.name(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let state = fstat(&file)?;
        if FileType::from_raw_mode(state.st_mode) != FileType::RegularFile {
            return Err(invalid("it is not a regular file"));
        }
        self.old = Some(read_up_to(file.into(), POLICY_FILE_BYTES)?);
        self.state = Some(state);
        Ok(())
    }

    /// Writes a new content.
    ///
    /// # Errors
    /// [`FileError`]; the old content is still there.
    pub fn replace(&self, text: &[u8]) -> Result<(), FileError> {
        let failed = |source: io::Error| FileError::System { path: self.path.clone(), source };
        let done = match (&self.old, &self.state) {
            (Some(old), Some(state)) => self.rewrite(old, state, text),
            _ => self.create(text),
        };
        match done {
            Ok(true) => Ok(()),
            Ok(false) => Err(FileError::Changed(self.path.clone())),
            Err(source) => Err(failed(source)),
        }
    }

    /// Writes into the file itself. A running sandbox may have its directory, and holds the file by a
    /// mount: a draft beside it would be open to the agent, and so would another file in its place,
    /// until that is held too. `false` if it is not as it was read.
    fn rewrite(&self, old: &[u8], state: &Stat, text: &[u8]) -> io::Result<bool> {
        if state.st_nlink > 1 {
            return Err(invalid(
                "it has another name elsewhere (a hard link), which would change with it; copy it, and move the copy into its place",
            ));
        }
        let flags =
            OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.directory, self.name(), flags, Mode::empty())?;
        if !is_same(state, &fstat(&file)?) {
            return Ok(false);
        }
        // A full disk is found out before anything is written; not every file system can tell.
        match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, text.len() as u64) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
            Err(error) => return Err(error.into()),
        }
        let file = File::from(file);
        let done = fill(&file, text);
        if done.is_err() {
            let _ = fill(&file, old);
        }
        done.map(|()| true)
    }

    /// Makes the file, whole or not at all; `false` if there is one by now.
    fn create(&self, text: &[u8]) -> io::Result<bool> {
        let draft = self.draft_name()?;
        let done = self.write_draft(&draft, text).and_then(|()| self.put_in_place(&draft));
        if !matches!(done, Ok(true)) {
            let _ = unlinkat(&self.directory, &draft, AtFlags::empty());
        }
        done
    }

    fn draft_name(&self) -> io::Result<OsString> {
        let mut bytes = [0u8; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        let mut name = OsString::from(".");
        name.push(self.name());
        name.push(format!(".{:016x}.new", u64::from_ne_bytes(bytes)));
        Ok(name)
    }

    fn write_draft(&self, draft: &OsStr, text: &[u8]) -> io::Result<()> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let draft = openat(&self.directory, draft, flags, Mode::from_raw_mode(0o666))?;
        let mut file = File::from(draft);
        file.write_all(text)?;
        if rustix::process::geteuid().is_root() {
            // What root makes in somebody's project is theirs.
            let directory = fstat(&self.directory)?;
            let (uid, gid) = (Uid::from_raw(directory.st_uid), Gid::from_raw(directory.st_gid));
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.sync_all()
    }

    /// Gives the draft the file's name; `false` if there is such a file by now.
    fn put_in_place(&self, draft: &OsStr) -> io::Result<bool> {
        let (directory, name) = (&self.directory, self.name());
        match renameat_with(directory, draft, directory, name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // It is in place; a directory that cannot be read is not made durable by itself.
        if let Ok(opened) = openat(directory, ".", flags, Mode::empty()) {
            let _ = fsync(opened);
        }
        Ok(true)
    }
}

/// Makes these bytes the file's content, without a moment at which it is empty.
fn fill(file: &File, text: &[u8]) -> io::Result<()> {
    file.write_all_at(text, 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// Whether nothing was written to it, and it is the same file.
fn is_same(old: &Stat, now: &Stat) -> bool {
    let of = |s: &Stat| (s.st_dev, s.st_ino, s.st_size, s.st_mtime, s.st_mtime_nsec);
    let changed = |s: &Stat| (s.st_ctime, s.st_ctime_nsec);
    of(old) == of(now) && changed(old) == changed(now)
}

/// The canonical path of a file that may not exist yet.
fn canonical(named: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(named) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if fs::symlink_metadata(named).is_ok() {
                return Err(invalid("it is a link that leads nowhere"));
            }
            let parent = named.parent().unwrap_or(Path::new("/"));
            let name = named.file_name().ok_or_else(|| invalid("it is no file's name"))?;
            Ok(fs::canonicalize(parent)?.join(name))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(base.path()).unwrap();
        (base, path)
    }

    fn names(directory: &Path) -> Vec<String> {
        let all = fs::read_dir(directory).unwrap().flatten();
        let mut names: Vec<_> = all.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn mode_and_link_are_kept_and_no_draft_is_left() {
        let (_base, at) = place();
        fs::create_dir(at.join("kept")).unwrap();
        fs::write(at.join("kept/real.toml"), "old").unwrap();
        fs::set_permissions(at.join("kept/real.toml"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("kept/real.toml", at.join("ringfence.toml")).unwrap();
        let target = Target::open(&at.join("ringfence.toml"), Some(&at)).unwrap();
        assert_eq!(target.path, at.join("kept/real.toml"));
        assert_eq!(target.old.as_deref(), Some(b"old".as_slice()));
        target.replace(b"new").unwrap();
        assert!(fs::symlink_metadata(at.join("ringfence.toml")).unwrap().is_symlink());
        assert_eq!(fs::read(at.join("kept/real.toml")).unwrap(), b"new");
        assert_eq!(fs::metadata(at.join("kept/real.toml")).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(names(&at.join("kept")), ["real.toml"]);
    }

    /// A definition that was cloned may be a link to the user's own policy, or to another project's.
    #[test]
    fn s29_a_link_out_of_the_project_is_not_followed() {
        let (_base, at) = place();
        fs::create_dir(at.join("project")).unwrap();
        fs::write(at.join("policy.toml"), "mine").unwrap();
        let project = at.join("project");
        for link in ["../policy.toml".into(), at.join("policy.toml")] {
            let named = project.join("ringfence.toml");
            symlink(&link, &named).unwrap();
            let error = Target::open(&named, Some(&project)).err().unwrap();
            assert!(matches!(error, FileError::Outside { .. }), "{error}");
            // The same file is open to whoever may be led there: the control group.
            assert_eq!(
                Target::open(&named, None).unwrap().old.as_deref(),
                Some(b"mine".as_slice())
            );
            fs::remove_file(&named).unwrap();
        }
        symlink("../nowhere.toml", project.join("ringfence.toml")).unwrap();
        let error = Target::open(&project.join("ringfence.toml"), Some(&project)).err().unwrap();
        assert!(error.to_string().contains("leads nowhere"), "{error}");
        assert_eq!(names(&at), ["policy.toml", "project"]);
    }

    /// A mount that holds the file for a running sandbox rests on the file itself, and so does a
    /// descriptor that somebody has: the file stays the same one.
    #[test]
    fn s29_the_file_stays_the_file_and_nothing_is_made_beside_it() {
        let (_base, at) = place();
        let path = at.join("ringfence.toml");
        let new = |at: &Path| Target::open(at, None).unwrap();
        new(&path).replace(b"first").unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o555)).unwrap();
        new(&path).replace(b"longer than first").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"longer than first");
        new(&path).replace(b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(fs::metadata(&path).unwrap().ino(), before);
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(names(&at), ["ringfence.toml"]);
    }

    /// The other name may lie outside of the project, or in a copy of it.
    #[test]
    fn s29_a_file_with_another_name_is_not_written() {
        let (_base, at) = place();
        let (path, other) = (at.join("ringfence.toml"), at.join("other"));
        fs::write(&other, "theirs").unwrap();
        fs::hard_link(&other, &path).unwrap();
        let error = Target::open(&path, Some(&at)).unwrap().replace(b"ours").unwrap_err();
        assert!(error.to_string().contains("hard link"), "{error}");
        assert_eq!(fs::read(&other).unwrap(), b"theirs");
        // The control group: with one name it is written.
        fs::remove_file(&other).unwrap();
        Target::open(&path, Some(&at)).unwrap().replace(b"ours").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours");
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_is_not_lost() {
        let (_base, at) = place();
        let path = at.join("ringfence.toml");
        let target = Target::open(&path, Some(&at)).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(target.replace(b"ours"), Err(FileError::Changed(_))));
        let target = Target::open(&path, Some(&at)).unwrap();
        fs::write(&path, "theirs too").unwrap();
        assert!(matches!(target.replace(b"ours"), Err(FileError::Changed(_))));
        assert_eq!(fs::read(&path).unwrap(), b"theirs too");
        assert_eq!(names(&at), ["ringfence.toml"]);
    }

    #[test]
    fn what_is_no_file_is_refused_and_not_waited_for() {
        let (_base, at) = place();
        let path = at.join("ringfence.toml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR).unwrap();
        let error = Target::open(&path, Some(&at)).err().unwrap().to_string();
        assert!(
            error.contains("not a regular file") && error.contains("ringfence.toml"),
            "{error}"
        );
    }
}
