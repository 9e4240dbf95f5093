//! The gateway's end of the link to the supervisor: questions with their answers, and records.
//!
//! Sending waits while the supervisor is behind, so that no record is lost and nothing piles up.
//! Whatever goes wrong with a question is a denial.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use ringfence_model::decision::Decision;
use ringfence_model::limits::LINK_MESSAGE_BYTES;
use ringfence_model::link::{FromGateway, ToGateway};
use ringfence_model::request::Request;
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::oneshot;

/// What the supervisor said that is not an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A new policy generation is in force.
    Generation,
    /// The supervisor is gone.
    Ended,
}

pub(crate) struct Link {
    /// `SOCK_SEQPACKET`, which sends and receives as datagram sockets do.
    socket: UnixDatagram,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Decision>>>,
    next_question: Cell<u64>,
    generation: Cell<u64>,
    buffer: RefCell<Vec<u8>>,
}

/// Forgets a question when its asker goes away.
struct Asked<'a>(&'a Link, u64);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.waiting.borrow_mut().remove(&self.1);
    }
}

impl Link {
    /// Takes the socket over; must be called inside the runtime.
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: UnixDatagram::from_std(socket.into())?,
            waiting: RefCell::default(),
            next_question: Cell::new(0),
            generation: Cell::new(0),
            buffer: RefCell::new(vec![0; LINK_MESSAGE_BYTES]),
        })
    }

    /// The newest policy generation that was heard of; 0 before the first.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.get()
    }

    /// Sends one message, waiting while the supervisor is behind.
    pub(crate) async fn send(&self, message: &FromGateway) -> io::Result<()> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
        let send = || Ok(rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL)?);
        self.socket.async_io(Interest::WRITABLE, send).await.map(|_: usize| ())
    }

    /// Sends one message if the supervisor can take it now; whether it did.
    pub(crate) fn offer(&self, message: &FromGateway) -> bool {
        let Ok(bytes) = serde_json::to_vec(message) else {
            return false;
        };
        rustix::net::send(&self.socket, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok()
    }

    /// Asks, and waits for the answer for at most `wait`.
    pub(crate) async fn decide(&self, flow: u64, request: Request, wait: Duration) -> Decision {
        let id = self.next_question.get() + 1;
        self.next_question.set(id);
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(id, sender);
        let _forget = Asked(self, id);
        if let Err(error) = self.send(&FromGateway::Decide { id, flow, request }).await {
            return Decision::failed(format!("the supervisor cannot be asked: {error}"));
        }
        match tokio::time::timeout(wait, receiver).await {
            Ok(Ok(decision)) => {
                self.generation.set(self.generation.get().max(decision.generation));
                decision
            }
            Ok(Err(_)) => Decision::failed("the supervisor is gone"),
            Err(_) => Decision::failed("the supervisor did not answer in time"),
        }
    }

    /// Handles messages until there is one that concerns every connection.
    pub(crate) async fn notice(&self) -> io::Result<Notice> {
        loop {
            let length = self
                .socket
                .async_io(Interest::READABLE, || {
                    let mut buffer = self.buffer.borrow_mut();
                    let flags = RecvFlags::TRUNC;
                    Ok(rustix::net::recv(&self.socket, buffer.as_mut_slice(), flags)?.1)
                })
                .await?;
            if length == 0 {
                return Ok(Notice::Ended);
            }
            let message: ToGateway = {
                let buffer = self.buffer.borrow();
                let bytes = buffer
                    .get(..length)
                    .ok_or_else(|| io::Error::other("a message over the limit"))?;
                serde_json::from_slice(bytes).map_err(io::Error::other)?
            };
            match message {
                ToGateway::Decided { id, decision } => {
                    if let Some(sender) = self.waiting.borrow_mut().remove(&id) {
                        // The asker may have gone away meanwhile.
                        let _ = sender.send(decision);
                    }
                }
                ToGateway::Generation { generation } => {
                    self.generation.set(self.generation.get().max(generation));
                    return Ok(Notice::Generation);
                }
            }
        }
    }
}
