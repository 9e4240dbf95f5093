//! The gateway's process: forked early, confined before it reads a byte, tied to the supervisor.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ringfence_gateway::config::{Config, ProxySettings};
use ringfence_model::boundary::{Boundary, Tier};
use ringfence_sys::fdpass;
use ringfence_sys::process::{
    Namespaces, Side, close_all_but, exit_now, fork_into, scrub_arguments_and_environment,
};
use rustix::process::Signal;

use super::{RunError, system};

/// A started gateway.
pub struct Gateway {
    /// Its process; none where there is no network.
    pub process: Option<OwnedFd>,
    /// `model::link` messages.
    pub link: OwnedFd,
    /// Init's end of the socket on which the listeners are handed over.
    pub handover: OwnedFd,
}

/// Host ids for a gateway that root starts: another id than any agent's.
const ROOT_GATEWAY_ID: u32 = 0x6eff_fff0;

/// For a boundary without a network: nobody is at the other end.
fn none() -> Result<Gateway, RunError> {
    let (link, _) = fdpass::pair().map_err(system("create the gateway's link"))?;
    let (handover, _) = fdpass::pair().map_err(system("create the gateway's socket"))?;
    Ok(Gateway { process: None, link, handover })
}

/// Forks the gateway. Published ports are bound here, so that a taken port is a clear error.
pub fn start(boundary: &Boundary, sandbox: &str) -> Result<Gateway, RunError> {
    if boundary.tier == Tier::Landlock {
        return none();
    }
    let mut publish = Vec::new();
    for port in &boundary.network.publish {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.host);
        let listener = TcpListener::bind(address).map_err(|source| RunError::System {
            what: format!("publish port {} on {address}", port.inside),
            source,
        })?;
        publish.push((listener, port.inside));
    }
    let (link, inner_link) = fdpass::pair().map_err(system("create the gateway's link"))?;
    let (handover, listeners) = fdpass::pair().map_err(system("create the gateway's socket"))?;
    match fork_into(Namespaces::NONE).map_err(no_process)? {
        Side::Child => {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            // Keys typed at the terminal are for the agent: they must not end the gateway.
            let _ = rustix::process::setsid();
            let config = Config {
                link: inner_link,
                listeners,
                publish,
                upstream_resolver: boundary
                    .network
                    .resolver
                    .map(|(ip, port)| SocketAddr::new(ip, port)),
                proxy: proxy_settings(),
                drop_to: boundary.identity.owner.map(|_| (ROOT_GATEWAY_ID, ROOT_GATEWAY_ID)),
                sandbox: sandbox.to_owned(),
            };
            serve(config)
        }
        Side::Parent { pidfd, .. } => Ok(Gateway { process: Some(pidfd), link, handover }),
    }
}

fn serve(config: Config) -> ! {
    let mut keep = vec![config.link.as_fd(), config.listeners.as_fd()];
    keep.extend(config.publish.iter().map(|(listener, _)| listener.as_fd()));
    debug_assert!(keep.iter().all(|fd| fd.as_raw_fd() > 2));
    if close_all_but(&keep).is_err() {
        exit_now(71);
    }
    drop(keep);
    scrub_arguments_and_environment(c"ringfence-gateway");
    let _ = rustix::thread::set_name(c"ringfence-gw");
    exit_now(match ringfence_gateway::serve(config) {
        Ok(()) => 0,
        Err(_) => 70,
    })
}

/// The host's proxy variables; curl's rule: `http_proxy` only in lower case can be trusted, since a
/// server may set `HTTP_PROXY` from a request header, but a command line is no server.
fn proxy_settings() -> ProxySettings {
    let first = |names: [&str; 2]| {
        names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    };
    ProxySettings {
        https: first(["https_proxy", "HTTPS_PROXY"]),
        http: first(["http_proxy", "HTTP_PROXY"]),
        all: first(["all_proxy", "ALL_PROXY"]),
        none: first(["no_proxy", "NO_PROXY"]),
    }
}

/// The first fork: where even this is refused, ringfence is inside somebody else's filter.
fn no_process(source: std::io::Error) -> RunError {
    if source.raw_os_error() == Some(ENOSYS) {
        return RunError::Floor(
            "clone3 is refused (ENOSYS), and with it every namespace: this is already inside a boundary (ringfence's own, or a container's filter), or the kernel is older than Linux 5.3\n  run ringfence outside of it; `ringfence doctor` examines this host"
                .to_owned(),
        );
    }
    system("start the gateway")(source)
}

const ENOSYS: i32 = 38;
