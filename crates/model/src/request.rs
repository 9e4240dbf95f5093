//! What is asked of the authority: an action on a resolved resource, with its context.
//!
//! The resource is always the resolved one: the dialled address, the opened file, the name that
//! the gateway itself handed out; never a string that the agent chose to send.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::host::HostName;

/// The verbs that can be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// See a file or directory inside the boundary.
    Read,
    /// Change a file or directory inside the boundary.
    Write,
    /// Look a name up outside, so that it can be dialled.
    Resolve,
    /// Open a connection to an address outside.
    Connect,
    /// Accept connections from the host on a port inside.
    Publish,
    /// See an environment variable of the host.
    Environment,
}

impl Action {
    /// The action's name, as it stands in Cedar and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Publish => "publish",
            Self::Environment => "environment",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Not looked at yet, or the server speaks first.
    Unknown,
    /// A TLS ClientHello.
    Tls,
    /// An HTTP/1 request line or the HTTP/2 preface in clear text.
    Http,
    /// Something else.
    Opaque,
}

/// One end outside the boundary.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Endpoint {
    /// The name that the gateway's DNS gave for the synthetic address that was dialled; `None`
    /// when the agent dialled an address of its own.
    pub name: Option<HostName>,
    /// The name that the connection itself claims (SNI or Host), if any. Permits never rest on it,
    /// forbids do.
    pub claimed: Option<HostName>,
    /// The address that will be dialled; `None` before resolution, or when an upstream proxy
    /// resolves.
    pub address: Option<IpAddr>,
    /// The port that was dialled.
    pub port: u16,
}

impl Endpoint {
    /// The name or address, for people.
    #[must_use]
    pub fn host(&self) -> String {
        match (&self.name, self.address) {
            (Some(name), _) => name.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "unknown".to_owned(),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.address) {
            (None, Some(IpAddr::V6(address))) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host(), self.port),
        }
    }
}

/// What the action is done to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// A canonical absolute path of the host.
    Path(PathBuf),
    /// A place in the network.
    Endpoint(Endpoint),
    /// A TCP port inside the sandbox.
    Port(u16),
    /// The name of an environment variable.
    Variable(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Endpoint(endpoint) => write!(f, "{endpoint}"),
            Self::Port(port) => write!(f, "port {port}"),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Facts beside the resource that rules may look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Context {
    /// What the connection speaks, as far as it is known.
    pub protocol: Protocol,
    /// Whether an open connection is being judged again under a new policy generation.
    pub again: bool,
}

impl Default for Context {
    fn default() -> Self {
        Self { protocol: Protocol::Unknown, again: false }
    }
}

/// One question to the authority. The principal is the run that the link belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Request {
    /// The verb.
    pub action: Action,
    /// Its object.
    pub resource: Resource,
    /// Facts beside it.
    pub context: Context,
}
