//! One captured connection from its first byte to its record: name, decision, first bytes, dial,
//! relay.
//!
//! Nothing is sent outside before the authority has allowed it, and every connection that was
//! allowed ends with a record of what came of it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringfence_model::decision::{Decision, Reason};
use ringfence_model::host::HostName;
use ringfence_model::request::{Action, Context, Endpoint, Protocol, Request, Resource};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dial::{self, Ask, DialError};
use crate::farewell;
use crate::first::{self, First, classify};
use crate::gateway::{Counts, Gateway};
use crate::limits::{FIRST_BYTE, HEAD_BYTES, WHOLE_HEAD};
use crate::names::Lookup;
use crate::relay;
use crate::upward::{Then, Upward};

/// Why a connection ends otherwise than by a plain close.
pub(crate) enum Stop {
    /// The authority said no.
    Denied(Decision),
    /// The gateway itself refuses.
    Refused(Reason),
    /// One of the ends failed or went away.
    Failed(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

struct Flow {
    gateway: Rc<Gateway>,
    id: u64,
    client: TcpStream,
    /// What the client has said and nobody was told yet.
    head: Vec<u8>,
    endpoint: Endpoint,
    protocol: Protocol,
    allowed: bool,
    counts: Rc<Counts>,
}

/// Serves one connection that was made inside to `destination`.
pub(crate) async fn captured(gateway: Rc<Gateway>, client: TcpStream, destination: SocketAddr) {
    let id = gateway.flow_id();
    let mut flow = Flow {
        gateway,
        id,
        client,
        head: Vec::new(),
        endpoint: endpoint(destination),
        protocol: Protocol::Unknown,
        allowed: false,
        counts: Counts::new(),
    };
    let end = flow.run().await;
    flow.finish(end).await;
}

/// The endpoint that stands for a dialled address before anything is known of it.
pub(crate) fn endpoint(destination: SocketAddr) -> Endpoint {
    let address = Some(destination.ip().to_canonical());
    Endpoint { name: None, claimed: None, address, port: destination.port() }
}

/// A question about an endpoint.
pub(crate) fn request(action: Action, endpoint: Endpoint, protocol: Protocol) -> Request {
    let context = Context { protocol, again: false };
    Request { action, resource: Resource::Endpoint(endpoint), context }
}

impl Flow {
    async fn run(&mut self) -> Result<(), Stop> {
        relay::prepare(&self.client)?;
        let name = self.name()?;
        if let Some(name) = &name {
            self.endpoint.name = Some(name.clone());
            self.endpoint.address = None;
            let ask = request(Action::Resolve, self.endpoint.clone(), self.protocol);
            let decision = self.gateway.ask(self.id, ask).await;
            if !decision.verdict.is_allow() {
                return Err(Stop::Denied(decision));
            }
        }
        let gateway = Rc::clone(&self.gateway);
        let proxy = gateway.proxies.route(name.as_ref(), self.endpoint.address, self.endpoint.port);
        let own = self.endpoint.address;
        let find = async {
            match &name {
                _ if proxy.is_some() => Ok(Vec::new()),
                Some(name) if name.is_host_loopback() => Ok(vec![
                    std::net::Ipv4Addr::LOCALHOST.into(),
                    std::net::Ipv6Addr::LOCALHOST.into(),
                ]),
                Some(name) => gateway.resolver.look_up(name).await.map(|found| found.to_vec()),
                None => Ok(own.into_iter().collect()),
            }
        };
        // Where the client must speak first, what it says is judged before anything is dialled.
        let (first, candidates) = if matches!(self.endpoint.port, 80 | 443) {
            let (first, found) = tokio::join!(self.first_bytes(), find);
            (Some(first?), found)
        } else {
            (None, find.await)
        };
        let candidates = candidates
            .map_err(|error| Stop::Refused(Reason::Unreachable { what: error.to_string() }))?;
        let ask = Ask { flow: self.id, endpoint: self.endpoint.clone(), protocol: self.protocol };
        let dialled = match proxy {
            Some(proxy) => dial::through(&gateway, &ask, proxy).await,
            None => dial::direct(&gateway, &ask, &candidates).await,
        };
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err(DialError::Denied(decision)) => return Err(Stop::Denied(decision)),
            Err(DialError::Unreachable(what)) => {
                self.allowed = true;
                return Err(Stop::Refused(Reason::Unreachable { what }));
            }
        };
        self.allowed = true;
        self.endpoint.address = dialled.address;
        relay::prepare(&dialled.stream)?;
        self.relay(&dialled.stream, dialled.generation, first).await
    }

    /// The name that the dialled address stands for.
    fn name(&self) -> Result<Option<HostName>, Stop> {
        let Some(address) = self.endpoint.address else {
            return Ok(None);
        };
        match self.gateway.names.borrow().look_up(address) {
            Lookup::Real => Ok(None),
            Lookup::Name(name) => Ok(Some((*name).clone())),
            Lookup::Unassigned => Err(Stop::Refused(Reason::Malformed {
                what: "no name was given for this synthetic address".to_owned(),
            })),
        }
    }

    fn dialled(&self) -> first::Dialled {
        first::Dialled {
            name: self.endpoint.name.clone(),
            address: self.endpoint.address,
            port: self.endpoint.port,
            claimed: self.endpoint.claimed.clone(),
        }
    }

    /// Reads until it is known what the client speaks, and checks it against what was dialled.
    async fn first_bytes(&mut self) -> Result<First, Stop> {
        let first = read_first(&self.client, &mut self.head).await?;
        let first = first.map_err(|refusal| {
            self.protocol = refusal.protocol;
            Stop::Refused(refusal.reason)
        })?;
        self.protocol = protocol(&first);
        let dialled = self.dialled();
        dialled.check_port(&first).map_err(Stop::Refused)?;
        let claimed = match &first {
            First::Tls(hello) => dialled.check_tls(hello),
            First::Http(head) => dialled.check_http(&head.authority),
            First::Opaque => Ok(None),
        };
        self.endpoint.claimed = claimed.map_err(Stop::Refused)?;
        if first.hides_a_name() {
            self.gateway.note_hidden_name(&self.endpoint).await;
        }
        Ok(first)
    }

    async fn relay(
        &mut self,
        server: &TcpStream,
        generation: u64,
        first: Option<First>,
    ) -> Result<(), Stop> {
        let judged = request(Action::Connect, self.endpoint.clone(), self.protocol);
        let counts = Rc::clone(&self.counts);
        let mut registered = self.gateway.register(self.id, judged, generation, &counts);
        let switch = relay::Switch::new();
        let half_closed = Cell::new(false);
        let then = match first {
            None => Then::Sniff,
            Some(First::Http(_)) => Then::Http,
            Some(_) => Then::Plain,
        };
        let mut up = Upward {
            gateway: &self.gateway,
            flow: self.id,
            client: &self.client,
            server,
            head: &mut self.head,
            endpoint: &mut self.endpoint,
            protocol: &mut self.protocol,
            sent: &counts.sent,
            received: &counts.received,
            switch: &switch,
        };
        let both = async {
            let up = async {
                let end = up.run(then).await;
                half_closed.set(true);
                end
            };
            let down = async {
                let end = relay::pump(server, &self.client, &counts.received, Some(&switch)).await;
                half_closed.set(true);
                switch.ended();
                end.map_err(Stop::from)
            };
            tokio::try_join!(up, down).map(|_| ())
        };
        let end = tokio::select! {
            end = both => end,
            Ok(reason) = &mut registered.closed => Err(Stop::Failed(format!("no longer allowed: {reason}"))),
            () = relay::idle(&counts.sent, &counts.received, &half_closed) => {
                Err(Stop::Failed("idle for too long".to_owned()))
            }
        };
        if end.is_err() {
            relay::reset_on_close(server);
        }
        end
    }

    /// Tells the client and the supervisor how it ended.
    async fn finish(self, end: Result<(), Stop>) {
        let ask = request(Action::Connect, self.endpoint.clone(), self.protocol);
        let (decision, error) = match end {
            Ok(()) => (None, None),
            Err(Stop::Denied(decision)) => {
                let error = format!("denied: {}", decision.reason);
                (Some(decision), Some(error))
            }
            Err(Stop::Refused(reason)) => {
                let error = reason.to_string();
                // What was allowed and did not answer is an outcome, not a refusal.
                let outcome = self.allowed && matches!(reason, Reason::Unreachable { .. });
                let decision = if outcome {
                    Some(Decision { reason, ..Decision::failed("") })
                } else {
                    self.gateway.refuse(self.id, ask, reason).await.ok()
                };
                (decision, Some(error))
            }
            Err(Stop::Failed(error)) => {
                relay::reset_on_close(&self.client);
                (None, Some(error))
            }
        };
        if self.allowed {
            let message = self.counts.closed(self.id, error);
            // Without a link the process is about to end.
            let _ = self.gateway.link.send(&message).await;
        }
        if let Some(decision) = decision {
            if self.counts.received.get() == 0 && self.counts.sent.get() == 0 {
                farewell::say(&self.client, self.head, &self.endpoint, &decision).await;
            } else {
                // In the middle of an exchange no words can be put in.
                relay::reset_on_close(&self.client);
            }
        }
    }
}

/// The protocol of first bytes.
pub(crate) fn protocol(first: &First) -> Protocol {
    match first {
        First::Tls(_) => Protocol::Tls,
        First::Http(_) => Protocol::Http,
        First::Opaque => Protocol::Opaque,
    }
}

/// Reads until the first bytes can be classified. The outer error is the connection's, the inner
/// one a refusal.
pub(crate) async fn read_first(
    client: &TcpStream,
    head: &mut Vec<u8>,
) -> Result<Result<First, first::Refusal>, Stop> {
    let late = |_| Stop::Failed("the client did not say in time what it wants".to_owned());
    let gone = || Stop::Failed("the client closed before it said what it wants".to_owned());
    if head.is_empty() {
        let read = timeout(FIRST_BYTE, relay::read_some(client, head, HEAD_BYTES));
        if read.await.map_err(late)?? == 0 {
            return Err(gone());
        }
    }
    let whole = async {
        loop {
            match classify(head) {
                Ok(Some(first)) => return Ok(Ok(first)),
                Err(refusal) => return Ok(Err(refusal)),
                Ok(None) => {}
            }
            let room = (HEAD_BYTES + 1).saturating_sub(head.len());
            if relay::read_some(client, head, room).await? == 0 {
                return first::at_end(head).map(Ok).ok_or_else(gone);
            }
        }
    };
    timeout(WHOLE_HEAD, whole).await.map_err(late)?
}
