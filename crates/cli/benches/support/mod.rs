//! A host of its own for a benchmark: a home with a secret, projects, places for state; and the
//! arithmetic of medians. It must never use the caller's own definitions, state or home.
#![allow(dead_code, reason = "each benchmark uses its part")]

pub mod terminal;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Variable that names another `ringfence` than the one that cargo built beside the benchmark.
const BINARY: &str = "RINGFENCE_BIN";
/// First argument of a benchmark that was started again to be measured from the inside.
pub const INSIDE: &str = "inside";
/// Content of the file that no boundary may show.
pub const SECRET: &str = "a secret of the host\n";

/// One benchmark's host. Dropping it removes everything.
pub struct Place {
    root: PathBuf,
    binary: PathBuf,
    path: String,
    _directory: TempDir,
}

impl Place {
    /// A fresh host, checked to be one: the program under test hides what it must hide.
    ///
    /// # Panics
    /// If the boundary does not stand: a number for something else would mislead.
    #[must_use]
    pub fn new() -> Self {
        let place = Self::untouched();
        place.check();
        place
    }

    /// A fresh host on which nothing was ever started.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn untouched() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("ringfence-bench-")
            .tempdir()
            .expect("a temporary directory");
        let root = directory.path().canonicalize().expect("canonical");
        let binary = std::env::var_os(BINARY)
            .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ringfence")), PathBuf::from);
        let place = Self {
            binary: binary.canonicalize().expect("the program under test"),
            path: "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin".to_owned(),
            root,
            _directory: directory,
        };
        for name in ["state", "config", "cache", "runtime", "tools", "home/.ssh"] {
            fs::create_dir_all(place.root.join(name)).expect("a directory");
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(place.root.join("runtime"), private).expect("a mode");
        fs::write(place.secret(), SECRET).expect("a secret");
        let own = std::env::current_exe().expect("own path");
        fs::copy(own, place.tool()).expect("a copy of the benchmark");
        place
    }

    fn check(&self) {
        let project = self.project("checked");
        let secret = self.secret();
        let read = |mut command: Command| command.arg(&secret).output().expect("a run");
        let outside = read(self.outside(&project, "cat"));
        assert_eq!(outside.stdout, SECRET.as_bytes(), "the control group");
        let mut contained = self.contained(&project, &[]);
        contained.arg("cat");
        let inside = read(contained);
        assert!(
            !inside.status.success() && inside.stdout.is_empty(),
            "no boundary to be measured: {inside:?}"
        );
    }

    /// A file of the home that holds [`SECRET`].
    #[must_use]
    pub fn secret(&self) -> PathBuf {
        self.root.join("home/.ssh/id_ed25519")
    }

    /// The copy of this benchmark that can be seen inside.
    #[must_use]
    pub fn tool(&self) -> PathBuf {
        self.root.join("tools/bench")
    }

    /// A directory for `PATH` in which the program under test is called `ringfence`.
    ///
    /// # Panics
    /// If the link cannot be made.
    #[must_use]
    pub fn tools_with_the_program(&self) -> PathBuf {
        let tools = self.root.join("tools");
        std::os::unix::fs::symlink(&self.binary, tools.join("ringfence")).expect("a link");
        tools
    }

    /// The directory of all runs' state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state/ringfence")
    }

    /// A project of that name, made when it is not there.
    #[must_use]
    pub fn project(&self, name: &str) -> PathBuf {
        let project = self.root.join("home/work").join(name);
        fs::create_dir_all(&project).expect("a project");
        project
    }

    /// A program outside, in a project, with the environment of this place.
    #[must_use]
    pub fn outside(&self, project: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .env("HOME", self.root.join("home"))
            .env("XDG_STATE_HOME", self.root.join("state"))
            .env("XDG_CONFIG_HOME", self.root.join("config"))
            .env("XDG_CACHE_HOME", self.root.join("cache"))
            .env("XDG_RUNTIME_DIR", self.root.join("runtime"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(project)
            .stdin(Stdio::null());
        command
    }

    /// Another verb of the program under test.
    #[must_use]
    pub fn ringfence(&self, project: &Path) -> Command {
        self.outside(project, &self.binary)
    }

    /// `ringfence run FLAGS --`: what follows is the agent.
    #[must_use]
    pub fn contained(&self, project: &Path, flags: &[&str]) -> Command {
        let mut command = self.ringfence(project);
        command.arg("run").args(flags).arg("--");
        command
    }

    /// This benchmark again, inside.
    #[must_use]
    pub fn contained_self(&self, project: &Path, flags: &[&str]) -> Command {
        let tools = self.root.join("tools");
        let mut all = vec!["--ro", tools.to_str().expect("a plain path")];
        all.extend(flags);
        let mut command = self.contained(project, &all);
        command.arg(self.tool()).arg(INSIDE);
        command
    }
}

/// The arguments after `inside`, if this is the copy that is to be measured.
#[must_use]
pub fn inside() -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == INSIDE).then(|| arguments.collect())
}

/// Runs a copy of the benchmark and reads the durations that it prints: nanoseconds, one a line.
///
/// # Panics
/// If it fails or prints something else.
#[must_use]
pub fn durations(command: &mut Command) -> Vec<Duration> {
    let output = command.output().expect("a start");
    assert!(output.status.success(), "{command:?}: {output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| Duration::from_nanos(line.parse().expect("nanoseconds"))).collect()
}

/// The middle one.
///
/// # Panics
/// Without any.
#[must_use]
pub fn median(times: &[Duration]) -> Duration {
    percentile(times, 50)
}

/// The one that so many in a hundred do not exceed.
///
/// # Panics
/// Without any.
#[must_use]
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Milliseconds, for printing.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What was measured, on what: the first lines of every report.
///
/// # Panics
/// If the program under test does not say its version.
pub fn headline(place: &Place) {
    let version = place.ringfence(&place.project("checked")).arg("--version").output();
    let version = String::from_utf8(version.expect("a version").stdout).expect("text");
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let user = if is_root() { "root" } else { "an ordinary user" };
    println!(
        "{} ({}), Linux {}, {cores} cores, load {}, as {user}",
        version.trim(),
        place.binary.display(),
        kernel.trim(),
        load.split(' ').next().unwrap_or("?"),
    );
}

/// Is this root?
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
