//! The policy of a place, without a run: checked, shown, accepted, proposed.

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_policy::{CommandLine, Compiled, Widening, digest, init};

use crate::clock;
use crate::host;
use crate::load::{Layers, LoadError, Text};
use crate::paths::{DEFINITION, Paths, PathsError};
use crate::trust::{TrustError, Trusted};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// No home or state directory.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// No policy.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The trust record.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nothing to accept.
    #[error("there is no {} here; `ringfence init` writes one", .0.display())]
    Missing(PathBuf),
    /// A definition is there already.
    #[error("{} exists already; edit it, or look at a fresh one with `ringfence init --print`", .0.display())]
    Exists(PathBuf),
    /// The file system.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

fn here() -> Result<PathBuf, DefinitionError> {
    std::env::current_dir().and_then(fs::canonicalize).map_err(|source| DefinitionError::System {
        what: "find the working directory".to_owned(),
        source,
    })
}

/// The policy that a run here would have. Widenings of an untrusted project are left out and listed
/// in [`Compiled::trust`].
///
/// # Errors
/// [`DefinitionError`].
pub fn compiled(
    definition: Option<&Path>,
    command_line: &CommandLine,
) -> Result<Compiled, DefinitionError> {
    let paths = Paths::find()?;
    let layers = Layers::read(&paths, &here()?, definition, clock::now())?;
    let trusted = layers.project_trusted(&Trusted::load(&paths)?);
    Ok(layers.compile(command_line, trusted)?)
}

/// A definition that waits for a person's word.
#[derive(Clone, Debug)]
pub struct Review {
    /// Which.
    pub definition: PathBuf,
    /// What it widens.
    pub widens: Vec<Widening>,
    /// Whether it is accepted already.
    pub accepted: bool,
    digest: String,
}

/// Looks at what a definition would open.
///
/// # Errors
/// [`DefinitionError`].
pub fn review(definition: Option<&Path>) -> Result<Review, DefinitionError> {
    let paths = Paths::find()?;
    let cwd = here()?;
    let named = match definition {
        Some(named) => cwd.join(named),
        None => host::project_root(&cwd, &paths.home).join(DEFINITION),
    };
    let text = Text::read(&named)?.ok_or_else(|| DefinitionError::Missing(named.clone()))?;
    // Judged from the definition's own place, so that `ringfence trust OTHER/ringfence.toml` works.
    let place = text.path.parent().unwrap_or(&cwd).to_owned();
    let layers = Layers::read(&paths, &place, Some(&text.path), clock::now())?;
    let accepted = layers.project_trusted(&Trusted::load(&paths)?);
    let compiled = layers.compile(&CommandLine::default(), accepted)?;
    Ok(Review {
        widens: compiled.trust.widens,
        accepted,
        digest: digest(&text.bytes),
        definition: text.path,
    })
}

/// Accepts what was reviewed; a file that has changed since is not.
///
/// # Errors
/// [`DefinitionError`].
pub fn accept(review: &Review) -> Result<(), DefinitionError> {
    let paths = Paths::find()?;
    let mut trusted = Trusted::load(&paths)?;
    Ok(trusted.accept(&paths, &review.definition, &review.digest)?)
}

/// A definition for this project, after a look at it.
///
/// # Errors
/// [`DefinitionError`].
pub fn propose() -> Result<(PathBuf, String), DefinitionError> {
    let paths = Paths::find()?;
    let root = host::project_root(&here()?, &paths.home);
    let text = init::propose(&facts(&root));
    Ok((root.join(DEFINITION), text))
}

/// Writes a proposed definition; an existing one is never touched.
///
/// # Errors
/// [`DefinitionError`].
pub fn write_proposal(path: &Path, text: &str) -> Result<(), DefinitionError> {
    use std::io::Write as _;
    let file = fs::OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => DefinitionError::Exists(path.to_owned()),
        _ => DefinitionError::System { what: format!("write {}", path.display()), source },
    })?;
    file.write_all(text.as_bytes()).map_err(|source| DefinitionError::System {
        what: format!("write {}", path.display()),
        source,
    })
}

/// What a look at the project's top directory tells.
fn facts(root: &Path) -> init::ProjectFacts {
    let names: Vec<String> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let has = |name: &str| names.iter().any(|own| own == name);
    let ends = |suffix: &str| names.iter().any(|own| own.ends_with(suffix));
    let mut secrets: Vec<String> =
        [".env", ".env.local", ".env.production", "secrets", "credentials.json"]
            .into_iter()
            .filter(|name| has(name))
            .map(str::to_owned)
            .collect();
    secrets.extend([".pem", ".key"].into_iter().filter(|s| ends(s)).map(|s| format!("*{s}")));
    let on_path = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    let profile =
        (has(".claude") || has("CLAUDE.md") || on_path("claude")).then(|| "claude-code".to_owned());
    let port = has("vite.config.ts") || has("vite.config.js");
    init::ProjectFacts {
        manifests: names,
        profile,
        secrets,
        ports: if port { vec![5173] } else { Vec::new() },
    }
}
