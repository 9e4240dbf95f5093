//! The container around this process, and the option of its engine that a boundary really lacks.
//!
//! What is forbidden is read from the kernel: the filter and the security label of this very process,
//! and what covers `/proc`. Files and variables only tell which engine to name the option for; they
//! can be anybody's, so they decide nothing.

use std::fs;
use std::path::Path;

/// Whose container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// No sign of one that is known.
    #[default]
    Unknown,
    /// `ringfence`'s own boundary.
    Ringfence,
    /// Docker, or what leaves its mark.
    Docker,
    /// Podman.
    Podman,
    /// A pod of Kubernetes.
    Kubernetes,
    /// LXC, LXD, Incus.
    Lxc,
    /// The container of a GitHub Actions job.
    GithubJob,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Whose it is.
    pub engine: Engine,
    /// The file or variable that says so.
    pub marker: Option<&'static str>,
    /// What is mounted over parts of `/proc`.
    pub masked: Vec<String>,
    /// A system call filter is laid on this process.
    pub filtered: bool,
    /// The AppArmor profile that confines this process.
    pub profile: Option<String>,
    /// The SELinux label of a container on this process.
    pub label: bool,
}

/// What the engine's files and variables say; a test gives its own.
pub trait Signs {
    /// Whether there is something at a path.
    fn exists(&self, path: &str) -> bool;
    /// A variable of this process.
    fn variable(&self, name: &str) -> Option<String>;
    /// The text of a file.
    fn text(&self, path: &str) -> Option<String>;
}

/// The real ones.
pub struct Here;

impl Signs for Here {
    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(path).is_ok()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(Path::new(path))
            .ok()
            .map(|text| text.trim().trim_matches('\0').to_owned())
    }
}

const DOCKER: &str = "/.dockerenv";
const PODMAN: &str = "/run/.containerenv";
const POD: &str = "/var/run/secrets/kubernetes.io";
const MANAGER: &str = "/run/systemd/container";

impl Container {
    /// Looks at this process.
    #[must_use]
    pub fn find() -> Self {
        Self::of(&Here)
    }

    /// Looks at what `signs` show.
    #[must_use]
    pub fn of(signs: &dyn Signs) -> Self {
        let (engine, marker) = engine(signs);
        let status = signs.text("/proc/self/status").unwrap_or_default();
        let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
        let label = signs
            .text("/proc/self/attr/apparmor/current")
            .or_else(|| signs.text("/proc/self/attr/current"))
            .unwrap_or_default();
        let profile = label
            .strip_suffix(" (enforce)")
            .filter(|profile| *profile != "unconfined")
            .map(str::to_owned);
        Self {
            engine,
            marker,
            masked: masked(&signs.text("/proc/self/mountinfo").unwrap_or_default()),
            filtered: mode.is_some_and(|mode| mode.trim() == "2"),
            profile,
            label: label.contains(":container_t:"),
        }
    }

    /// Whether anything shows that this is one.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.engine != Engine::Unknown || !self.masked.is_empty()
    }

    /// The options that take off what is really there: nothing that is permitted already is named.
    #[must_use]
    pub fn mend(&self) -> String {
        match self.engine {
            Engine::Ringfence => {
                "this is inside a boundary of ringfence already: run it outside of that".to_owned()
            }
            Engine::Kubernetes => self.pod(),
            Engine::Lxc => "let the container nest others, on its host:\n  \
                incus config set CONTAINER security.nesting=true (lxc.include = nesting.conf without Incus)"
                .to_owned(),
            Engine::GithubJob => format!(
                "start the job's container with what a boundary is made of:\n  \
                 container:\n    image: IMAGE\n    options: {}{LAST}",
                self.words(Engine::Docker)
            ),
            Engine::Docker => self.run("docker", Engine::Docker),
            Engine::Podman => self.run("podman", Engine::Podman),
            Engine::Unknown => {
                let docker = self.words(Engine::Docker);
                let podman = self.words(Engine::Podman);
                format!("{FIRST}\n  docker run {docker} IMAGE\n  podman run {podman} IMAGE{LAST}")
            }
        }
    }

    fn run(&self, program: &str, engine: Engine) -> String {
        format!("{FIRST}\n  {program} run {} IMAGE{LAST}", self.words(engine))
    }

    /// Without any sign of a restraint all of them are named: something did refuse.
    fn words(&self, engine: Engine) -> String {
        let podman = engine == Engine::Podman;
        let all = !self.filtered && self.profile.is_none() && !self.label && self.masked.is_empty();
        let mut words = Vec::new();
        if all || self.filtered {
            words.push("--security-opt seccomp=unconfined");
        }
        if self.profile.is_some() || (all && !podman) {
            words.push("--security-opt apparmor=unconfined");
        }
        if self.label || (all && podman) {
            words.push("--security-opt label=disable");
        }
        if all || !self.masked.is_empty() {
            words.push(if podman {
                "--security-opt unmask=ALL"
            } else {
                "--security-opt systempaths=unconfined"
            });
        }
        words.join(" ")
    }

    fn pod(&self) -> String {
        let all = !self.filtered && self.profile.is_none() && self.masked.is_empty();
        let mut lines = vec!["permit it in the container's securityContext:".to_owned()];
        if all || self.filtered {
            lines.push("  seccompProfile: {type: Unconfined}".to_owned());
        }
        if all || self.profile.is_some() {
            lines.push("  appArmorProfile: {type: Unconfined}".to_owned());
        }
        if all || !self.masked.is_empty() {
            lines.push("  procMount: Unmasked (with hostUsers: false in the pod)".to_owned());
        }
        lines.join("\n") + LAST
    }
}

const FIRST: &str = "start the container so that it permits what a boundary is made of:";
/// No option of an engine is needed for the weaker tier.
const LAST: &str =
    "\nor, where that cannot be had, take the weaker tier: ringfence run --tier landlock -- AGENT";

fn engine(signs: &dyn Signs) -> (Engine, Option<&'static str>) {
    let manager = signs.text(MANAGER).or_else(|| signs.variable("container")).unwrap_or_default();
    if signs.variable("RINGFENCE_RUN").is_some() && !signs.exists("/run/systemd/system") {
        return (Engine::Ringfence, Some("RINGFENCE_RUN"));
    }
    if signs.exists(POD) || signs.variable("KUBERNETES_SERVICE_HOST").is_some() {
        return (Engine::Kubernetes, Some(POD));
    }
    let docker = signs.exists(DOCKER) || manager == "docker";
    if docker && signs.variable("GITHUB_ACTIONS").as_deref() == Some("true") {
        return (Engine::GithubJob, Some(DOCKER));
    }
    if signs.exists(PODMAN) || manager == "podman" {
        return (Engine::Podman, Some(PODMAN));
    }
    if docker {
        return (Engine::Docker, Some(DOCKER));
    }
    if manager == "lxc" || signs.exists("/dev/.lxc") || signs.exists("/dev/lxd/sock") {
        return (Engine::Lxc, Some(MANAGER));
    }
    (Engine::Unknown, None)
}

/// Mount points beneath `/proc` (proc_pid_mountinfo(5)); the one of `binfmt_misc` hides nothing.
fn masked(table: &str) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| {
            point.starts_with("/proc/") && !point.starts_with("/proc/sys/fs/binfmt_misc")
        })
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests;
