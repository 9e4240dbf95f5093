//! Reaching into homes: the user's, whose links may be followed once, and the sandbox's private one,
//! which is the agent's own work and where no link is ever followed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use super::agents;
use crate::load::read_up_to;

/// Names that hold secrets wherever they lie: no link to one is followed.
const SECRET_NAMES: &[&str] = &[
    ".env",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "credentials",
    "credentials.json",
    "auth.json",
    ".git-credentials",
    ".netrc",
];
/// The same by ending.
const SECRET_ENDINGS: &[&str] = &["pem", "key", "p12", "pfx", "kdbx", "jks", "gpg", "age"];

/// The user's home on the host.
pub struct Host<'a> {
    /// Canonical.
    pub home: &'a Path,
    /// The user.
    pub uid: u32,
}

/// What a path of the user's home is, with at most one link followed.
pub struct Found {
    /// Opened for reading.
    pub fd: OwnedFd,
    /// Where it really is.
    pub path: PathBuf,
    /// Whether a link led there.
    pub linked: bool,
    /// Whether it is a directory; else it is a regular file.
    pub directory: bool,
}

/// Why something of the user's stays out.
#[derive(Debug, thiserror::Error)]
pub enum Out {
    /// Nothing is there.
    #[error("it does not exist")]
    Missing,
    /// It may not come in.
    #[error("{0}")]
    Refused(String),
}

fn refused(why: impl std::fmt::Display) -> Out {
    Out::Refused(why.to_string())
}

impl Host<'_> {
    /// Opens a file or directory of the home. A link on the way is followed if its target is the
    /// user's own, lies in the home and in no place where secrets are.
    ///
    /// # Errors
    /// [`Out`].
    pub fn open(&self, path: &Path) -> Result<Found, Out> {
        let canonical = fs::canonicalize(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Out::Missing,
            _ => refused(error),
        })?;
        let linked = canonical != path;
        if linked {
            self.may_lead_to(&canonical)?;
        }
        // The path was canonical a moment ago: a link that has come since is not followed.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let kind = fs::symlink_metadata(&canonical).map_err(refused)?.file_type();
        if !kind.is_file() && !kind.is_dir() {
            return Err(refused("it is no regular file"));
        }
        let fd = rustix::fs::openat2(rustix::fs::CWD, &canonical, flags, Mode::empty(), resolve)
            .map_err(refused)?;
        let stat = rustix::fs::fstat(&fd).map_err(refused)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if !kind.is_file() && !kind.is_dir() {
            return Err(refused("it is no regular file"));
        }
        if linked && stat.st_uid != self.uid {
            return Err(refused("it is a link to a file of somebody else"));
        }
        Ok(Found { fd, path: canonical, linked, directory: kind.is_dir() })
    }

    fn may_lead_to(&self, target: &Path) -> Result<(), Out> {
        let Ok(relative) = target.strip_prefix(self.home) else {
            return Err(refused("it is a link that leads out of your home"));
        };
        if agents::is_shown(relative) {
            return Ok(());
        }
        let name = target.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ending = Path::new(&name).extension().unwrap_or_default().to_string_lossy();
        let secret = ringfence_policy::is_sensitive(target, self.home)
            || SECRET_NAMES.contains(&name.as_str())
            || SECRET_ENDINGS.contains(&&*ending)
            || name.starts_with(".env");
        if secret {
            return Err(refused("it is a link to a place where secrets are kept"));
        }
        // A directory around such a place, or the home itself.
        let around = ringfence_policy::SENSITIVE
            .iter()
            .any(|row| self.home.join(row.path).starts_with(target));
        if around || relative.as_os_str().is_empty() {
            return Err(refused("it is a link to a directory that holds more than this"));
        }
        Ok(())
    }
}

/// A private home: whatever lies in it may be the work of an agent.
pub struct Private(OwnedFd);

/// Beneath an opened directory, through no link.
pub(super) fn beneath(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: u32,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat2(dir, path, flags, Mode::from_raw_mode(mode), resolve)?)
}

impl Private {
    /// Opens it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// Makes the directories on the way to `path`; none may be a link.
    ///
    /// # Errors
    /// A link or a file is in the way.
    pub fn make_way(&self, path: &Path) -> io::Result<()> {
        let mut at = self.0.try_clone()?;
        for part in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(name) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            // The next step must not go through a link.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            at = beneath(at.as_fd(), Path::new(name), flags, 0)?;
        }
        Ok(())
    }

    /// Makes sure that something can be shown at `path`: nothing is there, or a thing of the same kind.
    ///
    /// # Errors
    /// Something else is in the way.
    pub fn make_room(&self, path: &Path, directory: bool) -> io::Result<()> {
        self.make_way(path)?;
        match beneath(self.0.as_fd(), path, OFlags::PATH, 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(place) => {
                let kind = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode);
                if kind.is_dir() == directory && (directory || kind.is_file()) {
                    Ok(())
                } else {
                    Err(io::Error::other("something else is in its place"))
                }
            }
        }
    }

    /// Writes a new file; `false` if something is there already, which stays.
    ///
    /// # Errors
    /// A link is on the way, or the file system says no.
    pub fn write_new(&self, path: &Path, content: &[u8]) -> io::Result<bool> {
        self.make_way(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        match beneath(self.0.as_fd(), path, flags, 0o600) {
            Ok(fd) => File::from(fd).write_all(content).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a regular file of at most `most` bytes and says when it was last changed, in
    /// nanoseconds; `None` if nothing is there. A pipe or device is refused and never waited for.
    ///
    /// # Errors
    /// It is a link, no regular file, has a second name, or is too large.
    pub fn read(&self, path: &Path, most: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        let place = match beneath(self.0.as_fd(), path, OFlags::PATH, 0) {
            Ok(place) => place,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let stat = rustix::fs::fstat(&place)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(beneath(self.0.as_fd(), path, flags, 0)?);
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file"));
        }
        let changed = metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec();
        Ok(Some((read_up_to(file, most)?, u64::try_from(changed).unwrap_or(0))))
    }
}
