//! Policies and questions for tests, without a host.
#![allow(clippy::unwrap_used, clippy::panic)]
#![allow(dead_code)]

use ringfence_authority::Now;
use ringfence_model::request::{Action, Context, Endpoint, Request, Resource};
use ringfence_policy::{
    CommandLine, Compiled, DefinitionText, Facts, Found, FoundKind, Host, Inputs, Unresolved,
    compile,
};
use std::path::Path;

/// Every path exists as it is written.
struct PlainHost;

impl Host for PlainHost {
    fn resolve(&self, path: &Path) -> Result<Found, Unresolved> {
        Ok(Found { path: path.to_owned(), kind: FoundKind::Directory })
    }
}

/// The moment of most questions.
pub const NOW: Now = Now { unix_s: 1_800_000_000, elapsed_ms: 1000 };

/// Compiles a trusted project definition.
pub fn policy(body: &str) -> Compiled {
    let text = format!("version = 1\n{body}\n");
    let facts = Facts {
        home: "/home/ann".into(),
        cwd: "/code/p".into(),
        workspace: "/code/p".into(),
        state: "/home/ann/.local/state/ringfence".into(),
        config: "/home/ann/.config/ringfence".into(),
        binary: "/opt/rf/ringfence".into(),
        memory: 16 << 30,
        now_unix: NOW.unix_s,
    };
    compile(&Inputs {
        organisation: None,
        user: None,
        project: Some(DefinitionText {
            file: Path::new("/code/p/ringfence.toml"),
            bytes: text.as_bytes(),
        }),
        project_trusted: true,
        command_line: &CommandLine::default(),
        facts: &facts,
        host: &PlainHost,
    })
    .unwrap_or_else(|problems| panic!("{problems}"))
}

/// An endpoint: name, claimed name, address.
pub fn endpoint(name: &str, claimed: &str, address: &str, port: u16) -> Endpoint {
    let host = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
    Endpoint {
        name: host(name),
        claimed: host(claimed),
        address: (!address.is_empty()).then(|| address.parse().unwrap()),
        port,
    }
}

/// A question.
pub fn ask(action: Action, resource: Resource) -> Request {
    Request { action, resource, context: Context::default() }
}

/// A connection.
pub fn connect(name: &str, claimed: &str, address: &str, port: u16) -> Request {
    ask(Action::Connect, Resource::Endpoint(endpoint(name, claimed, address, port)))
}
