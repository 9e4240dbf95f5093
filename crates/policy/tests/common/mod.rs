//! A host in memory and short ways to compile. No file of the real host is looked at.
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(dead_code)]

use ringfence_policy::{
    Bundle, BundleHost, BundleHosts, CommandLine, Compiled, DefinitionText, Facts, Found,
    FoundKind, Host, Inputs, NoBundle, Problems, Unresolved, compile,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Paths that exist, with what they lead to.
pub struct FakeHost(BTreeMap<PathBuf, (PathBuf, FoundKind)>);

impl FakeHost {
    pub fn new() -> Self {
        let mut own = Self(BTreeMap::new());
        for dir in [
            "/",
            "/etc",
            "/etc/ringfence",
            "/proc",
            "/proc/1",
            "/sys",
            "/dev",
            "/root",
            "/home",
            "/home/ann",
            "/usr",
            "/usr/lib",
            "/tmp",
            "/srv",
            "/srv/data",
            "/home/ann/out",
            "/home/ann/datasets",
            "/home/ann/.ssh",
            "/home/ann/.aws",
            "/home/ann/.config",
            "/home/ann/.config/gh",
            "/home/ann/.config/ringfence",
            "/home/ann/.local/share",
            "/home/ann/.local/state/ringfence",
            "/home/ann/.local/state",
            "/code/p",
            "/code/p/sub",
            "/code",
            "/code/sibling",
            "/run/user/1000",
            "/opt/rf",
        ] {
            own.add(dir, dir, FoundKind::Directory);
        }
        own.add("/home/ann/.netrc", "/home/ann/.netrc", FoundKind::File);
        own.add("/run/docker.sock", "/run/docker.sock", FoundKind::Socket);
        own.add("/var/run/docker.sock", "/run/docker.sock", FoundKind::Socket);
        own.add("/srv/other.sock", "/srv/other.sock", FoundKind::Socket);
        own.add("/srv/pipe", "/srv/pipe", FoundKind::Other);
        own.add("/code/link-to-ssh", "/home/ann/.ssh", FoundKind::Directory);
        own.add("/code/link-to-home", "/home/ann", FoundKind::Directory);
        own
    }

    pub fn add(&mut self, path: &str, canonical: &str, kind: FoundKind) {
        self.0.insert(path.into(), (canonical.into(), kind));
    }
}

impl Host for FakeHost {
    fn resolve(&self, path: &Path) -> Result<Found, Unresolved> {
        let (path, kind) = self.0.get(path).cloned().ok_or(Unresolved::Missing)?;
        Ok(Found { path, kind })
    }

    /// npm asks a mirror; no other tool is installed.
    fn bundle(&self, bundle: Bundle) -> Result<BundleHosts, NoBundle> {
        let host = |text: &str, from: &str, addresses: &[&str]| BundleHost {
            destination: text.parse().unwrap(),
            addresses: addresses.iter().map(|range| range.parse().unwrap()).collect(),
            from: from.to_owned(),
        };
        match bundle {
            Bundle::Npm => Ok(BundleHosts {
                hosts: vec![
                    host("registry.corp.test", "~/.npmrc:1", &["10.0.0.0/8"]),
                    host("127.0.0.9:80", "~/.npmrc:2", &[]),
                ],
                notes: vec!["a note".to_owned()],
            }),
            Bundle::Pypi => Ok(BundleHosts {
                hosts: vec![host("169.254.169.254:80", "~/.config/pip/pip.conf:2", &[])],
                notes: Vec::new(),
            }),
            other => {
                Err(NoBundle { why: format!("no {other} here"), fix: "install it".to_owned() })
            }
        }
    }
}

pub fn facts() -> Facts {
    Facts {
        home: "/home/ann".into(),
        cwd: "/code/p".into(),
        workspace: "/code/p".into(),
        state: "/home/ann/.local/state/ringfence".into(),
        config: "/home/ann/.config/ringfence".into(),
        binary: "/opt/rf/ringfence".into(),
        memory: 16 << 30,
        now_unix: 1_800_000_000,
    }
}

/// Layers as texts; empty texts are absent files.
#[derive(Default)]
pub struct Layers<'a> {
    pub organisation: &'a str,
    pub user: &'a str,
    pub project: &'a str,
    pub trusted: bool,
    pub command: CommandLine,
    pub facts: Option<Facts>,
    pub host: Option<FakeHost>,
}

impl Layers<'_> {
    pub fn compile(&self) -> Result<Compiled, Problems> {
        let text = |file: &'static str, text: &'static str| {
            (!text.is_empty())
                .then_some(DefinitionText { file: Path::new(file), bytes: text.as_bytes() })
        };
        // The texts are leaked so that calls stay short; a test process is short-lived.
        let keep = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let made = FakeHost::new();
        let facts = self.facts.clone().unwrap_or_else(facts);
        compile(&Inputs {
            organisation: text("/etc/ringfence/policy.toml", keep(self.organisation)),
            user: text("/home/ann/.config/ringfence/policy.toml", keep(self.user)),
            project: text("/code/p/ringfence.toml", keep(self.project)),
            project_trusted: self.trusted,
            command_line: &self.command,
            facts: &facts,
            host: self.host.as_ref().unwrap_or(&made),
        })
    }

    pub fn problems(&self) -> String {
        match self.compile() {
            Ok(_) => "no problem".to_owned(),
            Err(problems) => problems.to_string(),
        }
    }
}

/// A trusted project alone.
pub fn project(body: &str) -> Result<Compiled, Problems> {
    Layers { project: &format!("version = 1\n{body}\n"), trusted: true, ..Layers::default() }
        .compile()
}

/// A user's policy alone.
pub fn user(body: &str) -> Result<Compiled, Problems> {
    Layers { user: &format!("version = 1\n{body}\n"), ..Layers::default() }.compile()
}

/// What a project's definition is refused for.
pub fn refused(body: &str) -> String {
    match project(body) {
        Ok(_) => panic!("accepted: {body}"),
        Err(problems) => problems.to_string(),
    }
}
