//! The user's instructions, commands and skills: copied for one run, secrets masked, seen read-only.
//!
//! Nothing of the user's is mounted: what comes inside was read, judged and written anew. What
//! cannot be judged (no text, too large, a link that leads elsewhere) stays out, and is named.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ringfence_ledger::Redactor;
use rustix::fs::{Dir, FileType, OFlags};

use super::agents::Agent;
use super::place::{Host, Out, beneath};
use crate::limits::{BROUGHT_BYTES, BROUGHT_DEPTH, BROUGHT_FILE_BYTES, BROUGHT_FILES, HOME_NOTES};
use crate::load::read_up_to;

/// Names that are no part of instructions.
const SKIPPED: &[&str] = &[".git", ".hg", ".svn", "node_modules", "__pycache__", ".DS_Store"];

/// One copied file or directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Copied {
    /// The copy, on the host.
    pub source: PathBuf,
    /// Where it is seen, relative to the home.
    pub target: &'static str,
}

/// What was copied.
#[derive(Debug, Default)]
pub struct Brought {
    /// In order.
    pub copies: Vec<Copied>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Copies what the agent is shown into `store`, a directory of the run.
///
/// # Errors
/// The copy cannot be written.
pub fn copy(agent: &Agent, host: &Host<'_>, store: &Path) -> std::io::Result<Brought> {
    let mut work = Work {
        host,
        redactor: Redactor::default(),
        files: 0,
        bytes: 0,
        left_out: Vec::new(),
        masked: Vec::new(),
    };
    let mut copies = Vec::new();
    for (index, shown) in agent.shown.iter().enumerate() {
        let path = host.home.join(shown);
        let source = store.join(index.to_string());
        match host.open(&path) {
            Ok(found) => {
                if copies.is_empty() {
                    fs::DirBuilder::new().recursive(true).mode(0o700).create(store)?;
                }
                let copied = if found.directory {
                    work.directory(&found.fd, &found.path, &source, found.linked, 0)?;
                    true
                } else {
                    work.file(File::from(found.fd), &path, &source)?
                };
                if copied {
                    copies.push(Copied { source, target: shown });
                }
            }
            Err(Out::Missing) => {}
            Err(Out::Refused(why)) => work.leave_out(&path, &why),
        }
    }
    Ok(Brought { copies, notes: work.notes() })
}

struct Work<'a> {
    host: &'a Host<'a>,
    redactor: Redactor,
    files: usize,
    bytes: u64,
    left_out: Vec<String>,
    masked: Vec<PathBuf>,
}

impl Work<'_> {
    fn leave_out(&mut self, path: &Path, why: &str) {
        self.left_out.push(format!("{path:?} stays out of the agent's home: {why}"));
    }

    /// Copies one file; `false` if it stays out.
    fn file(&mut self, file: File, path: &Path, to: &Path) -> std::io::Result<bool> {
        if self.files >= BROUGHT_FILES || self.bytes >= BROUGHT_BYTES {
            let why = format!(
                "more than {BROUGHT_FILES} files or {} KiB come before it",
                BROUGHT_BYTES / 1024
            );
            self.leave_out(path, &why);
            return Ok(false);
        }
        let mode = file.metadata()?.permissions().mode();
        let text = match read_up_to(file, BROUGHT_FILE_BYTES).map(String::from_utf8) {
            Ok(Ok(text)) => text,
            Ok(Err(_)) => {
                self.leave_out(path, "it is no text, so it cannot be searched for secrets");
                return Ok(false);
            }
            Err(error) => {
                self.leave_out(path, &error.to_string());
                return Ok(false);
            }
        };
        let clean = self.redactor.document(&text);
        let marked = match clean {
            Cow::Borrowed(same) => Cow::Borrowed(same),
            Cow::Owned(clean) => {
                self.masked.push(path.to_owned());
                Cow::Owned(say_so(clean, path))
            }
        };
        self.files += 1;
        self.bytes += marked.len() as u64;
        let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
        let mut copy = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
        copy.write_all(marked.as_bytes())?;
        // The mode above is what the umask leaves of it, and the agent may be another user.
        copy.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(true)
    }

    fn directory(
        &mut self,
        dir: &OwnedFd,
        path: &Path,
        to: &Path,
        linked: bool,
        depth: usize,
    ) -> std::io::Result<()> {
        fs::DirBuilder::new().mode(0o755).create(to)?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755))?;
        if depth > BROUGHT_DEPTH {
            self.leave_out(path, "it lies too deep");
            return Ok(());
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let Ok(name) = String::from_utf8(entry?.file_name().to_bytes().to_vec()) else {
                continue;
            };
            if name != "." && name != ".." && !SKIPPED.contains(&name.as_str()) {
                names.push(name);
            }
            if names.len() > BROUGHT_FILES {
                break;
            }
        }
        // A stable order: what the bounds cut off is the same every time.
        names.sort_unstable();
        for name in names {
            self.entry(dir, &path.join(&name), &to.join(&name), linked, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &OwnedFd,
        path: &Path,
        to: &Path,
        linked: bool,
        depth: usize,
    ) -> std::io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        let Ok(stat) = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(());
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind.is_symlink() {
            return self.link(path, to, linked, depth);
        }
        if !kind.is_file() && !kind.is_dir() {
            self.leave_out(path, "it is no regular file");
            return Ok(());
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let Ok(fd) = beneath(dir.as_fd(), Path::new(name), flags, 0) else {
            self.leave_out(path, "it cannot be read");
            return Ok(());
        };
        let is = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if is.is_dir() {
            return self.directory(&fd, path, to, linked, depth + 1);
        }
        if is.is_file() {
            self.file(File::from(fd), path, to)?;
        }
        Ok(())
    }

    /// A link among the entries is followed once, and never from a place that a link led to: what
    /// lies there may be a project that an agent has written in.
    fn link(&mut self, path: &Path, to: &Path, linked: bool, depth: usize) -> std::io::Result<()> {
        if linked {
            self.leave_out(path, "it is a link behind a link");
            return Ok(());
        }
        match self.host.open(path) {
            Ok(found) if found.directory && depth > 0 => {
                self.leave_out(path, "it is a link to a directory");
                Ok(())
            }
            Ok(found) if found.directory => {
                self.directory(&found.fd, &found.path, to, true, depth + 1)
            }
            Ok(found) => self.file(File::from(found.fd), path, to).map(|_| ()),
            Err(Out::Missing) => Ok(()),
            Err(Out::Refused(why)) => {
                self.leave_out(path, &why);
                Ok(())
            }
        }
    }

    fn notes(self) -> Vec<String> {
        let masked = self.masked.iter().map(|path| {
            format!("{path:?} holds what looks like a secret; it is masked in the agent's copy")
        });
        let mut notes: Vec<String> = masked.chain(self.left_out).collect();
        let over = notes.len().saturating_sub(HOME_NOTES);
        if over > 0 {
            notes.truncate(HOME_NOTES);
            notes.push(format!(
                "{over} more files of yours are masked or stay out of the agent's home"
            ));
        }
        notes
    }
}

/// A masked text says so at its end, where the format has room for a remark.
fn say_so(mut text: String, path: &Path) -> String {
    if path.extension().is_some_and(|ending| ending == "md" || ending == "mdc") {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str("\n<!-- ringfence: secrets in this copy are masked as [redacted:…] -->\n");
    }
    text
}
