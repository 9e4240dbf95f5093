//! Socket families, types and protocols that reach what no rule sees: P22, N23, S30.

use libc::c_int;

use crate::answer::{call, checked, say};

const SOCKETS: &[(&str, c_int, c_int, c_int)] = &[
    ("unix-stream", libc::AF_UNIX, libc::SOCK_STREAM, 0),
    ("inet-tcp", libc::AF_INET, libc::SOCK_STREAM, 0),
    ("inet-udp", libc::AF_INET, libc::SOCK_DGRAM, 0),
    ("inet6-tcp", libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_TCP),
    ("netlink-route", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
    ("alg", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
    ("vsock", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
    ("packet", libc::AF_PACKET, libc::SOCK_RAW, 0x0300),
    ("rxrpc", 33, libc::SOCK_DGRAM, libc::AF_INET),
    ("xdp", libc::AF_XDP, libc::SOCK_RAW, 0),
    ("bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW, 1),
    ("netlink-audit", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
    ("netlink-netfilter", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
    ("netlink-xfrm", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_XFRM),
    ("netlink-uevent", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_KOBJECT_UEVENT),
    ("inet-raw", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
    ("inet6-raw", libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
    ("inet-ping", libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
    ("sctp", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
    ("mptcp", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
    ("udplite", libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
    ("dccp", libc::AF_INET, 6, 33),
];

/// Makes one socket of each kind; then tries to send data in a TCP SYN.
pub fn run() {
    for (id, family, kind, protocol) in SOCKETS {
        // SAFETY: plain numbers; the descriptor is closed by the program's end.
        say(id, &checked(unsafe { libc::socket(*family, *kind, *protocol) }.into()));
        // Bits above the 32 that the kernel reads must not change the answer.
        let upper = 1 << 32;
        let arguments = [i64::from(*family) | upper, (*kind).into(), (*protocol).into(), 0, 0, 0];
        say(&format!("{id}-upper-half"), &call(libc::SYS_socket, arguments));
    }
    // SAFETY: plain numbers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    // SAFETY: all zeros is a valid address structure.
    let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    to.sin_family = libc::AF_INET as libc::sa_family_t;
    to.sin_port = 9u16.to_be();
    to.sin_addr.s_addr = u32::from_be_bytes([127, 0, 0, 1]).to_be();
    let data = b"x";
    let size = std::mem::size_of_val(&to) as libc::c_long;
    let fast_open = libc::MSG_FASTOPEN as libc::c_long;
    let arguments = [fd.into(), data.as_ptr() as i64, 1, fast_open, (&raw const to) as i64, size];
    say("fast-open", &call(libc::SYS_sendto, arguments));
}
