//! Ways to change a path: the operations of the protected-path generator and of the batches that
//! `ringfence-attack` runs inside.
//!
//! The same code makes the control group outside, so that a denial is a denial of this very call.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// The text that an operation plants.
pub const PLANTED: &str = "PLANTED-by-the-attack\n";

/// One way to get one's own content to a protected place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Open for writing and write over the start.
    Write,
    /// Open for appending and write.
    Append,
    /// Cut to nothing.
    Truncate,
    /// Make it where it is missing.
    Create,
    /// Rename a prepared thing over it.
    RenameOver,
    /// Rename its topmost parent away, and put a prepared one in its place.
    RenameParent,
    /// Rename the thing itself away, and put a prepared one in its place.
    RenameAway,
    /// Remove it, and make it anew.
    Replace,
    /// Put a symbolic link in its place.
    Symlink,
    /// Put a hard link to a prepared file in its place.
    HardlinkIn,
    /// Make a second name for it, and write there.
    HardlinkOut,
    /// Make a file below it.
    CreateBelow,
    /// Make it as a directory.
    MakeDirectory,
    /// Remove it with all that is below it.
    Remove,
    /// Change its permissions.
    Chmod,
    /// Exchange it with a prepared thing (RENAME_EXCHANGE).
    Exchange,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 16] = [
        Self::Write,
        Self::Append,
        Self::Truncate,
        Self::Create,
        Self::RenameOver,
        Self::RenameParent,
        Self::RenameAway,
        Self::Replace,
        Self::Symlink,
        Self::HardlinkIn,
        Self::HardlinkOut,
        Self::CreateBelow,
        Self::MakeDirectory,
        Self::Remove,
        Self::Chmod,
        Self::Exchange,
    ];

    /// Its name in batches and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Append => "append",
            Self::Truncate => "truncate",
            Self::Create => "create",
            Self::RenameOver => "rename-over",
            Self::RenameParent => "rename-parent",
            Self::RenameAway => "rename-away",
            Self::Replace => "replace",
            Self::Symlink => "symlink",
            Self::HardlinkIn => "hardlink-in",
            Self::HardlinkOut => "hardlink-out",
            Self::CreateBelow => "create-below",
            Self::MakeDirectory => "mkdir",
            Self::Remove => "remove",
            Self::Chmod => "chmod",
            Self::Exchange => "exchange",
        }
    }

    /// The operation of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operation| operation.name() == name)
    }

    /// Whether it makes sense on a thing that exists or not, and is a directory or not.
    #[must_use]
    pub fn applies(self, exists: bool, directory: bool) -> bool {
        match self {
            Self::Write | Self::Append | Self::Truncate | Self::HardlinkOut => exists && !directory,
            Self::Create | Self::MakeDirectory => !exists,
            Self::RenameAway | Self::Replace | Self::Remove | Self::Chmod | Self::Exchange => {
                exists
            }
            Self::CreateBelow => directory,
            Self::HardlinkIn => !directory,
            Self::RenameOver | Self::RenameParent | Self::Symlink => true,
        }
    }
}

/// Prepares what some operations move into place: `.attack/file` and `.attack/tree`.
///
/// # Errors
/// What the file system says.
pub fn prepare(project: &Path) -> io::Result<()> {
    let depot = project.join(".attack");
    if depot.is_dir() {
        fs::remove_dir_all(&depot)?;
    }
    fs::create_dir_all(depot.join("tree"))?;
    fs::write(depot.join("file"), PLANTED)?;
    fs::write(depot.join("tree/planted"), PLANTED)
}

/// Does one operation on `path` (relative to `project`).
///
/// # Errors
/// The first refusal: what the kernel says to the call that counts.
pub fn perform(
    operation: Operation,
    project: &Path,
    path: &str,
    directory: bool,
) -> io::Result<()> {
    let place = project.join(path);
    let depot = project.join(".attack");
    let prepared = if directory { depot.join("tree") } else { depot.join("file") };
    match operation {
        Operation::Write => write_with(&place, OpenOptions::new().write(true)),
        Operation::Append => write_with(&place, OpenOptions::new().append(true)),
        Operation::Truncate => truncate(&place),
        Operation::Create if directory => make_tree(&place),
        Operation::Create => make_file(&place),
        Operation::RenameOver if directory => rename_directory_over(&prepared, &place),
        Operation::RenameOver => {
            make_parent(&place)?;
            fs::rename(prepared, place)
        }
        Operation::RenameParent => rename_parent(project, path, directory),
        Operation::RenameAway => {
            fs::rename(&place, depot.join("away"))?;
            fs::rename(prepared, place)
        }
        Operation::Replace => {
            remove(&place)?;
            if directory { make_tree(&place) } else { make_file(&place) }
        }
        Operation::Symlink => {
            if place.symlink_metadata().is_ok() {
                remove(&place)?;
            }
            make_parent(&place)?;
            symlink(prepared, place)
        }
        Operation::HardlinkIn => {
            if place.symlink_metadata().is_ok() {
                remove(&place)?;
            }
            make_parent(&place)?;
            fs::hard_link(prepared, place)
        }
        Operation::HardlinkOut => {
            let twin = depot.join("twin");
            fs::hard_link(&place, &twin)?;
            write_with(&twin, OpenOptions::new().append(true))
        }
        Operation::CreateBelow => {
            fs::create_dir_all(&place)?;
            make_file(&place.join("planted"))
        }
        Operation::MakeDirectory => {
            make_parent(&place)?;
            fs::create_dir(place)
        }
        Operation::Remove => remove(&place),
        Operation::Chmod => {
            let mode = fs::metadata(&place)?.permissions().mode();
            fs::set_permissions(place, fs::Permissions::from_mode(mode ^ 0o001))
        }
        Operation::Exchange => {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            let here = rustix::fs::CWD;
            Ok(rustix::fs::renameat_with(here, &prepared, here, &place, flags)?)
        }
    }
}

/// A path in another case, such as `.GIT/hooks`.
#[must_use]
pub fn other_case(path: &str) -> String {
    path.to_uppercase()
}

fn write_with(place: &Path, options: &OpenOptions) -> io::Result<()> {
    options.open(place)?.write_all(PLANTED.as_bytes())
}

fn truncate(place: &Path) -> io::Result<()> {
    // Opened without O_TRUNC, so that ftruncate(2) is what is judged as well.
    OpenOptions::new().write(true).open(place)?.set_len(0)
}

fn make_parent(place: &Path) -> io::Result<()> {
    place.parent().map_or(Ok(()), fs::create_dir_all)
}

fn make_file(place: &Path) -> io::Result<()> {
    make_parent(place)?;
    let mut file = OpenOptions::new().write(true).create_new(true).open(place)?;
    file.write_all(PLANTED.as_bytes())
}

fn make_tree(place: &Path) -> io::Result<()> {
    make_parent(place)?;
    fs::create_dir(place)?;
    make_file(&place.join("planted"))
}

fn rename_directory_over(prepared: &Path, place: &Path) -> io::Result<()> {
    make_parent(place)?;
    if place.symlink_metadata().is_ok() {
        // rename(2) replaces an empty directory only.
        for entry in fs::read_dir(place)? {
            remove(&entry?.path())?;
        }
    }
    fs::rename(prepared, place)
}

fn rename_parent(project: &Path, path: &str, directory: bool) -> io::Result<()> {
    let top = path.split('/').next().unwrap_or(path);
    let old = project.join(top);
    if old.symlink_metadata().is_ok() {
        fs::rename(&old, project.join(".attack/old"))?;
    }
    let place: PathBuf = project.join(path);
    if directory { make_tree(&place) } else { make_file(&place) }
}

fn remove(place: &Path) -> io::Result<()> {
    if place.symlink_metadata()?.is_dir() {
        fs::remove_dir_all(place)
    } else {
        fs::remove_file(place)
    }
}
