//! Reading the layers of policy: each file once, hashed, and never looked at again during the run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_policy::{
    CommandLine, Compiled, DefinitionText, Facts, Inputs, Problems, compile, digest,
};

use crate::clock::Moment;
use crate::host::{self, RealHost};
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
                let bytes = fs::read(&canonical).map_err(failed)?;
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
            host: &RealHost,
        })
        .map_err(LoadError::Problems)
    }

    /// The definitions in use that the agent must not be able to change.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.user, &self.project].into_iter().flatten().map(|text| text.path.clone()).collect()
    }
}
