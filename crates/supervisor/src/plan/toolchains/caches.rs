//! Package caches: seen copy-on-write, so that work goes fast and nothing that an agent puts in
//! reaches the host's own or another run.
//!
//! A cache costs a mount, so only those come in that exist and whose tool is on `PATH`.

use std::fs;
use std::path::{Path, PathBuf};

use super::judge::Judge;
use super::places::{Places, Template};

/// One cache.
struct Cache {
    /// Any of these on `PATH` makes it worth seeing.
    programs: &'static [&'static str],
    /// Where it is.
    at: Template,
}

const fn cache(programs: &'static [&'static str], at: Template) -> Cache {
    Cache { programs, at }
}

const PIP: &[&str] = &["pip", "pip3"];
const NPM: &[&str] = &["npm", "npx"];
const YARN: &[&str] = &["yarn", "yarnpkg"];

const CACHES: &[Cache] = &[
    cache(&["cargo"], &["$CARGO_HOME/registry", "~/.cargo/registry"]),
    cache(&["cargo"], &["$CARGO_HOME/git", "~/.cargo/git"]),
    cache(&["sccache"], &["$SCCACHE_DIR", "$XDG_CACHE_HOME/sccache", "~/.cache/sccache"]),
    cache(&["ccache"], &["$CCACHE_DIR", "$XDG_CACHE_HOME/ccache", "~/.cache/ccache"]),
    cache(NPM, &["$npm_config_cache/_cacache", "$NPM_CONFIG_CACHE/_cacache", "~/.npm/_cacache"]),
    cache(&["pnpm"], &["$XDG_DATA_HOME/pnpm/store", "~/.local/share/pnpm/store"]),
    cache(YARN, &["$YARN_CACHE_FOLDER", "$XDG_CACHE_HOME/yarn", "~/.cache/yarn"]),
    cache(YARN, &["~/.yarn/berry/cache"]),
    cache(
        &["bun"],
        &["$BUN_INSTALL_CACHE_DIR", "$BUN_INSTALL/install/cache", "~/.bun/install/cache"],
    ),
    cache(&["deno"], &["$DENO_DIR", "$XDG_CACHE_HOME/deno", "~/.cache/deno"]),
    cache(PIP, &["$PIP_CACHE_DIR", "$XDG_CACHE_HOME/pip", "~/.cache/pip"]),
    cache(&["uv"], &["$UV_CACHE_DIR", "$XDG_CACHE_HOME/uv", "~/.cache/uv"]),
    cache(&["go"], &["$GOMODCACHE", "$GOPATH/pkg/mod", "~/go/pkg/mod"]),
    cache(&["go"], &["$GOCACHE", "$XDG_CACHE_HOME/go-build", "~/.cache/go-build"]),
    cache(&["mvn", "java"], &["~/.m2/repository"]),
    cache(&["gradle", "java"], &["$GRADLE_USER_HOME/caches", "~/.gradle/caches"]),
    cache(&["gradle", "java"], &["$GRADLE_USER_HOME/wrapper", "~/.gradle/wrapper"]),
    cache(&["dotnet"], &["$NUGET_PACKAGES", "~/.nuget/packages"]),
    cache(&["cabal"], &["$CABAL_DIR/packages", "~/.cabal/packages"]),
];

/// Where a cache is on the host and inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Canonical, on the host.
    pub lower: PathBuf,
    /// Inside.
    pub target: PathBuf,
    /// The variable that must be set inside so that the tool finds it.
    pub variable: Option<&'static str>,
}

/// The caches that are worth a mount.
pub(super) fn find(places: &Places<'_>, judge: &Judge<'_>, path: &[PathBuf]) -> Vec<Seen> {
    let mut found: Vec<Seen> = Vec::new();
    for cache in CACHES {
        let Some(at) = places.resolve(cache.at) else { continue };
        let Ok(lower) = fs::canonicalize(&at.path) else { continue };
        let empty = fs::read_dir(&lower).map_or(true, |mut entries| entries.next().is_none());
        let tool = cache.programs.iter().any(|program| on_path(path, program));
        if empty || !tool || judge.admit(&lower).is_err() {
            continue;
        }
        // The home inside is the sandbox's own, so a tool may write beside its cache there. A cache
        // that was moved out of the home is seen where the tool looks without the variable.
        let stays = at.path.starts_with(places.home);
        let target = if stays { Some(at.path) } else { places.unmoved(cache.at) };
        let Some(target) = target else { continue };
        let nested =
            |other: &Seen| target.starts_with(&other.target) || other.target.starts_with(&target);
        if !found.iter().any(nested) {
            found.push(Seen { lower, target, variable: at.variable.filter(|_| stays) });
        }
    }
    found
}

/// Whether a program is in one of these directories.
pub(super) fn on_path(path: &[PathBuf], program: &str) -> bool {
    path.iter().any(|directory: &PathBuf| Path::is_file(&directory.join(program)))
}
