//! Variables that belong to a toolchain: they come in where what they name is seen inside.
//!
//! Never a variable that may hold a secret: names are listed, values are paths or plain versions.

use std::path::Path;

/// Variables that name the place of an installed toolchain, which then comes in although it is on no
/// `PATH`.
pub(super) const HOMES: [&str; 10] = [
    "JAVA_HOME",
    "JDK_HOME",
    "GOROOT",
    "DOTNET_ROOT",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "M2_HOME",
    "MAVEN_HOME",
    "GRADLE_HOME",
    "ANDROID_HOME",
];

/// Further variables that hold a path and are set if something of it is seen.
pub(super) const PATHS: [&str; 25] = [
    "RUSTUP_HOME",
    "PYENV_ROOT",
    "PYENV_VIRTUALENV_INIT",
    "RBENV_ROOT",
    "NODENV_ROOT",
    "GOENV_ROOT",
    "JENV_ROOT",
    "NVM_DIR",
    "NVM_BIN",
    "NVM_INC",
    "FNM_DIR",
    "VOLTA_HOME",
    "SDKMAN_DIR",
    "SDKMAN_CANDIDATES_DIR",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "RYE_HOME",
    "BUN_INSTALL",
    "DENO_INSTALL",
    "PIPX_HOME",
    "POETRY_HOME",
    "UV_TOOL_DIR",
    "UV_PYTHON_INSTALL_DIR",
    "ANDROID_SDK_ROOT",
];

/// As [`PATHS`], but the tool writes beside what is seen, so the place must be the sandbox's own.
pub(super) const WRITTEN: [&str; 4] = ["CARGO_HOME", "GOPATH", "PNPM_HOME", "GRADLE_USER_HOME"];

/// Where tools look beneath the home when no variable says otherwise, with the variable that does.
pub(super) const BENEATH_HOME: [(&str, &str); 8] = [
    ("RUSTUP_HOME", ".rustup"),
    ("PYENV_ROOT", ".pyenv"),
    ("RBENV_ROOT", ".rbenv"),
    ("NODENV_ROOT", ".nodenv"),
    ("NVM_DIR", ".nvm"),
    ("VOLTA_HOME", ".volta"),
    ("ASDF_DATA_DIR", ".asdf"),
    ("SDKMAN_DIR", ".sdkman"),
];

/// Variables that choose a version.
pub(super) const VERSIONS: [&str; 5] =
    ["RUSTUP_TOOLCHAIN", "PYENV_VERSION", "RBENV_VERSION", "GOTOOLCHAIN", "CONDA_DEFAULT_ENV"];

/// Whether a value is a plain version such as `stable-x86_64` or `3.11.7:3.10.13`.
pub(super) fn is_version(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+:".contains(&b);
    !value.is_empty() && value.len() <= 64 && value.bytes().all(plain)
}

/// Whether `path` lies in one of `seen`, or one of them in it.
pub(super) fn touches<'a>(path: &Path, mut seen: impl Iterator<Item = &'a Path>) -> bool {
    seen.any(|own| path.starts_with(own) || own.starts_with(path))
}
