//! Toolchains of the user, found from `PATH`: the programs come in read-only, the credentials
//! beside them stay out, the package caches are copy-on-write.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Mount, MountKind};

use super::{PlanError, Setting, bind, overlay};
use crate::{program, wrap};

/// One family of tools under the home directory.
struct Family {
    /// A `PATH` entry below this place (relative to the home) belongs to the family.
    marker: &'static str,
    /// What its programs need, relative to the home; each is bound read-only if it exists.
    parts: &'static [&'static str],
    /// Package caches, relative to the home: seen copy-on-write.
    caches: &'static [&'static str],
}

/// The families. No part may hold a credential: `.cargo/bin`, not `.cargo`.
const FAMILIES: [Family; 22] = [
    family(
        ".cargo/bin",
        &[".cargo/bin", ".rustup/toolchains", ".rustup/settings.toml"],
        &[".cargo/registry", ".cargo/git"],
    ),
    family(
        ".local/bin",
        &[".local/bin", ".local/share/uv", ".local/share/pipx", ".local/share/claude"],
        &[],
    ),
    family(".nvm", &[".nvm/versions", ".nvm/alias", ".nvm/nvm.sh"], &[".npm/_cacache"]),
    family(".local/share/fnm", &[".local/share/fnm"], &[".npm/_cacache"]),
    family(".fnm", &[".fnm"], &[".npm/_cacache"]),
    family(".volta", &[".volta/bin", ".volta/tools"], &[".npm/_cacache"]),
    family(".npm-global", &[".npm-global/bin", ".npm-global/lib"], &[".npm/_cacache"]),
    family(".bun", &[".bun/bin", ".bun/install/global"], &[".bun/install/cache"]),
    family(".deno", &[".deno/bin"], &[]),
    family(".pyenv", &[".pyenv"], &[".cache/pip"]),
    family(".asdf", &[".asdf"], &[]),
    family(".local/share/mise", &[".local/share/mise"], &[]),
    family(".sdkman", &[".sdkman/candidates"], &[".m2/repository", ".gradle/caches"]),
    family(".jenv", &[".jenv"], &[]),
    family(".rbenv", &[".rbenv"], &[]),
    family(".dotnet", &[".dotnet"], &[".nuget/packages"]),
    family(".ghcup", &[".ghcup"], &[".cabal/packages"]),
    family("go/bin", &["go/bin"], &["go/pkg/mod"]),
    family(".local/go", &[".local/go"], &["go/pkg/mod"]),
    family("miniconda3", &["miniconda3"], &[]),
    family("anaconda3", &["anaconda3"], &[]),
    family(".local/share/pnpm", &[".local/share/pnpm"], &[]),
];

const fn family(
    marker: &'static str,
    parts: &'static [&'static str],
    caches: &'static [&'static str],
) -> Family {
    Family { marker, parts, caches }
}

/// Programs of the base whose package caches are worth seeing, with those caches.
const BASE_CACHES: [(&str, &[&str]); 4] = [
    ("npm", &[".npm/_cacache"]),
    ("pip3", &[".cache/pip"]),
    ("go", &["go/pkg/mod"]),
    ("mvn", &[".m2/repository"]),
];

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
    caches: BTreeSet<PathBuf>,
    /// Links on the way to the program.
    links: BTreeSet<PathBuf>,
    /// `PATH` inside.
    pub path: String,
    /// Variables that go with what was found.
    pub variables: BTreeMap<String, String>,
}

/// Looks at `PATH`, at the program itself and at the host's certificate settings.
pub fn find(setting: &Setting<'_>, workspace: &Path) -> Toolchains {
    let mut found = Toolchains::default();
    let search = (setting.variable)("PATH").unwrap_or_default();
    let path = found.take_path(&search, setting.home);
    found.take_program(setting, workspace, &path);
    for (program, caches) in BASE_CACHES {
        if ["/usr/local/bin", "/usr/bin"].iter().any(|d| Path::new(d).join(program).exists()) {
            found.caches.extend(caches.iter().map(|cache| setting.home.join(cache)));
        }
    }
    found.path = path.iter().map(|entry| entry.to_string_lossy()).collect::<Vec<_>>().join(":");
    found.take_authorities(setting);
    found.tidy();
    found
}

/// The directories that a run searches for programs, in order: what exists inside of this `PATH`.
pub fn search_path(search: &str, home: &Path) -> Vec<PathBuf> {
    Toolchains::default().take_path(search, home)
}

/// Places that the base already shows.
fn in_base(path: &Path) -> bool {
    ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/nix", "/gnu"]
        .iter()
        .any(|base| path.starts_with(base))
}

impl Toolchains {
    fn take_path(&mut self, search: &str, home: &Path) -> Vec<PathBuf> {
        let mut path = Vec::new();
        for entry in env::split_paths(search).filter(|entry| entry.is_absolute()) {
            if self.take_entry(&entry, home) && !path.contains(&entry) {
                path.push(entry);
            }
        }
        for entry in ["/usr/local/bin", "/usr/bin", "/bin"].map(PathBuf::from) {
            if !path.contains(&entry) {
                path.push(entry);
            }
        }
        path
    }

    /// Whether a `PATH` entry exists inside; binds what it needs.
    fn take_entry(&mut self, entry: &Path, home: &Path) -> bool {
        if in_base(entry) {
            return true;
        }
        // A wrapper would start ringfence inside ringfence; inside, the name is the program itself.
        if wrap::is_wrappers(entry, home) {
            return false;
        }
        let Ok(relative) = entry.strip_prefix(home) else { return false };
        if relative.as_os_str().is_empty() || fs::metadata(entry).is_err() {
            return false;
        }
        match FAMILIES.iter().find(|family| relative.starts_with(family.marker)) {
            Some(family) => {
                self.parts.extend(family.parts.iter().map(|part| home.join(part)));
                self.caches.extend(family.caches.iter().map(|cache| home.join(cache)));
            }
            None => {
                self.parts.insert(entry.to_owned());
            }
        }
        // An npm prefix keeps what its links point at beside `bin`.
        if let Some(prefix) = entry.parent()
            && prefix != home
            && prefix.join("lib/node_modules").is_dir()
        {
            self.parts.insert(prefix.join("lib/node_modules"));
        }
        true
    }

    /// The program that was named on the command line is meant to be seen: the file itself, every
    /// link on the way to it, and the package of a Node program. Never the directory around it, and
    /// never through a link in the workspace: an agent may have left that.
    fn take_program(&mut self, setting: &Setting<'_>, workspace: &Path, path: &[PathBuf]) {
        let Some(program) = setting.argv.first() else { return };
        for here in program::hops(program, setting.cwd, path) {
            if here.starts_with(workspace) {
                return;
            }
            self.take_file(&here, setting.home);
        }
    }

    fn take_file(&mut self, program: &Path, home: &Path) {
        let system = ["/etc", "/proc", "/sys", "/dev", "/run", "/var"];
        let secret = ringfence_policy::is_sensitive(program, home);
        if in_base(program) || secret || system.iter().any(|tree| program.starts_with(tree)) {
            return;
        }
        let package = program
            .ancestors()
            .filter(|ancestor| ancestor.file_name().is_some_and(|name| name == "node_modules"))
            .last();
        if let Some(package) = package {
            self.parts.insert(package.to_owned());
        } else if program.is_symlink() {
            self.links.insert(program.to_owned());
        } else if program.is_file() {
            self.parts.insert(program.to_owned());
        }
    }

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

    /// Keeps what exists, and of nested parts only the outermost.
    fn tidy(&mut self) {
        let exists = |path: &PathBuf| fs::metadata(path).is_ok();
        self.parts.retain(exists);
        self.caches.retain(exists);
        let all = self.parts.clone();
        self.parts.retain(|part| !all.iter().any(|other| part != other && part.starts_with(other)));
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
        for (index, cache) in self.caches.iter().enumerate() {
            let Ok(lower) = fs::canonicalize(cache) else { continue };
            mounts.push(overlay(&lower, cache, &setting.run.cache(index), exec)?);
        }
        Ok(mounts)
    }
}
