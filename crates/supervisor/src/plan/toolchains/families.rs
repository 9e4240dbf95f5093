//! The families of tools, as data: where each lives, what of it its programs need, which of its
//! files may hold a secret. No part may hold a credential: `.cargo/bin`, not `.cargo`.

use std::path::{Path, PathBuf};

use super::places::{Places, Template};

/// One family of tools.
pub(super) struct Family {
    /// Where it lives; a variable may have moved it.
    at: Template,
    /// A `PATH` entry at or below this place of it belongs to the family.
    marker: &'static str,
    /// What its programs need; relative ones lie below `at`.
    parts: &'static [Template],
    /// Files below `at` that hide when they hold a secret; `*` stands for one name.
    secrets: &'static [&'static str],
}

const fn family(
    at: Template,
    marker: &'static str,
    parts: &'static [Template],
    secrets: &'static [&'static str],
) -> Family {
    Family { at, marker, parts, secrets }
}

const ANDROID: &[Template] = &[
    &["platform-tools"],
    &["platforms"],
    &["build-tools"],
    &["cmdline-tools"],
    &["tools"],
    &["emulator"],
    &["ndk"],
    &["cmake"],
    &["licenses"],
];

/// `corefx` beside them holds private keys.
const DOTNET: &[Template] = &[
    &["dotnet"],
    &["host"],
    &["sdk"],
    &["shared"],
    &["packs"],
    &["templates"],
    &["sdk-manifests"],
    &["metadata"],
    &["tools"],
];

/// `credentials` beside uv's own directories holds logins.
const LOCAL: &[Template] = &[
    &["bin"],
    &["lib"],
    &["$UV_PYTHON_INSTALL_DIR", "$XDG_DATA_HOME/uv/python", "~/.local/share/uv/python"],
    &["$UV_TOOL_DIR", "$XDG_DATA_HOME/uv/tools", "~/.local/share/uv/tools"],
    &["$PIPX_HOME/venvs", "~/.local/share/pipx/venvs"],
    &["~/.local/share/pipx/shared"],
    &["~/.local/pipx/venvs"],
    &["$POETRY_HOME/venv", "~/.local/share/pypoetry/venv"],
    &["~/.local/share/claude"],
];

/// The families.
const FAMILIES: &[Family] = &[
    family(
        &["$CARGO_HOME", "~/.cargo"],
        "bin",
        &[
            &["bin"],
            &["$RUSTUP_HOME/toolchains", "~/.rustup/toolchains"],
            &["$RUSTUP_HOME/settings.toml", "~/.rustup/settings.toml"],
        ],
        &[],
    ),
    family(
        &["~/.local"],
        "bin",
        LOCAL,
        &["share/uv/tools/*/pip.conf", "share/pipx/venvs/*/pip.conf"],
    ),
    family(
        &["$UV_PYTHON_INSTALL_DIR", "$XDG_DATA_HOME/uv/python", "~/.local/share/uv/python"],
        "",
        &[&[""]],
        &[],
    ),
    family(
        &["$NVM_DIR", "~/.nvm"],
        "",
        &[&["versions"], &["alias"], &["nvm.sh"], &["nvm-exec"]],
        &["versions/node/*/etc/npmrc"],
    ),
    family(
        &["$FNM_DIR", "$XDG_DATA_HOME/fnm", "~/.local/share/fnm"],
        "",
        &[&["node-versions"], &["aliases"]],
        &["node-versions/*/installation/etc/npmrc"],
    ),
    family(
        &["~/.fnm"],
        "",
        &[&["node-versions"], &["aliases"]],
        &["node-versions/*/installation/etc/npmrc"],
    ),
    family(
        &["$VOLTA_HOME", "~/.volta"],
        "",
        &[&["bin"], &["tools"], &["layout.v3"], &["layout.v4"]],
        &["tools/image/node/*/etc/npmrc"],
    ),
    family(&["~/.npm-global"], "", &[&["bin"], &["lib"]], &[]),
    family(&["$BUN_INSTALL", "~/.bun"], "", &[&["bin"], &["install/global"]], &[]),
    family(&["$DENO_INSTALL", "~/.deno"], "", &[&["bin"]], &[]),
    family(
        &["$PYENV_ROOT", "~/.pyenv"],
        "",
        &[&[""]],
        &["versions/*/pip.conf", "versions/*/envs/*/pip.conf"],
    ),
    family(&["$RYE_HOME", "~/.rye"], "", &[&["shims"], &["self"], &["py"], &["tools"]], &[]),
    family(
        &["$ASDF_DATA_DIR", "$ASDF_DIR", "~/.asdf"],
        "",
        &[&[""]],
        &["installs/*/*/etc/npmrc", "installs/*/*/conf/settings.xml", "installs/*/*/pip.conf"],
    ),
    family(
        &["$MISE_DATA_DIR", "$XDG_DATA_HOME/mise", "~/.local/share/mise"],
        "",
        &[&["installs"], &["shims"], &["plugins"]],
        &["installs/*/*/etc/npmrc", "installs/*/*/conf/settings.xml", "installs/*/*/pip.conf"],
    ),
    family(
        &["$SDKMAN_DIR", "~/.sdkman"],
        "",
        &[&["candidates"], &["libexec"]],
        &["candidates/maven/*/conf/settings.xml", "candidates/gradle/*/gradle.properties"],
    ),
    family(&["$JENV_ROOT", "~/.jenv"], "", &[&[""]], &[]),
    family(&["$RBENV_ROOT", "~/.rbenv"], "", &[&[""]], &[]),
    family(&["$NODENV_ROOT", "~/.nodenv"], "", &[&[""]], &["versions/*/etc/npmrc"]),
    family(&["$GOENV_ROOT", "~/.goenv"], "", &[&[""]], &[]),
    family(&["$DOTNET_ROOT", "~/.dotnet"], "", DOTNET, &[]),
    family(
        &["$GHCUP_INSTALL_BASE_PREFIX/.ghcup", "~/.ghcup"],
        "",
        &[&["bin"], &["ghc"], &["hls"], &["share"]],
        &[],
    ),
    family(&["$GOPATH", "~/go"], "bin", &[&["bin"]], &[]),
    family(&["$PNPM_HOME", "$XDG_DATA_HOME/pnpm", "~/.local/share/pnpm"], "", &[&[""]], &[]),
    family(&["$ANDROID_HOME", "$ANDROID_SDK_ROOT", "~/Android/Sdk"], "", ANDROID, &[]),
    family(&["$POETRY_HOME", "~/.local/share/pypoetry"], "", &[&["bin"], &["venv"]], &[]),
    family(&["~/.proto"], "", &[&["bin"], &["shims"], &["tools"]], &[]),
];

/// What a family brings in.
pub(super) struct Brought {
    /// What its programs need; not all of it exists.
    pub parts: Vec<PathBuf>,
    /// Files that hide when they hold a secret.
    pub secrets: Vec<PathBuf>,
    /// Whether links and scripts in the directory may lead elsewhere.
    pub open: bool,
}

/// The family that `path` belongs to.
pub(super) fn find(path: &Path, places: &Places<'_>) -> Option<Brought> {
    // A variable moves what a tool writes; what `PATH` names may still be at the usual place.
    let (root, family) = FAMILIES.iter().find_map(|family| {
        let moved = places.resolve(family.at).map(|found| found.path);
        let mut roots = [moved, places.unmoved(family.at)].into_iter().flatten();
        let root = roots.find(|root| path.starts_with(root.join(family.marker)))?;
        Some((root, family))
    })?;
    let at = |part: &Template| match part {
        [""] => Some(root.clone()),
        [one] if !one.starts_with(['$', '~']) => Some(root.join(one)),
        _ => places.resolve(part).map(|found| found.path),
    };
    Some(Brought {
        parts: family.parts.iter().filter_map(at).collect(),
        secrets: family.secrets.iter().map(|pattern| root.join(pattern)).collect(),
        open: family.marker == "bin",
    })
}
