//! Where ringfence keeps things: state, configuration, the organisation's policy.

use std::path::{Path, PathBuf};

/// The organisation's policy: only an administrator can write there.
pub const ORGANISATION_POLICY: &str = "/etc/ringfence/policy.toml";
/// Name of a project's definition.
pub const DEFINITION: &str = "ringfence.toml";

/// Why the places are not known.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// There is no home directory.
    #[error("cannot find your home directory: HOME is not set; set it to an absolute path")]
    NoHome,
    /// A directory could not be made or resolved.
    #[error(
        "cannot use {path}: {source}; set HOME to a directory that exists, and XDG_STATE_HOME to one that you can write"
    )]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The places of one user, canonical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The user's home.
    pub home: PathBuf,
    /// Runs, homes of named sandboxes, ledgers.
    pub state: PathBuf,
    /// The user's policy and trust records.
    pub config: PathBuf,
}

impl Paths {
    /// Finds (and makes) the places, by the XDG base directory specification.
    ///
    /// # Errors
    /// [`PathsError`].
    pub fn find() -> Result<Self, PathsError> {
        let home = absolute("HOME").ok_or(PathsError::NoHome)?;
        let home = canonical(&home)?;
        let place = |variable: &str, fallback: &str| {
            absolute(variable).unwrap_or_else(|| home.join(fallback)).join("ringfence")
        };
        let (state, config) =
            (place("XDG_STATE_HOME", ".local/state"), place("XDG_CONFIG_HOME", ".config"));
        make_private(&state)?;
        let state = canonical(&state)?;
        let config = canonical(&config).unwrap_or(config);
        Ok(Self { home, state, config })
    }

    /// The user's own policy.
    #[must_use]
    pub fn user_policy(&self) -> PathBuf {
        self.config.join("policy.toml")
    }

    /// The digests of the definitions that the user trusts.
    #[must_use]
    pub fn trusted(&self) -> PathBuf {
        self.config.join("trusted.json")
    }

    /// All runs, one directory each.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// One empty file per run that has not been cleaned up after.
    #[must_use]
    pub fn live(&self) -> PathBuf {
        self.state.join("live")
    }

    /// The private homes of named sandboxes.
    #[must_use]
    pub fn homes(&self) -> PathBuf {
        self.state.join("homes")
    }
}

/// The wrappers of this user (`ringfence wrap`); nothing else stands there.
#[must_use]
pub fn wrappers(home: &Path) -> PathBuf {
    absolute("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("ringfence/bin")
}

/// A variable that holds an absolute path.
pub(crate) fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn canonical(path: &Path) -> Result<PathBuf, PathsError> {
    std::fs::canonicalize(path)
        .map_err(|source| PathsError::Directory { path: path.to_owned(), source })
}

/// Makes a directory (and its parents) that only its owner can enter.
///
/// # Errors
/// [`PathsError::Directory`].
pub fn make_private(path: &Path) -> Result<(), PathsError> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| PathsError::Directory { path: path.to_owned(), source })
}

/// Opens a file that only its owner can, to be locked (flock(2)); what it holds does not count.
///
/// # Errors
/// What `open(2)` says.
pub fn open_lock(path: &Path) -> std::io::Result<std::fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}
