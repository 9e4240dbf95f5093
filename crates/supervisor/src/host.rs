//! Facts about this host and this user that a start needs.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use ringfence_model::host::HostName;
use ringfence_policy::{Bundle, BundleHosts, Facts, Found, FoundKind, Host, NoBundle, Unresolved};

use crate::bundles::{self, Hints, Look};

use crate::clock::Moment;
use crate::paths::{DEFINITION, Paths};

/// The real file system and the real tools behind the policy's questions.
#[derive(Clone, Copy, Debug)]
pub struct RealHost<'a> {
    /// The user's home.
    pub home: &'a Path,
    /// The project.
    pub workspace: &'a Path,
}

impl RealHost<'_> {
    /// Where the tools of this host keep their settings.
    fn look<T>(&self, ask: impl FnOnce(&Look<'_>) -> T) -> T {
        let (home, workspace) = (self.home, self.workspace);
        let variable = |name: &str| std::env::var(name).ok();
        ask(&Look { home, workspace, root: Path::new("/"), variable: &variable })
    }

    /// The bundle that a host belongs to.
    #[must_use]
    pub fn bundle_of(&self, hints: &Hints, name: &HostName, port: u16) -> Option<Bundle> {
        self.look(|look| hints.of(name, port, look))
    }

    /// What the tool of a bundle needs inside.
    #[must_use]
    pub fn settings(&self, bundle: Bundle) -> bundles::Settings {
        self.look(|look| bundles::settings(bundle, look))
    }
}

impl Host for RealHost<'_> {
    fn bundle(&self, bundle: Bundle) -> Result<BundleHosts, NoBundle> {
        self.look(|look| bundles::hosts(bundle, look))
    }

    fn resolve(&self, path: &Path) -> Result<Found, Unresolved> {
        let refused = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unresolved::Missing,
            _ => Unresolved::Refused(error.to_string()),
        };
        // Most questions are about places that do not exist: one call answers those.
        fs::symlink_metadata(path).map_err(refused)?;
        let canonical = fs::canonicalize(path).map_err(refused)?;
        let kind = fs::metadata(&canonical).map_err(refused)?.file_type();
        let kind = if kind.is_dir() {
            FoundKind::Directory
        } else if kind.is_file() {
            FoundKind::File
        } else if kind.is_socket() {
            FoundKind::Socket
        } else {
            FoundKind::Other
        };
        Ok(Found { path: canonical, kind })
    }
}

/// The person who started ringfence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Login name, or the number where there is none.
    pub name: String,
}

impl Person {
    /// Who runs this process.
    #[must_use]
    pub fn current() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let gid = rustix::process::getgid().as_raw();
        let name = fs::read_to_string("/etc/passwd")
            .ok()
            .and_then(|text| login_name(&text, uid))
            .unwrap_or_else(|| uid.to_string());
        Self { uid, gid, name }
    }

    /// Whether this is the superuser.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

impl std::fmt::Display for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (uid {})", self.name, self.uid)
    }
}

fn login_name(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

/// The project around `cwd`: the nearest directory upward with a definition or a repository, never
/// the home directory or above it; else `cwd` itself.
#[must_use]
pub fn project_root(cwd: &Path, home: &Path) -> PathBuf {
    cwd.ancestors()
        .take_while(|directory| !home.starts_with(directory))
        .find(|directory| {
            [DEFINITION, ".git"]
                .iter()
                .any(|name| fs::symlink_metadata(directory.join(name)).is_ok())
        })
        .unwrap_or(cwd)
        .to_owned()
}

/// Memory of the host, in bytes.
#[must_use]
pub fn memory() -> u64 {
    fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(1 << 30, |kib| kib * 1024)
}

/// The facts that the policy judges with.
///
/// # Errors
/// The working directory or the own binary is not known.
pub fn facts(paths: &Paths, cwd: &Path, workspace: &Path, now: Moment) -> io::Result<Facts> {
    Ok(Facts {
        home: paths.home.clone(),
        cwd: cwd.to_owned(),
        workspace: workspace.to_owned(),
        state: paths.state.clone(),
        config: paths.config.clone(),
        binary: fs::canonicalize("/proc/self/exe")?,
        memory: memory(),
        now_unix: now.unix_s,
    })
}

/// Device and inode of a path, which tell it from whatever takes its place.
///
/// # Errors
/// What `stat(2)` says.
pub fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// The machine's name.
#[must_use]
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_the_nearest_repository_below_home() {
        let home = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(home.path()).unwrap();
        let inner = home.join("work/app/src");
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(project_root(&inner, &home), inner);
        fs::create_dir(home.join(".git")).unwrap();
        assert_eq!(
            project_root(&inner, &home),
            inner,
            "a repository in the home itself does not count"
        );
        fs::create_dir(home.join("work/app/.git")).unwrap();
        assert_eq!(project_root(&inner, &home), home.join("work/app"));
    }

    #[test]
    fn login_names_are_found_by_number() {
        let text = "root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(login_name(text, 1000).as_deref(), Some("ada"));
        assert_eq!(login_name(text, 7), None);
    }
}
