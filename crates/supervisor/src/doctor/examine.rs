//! What is read rather than tried: places, policies, the program, signs of a container.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_policy::CommandLine;

use super::facts::{Binary, Place, Policy};
use crate::clock::Moment;
use crate::host;
use crate::load::{Layers, Text};
use crate::paths::{ORGANISATION_POLICY, Paths};

/// Others than the owner may write.
const OTHERS_WRITE: u32 = 0o022;
/// In such a directory only an entry's owner may replace it.
const STICKY: u32 = 0o1000;

/// A directory that must be private.
pub fn place(name: &'static str, path: &Path, uid: u32) -> Place {
    let found = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Some(Ok((metadata.mode() & 0o7777, metadata.uid()))),
        Ok(_) => Some(Err("it is no directory".to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error.to_string())),
    };
    Place { name, path: path.to_owned(), found, exposed_by: exposed_by(path, uid) }
}

/// The nearest parent directory in which someone else could put another thing at `path`.
pub fn exposed_by(path: &Path, uid: u32) -> Option<PathBuf> {
    path.ancestors()
        .skip(1)
        .filter(|parent| !parent.as_os_str().is_empty())
        .find(|parent| {
            fs::metadata(parent).is_ok_and(|metadata| {
                let mode = metadata.mode();
                let foreign = metadata.uid() != 0 && metadata.uid() != uid;
                foreign || (mode & OTHERS_WRITE != 0 && mode & STICKY == 0)
            })
        })
        .map(Path::to_owned)
}

/// Free bytes of the file system that holds `path`, for an ordinary user.
pub fn free(path: &Path) -> Result<u64, String> {
    rustix::fs::statvfs(path)
        .map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
        .map_err(|error| error.to_string())
}

/// The organisation's and the user's policy, each compiled alone for an empty project.
pub fn policies(paths: &Paths, project: &Path, now: Moment) -> Vec<Policy> {
    let user = paths.user_policy();
    [("organisation", Path::new(ORGANISATION_POLICY)), ("user", user.as_path())]
        .into_iter()
        .map(|(name, path)| Policy {
            name,
            path: path.to_owned(),
            valid: compile(name, path, paths, project, now).transpose(),
        })
        .collect()
}

fn compile(
    name: &str,
    path: &Path,
    paths: &Paths,
    project: &Path,
    now: Moment,
) -> Result<Option<()>, String> {
    let Some(text) = Text::read(path).map_err(|error| error.to_string())? else {
        return Ok(None);
    };
    let facts = host::facts(paths, project, project, now).map_err(|error| error.to_string())?;
    let mut layers = Layers { organisation: None, user: None, project: None, facts };
    if name == "user" {
        layers.user = Some(text);
    } else {
        layers.organisation = Some(text);
    }
    layers.compile(&CommandLine::default(), false).map_err(|error| error.to_string())?;
    Ok(Some(()))
}

/// The program itself.
pub fn binary(uid: u32) -> Result<Binary, String> {
    let read = || -> io::Result<Binary> {
        let path = fs::canonicalize("/proc/self/exe")?;
        let metadata = fs::metadata(&path)?;
        let exposed_by = exposed_by(&path, uid);
        Ok(Binary { path, mode: metadata.mode() & 0o7777, owner: metadata.uid(), exposed_by })
    };
    read().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_parent_that_others_write_exposes_what_is_in_it() {
        let home = tempfile::tempdir().unwrap();
        let uid = fs::metadata(home.path()).unwrap().uid();
        let (shared, inner) = (home.path().join("shared"), home.path().join("shared/state"));
        fs::create_dir_all(&inner).unwrap();
        let mode = |bits| fs::set_permissions(&shared, fs::Permissions::from_mode(bits)).unwrap();
        mode(0o755);
        assert_eq!(exposed_by(&inner, uid), None);
        mode(0o777);
        assert_eq!(exposed_by(&inner, uid), Some(shared.clone()));
        mode(0o1777);
        assert_eq!(exposed_by(&inner, uid), None, "a sticky directory protects its entries");
        assert!(place("state", &inner, uid).found.unwrap().is_ok());
        assert_eq!(place("state", &home.path().join("none"), uid).found, None);
    }
}
