//! Judging paths against the host: what may be granted, what may be a workspace, what stays hidden.
//!
//! Everything is judged on the canonical path; the text as written only ever makes a rule narrower.

use ringfence_model::boundary::Access;
use ringfence_model::provenance::{Layer, Source};
use std::path::{Component, Path, PathBuf};

use crate::compiled::{FileRule, Mask};
use crate::error::Fault;
use crate::host::{Facts, FoundKind, Host, Unresolved};
use crate::sensitive::{Base, SENSITIVE, Sensitive};

/// Directories that are never granted as a whole, nor a workspace.
const WHOLE: &[&str] = &[
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt",
    "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib",
    "/var/log", "/var/run", "/var/tmp",
];
/// Trees of which nothing is granted: they are the kernel's, and lead around the boundary.
const KERNEL: &[&str] = &["/proc", "/sys", "/dev"];
/// Trees of which nothing may be changed: the host runs what lies there.
const SYSTEM: &[&str] = &["/bin", "/boot", "/etc", "/lib", "/lib64", "/sbin", "/usr", "/var/spool"];
/// Trees that hold no workspace; `/usr/src` and a service's home below `/var/lib` may.
const NO_PROJECT: &[&str] = &[
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib64",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/sbin",
    "/usr/share",
    "/var/spool",
];

/// A sensitive place on this host: as the table names it, and where that leads.
struct Place {
    row: &'static Sensitive,
    literal: PathBuf,
    resolved: Option<PathBuf>,
}

impl Place {
    /// Whether `path` is the place or lies in it.
    fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.literal)
            || self.resolved.as_ref().is_some_and(|own| path.starts_with(own))
    }
}

/// What a grant resolved to.
pub(crate) struct Judged {
    pub path: PathBuf,
    /// In words, when it is dangerous and was named exactly.
    pub risk: Option<String>,
}

/// Judges the paths of one start.
pub(crate) struct Judge<'a> {
    facts: &'a Facts,
    host: &'a dyn Host,
    /// Files and directories that the agent must never change, with their names in words.
    own: Vec<(PathBuf, &'static str)>,
    places: Vec<Place>,
}

impl<'a> Judge<'a> {
    /// `files` are the definitions in use.
    pub fn new(facts: &'a Facts, host: &'a dyn Host, files: &[&Path]) -> Self {
        let mut own = vec![
            (facts.state.clone(), "ringfence's records and keys"),
            (facts.config.clone(), "your own policy and trust records"),
            (facts.binary.clone(), "ringfence itself"),
        ];
        for file in files {
            let path = match host.resolve(file) {
                Ok(found) => found.path,
                Err(_) => (*file).to_owned(),
            };
            own.push((path, "the definition in use"));
        }
        Self { facts, host, own, places: Vec::new() }
    }

    /// The hosts of a bundle.
    pub fn bundle(&self, bundle: crate::Bundle) -> Result<crate::BundleHosts, crate::NoBundle> {
        self.host.bundle(bundle)
    }

    /// Resolving the table costs a system call per row, so it is done for the first grant only.
    fn places(&mut self) -> &[Place] {
        if self.places.is_empty() {
            for row in SENSITIVE {
                let literal = match row.base {
                    Base::Home => self.facts.home.join(row.path),
                    Base::Root => Path::new("/").join(row.path),
                };
                let resolved = self.host.resolve(&literal).ok().map(|found| found.path);
                let resolved = resolved.filter(|path| *path != literal);
                self.places.push(Place { row, literal, resolved });
            }
        }
        &self.places
    }

    /// The absolute form of a text: `~/` is the home, relative texts start from `base`.
    fn absolute(&self, text: &str, base: Option<&Path>) -> Result<PathBuf, Fault> {
        let nothing = |why: &str, instead: &str| Fault::MatchesNothing {
            what: text.to_owned(),
            why: why.to_owned(),
            instead: instead.to_owned(),
        };
        let path = if text == "~" {
            self.facts.home.clone()
        } else if let Some(rest) = text.strip_prefix("~/") {
            self.facts.home.join(rest.trim_start_matches('/'))
        } else if text.starts_with('~') {
            return Err(nothing("`~name` is not read", "write the whole path"));
        } else if text.starts_with('/') {
            PathBuf::from(text)
        } else {
            let base = base.ok_or_else(|| {
                nothing("a path here begins with `/` or `~/`", "write the whole path")
            })?;
            base.join(text)
        };
        if text.contains("/~") {
            return Err(nothing("`~` is a plain name in the middle of a path", "begin with `~/`"));
        }
        Ok(path)
    }

    /// Judges a grant; `None` means a profile names something that this host does not have.
    pub fn grant(
        &mut self,
        text: &str,
        access: Access,
        layer: Layer,
        base: Option<&Path>,
    ) -> Result<Option<Judged>, Fault> {
        let written = self.absolute(text, base)?;
        let found = match self.host.resolve(&written) {
            Ok(found) => found,
            Err(Unresolved::Missing) if matches!(layer, Layer::Profile | Layer::BuiltIn) => {
                return Ok(None);
            }
            Err(Unresolved::Missing) => return Err(Fault::NoSuchPath(text.to_owned())),
            Err(Unresolved::Refused(cause)) => {
                return Err(Fault::Unreadable { path: text.to_owned(), cause });
            }
        };
        self.broad(&found.path, text, access)?;
        let what = match found.kind {
            FoundKind::Socket => Some("a socket of the host"),
            FoundKind::Other => Some("a device or a pipe of the host"),
            FoundKind::Directory | FoundKind::File => None,
        };
        if let Some(what) = what {
            return Err(Fault::Handle { path: text.to_owned(), what: what.to_owned() });
        }
        self.holds_own(&found.path, text, access)?;
        let exact = lexical(&written) == found.path;
        let risk = self.sensitive(&found.path, text, layer, exact)?;
        Ok(Some(Judged { path: found.path, risk }))
    }

    fn broad(&self, path: &Path, text: &str, access: Access) -> Result<(), Fault> {
        let too_broad = |why: &str| {
            Err(Fault::OverBroad {
                what: text.to_owned(),
                why: why.to_owned(),
                instead: "grant the one directory that is needed".to_owned(),
            })
        };
        if self.facts.home == path {
            return too_broad("it is the whole home directory");
        }
        if self.facts.home.starts_with(path) {
            return too_broad("the home directory lies in it");
        }
        if WHOLE.iter().any(|whole| path == Path::new(whole)) {
            return too_broad("it is a directory of the whole system");
        }
        if KERNEL.iter().any(|tree| path.starts_with(tree)) {
            return too_broad("the kernel's files lead around the boundary");
        }
        if access == Access::ReadWrite && SYSTEM.iter().any(|tree| path.starts_with(tree)) {
            return too_broad("the host runs programs from it, so it may only be read");
        }
        Ok(())
    }

    fn holds_own(&self, path: &Path, text: &str, access: Access) -> Result<(), Fault> {
        let text = text.to_owned();
        if access == Access::ReadWrite {
            let related = |own: &Path| own.starts_with(path) || path.starts_with(own);
            if let Some((_, what)) = self.own.iter().find(|(own, _)| related(own)) {
                return Err(Fault::HoldsOwn { path: text, what: (*what).to_owned() });
            }
            if related(&self.facts.workspace) {
                return Err(Fault::Conflict {
                    what: text,
                    why: "the workspace lies in it or it lies in the workspace; what may be \
                          changed there is said by `mode` under [workspace]"
                        .to_owned(),
                });
            }
        } else if path.starts_with(&self.facts.state) || path.starts_with(&self.facts.config) {
            return Err(Fault::Sensitive {
                path: text,
                why: "ringfence's own records".to_owned(),
                instead: "remove it; there is no setting that opens it".to_owned(),
            });
        }
        Ok(())
    }

    fn sensitive(
        &mut self,
        path: &Path,
        text: &str,
        layer: Layer,
        exact: bool,
    ) -> Result<Option<String>, Fault> {
        let Some(place) = self.places().iter().find(|place| place.holds(path)) else {
            return Ok(None);
        };
        let row = place.row;
        if row.handle {
            return Err(Fault::Handle { path: text.to_owned(), what: row.why.to_owned() });
        }
        let person = matches!(layer, Layer::User | Layer::CommandLine);
        if person && exact {
            return Ok(Some(format!("the agent sees {} ({})", path.display(), row.why)));
        }
        let instead = if person {
            format!("name the very path if you mean it: {}", path.display())
        } else {
            "remove it; only the person who starts the run can open it, with --ro".to_owned()
        };
        Err(Fault::Sensitive { path: text.to_owned(), why: row.why.to_owned(), instead })
    }

    /// Judges the workspace.
    pub fn workspace(&mut self) -> Result<(), Fault> {
        let facts = self.facts;
        let root = facts.workspace.as_path();
        let refuse = |why: &str| {
            Err(Fault::Workspace { path: root.display().to_string(), why: why.to_owned() })
        };
        if facts.home == root {
            return refuse("it is your home directory");
        }
        if facts.home.starts_with(root) {
            return refuse("your home directory lies in it");
        }
        if WHOLE.iter().any(|whole| root == Path::new(whole)) {
            return refuse("it is a directory of the whole system");
        }
        if KERNEL.iter().chain(NO_PROJECT).any(|tree| root.starts_with(tree)) {
            return refuse("the host's own files lie in it");
        }
        let related = |own: &Path| own.starts_with(root) || root.starts_with(own);
        if related(&facts.state) || related(&facts.config) {
            return refuse("ringfence keeps its own records and settings there");
        }
        match self.places().iter().find(|place| place.holds(root)) {
            Some(place) => refuse(place.row.why),
            None => Ok(()),
        }
    }

    /// Whether the running binary lies in the workspace.
    pub fn workspace_holds_binary(&self) -> bool {
        self.facts.binary.starts_with(&self.facts.workspace)
    }

    /// Sensitive places and ringfence's own directories that lie below a grant or the workspace and
    /// were not granted by themselves.
    pub fn masks(&mut self, grants: &[FileRule]) -> Vec<Mask> {
        let facts = self.facts;
        let mut hidden: Vec<(PathBuf, &'static str)> = Vec::new();
        for place in self.places() {
            let literal = std::iter::once(&place.literal);
            hidden.extend(literal.chain(&place.resolved).map(|path| (path.clone(), place.row.why)));
        }
        hidden.push((facts.state.clone(), "ringfence's records and keys"));
        hidden.push((facts.config.clone(), "your own policy and trust records"));
        let below = |path: &Path| {
            path.starts_with(&facts.workspace)
                || grants.iter().any(|grant| path != grant.path && path.starts_with(&grant.path))
        };
        let named = |path: &Path| grants.iter().any(|grant| grant.path.starts_with(path));
        hidden.retain(|(path, _)| below(path) && !named(path));
        hidden.sort();
        hidden.dedup_by(|a, b| a.0 == b.0);
        let masks = hidden.into_iter().enumerate().map(|(index, (path, why))| Mask {
            id: format!("built-in.mask.{}", index + 1),
            path,
            why: why.to_owned(),
            source: Source::built_in("sensitive places stay hidden below a grant"),
        });
        masks.collect()
    }
}

/// A path without `.` and trailing slashes; with `..` it is left alone, so it equals no canonical
/// path and counts as not exact.
fn lexical(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
