//! What a test needs of the machine: without it the test is skipped, and says so.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where programs are looked for: what a fixture's host has.
const PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Whether a program is there: a name, or an absolute path.
#[must_use]
pub fn installed(program: &str) -> bool {
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return runs(Path::new(program));
    }
    PATH.iter().any(|directory| runs(&Path::new(directory).join(program)))
}

/// Whether programs are there; says that `what` is skipped if not.
///
/// # Panics
/// If one is missing where every part must run.
#[must_use]
pub fn has(what: &str, programs: &[impl AsRef<str>]) -> bool {
    let missing = programs.iter().map(AsRef::as_ref).find(|program| !installed(program));
    if let Some(program) = missing {
        skip(what, &format!("{program} is not installed"));
    }
    missing.is_none()
}

/// Says that a part of a test cannot run here, and why.
///
/// # Panics
/// Where every part must run: if `RINGFENCE_NO_SKIPS` is set.
pub fn skip(what: &str, why: &str) {
    assert!(
        std::env::var_os("RINGFENCE_NO_SKIPS").is_none(),
        "{what} must not be skipped here: {why}"
    );
    // Not `eprintln!`: what it says is hidden when a test passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {why}");
}

/// Ends a test, and says so, where a program that it starts is not installed.
#[macro_export]
macro_rules! needs {
    ($($program:literal),+) => {
        if !$crate::needs::has(concat!(file!(), ":", line!()), &[$($program),+]) {
            return;
        }
    };
}

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
