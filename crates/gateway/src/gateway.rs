//! What all connections of one sandbox share: link, names, resolver, open connections, limits.
//!
//! Holds state only; it decides nothing.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::io;
use std::rc::Rc;

use ringfence_model::decision::{Decision, Reason, Verdict};
use ringfence_model::link::FromGateway;
use ringfence_model::request::{Context, Endpoint, Request};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::dns::server::Reports;
use crate::limits::{DECISION, HIDDEN_NAMES, REJUDGE};
use crate::link::Link;
use crate::names::Names;
use crate::proxy::Proxies;
use crate::relay::reset_on_close;
use crate::resolve::Resolver;

/// An open connection, as it is judged again.
struct Open {
    request: Request,
    close: oneshot::Sender<Reason>,
    counts: Rc<Counts>,
}

/// What has passed on one connection.
pub(crate) struct Counts {
    /// Bytes from the sandbox.
    pub(crate) sent: Cell<u64>,
    /// Bytes to the sandbox.
    pub(crate) received: Cell<u64>,
    started: Instant,
}

impl Counts {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { sent: Cell::new(0), received: Cell::new(0), started: Instant::now() })
    }

    /// The record of a connection's end.
    pub(crate) fn closed(&self, flow: u64, error: Option<String>) -> FromGateway {
        FromGateway::Closed {
            flow,
            sent: self.sent.get(),
            received: self.received.get(),
            duration_us: u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX),
            error,
        }
    }
}

pub(crate) struct Gateway {
    pub(crate) link: Link,
    pub(crate) names: RefCell<Names>,
    pub(crate) reports: Reports,
    pub(crate) resolver: Resolver,
    pub(crate) proxies: Proxies,
    pub(crate) sandbox: String,
    most: usize,
    count: Cell<usize>,
    next_flow: Cell<u64>,
    open: RefCell<HashMap<u64, Open>>,
    hidden: RefCell<HashSet<String>>,
}

/// A place among the limited number of connections, given back when dropped.
pub(crate) struct Place(Rc<Gateway>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
    }
}

/// Takes a connection out of the list of open ones when dropped.
pub(crate) struct Registered {
    gateway: Rc<Gateway>,
    flow: u64,
    /// Says why the connection must be closed.
    pub(crate) closed: oneshot::Receiver<Reason>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.gateway.open.borrow_mut().remove(&self.flow);
    }
}

impl Gateway {
    pub(crate) fn new(
        link: Link,
        resolver: Resolver,
        proxies: Proxies,
        sandbox: String,
        most: usize,
    ) -> Self {
        Self {
            link,
            names: RefCell::default(),
            reports: Reports::new(),
            resolver,
            proxies,
            sandbox,
            most,
            count: Cell::new(0),
            next_flow: Cell::new(0),
            open: RefCell::default(),
            hidden: RefCell::default(),
        }
    }

    /// Tells that only the outer name of a ClientHello could be judged: once for each destination.
    pub(crate) async fn note_hidden_name(&self, endpoint: &Endpoint) {
        let host = endpoint.to_string();
        let is_new = {
            let mut seen = self.hidden.borrow_mut();
            seen.len() < HIDDEN_NAMES && seen.insert(host.clone())
        };
        if is_new {
            let what = format!(
                "a TLS connection to {host} carries encrypted_client_hello: a second name that cannot be seen, or what browsers always send in its place; only its outer name was judged"
            );
            // Without a link the process is about to end.
            let _ = self.link.send(&FromGateway::Fault { what }).await;
        }
    }

    /// Last words: what is open and what was only counted, as far as the supervisor takes it.
    pub(crate) fn tell_rest(&self) {
        for (flow, open) in self.open.borrow().iter() {
            let error = Some("the run ended".to_owned());
            if !self.link.offer(&open.counts.closed(*flow, error)) {
                return;
            }
        }
        if let Some(what) = self.reports.rest(&self.sandbox) {
            // Nobody may be there to hear it.
            let _ = self.link.offer(&FromGateway::Fault { what });
        }
    }

    pub(crate) fn flow_id(&self) -> u64 {
        self.next_flow.set(self.next_flow.get() + 1);
        self.next_flow.get()
    }

    /// A place for one more connection, if there is one.
    pub(crate) fn place(self: &Rc<Self>) -> Option<Place> {
        if self.count.get() >= self.most {
            return None;
        }
        self.count.set(self.count.get() + 1);
        Some(Place(Rc::clone(self)))
    }

    /// Refuses a connection for want of a place: recorded, then reset.
    pub(crate) async fn refuse_over_limit(&self, stream: TcpStream, request: Request) {
        let what = format!("{} connections of this sandbox are open", self.most);
        let flow = self.flow_id();
        // Without a link the process is about to end.
        let _ = self.refuse(flow, request, Reason::Limit { what }).await;
        reset_on_close(&stream);
    }

    /// Records that the gateway itself refused something.
    pub(crate) async fn refuse(
        &self,
        flow: u64,
        request: Request,
        reason: Reason,
    ) -> io::Result<Decision> {
        let decision = Decision {
            verdict: Verdict::Deny,
            rules: Vec::new(),
            reason,
            generation: self.link.generation(),
            expires: None,
        };
        self.link.send(&FromGateway::Refused { flow, request, decision: decision.clone() }).await?;
        Ok(decision)
    }

    /// Asks the authority.
    pub(crate) async fn ask(&self, flow: u64, request: Request) -> Decision {
        self.link.decide(flow, request, DECISION).await
    }

    /// Puts a connection among the open ones. `judged` is the generation that allowed it: when a
    /// newer one is known already, it is judged again at once.
    pub(crate) fn register(
        self: &Rc<Self>,
        flow: u64,
        request: Request,
        judged: u64,
        counts: &Rc<Counts>,
    ) -> Registered {
        let (close, closed) = oneshot::channel();
        let counts = Rc::clone(counts);
        let open = Open { request, close, counts };
        self.open.borrow_mut().insert(flow, open);
        if judged < self.link.generation() {
            self.judge_again(flow);
        }
        Registered { gateway: Rc::clone(self), flow, closed }
    }

    /// Changes what an open connection is judged by.
    pub(crate) fn update(&self, flow: u64, request: Request) {
        if let Some(open) = self.open.borrow_mut().get_mut(&flow) {
            open.request = request;
        }
    }

    /// Judges every open connection again, all at once.
    pub(crate) fn judge_all_again(self: &Rc<Self>) {
        let flows: Vec<u64> = self.open.borrow().keys().copied().collect();
        for flow in flows {
            self.judge_again(flow);
        }
    }

    fn judge_again(self: &Rc<Self>, flow: u64) {
        let Some(mut request) = self.open.borrow().get(&flow).map(|open| open.request.clone())
        else {
            return;
        };
        request.context = Context { again: true, ..request.context };
        let gateway = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let decision = gateway.link.decide(flow, request, REJUDGE).await;
            if !decision.verdict.is_allow()
                && let Some(open) = gateway.open.borrow_mut().remove(&flow)
            {
                // It may have ended by itself meanwhile.
                let _ = open.close.send(decision.reason);
            }
        });
    }
}
