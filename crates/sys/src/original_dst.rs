//! Where a redirected TCP connection was going before netfilter turned it to the gateway.
//!
//! Reads one socket option; changes nothing. The answer is the kernel's, never the peer's word.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd};

/// `SO_ORIGINAL_DST` and `IP6T_SO_ORIGINAL_DST`: the same number at two levels
/// (linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h).
const ORIGINAL_DST: libc::c_int = 80;

/// The destination that the client dialled on an accepted IPv4 connection.
///
/// # Errors
/// `ENOENT` when the connection was not tracked or not redirected, `ENOPROTOOPT` when the kernel
/// has no connection tracking.
pub fn original_v4(socket: impl AsFd) -> io::Result<SocketAddr> {
    let mut address = MaybeUninit::<libc::sockaddr_in>::zeroed();
    get(&socket, libc::SOL_IP, &mut address)?;
    // SAFETY: zeroed, and a sockaddr_in is valid for every bit pattern.
    let address = unsafe { address.assume_init() };
    let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    Ok(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
}

/// The destination that the client dialled on an accepted IPv6 connection.
///
/// # Errors
/// As for [`original_v4`].
pub fn original_v6(socket: impl AsFd) -> io::Result<SocketAddr> {
    let mut address = MaybeUninit::<libc::sockaddr_in6>::zeroed();
    get(&socket, libc::SOL_IPV6, &mut address)?;
    // SAFETY: zeroed, and a sockaddr_in6 is valid for every bit pattern.
    let address = unsafe { address.assume_init() };
    let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
    Ok(SocketAddrV6::new(ip, u16::from_be(address.sin6_port), 0, 0).into())
}

fn get<T>(socket: &impl AsFd, level: libc::c_int, value: &mut MaybeUninit<T>) -> io::Result<()> {
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for `length` bytes, and both outlive the call.
    let code = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            ORIGINAL_DST,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if code != 0 {
        return Err(io::Error::last_os_error());
    }
    if length as usize != size_of::<T>() {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_nobody_redirected_has_no_other_destination() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        // Where connection tracking sees loopback it names the listener itself; never another.
        if let Ok(original) = original_v4(&accepted) {
            assert_eq!(original, address);
        }
        assert!(original_v6(&accepted).is_err());
    }
}
