//! Toolchains of the user, found from `PATH` and from the variables that name them: the programs
//! come in read-only, the credentials beside them stay out, the package caches are copy-on-write.
//!
//! What comes in was chosen by the user's own environment, never by anything in the workspace.

mod caches;
mod families;
mod follow;
mod judge;
mod places;
mod variables;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Mount, MountKind};

use self::caches::Seen;
use self::judge::{Judge, Refused, expand, holds_credential, in_base, in_system};
use self::places::Places;
use super::{PlanError, Setting, bind, overlay};

/// Variables that point programs at further certificate authorities.
const AUTHORITIES: [&str; 6] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
];

/// What was found.
#[derive(Debug, Default)]
pub struct Toolchains {
    parts: BTreeSet<PathBuf>,
    caches: Vec<Seen>,
    /// Links on the way to a program.
    links: BTreeSet<PathBuf>,
    /// Files beside the programs that hold a credential.
    secrets: BTreeSet<PathBuf>,
    /// `PATH` inside.
    pub path: String,
    /// Variables that go with what was found.
    pub variables: BTreeMap<String, String>,
    /// What does not come in, and why.
    pub notes: Vec<String>,
}

/// Looks at `PATH`, at the variables of toolchains, at the program itself and at the host's
/// certificate settings.
pub fn find(setting: &Setting<'_>, workspace: &Path) -> Toolchains {
    let places = Places { home: setting.home, variable: setting.variable };
    let state = setting.run.path().ancestors().nth(2).unwrap_or(setting.run.path());
    let mut search = Search::new(places, workspace, setting.person.uid, state);
    let path = search.path(Search::entry);
    search.homes();
    search.program(setting, &path);
    let mut found = search.found;
    let places = Places { home: setting.home, variable: setting.variable };
    found.caches = caches::find(&places, &search.judge, &path);
    found.path = path.iter().map(|entry| entry.to_string_lossy()).collect::<Vec<_>>().join(":");
    found.take_authorities(setting);
    found.tidy();
    found.take_variables(&places, workspace);
    found
}

/// The directories that a run in this workspace searches for programs, in order: what exists inside of
/// this `PATH`.
pub fn search_path(search: &str, home: &Path, workspace: &Path) -> Vec<PathBuf> {
    let variable = |name: &str| match name {
        "PATH" => Some(search.to_owned()),
        other => env::var(other).ok(),
    };
    let places = Places { home, variable: &variable };
    let own = crate::host::Person::current().uid;
    // ringfence's own records are on nobody's `PATH`.
    let mut search = Search::new(places, workspace, own, Path::new("/dev/null"));
    search.path(|search, entry| search.name(entry).map(|named| named.inside))
}

/// An entry of `PATH` that exists inside.
struct Named {
    /// Its name there.
    inside: PathBuf,
    /// Where it leads.
    canonical: PathBuf,
    kind: EntryKind,
}

/// What an entry of `PATH` is.
enum EntryKind {
    /// The base shows it.
    Base,
    /// It lies in the workspace.
    Workspace,
    /// A directory of tools.
    Tools,
    /// A link to one, whose name is made inside as well.
    LinkToTools,
}

/// A search in progress.
struct Search<'a> {
    places: Places<'a>,
    judge: Judge<'a>,
    found: Toolchains,
    /// Directories whose links and scripts were followed.
    looked: BTreeSet<PathBuf>,
}

impl<'a> Search<'a> {
    fn new(places: Places<'a>, workspace: &'a Path, uid: u32, own: &Path) -> Self {
        let home = places.home;
        let people = [uid, fs::metadata(home).map_or(uid, |home| home.uid())];
        let judge = Judge { home, workspace, people, own: own.to_owned() };
        Self { places, judge, found: Toolchains::default(), looked: BTreeSet::new() }
    }
}

impl Search<'_> {
    /// `PATH` inside: the names of its entries, of which `take` says what each is there, if it is.
    fn path(&mut self, take: impl Fn(&mut Self, &Path) -> Option<PathBuf>) -> Vec<PathBuf> {
        let search = (self.places.variable)("PATH").unwrap_or_default();
        let mut path: Vec<PathBuf> = Vec::new();
        for entry in env::split_paths(&search).filter(|entry| entry.is_absolute()) {
            let entry: PathBuf = entry.components().collect();
            if let Some(inside) = take(self, &entry)
                && !path.contains(&inside)
            {
                path.push(inside);
            }
        }
        for entry in ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from) {
            if !path.contains(&entry) {
                path.push(entry);
            }
        }
        path
    }

    /// What a `PATH` entry is inside, if it exists there.
    fn name(&mut self, entry: &Path) -> Option<Named> {
        // A wrapper would start ringfence inside ringfence; inside, the name is the program itself.
        if crate::wrap::is_wrappers(entry, self.places.home) {
            return None;
        }
        let canonical = fs::canonicalize(entry).ok()?;
        let by_name = entry == canonical || in_base(entry);
        if in_base(&canonical) {
            let inside = if by_name { entry.to_owned() } else { canonical.clone() };
            return Some(Named { inside, canonical, kind: EntryKind::Base });
        }
        if canonical.starts_with(self.judge.workspace) {
            let inside = canonical.clone();
            return Some(Named { inside, canonical, kind: EntryKind::Workspace });
        }
        match self.judge.admit(&canonical) {
            Ok(()) => {}
            Err(Refused::Elsewhere) => return None,
            Err(Refused::Because(why)) => {
                let entry = entry.display();
                self.found.notes.push(format!("PATH names {entry}, which stays outside: {why}"));
                return None;
            }
        }
        // Where the name itself cannot be made inside, the place that it leads to is enough.
        let (inside, kind) = match (by_name, in_system(entry)) {
            (true, _) => (entry.to_owned(), EntryKind::Tools),
            (false, true) => (canonical.clone(), EntryKind::Tools),
            (false, false) => (entry.to_owned(), EntryKind::LinkToTools),
        };
        Some(Named { inside, canonical, kind })
    }

    /// Brings in what a `PATH` entry needs; its name inside, if it exists there.
    fn entry(&mut self, entry: &Path) -> Option<PathBuf> {
        let Named { inside, canonical, kind } = self.name(entry)?;
        match kind {
            EntryKind::Base => {}
            EntryKind::Workspace => self.in_workspace(entry, &canonical),
            EntryKind::Tools => self.directory(&canonical),
            EntryKind::LinkToTools => {
                self.directory(&canonical);
                if !self.family(entry) {
                    self.found.parts.insert(entry.to_owned());
                }
            }
        }
        Some(inside)
    }

    /// A `PATH` entry in the workspace is there with the workspace and no tool of the host's.
    fn in_workspace(&mut self, entry: &Path, canonical: &Path) {
        let active = self.places.absolute("VIRTUAL_ENV");
        let own =
            active.is_some_and(|at| fs::canonicalize(at).is_ok_and(|at| canonical.starts_with(at)));
        if !own && !canonical.ends_with("node_modules/.bin") {
            self.found.notes.push(format!(
                "PATH names {}, which lies in the workspace: the agent may change what is started from it",
                entry.display()
            ));
        }
        if own {
            self.interpreter(canonical);
        }
    }

    /// Toolchains that a variable names.
    fn homes(&mut self) {
        for name in variables::HOMES {
            let Some(home) = self.places.absolute(name) else { continue };
            let Ok(canonical) = fs::canonicalize(&home) else { continue };
            if in_base(&canonical) || canonical.starts_with(self.judge.workspace) {
                continue;
            }
            let bin = canonical.join("bin");
            let inside = if bin.is_dir() { &bin } else { &canonical };
            if self.judge.admit(&canonical).is_ok() && (inside == &bin || self.is_known(inside)) {
                self.directory(&inside.clone());
                if home != canonical && !in_system(&home) && follow::is_whole(&canonical) {
                    self.found.parts.insert(home);
                }
            }
        }
    }

    fn is_known(&self, path: &Path) -> bool {
        families::find(path, &self.places).is_some()
    }

    /// Brings in what the family of `path` needs.
    fn family(&mut self, path: &Path) -> bool {
        let Some(brought) = families::find(path, &self.places) else { return false };
        for part in brought.parts {
            let Ok(canonical) = fs::canonicalize(&part) else { continue };
            match self.judge.admit(&canonical) {
                Ok(()) => {
                    self.found.parts.insert(part);
                }
                Err(Refused::Because(why)) => {
                    let note = format!("{} stays outside: {why}", part.display());
                    if !self.found.notes.contains(&note) {
                        self.found.notes.push(note);
                    }
                }
                Err(Refused::Elsewhere) => {}
            }
        }
        for pattern in brought.secrets {
            self.secrets(&pattern);
        }
        if brought.open {
            self.follow_directory(path);
        }
        true
    }

    /// Hides the files of a pattern that hold a credential.
    fn secrets(&mut self, pattern: &Path) {
        let files = expand(pattern).into_iter().filter(|file| holds_credential(file));
        self.found.secrets.extend(files);
    }
}

impl Toolchains {
    fn take_authorities(&mut self, setting: &Setting<'_>) {
        for name in AUTHORITIES {
            let Some(value) = (setting.variable)(name) else { continue };
            let path = Path::new(&value);
            if path.is_absolute() && path.is_file() {
                if !in_base(path) && !path.starts_with("/etc/ssl") {
                    self.parts.insert(path.to_owned());
                }
                self.variables.insert(name.to_owned(), value);
            }
        }
    }

    /// Sets the variables whose places are seen.
    fn take_variables(&mut self, places: &Places<'_>, workspace: &Path) {
        let seen: Vec<&Path> = self
            .parts
            .iter()
            .map(PathBuf::as_path)
            .chain(self.caches.iter().map(|cache| cache.target.as_path()))
            .collect();
        let mut set: Vec<(&str, String)> = Vec::new();
        let names = variables::HOMES.iter().chain(&variables::PATHS);
        for name in names.chain(&variables::WRITTEN) {
            let Some(path) = places.absolute(name) else { continue };
            if places.home.starts_with(&path) {
                continue;
            }
            let visible = in_base(&path)
                || path.starts_with(workspace)
                || variables::touches(&path, seen.iter().copied());
            let fits = !variables::WRITTEN.contains(name) || path.starts_with(places.home);
            if visible && fits {
                set.push((name, path.to_string_lossy().into_owned()));
            }
        }
        for name in variables::VERSIONS {
            let value = (places.variable)(name).filter(|value| variables::is_version(value));
            set.extend(value.map(|value| (name, value)));
        }
        for name in self.caches.iter().filter_map(|cache| cache.variable) {
            set.extend((places.variable)(name).map(|value| (name, value)));
        }
        self.variables.extend(set.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }

    /// Keeps what exists, and of nested parts only the outermost.
    fn tidy(&mut self) {
        self.parts.retain(|path| fs::metadata(path).is_ok());
        let all = self.parts.clone();
        self.parts.retain(|part| !all.iter().any(|other| part != other && part.starts_with(other)));
        let parts = &self.parts;
        self.secrets.retain(|secret| parts.iter().any(|part| secret.starts_with(part)));
    }

    /// For a tier in which the home is another directory and nothing is copied on writing: what is there
    /// is named, and what would have to be written is the agent's own.
    #[must_use]
    pub fn in_place(mut self, home: &Path) -> Self {
        let caches = self.caches.drain(..).filter_map(|cache| cache.variable);
        for name in caches.chain(variables::WRITTEN) {
            self.variables.remove(name);
        }
        for (name, directory) in variables::BENEATH_HOME {
            let place = home.join(directory);
            if variables::touches(&place, self.parts.iter().map(PathBuf::as_path)) {
                let value = place.to_string_lossy().into_owned();
                self.variables.entry(name.to_owned()).or_insert(value);
            }
        }
        self
    }

    /// The mounts, in order; a part below the workspace is there already.
    pub fn mounts(&self, setting: &Setting<'_>, exec: bool) -> Result<Vec<Mount>, PlanError> {
        let mut mounts = Vec::new();
        for link in self.links.iter().filter(|link| !self.parts.iter().any(|p| link.starts_with(p)))
        {
            let Ok(target) = fs::read_link(link) else { continue };
            let target = target.to_string_lossy().into_owned();
            mounts.push(Mount { target: link.clone(), kind: MountKind::Symlink { target } });
        }
        for part in &self.parts {
            let Ok(source) = fs::canonicalize(part) else { continue };
            mounts.push(bind(&source, part, Access::ReadOnly, true, true)?);
        }
        for secret in &self.secrets {
            mounts.push(Mount { target: secret.clone(), kind: MountKind::Mask });
        }
        for (index, cache) in self.caches.iter().enumerate() {
            mounts.push(overlay(&cache.lower, &cache.target, &setting.run.cache(index), exec)?);
        }
        Ok(mounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_copies_tools_are_named_and_caches_are_the_agents_own() {
        let home = Path::new("/home/a");
        let mut tools = Toolchains::default();
        tools.parts.insert(home.join(".rustup/toolchains"));
        tools.parts.insert(home.join(".pyenv"));
        for (name, value) in [("CARGO_HOME", "/home/a/.cargo"), ("PYENV_ROOT", "/srv/pyenv")] {
            tools.variables.insert(name.to_owned(), value.to_owned());
        }
        let named: Vec<_> = tools.in_place(home).variables.into_iter().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            named,
            [pair("PYENV_ROOT", "/srv/pyenv"), pair("RUSTUP_HOME", "/home/a/.rustup")]
        );
    }
}
