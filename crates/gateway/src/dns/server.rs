//! The DNS server on the sockets that init handed over, over UDP and TCP.
//!
//! Every distinct question is told to the supervisor once, at a bounded rate; what is left out is
//! counted. It holds no socket to the outside.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use ringfence_model::link::FromGateway;
use ringfence_sys::pktinfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use super::answer::{Answer, answer, malformed, packet};
use super::wire::{Parsed, Query, kind_name, parse_query};
use crate::gateway::Gateway;
use crate::limits::{
    ACCEPT_PAUSE, DNS_CONNECTIONS, DNS_IDLE, QUERY_BYTES, REPORTED, REPORTS_PER_SECOND,
    SUPPRESSED_TICK,
};

/// Which questions the supervisor has heard of.
pub(crate) struct Reports {
    seen: RefCell<HashSet<u64>>,
    hasher: RandomState,
    window: Cell<(Instant, u32)>,
    suppressed: Cell<u64>,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self {
            seen: RefCell::default(),
            hasher: RandomState::new(),
            window: Cell::new((Instant::now(), 0)),
            suppressed: Cell::new(0),
        }
    }

    /// Whether this question is new and may be reported now.
    fn is_due(&self, query: &Query) -> bool {
        // The hash is keyed anew in each process: an agent cannot aim at a collision.
        let hash = self.hasher.hash_one((query.name.to_ascii_lowercase(), query.kind));
        let mut seen = self.seen.borrow_mut();
        if seen.contains(&hash) {
            return false;
        }
        let (start, used) = self.window.get();
        let (start, used) =
            if start.elapsed().as_secs() >= 1 { (Instant::now(), 0) } else { (start, used) };
        if used >= REPORTS_PER_SECOND || seen.len() >= REPORTED {
            self.window.set((start, used));
            self.suppress();
            return false;
        }
        self.window.set((start, used + 1));
        seen.insert(hash);
        true
    }

    /// What was counted and not told yet, in words.
    pub(crate) fn rest(&self, sandbox: &str) -> Option<String> {
        let count = self.suppressed.replace(0);
        (count > 0).then(|| {
            format!(
                "{sandbox}: {count} DNS questions were answered inside but not recorded one by one (more than {REPORTS_PER_SECOND} new ones a second)"
            )
        })
    }

    fn suppress(&self) {
        self.suppressed.set(self.suppressed.get() + 1);
    }
}

fn respond(gateway: &Gateway, bytes: &[u8]) -> Option<Vec<u8>> {
    match parse_query(bytes) {
        Parsed::Noise => None,
        Parsed::Malformed { id } => Some(malformed(id)),
        Parsed::Query(query) => {
            let given = answer(&query, &mut gateway.names.borrow_mut());
            report(gateway, &query, given);
            Some(packet(&query, given))
        }
    }
}

fn report(gateway: &Gateway, query: &Query, given: Answer) {
    if !gateway.reports.is_due(query) {
        return;
    }
    let name = query.name.to_ascii_lowercase();
    let record = kind_name(query.kind);
    let message = FromGateway::Dns { name, record, answer: given.address };
    if !gateway.link.offer(&message) {
        gateway.reports.suppress();
    }
}

/// Counts to the supervisor what was not reported singly, for ever.
pub(crate) async fn count_suppressed(gateway: Rc<Gateway>) {
    loop {
        tokio::time::sleep(SUPPRESSED_TICK).await;
        if let Some(what) = gateway.reports.rest(&gateway.sandbox) {
            // Without a link the process is about to end.
            let _ = gateway.link.send(&FromGateway::Fault { what }).await;
        }
    }
}

/// Answers on one UDP socket until it fails.
pub(crate) async fn udp(gateway: Rc<Gateway>, socket: OwnedFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    let socket = UdpSocket::from_std(socket.into())?;
    let mut buffer = vec![0u8; QUERY_BYTES];
    loop {
        let got =
            socket.async_io(Interest::READABLE, || pktinfo::receive(&socket, &mut buffer)).await;
        let Ok(got) = got else {
            // An earlier answer that nobody took shows up here as an error; the socket is whole.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Some(bytes) = buffer.get(..got.length).filter(|_| !got.truncated) else {
            continue;
        };
        if let Some(reply) = respond(&gateway, bytes) {
            // A full socket drops the answer, as networks do; the client asks again.
            let _ = pktinfo::send(&socket, &reply, got.peer, got.local);
        }
        tokio::task::consume_budget().await;
    }
}

/// Answers on one TCP listener until it fails.
pub(crate) async fn tcp(gateway: Rc<Gateway>, listener: TcpListener) {
    let open = Rc::new(Cell::new(0usize));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if open.get() >= DNS_CONNECTIONS {
            continue;
        }
        open.set(open.get() + 1);
        let (gateway, open) = (Rc::clone(&gateway), Rc::clone(&open));
        tokio::task::spawn_local(async move {
            // Whatever ends it, the client sees the connection close.
            let _ = connection(&gateway, stream).await;
            open.set(open.get() - 1);
        });
    }
}

async fn connection(gateway: &Gateway, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let length = timeout(DNS_IDLE, stream.read_u16()).await??;
        let length = usize::from(length);
        if length > QUERY_BYTES {
            return Ok(());
        }
        let mut bytes = vec![0u8; length];
        timeout(DNS_IDLE, stream.read_exact(&mut bytes)).await??;
        let Some(reply) = respond(gateway, &bytes) else {
            return Ok(());
        };
        let mut framed = (reply.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&reply);
        timeout(DNS_IDLE, stream.write_all(&framed)).await??;
    }
}
