//! Where the built programs are.

use std::path::PathBuf;

/// Variable that names another `ringfence`.
const OVERRIDE: &str = "RINGFENCE_BIN";

/// The directory that cargo built into: `…/debug` for `…/debug/deps/test-0123`.
fn built() -> PathBuf {
    let own = std::env::current_exe().expect("the test's own path");
    let directory = own.parent().expect("the test's directory");
    if directory.ends_with("deps") || directory.ends_with("examples") {
        directory.parent().expect("the build directory").to_owned()
    } else {
        directory.to_owned()
    }
}

fn existing(path: PathBuf, mend: &str) -> PathBuf {
    assert!(path.is_file(), "there is no program at {}: {mend}", path.display());
    path.canonicalize().expect("a canonical path")
}

/// The `ringfence` under test.
///
/// # Panics
/// If it was not built: a suite that cannot find its subject must not pass.
#[must_use]
pub fn ringfence() -> PathBuf {
    let named = std::env::var_os(OVERRIDE).map(PathBuf::from);
    existing(
        named.unwrap_or_else(|| built().join("ringfence")),
        "build it with `cargo build -p ringfence-cli`, or name it in RINGFENCE_BIN",
    )
}

/// The directory of `ringfence-attack`, the program of raw system calls.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn attack_directory() -> PathBuf {
    let program = existing(
        built().join("ringfence-attack"),
        "build it with `cargo build -p ringfence-contained-tests`",
    );
    program.parent().expect("a directory").to_owned()
}
