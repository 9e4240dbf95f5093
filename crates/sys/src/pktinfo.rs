//! UDP datagrams with the address they were sent to, so that an answer comes from there.
//!
//! A resolver that listens on every address must answer from the one that was asked, or the
//! client drops the answer. Sends and receives only; keeps no state.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

/// Room for one packet-information message of either family, in machine words.
const CONTROL_WORDS: usize = 16;

/// One received datagram; its bytes are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Bytes received; more than the buffer holds are cut off by the kernel.
    pub length: usize,
    /// Whether the kernel cut the datagram.
    pub truncated: bool,
    /// Who sent it.
    pub peer: SocketAddr,
    /// The address it was sent to, if the kernel said so.
    pub local: Option<IpAddr>,
}

/// Asks the kernel to tell the destination of every datagram on `socket`.
///
/// # Errors
/// What `setsockopt` says.
pub fn enable(socket: impl AsFd, ipv6: bool) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::SOL_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::SOL_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: `on` is readable for its size during the call.
    let code = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Receives one datagram without blocking.
///
/// # Errors
/// `WouldBlock` when there is none; otherwise what `recvmsg` says.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut control = [0usize; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a msghdr is valid when all zero.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of::<[usize; CONTROL_WORDS]>() as _;
    // SAFETY: every pointer in `message` is valid for the stated length during the call.
    let got =
        unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: zeroed, and a sockaddr_storage is valid for every bit pattern.
    let name = unsafe { name.assume_init() };
    let peer = address(&name).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    let truncated = message.msg_flags & libc::MSG_TRUNC != 0;
    Ok(Datagram { length, truncated, peer, local: destination(&message) })
}

/// The destination in the control messages of a received datagram.
fn destination(message: &libc::msghdr) -> Option<IpAddr> {
    // SAFETY: `message` was filled in by a successful recvmsg and its buffers are alive.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: not null, and the kernel wrote a whole header there.
        let header = unsafe { &*next };
        // SAFETY: `next` points to a header inside the control buffer.
        let data = unsafe { libc::CMSG_DATA(next) };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::SOL_IP, libc::IP_PKTINFO) => {
                // SAFETY: the kernel wrote an in_pktinfo there; it may be unaligned.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                return Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
            }
            (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the kernel wrote an in6_pktinfo there; it may be unaligned.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                return Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
            }
            _ => {}
        }
        // SAFETY: `next` is a header of this message.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    None
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, which is larger, holds a sockaddr_in.
            let v4 = unsafe { *(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the storage, which is larger, holds a sockaddr_in6.
            let v6 = unsafe { *(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Sends one datagram to `peer` without blocking, from `local` if it is given.
///
/// # Errors
/// `WouldBlock` when the socket's buffer is full; otherwise what `sendmsg` says.
pub fn send(
    socket: impl AsFd,
    bytes: &[u8],
    peer: SocketAddr,
    local: Option<IpAddr>,
) -> io::Result<usize> {
    let mut name = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let name_length = store(peer, &mut name);
    let mut control = [0usize; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: a msghdr is valid when all zero.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = name_length;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    if let Some(local) = local {
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[usize; CONTROL_WORDS]>() as _;
        write_source(&mut message, local);
    }
    // SAFETY: every pointer in `message` is valid for the stated length during the call.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_fd().as_raw_fd(),
            &raw const message,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn write_source(message: &mut libc::msghdr, local: IpAddr) {
    match local {
        IpAddr::V4(ip) => {
            let s_addr = u32::from(ip).to_be();
            let any = libc::in_addr { s_addr: 0 };
            let own = libc::in_addr { s_addr };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: own, ipi_addr: any };
            write_control(message, libc::SOL_IP, libc::IP_PKTINFO, info);
        }
        IpAddr::V6(ip) => {
            let ipi6_addr = libc::in6_addr { s6_addr: ip.octets() };
            let info = libc::in6_pktinfo { ipi6_addr, ipi6_ifindex: 0 };
            write_control(message, libc::SOL_IPV6, libc::IPV6_PKTINFO, info);
        }
    }
}

/// Writes `value` as the message's only control message and sets the control length to its size.
fn write_control<T>(message: &mut libc::msghdr, level: i32, kind: i32, value: T) {
    let size = size_of::<T>() as libc::c_uint;
    // SAFETY: plain arithmetic on the size.
    let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size)) };
    assert!(space as usize <= size_of::<[usize; CONTROL_WORDS]>());
    // SAFETY: the control buffer was set by the caller and is larger than a header.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: the header lies in the control buffer, which is aligned to machine words.
    let fields = unsafe { &mut *header };
    fields.cmsg_level = level;
    fields.cmsg_type = kind;
    fields.cmsg_len = length as _;
    // SAFETY: the header lies in the control buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: `space` bytes from the header on are inside the buffer, by the assertion above.
    unsafe { data.cast::<T>().write_unaligned(value) };
    message.msg_controllen = space as _;
}

fn store(peer: SocketAddr, name: &mut MaybeUninit<libc::sockaddr_storage>) -> libc::socklen_t {
    match peer {
        SocketAddr::V4(v4) => {
            let address = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            // SAFETY: a sockaddr_storage is larger than and aligned for a sockaddr_in.
            unsafe { name.as_mut_ptr().cast::<libc::sockaddr_in>().write(address) };
            size_of::<libc::sockaddr_in>() as libc::socklen_t
        }
        SocketAddr::V6(v6) => {
            let address = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            // SAFETY: a sockaddr_storage is larger than and aligned for a sockaddr_in6.
            unsafe { name.as_mut_ptr().cast::<libc::sockaddr_in6>().write(address) };
            size_of::<libc::sockaddr_in6>() as libc::socklen_t
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    fn round(bind: &str, ask: &str, ipv6: bool) {
        let Ok(server) = UdpSocket::bind(bind) else {
            return; // A host without IPv6.
        };
        enable(&server, ipv6).unwrap();
        let port = server.local_addr().unwrap().port();
        let asked: IpAddr = ask.parse().unwrap();
        let client = UdpSocket::bind(if ipv6 { "[::1]:0" } else { "127.0.0.1:0" }).unwrap();
        client.send_to(b"ping", (asked, port)).unwrap();
        server.set_nonblocking(false).unwrap();
        let mut byte = [0u8; 1];
        server.peek_from(&mut byte).unwrap();
        let mut buffer = [0u8; 64];
        let got = receive(&server, &mut buffer).unwrap();
        assert_eq!((got.length, got.truncated, got.local), (4, false, Some(asked)));
        assert_eq!(got.peer, client.local_addr().unwrap());
        send(&server, b"pong", got.peer, got.local).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((length, from), (4, SocketAddr::new(asked, port)));
    }

    #[test]
    fn the_answer_comes_from_the_address_that_was_asked() {
        round("0.0.0.0:0", "127.0.0.77", false);
        round("[::]:0", "::1", true);
    }

    #[test]
    fn nothing_to_read_is_would_block() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let error = receive(&server, &mut [0u8; 8]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
