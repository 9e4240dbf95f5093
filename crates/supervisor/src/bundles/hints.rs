//! Which bundle would have permitted a host: what its tool is configured to ask, or would ask by
//! default, as a tool inside does that does not see the configuration.

use std::cell::OnceCell;

use ringfence_model::host::{HostName, Target};
use ringfence_policy::Bundle;

use super::{Look, defaults, hosts};

/// Names and ports that the tool of a bundle asks.
type Known = Vec<(String, u16)>;

/// Hints of one end of a run; each bundle is looked up once, and only if something was denied.
#[derive(Default)]
pub struct Hints([OnceCell<Known>; Bundle::ALL.len()]);

impl Hints {
    /// The bundle of a host.
    pub fn of(&self, name: &HostName, port: u16, look: &Look<'_>) -> Option<Bundle> {
        let mut all = Bundle::ALL.into_iter().zip(&self.0);
        let found = all.find(|(bundle, cell)| {
            let known = cell.get_or_init(|| known(*bundle, look));
            known.iter().any(|(own, at)| own == name.as_str() && *at == port)
        });
        found.map(|(bundle, _)| bundle)
    }
}

fn known(bundle: Bundle, look: &Look<'_>) -> Known {
    let configured = hosts(bundle, look).map(|own| own.hosts).unwrap_or_default();
    let mut all: Known = configured
        .into_iter()
        .filter_map(|host| match host.destination.target {
            Target::Name(pattern) => Some((pattern.to_string(), host.destination.ports.first)),
            Target::Address(_) => None,
        })
        .collect();
    let servers = defaults(bundle, look).unwrap_or_default().list;
    all.extend(servers.into_iter().map(|server| (server.url.host, server.url.port)));
    all
}
