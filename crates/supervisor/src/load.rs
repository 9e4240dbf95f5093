//! Reading the layers of policy: each file once, hashed, and never looked at again during the run.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ringfence_policy::{
    CommandLine, Compiled, DefinitionText, Facts, Inputs, Problems, compile, digest,
};

use crate::clock::Moment;
use crate::host::{self, RealHost};
use crate::limits::POLICY_FILE_BYTES;
use crate::paths::{DEFINITION, ORGANISATION_POLICY, Paths};
use crate::trust::{TrustError, Trusted};

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host's facts are not known.
    #[error("cannot find out where this process is: {0}")]
    Facts(io::Error),
    /// The layers do not make a policy.
    #[error("{0}")]
    Problems(Problems),
    /// The trust record cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Reads a file that somebody else may have put there: a device, a pipe that nobody writes to or a
/// file without an end are refused, never waited for.
///
/// # Errors
/// It cannot be opened or read, is no regular file, or is larger than [`POLICY_FILE_BYTES`].
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    use rustix::fs::{FileType, Mode, OFlags, fstat, open};
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    read_up_to(file.into(), POLICY_FILE_BYTES)
}

/// Reads an opened regular file of at most `most` bytes.
///
/// # Errors
/// It is larger, or cannot be read.
pub fn read_up_to(file: fs::File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!("it is larger than {} KiB", most / 1024);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// One file of policy.
#[derive(Clone, Debug)]
pub struct Text {
    /// Canonical path.
    pub path: PathBuf,
    /// Its bytes, read once.
    pub bytes: Vec<u8>,
}

impl Text {
    /// Reads a file if it exists.
    ///
    /// # Errors
    /// [`LoadError::Read`] for anything but a missing file.
    pub fn read(path: &Path) -> Result<Option<Self>, LoadError> {
        let failed = |source| LoadError::Read { path: path.to_owned(), source };
        match fs::canonicalize(path) {
            Ok(canonical) => {
                let bytes = read_bounded(&canonical).map_err(failed)?;
                Ok(Some(Self { path: canonical, bytes }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn definition(&self) -> DefinitionText<'_> {
        DefinitionText { file: &self.path, bytes: &self.bytes }
    }
}

/// Everything that was read, before it is compiled.
#[derive(Debug)]
pub struct Layers {
    /// The organisation's policy.
    pub organisation: Option<Text>,
    /// The user's policy.
    pub user: Option<Text>,
    /// The project's definition.
    pub project: Option<Text>,
    /// What the policy judges with.
    pub facts: Facts,
}

impl Layers {
    /// Reads all layers for the project around `cwd`.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn read(
        paths: &Paths,
        cwd: &Path,
        definition: Option<&Path>,
        now: Moment,
    ) -> Result<Self, LoadError> {
        let workspace = host::project_root(cwd, &paths.home);
        let project = match definition {
            Some(named) => Some(Text::read(&cwd.join(named))?.ok_or_else(|| LoadError::Read {
                path: named.to_owned(),
                source: io::ErrorKind::NotFound.into(),
            })?),
            None => Text::read(&workspace.join(DEFINITION))?,
        };
        Ok(Self {
            organisation: Text::read(Path::new(ORGANISATION_POLICY))?,
            user: Text::read(&paths.user_policy())?,
            project,
            facts: host::facts(paths, cwd, &workspace, now).map_err(LoadError::Facts)?,
        })
    }

    /// Whether the user has accepted the project's definition as it is now.
    #[must_use]
    pub fn project_trusted(&self, trusted: &Trusted) -> bool {
        self.project.as_ref().is_some_and(|text| trusted.accepts(&text.path, &digest(&text.bytes)))
    }

    /// Compiles the layers.
    ///
    /// # Errors
    /// [`LoadError::Problems`].
    pub fn compile(
        &self,
        command_line: &CommandLine,
        project_trusted: bool,
    ) -> Result<Compiled, LoadError> {
        compile(&Inputs {
            organisation: self.organisation.as_ref().map(Text::definition),
            user: self.user.as_ref().map(Text::definition),
            project: self.project.as_ref().map(Text::definition),
            project_trusted,
            command_line,
            facts: &self.facts,
            host: &RealHost { home: &self.facts.home, workspace: &self.facts.workspace },
        })
        .map_err(LoadError::Problems)
    }

    /// The definitions in use that the agent must not be able to change.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.user, &self.project].into_iter().flatten().map(|text| text.path.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn refusal(path: &Path) -> String {
        let error = Text::read(path).unwrap_err().to_string();
        let canonical = fs::canonicalize(path).unwrap();
        let named = [path, &canonical].iter().any(|p| error.contains(&p.display().to_string()));
        assert!(named, "the file is not named: {error}");
        error
    }

    /// S29: a definition that the agent left in a directory below must not hold up the next command.
    #[test]
    fn s29_what_is_no_definition_is_refused_and_not_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR).unwrap();
        assert!(refusal(&at("fifo")).ends_with("it is not a regular file"));
        symlink("/dev/zero", at("zero")).unwrap();
        assert!(refusal(&at("zero")).ends_with("it is not a regular file"));
        fs::create_dir(at("directory")).unwrap();
        assert!(refusal(&at("directory")).ends_with("it is not a regular file"));
    }

    #[test]
    fn s29_a_definition_is_read_up_to_its_limit_and_no_further() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("ringfence.toml");
        assert!(Text::read(&path).unwrap().is_none());
        let most = usize::try_from(POLICY_FILE_BYTES).unwrap();
        fs::write(&path, vec![b'#'; most]).unwrap();
        assert_eq!(Text::read(&path).unwrap().unwrap().bytes.len(), most);
        fs::write(&path, vec![b'#'; most + 1]).unwrap();
        assert!(refusal(&path).ends_with("it is larger than 1024 KiB"));
        // A file that takes no space and has a size beyond all memory.
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(refusal(&path).ends_with("it is larger than 1024 KiB"));
    }
}
