//! Names outside, as the host itself resolves them: hosts file, then its name servers.
//!
//! Called only for names that the authority allowed. It judges no address; every address it
//! returns is judged before it is dialled.

mod files;
mod stub;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringfence_model::host::HostName;
use tokio::time::Instant;

use crate::dns::reply::Reply;
use crate::limits::{CACHE_LONGEST, CACHE_NAMES, CACHE_NEGATIVE};
use files::Files;

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name servers say so.
    #[error("{0} does not exist outside")]
    NoName(HostName),
    /// The name is there, without an address.
    #[error("{0} has no address")]
    NoAddress(HostName),
    /// No name server gave a usable answer.
    #[error("the name server failed for {name}: {what}")]
    Failed {
        /// The name.
        name: HostName,
        /// The last failure.
        what: String,
    },
}

type Known = Result<Rc<[IpAddr]>, ResolveError>;

/// The resolver.
pub(crate) struct Resolver {
    fixed: Option<SocketAddr>,
    files: RefCell<Files>,
    cache: RefCell<HashMap<HostName, (Instant, Known)>>,
}

impl Resolver {
    pub(crate) fn new(fixed: Option<SocketAddr>) -> Self {
        Self { fixed, files: RefCell::new(Files::default()), cache: RefCell::default() }
    }

    /// The addresses of `name`, IPv6 and IPv4 alternating.
    pub(crate) async fn look_up(&self, name: &HostName) -> Known {
        let (settings, own) = {
            let mut files = self.files.borrow_mut();
            if files.refresh() {
                self.cache.borrow_mut().clear();
            }
            (files.settings(), files.hosts(name))
        };
        if let Some(addresses) = own {
            return Ok(addresses.into());
        }
        if let Some((until, known)) = self.cache.borrow().get(name)
            && *until > Instant::now()
        {
            return known.clone();
        }
        let servers = self.fixed.map_or_else(|| settings.servers.clone(), |server| vec![server]);
        let (v6, v4) = stub::both(&servers, &settings, name.as_str()).await;
        let (known, keep) = combine(name, v6, v4);
        if let Some(keep) = keep {
            self.remember(name, known.clone(), Instant::now() + keep);
        }
        known
    }

    fn remember(&self, name: &HostName, known: Known, until: Instant) {
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHE_NAMES {
            let now = Instant::now();
            cache.retain(|_, (until, _)| *until > now);
            if cache.len() >= CACHE_NAMES {
                cache.clear();
            }
        }
        cache.insert(name.clone(), (until, known));
    }
}

/// One answer for both families, and how long it may be kept.
fn combine(
    name: &HostName,
    v6: Result<Reply, String>,
    v4: Result<Reply, String>,
) -> (Known, Option<std::time::Duration>) {
    let (mut families, mut life) = ([Vec::new(), Vec::new()], CACHE_LONGEST);
    let (mut failure, mut no_name) = (None, true);
    for (slot, reply) in families.iter_mut().zip([v6, v4]) {
        match reply {
            Ok(Reply::Addresses { addresses, ttl }) => {
                no_name = false;
                if !addresses.is_empty() {
                    life = life.min(std::time::Duration::from_secs(u64::from(ttl)));
                }
                *slot = addresses;
            }
            Ok(Reply::NoName) => {}
            Ok(Reply::Truncated) => failure = Some("the answer is cut".to_owned()),
            Ok(Reply::Failed(code)) => failure = Some(format!("response code {code}")),
            Err(what) => failure = Some(what),
        }
    }
    let [v6, v4] = families;
    let mut addresses = Vec::with_capacity(v6.len() + v4.len());
    for at in 0..v6.len().max(v4.len()) {
        addresses.extend(v6.get(at).into_iter().chain(v4.get(at)).copied());
    }
    if !addresses.is_empty() {
        return (Ok(addresses.into()), Some(life));
    }
    let name = name.clone();
    match failure {
        Some(what) => (Err(ResolveError::Failed { name, what }), None),
        None if no_name => (Err(ResolveError::NoName(name)), Some(CACHE_NEGATIVE)),
        None => (Err(ResolveError::NoAddress(name)), Some(CACHE_NEGATIVE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Result<Reply, String> {
        Ok(Reply::Addresses {
            addresses: list.iter().map(|a| a.parse().unwrap()).collect(),
            ttl: 10,
        })
    }

    #[test]
    fn families_alternate_and_failures_are_not_kept() {
        let name: HostName = "a.example".parse().unwrap();
        let (known, keep) =
            combine(&name, addresses(&["2001:db8::1"]), addresses(&["192.0.2.1", "192.0.2.2"]));
        let text: Vec<String> = known.unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(text, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]);
        assert_eq!(keep, Some(std::time::Duration::from_secs(10)));
        let (known, keep) = combine(&name, Err("timeout".into()), addresses(&[]));
        assert!(matches!(known, Err(ResolveError::Failed { .. })));
        assert_eq!(keep, None);
        let (known, _) = combine(&name, Ok(Reply::NoName), Ok(Reply::NoName));
        assert_eq!(known, Err(ResolveError::NoName(name.clone())));
        assert!(combine(&name, Err("v6 is broken".into()), addresses(&["192.0.2.1"])).0.is_ok());
    }
}
