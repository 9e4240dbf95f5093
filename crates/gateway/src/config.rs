//! What the gateway is started with, and what the sandbox's init hands over.
//!
//! Plain data; nothing here opens or reads anything.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

/// Everything that one gateway process is given. It owns all of it.
#[derive(Debug)]
pub struct Config {
    /// `SOCK_SEQPACKET` to the supervisor: `model::link` messages, one JSON object per packet.
    pub link: OwnedFd,
    /// `SOCK_SEQPACKET` to the sandbox's init: [`Handoff`] messages with descriptors.
    pub listeners: OwnedFd,
    /// Listeners on the host's loopback, each with the port inside the sandbox it leads to.
    pub publish: Vec<(TcpListener, u16)>,
    /// The name server to ask instead of the host's own.
    pub upstream_resolver: Option<SocketAddr>,
    /// The host's proxy variables.
    pub proxy: ProxySettings,
    /// User and group to become, when started as root. Never 0.
    pub drop_to: Option<(u32, u32)>,
    /// The sandbox's id, for the words of faults.
    pub sandbox: String,
}

/// The values of the host's proxy variables, empty or absent where they are not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `HTTPS_PROXY` or `https_proxy`: every port but 80.
    pub https: Option<String>,
    /// `http_proxy` or `HTTP_PROXY`: port 80.
    pub http: Option<String>,
    /// `ALL_PROXY` or `all_proxy`: what the other two leave out.
    pub all: Option<String>,
    /// `NO_PROXY` or `no_proxy`: hosts, suffixes, addresses, ranges, each with an optional port.
    pub none: Option<String>,
}

/// How connections of the sandbox reach the capture listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureMode {
    /// netfilter redirects every port to one listener; the kernel knows the original destination.
    Redirect,
    /// One listener for each port, on every address; a connection's own local address is the
    /// destination.
    Ports,
}

/// Init's first message, with exactly six descriptors: TCP capture over IPv4 and IPv6, DNS over
/// UDP IPv4 and IPv6, DNS over TCP IPv4 and IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handoff {
    /// How connections are captured.
    pub mode: CaptureMode,
    /// The port of the two capture listeners.
    pub capture_port: u16,
    /// The port of the four DNS sockets.
    pub dns_port: u16,
    /// Listeners that stand for one fixed destination, by their own port; for hosts on which the
    /// sandbox cannot listen on every address. What is named here is judged like any destination.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub stands_for: BTreeMap<u16, SocketAddr>,
}

/// Every later message from init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromInit {
    /// More TCP listeners of mode `ports`, as descriptors (at most 16 in one message).
    More(u16),
    /// The answer to [`ToInit::Want`], with one descriptor.
    Have(Socket),
}

/// To init.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ToInit {
    /// A fresh, unconnected socket of the sandbox's network namespace: `{"want":"tcp4"}`, answered
    /// by `{"have":"tcp4"}` and the descriptor.
    Want(Socket),
}

/// A kind of socket that init can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Socket {
    /// TCP over IPv4.
    Tcp4,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_look_as_agreed() {
        assert_eq!(
            serde_json::to_string(&ToInit::Want(Socket::Tcp4)).unwrap(),
            r#"{"want":"tcp4"}"#
        );
        let handoff: Handoff =
            serde_json::from_str(r#"{"mode":"redirect","capture_port":1,"dns_port":53}"#).unwrap();
        assert_eq!(handoff.mode, CaptureMode::Redirect);
        assert!(handoff.stands_for.is_empty());
        assert!(
            serde_json::from_str::<Handoff>(r#"{"mode":"all","capture_port":1,"dns_port":53}"#)
                .is_err()
        );
    }
}
