//! Bundles: the hosts behind a name such as `npm`, read from the tools of this host.
//!
//! No host of a registry is written here. What a tool would ask is taken from the user's and the
//! machine's own configuration, else from the installed tool itself; so a company's mirror counts
//! as it counts for the tool. Configuration in the project is a stranger's and is never read for
//! its hosts: a note says that it is there.

mod crates;
mod debian;
mod files;
mod go;
mod hints;
mod inside;
mod maven;
mod npm;
mod pypi;
#[cfg(test)]
mod tests;
mod url;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ringfence_model::address::Cidr;
use ringfence_model::host::Destination;
use ringfence_policy::{Bundle, BundleHost, BundleHosts, NoBundle};

pub use hints::Hints;
pub use inside::{Settings, settings};
use url::{Place, Url};

/// Where to look.
pub struct Look<'a> {
    /// The user's home.
    pub home: &'a Path,
    /// The project, whose own files do not count.
    pub workspace: &'a Path,
    /// The root of the system's own configuration.
    pub root: &'a Path,
    /// Reads one variable of the user's environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Who says that a tool asks a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The installed tool, for want of anything else.
    Tool,
    /// The user's or the machine's configuration.
    Configured,
}

/// One server that a tool asks.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    url: Url,
    /// Such as `~/.npmrc:1`.
    from: String,
    origin: Origin,
    /// The scope of packages that it serves, as npm writes it: `@acme`.
    scope: Option<String>,
}

/// What a tool would ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Servers {
    list: Vec<Server>,
    notes: Vec<String>,
}

impl Servers {
    fn add(&mut self, url: Url, from: impl Into<String>, origin: Origin) {
        self.list.push(Server { url, from: from.into(), origin, scope: None });
    }

    /// Adds the server of a text of configuration; one that is no web address is noted.
    fn configured(&mut self, text: &str, from: &str) {
        match text.parse::<Url>() {
            Ok(url) => self.add(url, from, Origin::Configured),
            Err(why) => self.notes.push(format!("{from} is left out: {why}")),
        }
    }
}

/// Private networks: where a host of the user's own configuration may lead (RFC 1918, RFC 4193).
const PRIVATE: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Hosts of GitHub that a clone, a download of a release and a raw file are served from.
const GITHUB: [&str; 5] = [
    "github.com",
    "codeload.github.com",
    "raw.githubusercontent.com",
    "objects.githubusercontent.com",
    "release-assets.githubusercontent.com",
];

/// The hosts of a bundle.
///
/// # Errors
/// Nothing is known; the answer says what was looked at.
pub fn hosts(bundle: Bundle, look: &Look<'_>) -> Result<BundleHosts, NoBundle> {
    if bundle == Bundle::GithubRead {
        return Ok(github());
    }
    let servers = servers(bundle, look)?;
    let mut own = BundleHosts { hosts: Vec::new(), notes: servers.notes };
    for server in &servers.list {
        match host(server) {
            Ok(host) if own.hosts.iter().any(|o| o.destination == host.destination) => {}
            Ok(host) => own.hosts.push(host),
            Err(why) => own.notes.push(format!("{} is left out: {why}", server.from)),
        }
    }
    if own.hosts.is_empty() {
        let why = if own.notes.is_empty() {
            "no server is configured".to_owned()
        } else {
            own.notes.join("; ")
        };
        return Err(NoBundle { why, fix: "name the host in `allow`".to_owned() });
    }
    Ok(own)
}

fn servers(bundle: Bundle, look: &Look<'_>) -> Result<Servers, NoBundle> {
    match bundle {
        Bundle::Npm => npm::servers(look),
        Bundle::Pypi => pypi::servers(look),
        Bundle::Crates => crates::servers(look),
        Bundle::Debian => debian::servers(look),
        Bundle::Go => go::servers(look),
        Bundle::Maven => maven::servers(look),
        Bundle::GithubRead => Ok(Servers::default()),
    }
}

fn github() -> BundleHosts {
    let hosts = GITHUB.iter().filter_map(|name| {
        let destination = name.parse::<Destination>().ok()?;
        Some(BundleHost { destination, addresses: Vec::new(), from: "ringfence".to_owned() })
    });
    BundleHosts { hosts: hosts.collect(), notes: Vec::new() }
}

/// The destination of a server, as it is named inside.
fn host(server: &Server) -> Result<BundleHost, String> {
    let port = server.url.port;
    let (text, private) = match server.url.place() {
        Place::Loopback => (format!("{}:{port}", ringfence_model::host::HOST_LOOPBACK_NAME), false),
        Place::OtherLoopback(address) => {
            return Err(format!(
                "{address} is a loopback address other than 127.0.0.1, which leads nowhere inside"
            ));
        }
        Place::Address(IpAddr::V6(address)) => (format!("[{address}]:{port}"), false),
        Place::Address(IpAddr::V4(address)) => (format!("{address}:{port}"), false),
        Place::Name(name) => (format!("{name}:{port}"), server.origin == Origin::Configured),
    };
    let destination = text.parse::<Destination>().map_err(|error| error.to_string())?;
    let ranges = PRIVATE.iter().filter(|_| private).filter_map(|range| range.parse::<Cidr>().ok());
    Ok(BundleHost { destination, addresses: ranges.collect(), from: server.from.clone() })
}

/// What a tool would ask without any configuration.
fn defaults(bundle: Bundle, look: &Look<'_>) -> Option<Servers> {
    match bundle {
        Bundle::Npm => npm::default(look),
        Bundle::Pypi => pypi::default(look),
        Bundle::Go => go::default(look),
        Bundle::Crates => crates::default(look),
        Bundle::Maven | Bundle::Debian | Bundle::GithubRead => None,
    }
}

impl Look<'_> {
    fn at(&self, path: &str) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => self.root.join(path.trim_start_matches('/')),
        }
    }

    /// `$XDG_CONFIG_HOME`, or its default.
    fn config(&self) -> PathBuf {
        let set = (self.variable)("XDG_CONFIG_HOME").map(PathBuf::from);
        set.filter(|path| path.is_absolute()).unwrap_or_else(|| self.home.join(".config"))
    }

    /// A variable that names an absolute path.
    fn place(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// A path as a person writes it.
    fn words(&self, path: &Path) -> String {
        match path.strip_prefix(self.home) {
            Ok(rest) => format!("~/{}", rest.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// A text of settings. One that lies in the workspace, by whatever link, does not count: an
    /// agent could have written it.
    fn read(&self, path: &Path) -> Option<String> {
        let canonical = std::fs::canonicalize(path).ok()?;
        (!canonical.starts_with(self.workspace)).then(|| files::read(&canonical)).flatten()
    }

    /// The files that a program of `PATH` stands for, links followed, nearest first. What lies in
    /// the workspace is no tool of the user's.
    fn programs(&self, name: &str) -> Vec<PathBuf> {
        let path = (self.variable)("PATH").unwrap_or_default();
        std::env::split_paths(&path)
            .filter(|entry| entry.is_absolute())
            .filter_map(|entry| std::fs::canonicalize(entry.join(name)).ok())
            .filter(|program| program.is_file() && !program.starts_with(self.workspace))
            .collect()
    }
}
