//! Descriptors from the sandbox's init: the listeners at first, sockets for published ports later.
//!
//! Init lives inside the boundary. Everything it hands over is checked to be the kind of socket
//! that was agreed, and nothing more is believed.

use std::cell::RefCell;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_sys::fdpass;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{Mutex, oneshot};
use tokio::time::timeout;

use crate::config::{FromInit, Handoff, Socket, ToInit};
use crate::error::GatewayError;
use crate::limits::{HANDOFF_DESCRIPTORS, WANT};

/// Sockets of the first message, in its order.
pub(crate) struct Sockets {
    pub(crate) capture: [TcpListener; 2],
    pub(crate) dns_udp: [OwnedFd; 2],
    pub(crate) dns_tcp: [TcpListener; 2],
}

/// Receives the first message; waits for it.
pub(crate) fn first(socket: BorrowedFd<'_>) -> Result<(Handoff, Sockets), GatewayError> {
    let wrong = |what: String| GatewayError::Handoff { what };
    let (bytes, descriptors) = fdpass::receive(socket).map_err(|error| wrong(error.to_string()))?;
    if bytes.is_empty() {
        return Err(wrong("init went away before it sent them".to_owned()));
    }
    let handoff: Handoff =
        serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let count = descriptors.len();
    let six: [OwnedFd; 6] =
        descriptors.try_into().map_err(|_| wrong(format!("{count} descriptors instead of 6")))?;
    let [tcp4, tcp6, udp4, udp6, dns4, dns6] = six;
    let listener =
        |fd: OwnedFd, family| listener(fd, Some(family)).map_err(|error| wrong(error.to_string()));
    let datagram = |fd: OwnedFd, ipv6: bool| {
        let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
        is_kind(&fd, Some(family), SocketType::DGRAM).map_err(|error| wrong(error.to_string()))?;
        ringfence_sys::pktinfo::enable(&fd, ipv6).map_err(|error| wrong(error.to_string()))?;
        Ok::<OwnedFd, GatewayError>(fd)
    };
    let sockets = Sockets {
        capture: [listener(tcp4, AddressFamily::INET)?, listener(tcp6, AddressFamily::INET6)?],
        dns_udp: [datagram(udp4, false)?, datagram(udp6, true)?],
        dns_tcp: [listener(dns4, AddressFamily::INET)?, listener(dns6, AddressFamily::INET6)?],
    };
    Ok((handoff, sockets))
}

fn is_kind(fd: &OwnedFd, family: Option<AddressFamily>, kind: SocketType) -> io::Result<()> {
    let domain = sockopt::socket_domain(fd)?;
    let family_fits = match family {
        Some(family) => domain == family,
        None => domain == AddressFamily::INET || domain == AddressFamily::INET6,
    };
    if family_fits && sockopt::socket_type(fd)? == kind {
        Ok(())
    } else {
        Err(io::Error::other("a descriptor is not the socket that was agreed"))
    }
}

fn listener(fd: OwnedFd, family: Option<AddressFamily>) -> io::Result<TcpListener> {
    is_kind(&fd, family, SocketType::STREAM)?;
    if !sockopt::socket_acceptconn(&fd)? {
        return Err(io::Error::other("a descriptor is not a listener"));
    }
    let listener = TcpListener::from(fd);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The socket to init while the gateway runs.
pub(crate) struct Init {
    /// `SOCK_SEQPACKET`, which sends and receives as datagram sockets do.
    socket: UnixDatagram,
    turn: Mutex<()>,
    wanted: RefCell<Option<oneshot::Sender<OwnedFd>>>,
}

impl Init {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: UnixDatagram::from_std(socket.into())?,
            turn: Mutex::new(()),
            wanted: RefCell::default(),
        })
    }

    /// A fresh socket of the sandbox's network namespace. One is asked for at a time.
    pub(crate) async fn want(&self) -> io::Result<TcpStream> {
        let _turn = self.turn.lock().await;
        let (sender, receiver) = oneshot::channel();
        *self.wanted.borrow_mut() = Some(sender);
        let bytes = serde_json::to_vec(&ToInit::Want(Socket::Tcp4)).map_err(io::Error::other)?;
        let send = || fdpass::send(self.socket.as_fd(), &bytes, &[]);
        timeout(WANT, self.socket.async_io(Interest::WRITABLE, send)).await??;
        let fd =
            timeout(WANT, receiver).await?.map_err(|_| io::Error::other("init gave no socket"))?;
        is_kind(&fd, Some(AddressFamily::INET), SocketType::STREAM)?;
        if sockopt::socket_acceptconn(&fd)? {
            return Err(io::Error::other("init gave a listener"));
        }
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(TcpStream::from(fd))
    }

    /// Handles messages until one brings more listeners; an error when init is gone.
    pub(crate) async fn more(&self) -> io::Result<Vec<TcpListener>> {
        loop {
            let receive = || fdpass::try_receive(self.socket.as_fd());
            let received = self.socket.async_io(Interest::READABLE, receive).await;
            let (bytes, descriptors) = match received {
                // Cut off: whatever it was, it is not what was agreed.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::MSGSIZE.raw_os_error()) =>
                {
                    continue;
                }
                other => other?,
            };
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match serde_json::from_slice::<FromInit>(&bytes) {
                Ok(FromInit::Have(Socket::Tcp4)) => {
                    let wanted = self.wanted.borrow_mut().take();
                    if let (Some(wanted), Some(fd)) = (wanted, descriptors.into_iter().next()) {
                        // The asker may have given up meanwhile.
                        let _ = wanted.send(fd);
                    }
                }
                Ok(FromInit::More(count))
                    if usize::from(count) == descriptors.len()
                        && descriptors.len() <= HANDOFF_DESCRIPTORS =>
                {
                    let listeners =
                        descriptors.into_iter().filter_map(|fd| listener(fd, None).ok());
                    return Ok(listeners.collect());
                }
                Ok(FromInit::More(_)) | Err(_) => {}
            }
        }
    }
}
