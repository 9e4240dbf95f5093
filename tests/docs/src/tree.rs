//! The files of the repository, without what tools put beside them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Directories that are no part of the source.
const SKIPPED: [&str; 5] = [".git", "target", "node_modules", "corpus", "artifacts"];

/// The top of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

/// Every file, sorted, relative to the top.
///
/// # Errors
/// A directory that cannot be read.
pub fn files() -> io::Result<Vec<PathBuf>> {
    let root = root();
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let skipped = SKIPPED.iter().any(|name| entry.file_name() == *name);
            if kind.is_dir() && !skipped {
                pending.push(entry.path());
            } else if kind.is_file()
                && let Ok(relative) = entry.path().strip_prefix(&root)
            {
                found.push(relative.to_owned());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Those whose name ends in `.EXTENSION`.
///
/// # Errors
/// As [`files`].
pub fn with_extension(extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut all = files()?;
    all.retain(|path| path.extension().is_some_and(|own| own == extension));
    Ok(all)
}

/// The text of a file, if it is text.
#[must_use]
pub fn text(relative: &Path) -> Option<String> {
    fs::read_to_string(root().join(relative)).ok()
}
