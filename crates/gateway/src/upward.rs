//! The direction from the sandbox to the server: first bytes are judged, every clear-text request
//! on the connection is judged, the rest passes.
//!
//! No byte is passed on before what it belongs to was judged.

use std::cell::Cell;
use std::rc::Rc;

use ringfence_model::decision::Reason;
use ringfence_model::request::{Action, Endpoint, Protocol};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::first::{Dialled, First};
use crate::flow::{Stop, protocol, read_first, request};
use crate::gateway::Gateway;
use crate::http::framing::Framing;
use crate::http::head::{self, Head, HeadError};
use crate::limits::{HEAD_BYTES, WHOLE_HEAD};
use crate::relay::{self, Switch};

/// What is known of the client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing yet: the server may speak first.
    Sniff,
    /// Clear-text HTTP whose first head was judged already.
    Http,
    /// Judged, and opaque from here on.
    Plain,
}

pub(crate) struct Upward<'a> {
    pub(crate) gateway: &'a Rc<Gateway>,
    pub(crate) flow: u64,
    pub(crate) client: &'a TcpStream,
    pub(crate) server: &'a TcpStream,
    pub(crate) head: &'a mut Vec<u8>,
    pub(crate) endpoint: &'a mut Endpoint,
    pub(crate) protocol: &'a mut Protocol,
    pub(crate) sent: &'a Cell<u64>,
    pub(crate) received: &'a Cell<u64>,
    pub(crate) switch: &'a Switch,
}

impl Upward<'_> {
    pub(crate) async fn run(&mut self, then: Then) -> Result<(), Stop> {
        let then = if then == Then::Sniff { self.sniff().await? } else { then };
        match then {
            Then::Http => self.requests().await,
            Then::Plain | Then::Sniff => self.plain().await,
        }
    }

    /// Passes on what is held, then everything.
    async fn plain(&mut self) -> Result<(), Stop> {
        let held = std::mem::take(self.head);
        relay::write_all(self.server, &held, self.sent).await?;
        drop(held);
        Ok(relay::pump(self.client, self.server, self.sent, None).await?)
    }

    fn dialled(&self) -> Dialled {
        Dialled {
            name: self.endpoint.name.clone(),
            address: self.endpoint.address,
            port: self.endpoint.port,
            claimed: self.endpoint.claimed.clone(),
        }
    }

    /// Judges the first bytes on a port where the server may speak first.
    async fn sniff(&mut self) -> Result<Then, Stop> {
        // The client may wait for the server as long as it likes.
        if self.head.is_empty() && relay::read_some(self.client, self.head, HEAD_BYTES).await? == 0
        {
            return Ok(Then::Plain);
        }
        let first = read_first(self.client, self.head).await?.map_err(|refusal| {
            *self.protocol = refusal.protocol;
            Stop::Refused(refusal.reason)
        })?;
        *self.protocol = protocol(&first);
        let dialled = self.dialled();
        let (claimed, then) = match &first {
            First::Tls(hello) => (dialled.check_tls(hello), Then::Plain),
            First::Http(head) => (dialled.check_http(&head.authority), Then::Http),
            First::Opaque => return Ok(Then::Plain),
        };
        self.endpoint.claimed = claimed.map_err(Stop::Refused)?;
        if first.hides_a_name() {
            self.gateway.note_hidden_name(self.endpoint).await;
        }
        self.judge_claim().await?;
        Ok(then)
    }

    /// Asks again with what the connection claims, where an address was dialled: a forbid may name it.
    async fn judge_claim(&mut self) -> Result<(), Stop> {
        let ask = request(Action::Connect, self.endpoint.clone(), *self.protocol);
        self.gateway.update(self.flow, ask.clone());
        if self.endpoint.name.is_none() && self.endpoint.claimed.is_some() {
            let decision = self.gateway.ask(self.flow, ask).await;
            if !decision.verdict.is_allow() {
                return Err(Stop::Denied(decision));
            }
        }
        Ok(())
    }

    /// Passes requests on one by one, each after its head was judged.
    async fn requests(&mut self) -> Result<(), Stop> {
        let mut first = true;
        loop {
            let Some(head) = self.next_head().await? else {
                return Ok(relay::end_writing(self.server)?);
            };
            self.check(&head).await?;
            if head.upgrade && !(first && self.received.get() == 0) {
                return Err(malformed(
                    "a protocol upgrade must be the first request of its connection",
                ));
            }
            if head.upgrade {
                self.switch.expect();
            }
            self.pass(head.length).await?;
            self.body(&head).await?;
            if head.upgrade && self.switch.outcome().await {
                return self.plain().await;
            }
            first = false;
        }
    }

    /// The next request's head, at the front of the held bytes; `None` when the client is done.
    async fn next_head(&mut self) -> Result<Option<Head>, Stop> {
        let mut until = None;
        loop {
            let parsed = head::parse(self.head).map_err(|error| malformed(&error.to_string()))?;
            if parsed.is_some() {
                return Ok(parsed);
            }
            let room = (HEAD_BYTES + 1).saturating_sub(self.head.len());
            let read = relay::read_some(self.client, self.head, room);
            let length = if let Some(until) = until {
                let late = |_| malformed("a request head took too long");
                timeout_at(until, read).await.map_err(late)??
            } else {
                read.await?
            };
            if length == 0 {
                return if self.head.is_empty() {
                    Ok(None)
                } else {
                    Err(malformed("a request head was cut off"))
                };
            }
            until = until.or(Some(Instant::now() + WHOLE_HEAD));
        }
    }

    async fn check(&mut self, head: &Head) -> Result<(), Stop> {
        let claimed = self.dialled().check_http(&head.authority).map_err(Stop::Refused)?;
        if claimed.is_some() && claimed != self.endpoint.claimed {
            self.endpoint.claimed = claimed;
            self.judge_claim().await?;
        }
        Ok(())
    }

    /// Passes the first `length` held bytes on.
    async fn pass(&mut self, length: usize) -> Result<(), Stop> {
        let part = self.head.get(..length).unwrap_or_default();
        relay::write_all(self.server, part, self.sent).await?;
        self.head.drain(..length.min(self.head.len()));
        Ok(())
    }

    async fn body(&mut self, head: &Head) -> Result<(), Stop> {
        let mut framing = Framing::new(head.body);
        while !framing.is_done() {
            if self.head.is_empty()
                && relay::read_some(self.client, self.head, HEAD_BYTES).await? == 0
            {
                return Err(Stop::Failed("the client closed inside a request body".to_owned()));
            }
            let length = framing
                .advance(self.head)
                .map_err(|error: HeadError| malformed(&error.to_string()))?;
            self.pass(length).await?;
        }
        Ok(())
    }
}

fn malformed(what: &str) -> Stop {
    Stop::Refused(Reason::Malformed { what: what.to_owned() })
}
