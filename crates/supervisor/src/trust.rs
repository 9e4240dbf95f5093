//! Which project definitions the user has accepted: by path and by the digest of their bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::paths::{Paths, PathsError, make_private, open_lock};

/// The record of accepted definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trusted {
    /// Canonical path of a definition, and the SHA-256 of the bytes that were accepted, hex.
    definitions: BTreeMap<PathBuf, String>,
    /// Answers about hooks and servers of agents, by the digest of the entry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    entries: BTreeMap<String, Answered>,
}

/// What was said about one entry of an agent's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    what: String,
    answer: Answer,
}

/// An answer about an entry of an agent's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The agent may have it.
    Accepted,
    /// It may not.
    Refused,
    /// Nobody was there to be asked; a note said so.
    Told,
}

/// Why the record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read or written.
    #[error("cannot use the trust record {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file does not parse: nothing is trusted then.
    #[error(
        "the trust record {path} does not parse ({source}); remove it and accept your definitions again with `ringfence trust`"
    )]
    Parse {
        /// Which.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The configuration directory cannot be made.
    #[error(transparent)]
    Directory(#[from] PathsError),
}

impl Trusted {
    /// Reads the record; a missing file trusts nothing.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn load(paths: &Paths) -> Result<Self, TrustError> {
        let path = paths.trusted();
        match crate::load::read_bounded(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| TrustError::Parse { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(TrustError::File { path, source }),
        }
    }

    /// Whether exactly these bytes were accepted for this definition.
    #[must_use]
    pub fn accepts(&self, definition: &Path, digest: &str) -> bool {
        self.definitions.get(definition).is_some_and(|accepted| accepted == digest)
    }

    /// Accepts a definition and writes the record.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn accept(
        &mut self,
        paths: &Paths,
        definition: &Path,
        digest: &str,
    ) -> Result<(), TrustError> {
        self.change(paths, |record| {
            record.definitions.insert(definition.to_owned(), digest.to_owned());
        })
    }

    /// What was answered about the entry with this digest.
    #[must_use]
    pub fn answer(&self, digest: &str) -> Option<Answer> {
        self.entries.get(digest).map(|answered| answered.answer)
    }

    /// Remembers an answer and writes the record.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn remember(
        &mut self,
        paths: &Paths,
        digest: &str,
        what: &str,
        answer: Answer,
    ) -> Result<(), TrustError> {
        let answered = Answered { what: what.to_owned(), answer };
        self.change(paths, |record| {
            record.entries.insert(digest.to_owned(), answered);
        })
    }

    /// One change of the record as it is by now: a question to a person may have stood open for long,
    /// and what was answered elsewhere meanwhile stays.
    fn change(&mut self, paths: &Paths, edit: impl FnOnce(&mut Self)) -> Result<(), TrustError> {
        make_private(&paths.config)?;
        make_private(&paths.state)?;
        let path = paths.state.join("trusted.lock");
        let locked = open_lock(&path).and_then(|lock| {
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(lock)
        });
        let _turn = locked.map_err(|source| TrustError::File { path, source })?;
        let mut record = Self::load(paths)?;
        edit(&mut record);
        record.save(paths)?;
        *self = record;
        Ok(())
    }

    fn save(&self, paths: &Paths) -> Result<(), TrustError> {
        let path = paths.trusted();
        let fresh = path.with_extension("json.new");
        let failed = |source: io::Error| TrustError::File { path: path.clone(), source };
        let text = serde_json::to_vec_pretty(self).map_err(|e| failed(e.into()))?;
        let written = fs::File::create(&fresh).and_then(|mut file| {
            file.write_all(&text)?;
            // A record that a power cut has emptied trusts nothing and has to be removed by hand.
            file.sync_all()
        });
        written.and_then(|()| fs::rename(&fresh, &path)).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s29_a_changed_definition_is_not_trusted() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        let paths = Paths { home: home.path().into(), state: home.path().join("state"), config };
        let mut trusted = Trusted::load(&paths).unwrap();
        trusted.accept(&paths, Path::new("/p/ringfence.toml"), "aa").unwrap();
        let again = Trusted::load(&paths).unwrap();
        assert!(again.accepts(Path::new("/p/ringfence.toml"), "aa"));
        assert!(!again.accepts(Path::new("/p/ringfence.toml"), "bb"));
        assert!(!again.accepts(Path::new("/q/ringfence.toml"), "aa"));
    }

    /// A run that waits for a person's word has read the record before somebody else wrote it.
    #[test]
    fn s29_what_was_answered_meanwhile_stays() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        let paths = Paths { home: home.path().into(), state: home.path().join("state"), config };
        let mut waiting = Trusted::load(&paths).unwrap();
        let mut other = Trusted::load(&paths).unwrap();
        other.accept(&paths, Path::new("/p/ringfence.toml"), "aa").unwrap();
        other.remember(&paths, "cc", "a hook", Answer::Refused).unwrap();
        waiting.accept(&paths, Path::new("/q/ringfence.toml"), "bb").unwrap();
        for record in [waiting, Trusted::load(&paths).unwrap()] {
            assert!(record.accepts(Path::new("/p/ringfence.toml"), "aa"));
            assert!(record.accepts(Path::new("/q/ringfence.toml"), "bb"));
            assert_eq!(record.answer("cc"), Some(Answer::Refused));
        }
    }

    /// Many at once: no write is lost, and nobody ever reads half a record.
    #[test]
    fn s29_answers_at_once_are_all_kept() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        let paths = Paths { home: home.path().into(), state: home.path().join("state"), config };
        let name = |n: usize| PathBuf::from(format!("/p{n}/ringfence.toml"));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let paths = &paths;
                scope.spawn(move || {
                    Trusted::load(paths).unwrap().accept(paths, &name(n), "aa").unwrap();
                });
            }
        });
        let record = Trusted::load(&paths).unwrap();
        assert!((0..8).all(|n| record.accepts(&name(n), "aa")), "{record:?}");
    }

    #[test]
    fn s29_a_trust_record_that_is_no_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let config = home.path().join("config");
        let paths = Paths { home: home.path().into(), state: home.path().join("state"), config };
        make_private(&paths.config).unwrap();
        std::os::unix::fs::symlink("/dev/zero", paths.trusted()).unwrap();
        let error = Trusted::load(&paths).unwrap_err();
        assert!(matches!(error, TrustError::File { .. }), "{error}");
        let words = error.to_string();
        assert!(words.contains(&paths.trusted().display().to_string()), "{words}");
        assert!(words.ends_with("it is not a regular file"), "{words}");
    }
}
