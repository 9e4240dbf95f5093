//! Where the built programs are, and how a test puts a program somewhere.

use std::path::{Path, PathBuf};
use std::process::Command;

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
        "build it with `cargo build -p ringfence`, or name it in RINGFENCE_BIN",
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

/// Copies a program so that it can be started at once.
///
/// A process of its own does the writing. A descriptor open for writing in the test's process is inherited by
/// whatever another test starts at that moment, and until that has called exec, starting the copy fails with
/// "Text file busy" (`ETXTBSY`, execve(2)).
///
/// # Panics
/// If it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("--").args([from, to]).status();
    assert!(done.is_ok_and(|status| status.success()), "cp {} {}", from.display(), to.display());
}

/// Writes a script that can be started at once; see [`copy_program`].
///
/// # Panics
/// If it cannot be written.
pub fn write_script(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("a script's text");
    let done = Command::new("install").args(["-m", "755", "--"]).args([&draft, path]).status();
    assert!(done.is_ok_and(|status| status.success()), "install {}", path.display());
    std::fs::remove_file(draft).expect("the script's draft");
}
