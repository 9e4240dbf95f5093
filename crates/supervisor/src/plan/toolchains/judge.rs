//! Which places of the host may come in for the sake of a tool.
//!
//! A tool that others can change is no tool of this user: what it ran would be theirs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_policy::{Base, SENSITIVE, is_sensitive};

/// Trees that the base shows.
const BASE: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix", "/gnu", "/snap/bin"];
/// Trees of the system in which no toolchain lies.
const SYSTEM: [&str; 7] = ["/etc", "/proc", "/sys", "/dev", "/run", "/boot", "/var"];

/// Whether the base already shows it.
pub(super) fn in_base(path: &Path) -> bool {
    BASE.iter().any(|base| path.starts_with(base))
}

/// Whether it lies in a tree of the system.
pub(super) fn in_system(path: &Path) -> bool {
    SYSTEM.iter().any(|tree| path.starts_with(tree))
}

/// Why a place does not come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It is no place for tools: nothing to say.
    Elsewhere,
    /// A person should hear why.
    Because(String),
}

/// What the judgement needs to know.
pub(super) struct Judge<'a> {
    /// The user's home.
    pub home: &'a Path,
    /// The project.
    pub workspace: &'a Path,
    /// Whose tools are this user's: who starts the run, and whose home it is.
    pub people: [u32; 2],
    /// ringfence's own records.
    pub own: PathBuf,
}

impl Judge<'_> {
    /// Whether a canonical path may be seen inside, whole.
    pub fn admit(&self, path: &Path) -> Result<(), Refused> {
        let shallow = path.components().count() < 3 || self.home.starts_with(path);
        let secret = is_sensitive(path, self.home) || self.holds_secret(path);
        let own = path.starts_with(&self.own) || self.own.starts_with(path);
        let project = self.workspace.starts_with(path) || path.starts_with(self.workspace);
        if shallow || secret || own || project || in_system(path) {
            return Err(Refused::Elsewhere);
        }
        self.only_ours(path)
    }

    /// Whether a place where secrets are kept lies below.
    fn holds_secret(&self, path: &Path) -> bool {
        SENSITIVE.iter().any(|row| {
            let base = match row.base {
                Base::Home => self.home,
                Base::Root => Path::new("/"),
            };
            base.join(row.path).starts_with(path)
        })
    }

    /// Whether nobody but this user and root can change what stands under this name.
    fn only_ours(&self, path: &Path) -> Result<(), Refused> {
        for (depth, at) in path.ancestors().enumerate() {
            let Ok(metadata) = fs::metadata(at) else { return Err(Refused::Elsewhere) };
            let (owner, mode) = (metadata.uid(), metadata.mode());
            if owner != 0 && !self.people.contains(&owner) {
                let why = format!("{} belongs to another user", at.display());
                return Err(Refused::Because(why));
            }
            // In a sticky directory others can add entries, not replace one.
            let sticky = mode & 0o1000 != 0 && depth > 0;
            if mode & 0o002 != 0 && !sticky {
                return Err(Refused::Because(format!("everybody may write to {}", at.display())));
            }
        }
        Ok(())
    }
}

/// Words by which a tool's settings are known to hold a secret.
const SECRET_WORDS: [&str; 6] = ["_auth", "assword", "token", "privatekey", "passphrase", "secret"];

/// Whether a file of settings holds something that looks like a credential; one that cannot be
/// read counts as if it did.
pub(super) fn holds_credential(path: &Path) -> bool {
    let Ok(bytes) = crate::load::read_bounded(path) else { return true };
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let user_in_url = text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '"', '\'', '<', '\n', ' ']).next().unwrap_or_default();
        authority.contains('@')
    });
    user_in_url || SECRET_WORDS.iter().any(|word| text.contains(word))
}

/// Expands a path whose components may be `*`.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        if part.as_os_str() == "*" {
            found = found
                .iter()
                .flat_map(|at| fs::read_dir(at).into_iter().flatten().flatten())
                .map(|entry| entry.path())
                .collect();
        } else {
            found.iter_mut().for_each(|at| at.push(part));
        }
    }
    found.retain(|path| path.is_file());
    found
}
