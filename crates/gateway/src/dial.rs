//! Dials outside: every address is judged by itself, and exactly that address is dialled.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ringfence_model::decision::Decision;
use ringfence_model::request::{Action, Context, Endpoint, Protocol, Request, Resource};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::gateway::Gateway;
use crate::http::head::Claim;
use crate::limits::{DIAL, DIALS_AT_ONCE, STAGGER};
use crate::proxy::{Proxy, tunnel};

/// What is to be dialled.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) flow: u64,
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
}

/// A connection that was allowed and stands.
pub(crate) struct Dialled {
    pub(crate) stream: TcpStream,
    pub(crate) address: Option<IpAddr>,
    /// The generation that allowed it.
    pub(crate) generation: u64,
}

/// Why there is none.
pub(crate) enum DialError {
    /// No address was allowed; the last denial.
    Denied(Decision),
    /// At least one address was allowed, none answered.
    Unreachable(String),
}

impl Ask {
    pub(crate) fn request(&self, address: Option<IpAddr>) -> Request {
        Request {
            action: Action::Connect,
            resource: Resource::Endpoint(Endpoint { address, ..self.endpoint.clone() }),
            context: Context { protocol: self.protocol, again: false },
        }
    }
}

/// Tries the addresses in order, the next one beside the last when that is slow (RFC 8305).
pub(crate) async fn direct(
    gateway: &Rc<Gateway>,
    ask: &Ask,
    candidates: &[IpAddr],
) -> Result<Dialled, DialError> {
    let mut attempts: JoinSet<(IpAddr, u64, std::io::Result<TcpStream>)> = JoinSet::new();
    let mut rest = candidates.iter().copied();
    let mut more = true;
    let (mut denied, mut failed) = (None, None);
    loop {
        if more && attempts.len() < DIALS_AT_ONCE {
            match rest.next() {
                None => more = false,
                Some(address) => {
                    let decision = gateway.ask(ask.flow, ask.request(Some(address))).await;
                    if !decision.verdict.is_allow() {
                        denied = Some(decision);
                        continue;
                    }
                    let (to, generation) =
                        (SocketAddr::new(address, ask.endpoint.port), decision.generation);
                    attempts.spawn_local(async move {
                        let dialled = timeout(DIAL, TcpStream::connect(to)).await;
                        (address, generation, dialled.unwrap_or_else(|late| Err(late.into())))
                    });
                }
            }
        }
        let stagger = Instant::now() + STAGGER;
        tokio::select! {
            Some(done) = attempts.join_next(), if !attempts.is_empty() => match done {
                Ok((address, generation, Ok(stream))) => {
                    return Ok(Dialled { stream, address: Some(address), generation });
                }
                Ok((address, _, Err(error))) => {
                    failed = Some(format!("{}: {error}", SocketAddr::new(address, ask.endpoint.port)));
                }
                Err(error) => failed = Some(error.to_string()),
            },
            () = sleep_until(stagger), if more && attempts.len() < DIALS_AT_ONCE => {}
            else => break,
        }
    }
    match (failed, denied) {
        (Some(what), _) => Err(DialError::Unreachable(what)),
        (None, Some(decision)) => Err(DialError::Denied(decision)),
        (None, None) => Err(DialError::Unreachable("there is no address".to_owned())),
    }
}

/// Dials through the host's proxy, which resolves the name.
pub(crate) async fn through(
    gateway: &Rc<Gateway>,
    ask: &Ask,
    proxy: &Proxy,
) -> Result<Dialled, DialError> {
    let decision = gateway.ask(ask.flow, ask.request(ask.endpoint.address)).await;
    if !decision.verdict.is_allow() {
        return Err(DialError::Denied(decision));
    }
    let unreachable = |what: String| DialError::Unreachable(format!("upstream proxy: {what}"));
    let addresses = match &proxy.host {
        Claim::Address(address) => vec![*address],
        Claim::Name(name) => gateway
            .resolver
            .look_up(name)
            .await
            .map_err(|error| unreachable(error.to_string()))?
            .to_vec(),
    };
    let mut last = "it has no address".to_owned();
    for address in addresses {
        let dialled = timeout(DIAL, TcpStream::connect((address, proxy.port))).await;
        match dialled.unwrap_or_else(|late| Err(late.into())) {
            Err(error) => last = error.to_string(),
            Ok(mut stream) => {
                let (host, port) = (ask.endpoint.host(), ask.endpoint.port);
                return match tunnel(&mut stream, proxy, &host, port).await {
                    Ok(()) => Ok(Dialled {
                        stream,
                        address: ask.endpoint.address,
                        generation: decision.generation,
                    }),
                    Err(error) => Err(unreachable(error.to_string())),
                };
            }
        }
    }
    Err(unreachable(last))
}
