//! Wrappers: scripts that make a program's plain name the contained one.
//!
//! They stand in a directory of ringfence's own, so that nothing of anybody else's is ever replaced and a
//! program's own updates go on where it is. A wrapper names the program and not its file: the run finds it
//! by `PATH` without this directory, which also does not exist inside. A file that is not exactly as it was
//! written is never changed or removed.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ringfence_policy::{digest, profile_names, profile_text};

use crate::limits::POLICY_FILE_BYTES;
use crate::load::read_bounded;
use crate::paths::{PathsError, absolute, make_private, wrappers};
use crate::plan::search_path;
use crate::program;

/// First line of a wrapper.
const SHEBANG: &str = "#!/bin/sh\n";
/// Start of the second; the digest of all that follows stands behind it.
const MARK: &str = "# ringfence wrapper, version 1, sha256:";

/// Why there is no wrapper, or it stays.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// No home directory.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// Not a name.
    #[error("cannot wrap {0}: a wrapper stands for the plain name of a program, such as `claude`")]
    NotAName(String),
    /// Nothing to wrap.
    #[error(
        "cannot wrap {0}: no directory of PATH that a sandbox sees has it; install it, or look with `command -v {0}`"
    )]
    NotFound(String),
    /// Not a profile.
    #[error("there is no profile {name}; the profiles are {known}")]
    UnknownProfile {
        /// As it was given.
        name: String,
        /// All that there are.
        known: String,
    },
    /// No wrapper of this name.
    #[error("{0} is not wrapped; `ringfence wrap --list` shows what is")]
    NotWrapped(String),
    /// Somebody else's file.
    #[error("{} is not as ringfence wrote it and is left alone; move it away, then try again", .0.display())]
    Foreign(PathBuf),
    /// The file system.
    #[error("cannot {what} {}: {source}", path.display())]
    System {
        /// What.
        what: &'static str,
        /// Of which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A wrapper and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Wrapper {
    /// The program's name.
    pub program: String,
    /// The script.
    pub file: PathBuf,
    /// Options of `ringfence run`.
    pub options: Vec<String>,
    /// The program that a run would find now.
    pub original: Option<PathBuf>,
    /// Whether the plain name is the wrapper in this environment.
    pub in_force: bool,
}

impl Wrapper {
    /// The line of a shell's start-up file that puts wrappers first.
    #[must_use]
    pub fn line(&self, home: Option<&Path>) -> String {
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        let shown = home.and_then(|home| directory.strip_prefix(home).ok()).map_or_else(
            || directory.display().to_string(),
            |below| format!("$HOME/{}", below.display()),
        );
        format!("export PATH=\"{shown}:$PATH\"")
    }
}

/// Whether a directory of `PATH` is the one of the wrappers.
pub(crate) fn is_wrappers(entry: &Path, home: &Path) -> bool {
    let own = wrappers(home);
    entry == own
        || matches!((fs::canonicalize(entry), fs::canonicalize(own)), (Ok(a), Ok(b)) if a == b)
}

/// Makes the plain name of a program the contained one. `options` are options of `ringfence run` that the
/// caller has parsed, and `profile` the one that they name.
///
/// # Errors
/// [`WrapError`]; nothing was changed.
pub fn wrap(
    program: &str,
    options: &[String],
    profile: Option<&str>,
) -> Result<Wrapper, WrapError> {
    let home = home()?;
    check_name(program)?;
    if let Some(name) = profile.filter(|name| profile_text(name).is_none()) {
        let (name, known) = (name.escape_debug().to_string(), profile_names().join(", "));
        return Err(WrapError::UnknownProfile { name, known });
    }
    if original(program, &home).is_none() {
        return Err(WrapError::NotFound(program.to_owned()));
    }
    let directory = wrappers(&home);
    make_private(&directory)?;
    let file = directory.join(program);
    read(&file)?;
    let own = env::current_exe().map_err(failed("find", Path::new("/proc/self/exe")))?;
    write(&file, &script(program, options, &own))?;
    Ok(describe(program, &home, options.to_vec()))
}

/// Takes a wrapper away.
///
/// # Errors
/// [`WrapError`]; nothing was changed.
pub fn unwrap(program: &str) -> Result<PathBuf, WrapError> {
    check_name(program)?;
    let file = wrappers(&home()?).join(program);
    if read(&file)?.is_none() {
        return Err(WrapError::NotWrapped(program.to_owned()));
    }
    fs::remove_file(&file).map_err(failed("remove", &file))?;
    Ok(file)
}

/// Every wrapper, by name; files that are none are left out.
///
/// # Errors
/// [`WrapError`].
pub fn list() -> Result<Vec<Wrapper>, WrapError> {
    let home = home()?;
    let directory = wrappers(&home);
    let listing = match fs::read_dir(&directory) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed("read", &directory)(source)),
    };
    let mut all: Vec<Wrapper> = listing
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|program| {
            let text = read(&directory.join(&program)).ok()??;
            Some(describe(&program, &home, options(&text)))
        })
        .collect();
    all.sort_by(|a, b| a.program.cmp(&b.program));
    Ok(all)
}

fn home() -> Result<PathBuf, WrapError> {
    let home = absolute("HOME").ok_or(PathsError::NoHome)?;
    Ok(fs::canonicalize(&home).unwrap_or(home))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WrapError {
    let path = path.to_owned();
    move |source| WrapError::System { what, path, source }
}

/// Names that every shell and every file system takes as they stand.
fn check_name(program: &str) -> Result<(), WrapError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let fine = program.bytes().all(plain) && !program.starts_with(['.', '-']);
    if fine && !program.is_empty() && program != "ringfence" {
        Ok(())
    } else {
        Err(WrapError::NotAName(program.escape_debug().to_string()))
    }
}

/// What a run finds under this name.
fn original(program: &str, home: &Path) -> Option<PathBuf> {
    let path = search_path(&env::var("PATH").unwrap_or_default(), home, Path::new("/dev/null"));
    let hops = program::hops(program, Path::new("/"), &path);
    hops.first().filter(|first| executable(first)).cloned()
}

fn executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

fn describe(program: &str, home: &Path, options: Vec<String>) -> Wrapper {
    let search = env::var_os("PATH").unwrap_or_default();
    let first = env::split_paths(&search).find(|entry| executable(&entry.join(program)));
    Wrapper {
        program: program.to_owned(),
        file: wrappers(home).join(program),
        options,
        original: original(program, home),
        in_force: first.is_some_and(|entry| is_wrappers(&entry, home)),
    }
}

/// The text of a wrapper.
fn script(program: &str, options: &[String], ringfence: &Path) -> String {
    let words: Vec<String> = options.iter().map(|word| quoted(word)).collect();
    let own = quoted(&ringfence.to_string_lossy());
    let body = format!(
        "# `{program}` runs contained. `ringfence unwrap {program}` takes this away.\n\
         # options: {}\n\
         if [ ! -x {own} ]; then\n\
         \techo {} >&2\n\
         \texit 125\n\
         fi\n\
         exec {own} run {} -- {program} \"$@\"\n",
        serde_json::Value::from(options.to_vec()),
        quoted(&format!(
            "ringfence: {program} is not started: there is no ringfence at {}; wrap it again with: ringfence wrap {program}",
            ringfence.display()
        )),
        words.join(" "),
    );
    format!("{SHEBANG}{MARK}{}\n{body}", digest(body.as_bytes()))
}

/// A word that a shell takes as it stands.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The options that a wrapper was made with.
fn options(text: &str) -> Vec<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("# options: "));
    line.and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

/// Whether a text is exactly what ringfence wrote.
fn is_own(text: &str) -> bool {
    let rest = text.strip_prefix(SHEBANG).and_then(|rest| rest.strip_prefix(MARK));
    let parts = rest.and_then(|rest| rest.split_once('\n'));
    parts.is_some_and(|(own, body)| own == digest(body.as_bytes()))
}

/// The text of a wrapper; nothing if there is none.
fn read(file: &Path) -> Result<Option<String>, WrapError> {
    match fs::symlink_metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", file)(source)),
        Ok(meta) if !meta.is_file() || meta.len() > POLICY_FILE_BYTES => {
            return Err(WrapError::Foreign(file.to_owned()));
        }
        Ok(_) => {}
    }
    let bytes = read_bounded(file).map_err(failed("read", file))?;
    let text = String::from_utf8(bytes).ok().filter(|text| is_own(text));
    text.map(Some).ok_or_else(|| WrapError::Foreign(file.to_owned()))
}

/// Writes a wrapper beside its place and moves it there: a shell never starts half of one.
fn write(file: &Path, text: &str) -> Result<(), WrapError> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(&draft);
    let written = made.and_then(|mut open| open.write_all(text.as_bytes()));
    written.and_then(|()| fs::rename(&draft, file)).map_err(|source| {
        let _ = fs::remove_file(&draft);
        failed("write", file)(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_wrapped() {
        for name in ["claude", "gemini-cli", "g++", "python3.11"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a/b", "../x", ".x", "-x", "a b", "a\nb", "ringfence", "ä"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_wrapper_knows_itself_and_its_options() {
        let options = ["--env".to_owned(), "A=it's \"$HOME\"".to_owned()];
        let text = script("claude", &options, Path::new("/opt/ring fence/ringfence"));
        assert!(is_own(&text), "{text}");
        assert_eq!(super::options(&text), options);
        let own =
            "exec '/opt/ring fence/ringfence' run '--env' 'A=it'\\''s \"$HOME\"' -- claude \"$@\"";
        assert!(text.ends_with(&format!("{own}\n")), "{text}");
        for other in ["", "#!/bin/sh\nexec claude\n", &text[1..], &format!("{text}\n")] {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("claude");
        assert!(read(&file).unwrap().is_none());
        let text = script("claude", &[], Path::new("/bin/true"));
        write(&file, &text).unwrap();
        assert_eq!(read(&file).unwrap(), Some(text.clone()));
        assert!(executable(&file));
        fs::write(&file, text.replace("-- claude", "-- sh")).unwrap();
        assert!(matches!(read(&file), Err(WrapError::Foreign(_))));
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/bin/true", &file).unwrap();
        assert!(matches!(read(&file), Err(WrapError::Foreign(_))));
    }
}
