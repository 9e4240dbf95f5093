//! Building netlink messages and reading their acknowledgements (netlink(7)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
    socket_with,
};

use crate::limits::NETLINK_ANSWER_BYTES;

/// Length of `struct nlmsghdr`, in bytes.
const HEADER: usize = 16;

/// Several messages in one buffer.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    start: usize,
    sequence: u32,
    nested: Vec<usize>,
    expected_acks: usize,
}

impl Batch {
    /// Begins a message. With `NLM_F_ACK` in `flags` an acknowledgement is waited for.
    pub fn begin(&mut self, kind: u16, flags: u16) -> &mut Self {
        self.align();
        self.start = self.bytes.len();
        self.sequence += 1;
        if i32::from(flags) & libc::NLM_F_ACK != 0 {
            self.expected_acks += 1;
        }
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self
    }

    /// Appends the message's fixed part.
    pub fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Appends an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.align();
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self
    }

    /// Appends a string attribute with its NUL.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Appends a 32-bit attribute in network order, as nfnetlink wants them.
    pub fn big32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    /// Opens a nested attribute.
    pub fn open(&mut self, kind: u16) -> &mut Self {
        self.align();
        self.nested.push(self.bytes.len());
        const NESTED: u16 = 0x8000;
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        self
    }

    /// Closes the innermost nested attribute.
    pub fn close(&mut self) -> &mut Self {
        self.align();
        if let Some(start) = self.nested.pop() {
            let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
            self.patch(start, &length.to_ne_bytes());
        }
        self
    }

    /// Ends a message: its length becomes known.
    pub fn end(&mut self) -> &mut Self {
        debug_assert!(self.nested.is_empty());
        let length = u32::try_from(self.bytes.len() - self.start).unwrap_or(u32::MAX);
        self.patch(self.start, &length.to_ne_bytes());
        self
    }

    fn align(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }

    /// Sends everything in one call and waits for all acknowledgements.
    ///
    /// # Errors
    /// The first error that the kernel answers.
    pub fn talk(&self, socket: &OwnedFd) -> io::Result<()> {
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        sendto(socket.as_fd(), &self.bytes, SendFlags::empty(), &kernel)?;
        let mut answered = 0;
        let mut buffer = vec![0u8; NETLINK_ANSWER_BYTES];
        while answered < self.expected_acks {
            let (length, _) = recv(socket.as_fd(), &mut *buffer, RecvFlags::empty())?;
            answered += count_acks(buffer.get(..length).unwrap_or_default())?;
        }
        Ok(())
    }
}

/// Counts the acknowledgements in a datagram; an error answer becomes an error.
fn count_acks(mut rest: &[u8]) -> io::Result<usize> {
    let mut acks = 0;
    while let (Some(length), Some(kind)) = (word(rest, 0), half(rest, 4)) {
        let length = length as usize;
        if length < HEADER || length > rest.len() {
            break;
        }
        if i32::from(kind) == libc::NLMSG_ERROR {
            let code = word(rest, HEADER).map_or(0, u32::cast_signed);
            if code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
            acks += 1;
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(acks)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A netlink socket of this network namespace; `None` is `NETLINK_ROUTE`.
///
/// # Errors
/// What `socket(2)` says (`EPROTONOSUPPORT` where the kernel lacks the protocol).
pub fn open(protocol: Option<rustix::net::Protocol>) -> io::Result<OwnedFd> {
    let kind = SocketType::RAW;
    Ok(socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, protocol)?)
}
