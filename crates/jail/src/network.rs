//! The captured network: routes that make every address local, one redirection, the listeners.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringfence_model::boundary::Network;
use ringfence_sys::{fdpass, netlink};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};
use serde_json::json;

use crate::limits::{CAPTURE_BACKLOG, CAPTURE_PORT, DNS_PORT, NAMED_PORTS};
use crate::step::{During, StepError};

/// How the network ended up being captured.
pub struct Captured {
    /// `redirect`, or `ports: …` with the reason.
    pub how: String,
    /// Whether IPv6 is captured (else it does not exist inside).
    pub ipv6: bool,
}

/// Sets the namespace up and hands its listeners to the gateway.
pub fn capture(network: &Network, gateway: BorrowedFd<'_>) -> Result<Captured, StepError> {
    netlink::loopback_up().during("switch on", "the sandbox's loopback device")?;
    netlink::capture_routes(false).during("capture", "the IPv4 network")?;
    // Without IPv6 in the kernel there is no route at all, which is as closed as a captured one.
    let ipv6 = netlink::capture_routes(true).is_ok() && loopback6_exists();
    let redirect = netlink::Redirect { capture: CAPTURE_PORT, dns: DNS_PORT };
    match netlink::redirect_everything(redirect) {
        Ok(()) => {
            hand_over_redirected(ipv6, gateway)?;
            Ok(Captured { how: "redirect".to_owned(), ipv6 })
        }
        Err(error) => {
            hand_over_by_port(network, ipv6, gateway)?;
            Ok(Captured { how: format!("ports: nf_tables answered {error}"), ipv6 })
        }
    }
}

fn loopback6_exists() -> bool {
    socket_on(SocketType::DGRAM, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)).is_ok()
}

/// One listener per protocol and family on the sandbox's loopback; the kernel brings the rest there.
fn hand_over_redirected(ipv6: bool, gateway: BorrowedFd<'_>) -> Result<(), StepError> {
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    send_base(v4, v6, ipv6, CAPTURE_PORT, DNS_PORT, "redirect", gateway)
}

/// One listener per named port on every address: other ports are refused by the kernel itself.
fn hand_over_by_port(
    network: &Network,
    ipv6: bool,
    gateway: BorrowedFd<'_>,
) -> Result<(), StepError> {
    let any4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    send_base(any4, any6, ipv6, CAPTURE_PORT, 53, "ports", gateway)?;
    if network.named_ports.len() > NAMED_PORTS {
        return Err(StepError::refused(
            "listen on",
            format!("{} ports", network.named_ports.len()),
            format!(
                "this kernel lacks nf_tables redirection, and then at most {NAMED_PORTS} ports can be named"
            ),
        ));
    }
    for port in &network.named_ports {
        let mut listeners = vec![stream(SocketAddr::new(any4, *port))?];
        if ipv6 {
            listeners.push(stream(SocketAddr::new(any6, *port))?);
        }
        let borrowed: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
        let message = json!({ "more": borrowed.len() }).to_string();
        fdpass::send(gateway, message.as_bytes(), &borrowed).during("hand over", "a listener")?;
    }
    Ok(())
}

fn send_base(
    v4: IpAddr,
    v6: IpAddr,
    ipv6: bool,
    capture: u16,
    dns: u16,
    mode: &str,
    gateway: BorrowedFd<'_>,
) -> Result<(), StepError> {
    // Without IPv6 the second of each pair is a second IPv4 socket that nothing can reach.
    let spare = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (other, shift) = if ipv6 { (v6, 0) } else { (spare, 1000) };
    let sockets = [
        stream(SocketAddr::new(v4, capture))?,
        stream(SocketAddr::new(other, capture + shift))?,
        datagram(SocketAddr::new(v4, dns))?,
        datagram(SocketAddr::new(other, dns + shift))?,
        stream(SocketAddr::new(v4, dns))?,
        stream(SocketAddr::new(other, dns + shift))?,
    ];
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let message = json!({ "mode": mode, "capture_port": capture, "dns_port": dns });
    fdpass::send(gateway, message.to_string().as_bytes(), &borrowed)
        .during("hand over", "the capture listeners")
}

fn stream(address: SocketAddr) -> Result<OwnedFd, StepError> {
    let open = || -> io::Result<OwnedFd> {
        let socket = socket_on(SocketType::STREAM, address)?;
        listen(&socket, CAPTURE_BACKLOG)?;
        Ok(socket)
    };
    open().during("listen on", address)
}

fn datagram(address: SocketAddr) -> Result<OwnedFd, StepError> {
    socket_on(SocketType::DGRAM, address).during("bind", address)
}

fn socket_on(kind: SocketType, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

/// An unconnected TCP socket of this namespace, for a published port.
pub fn fresh_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        Some(ipproto::TCP),
    )?)
}
