//! Questions to the host's name servers: UDP with a fresh port and id each, TCP where it is cut.
//!
//! Names are asked as they are; the search list is not applied, since the agent's own resolver
//! has made the name full already.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};

use super::files::Settings;
use crate::dns::reply::{Reply, parse, question};
use crate::dns::wire::kind;
use crate::limits::{ANSWER_BYTES, ANSWER_TCP_BYTES};

/// How long the second family may take once the first has addresses (RFC 8305 section 3).
const SECOND_FAMILY: Duration = Duration::from_millis(50);

thread_local! {
    /// Where `rotate` begins next.
    static TURN: Cell<usize> = const { Cell::new(0) };
}

/// Asks for both families at once: IPv6, IPv4.
pub(super) async fn both(
    servers: &[SocketAddr],
    settings: &Settings,
    name: &str,
) -> (Result<Reply, String>, Result<Reply, String>) {
    let v6 = one(servers, settings, name, kind::AAAA);
    let v4 = one(servers, settings, name, kind::A);
    tokio::pin!(v6, v4);
    let late = || Err("no answer for this family in time".to_owned());
    tokio::select! {
        first = &mut v4 => {
            let second = if useful(&first) {
                timeout(SECOND_FAMILY, v6).await.unwrap_or_else(|_| late())
            } else {
                v6.await
            };
            (second, first)
        }
        first = &mut v6 => {
            let second = if useful(&first) {
                timeout(SECOND_FAMILY, v4).await.unwrap_or_else(|_| late())
            } else {
                v4.await
            };
            (first, second)
        }
    }
}

fn useful(reply: &Result<Reply, String>) -> bool {
    matches!(reply, Ok(Reply::Addresses { addresses, .. }) if !addresses.is_empty())
}

async fn one(
    servers: &[SocketAddr],
    settings: &Settings,
    name: &str,
    kind: u16,
) -> Result<Reply, String> {
    let first = if settings.rotate {
        TURN.with(|turn| turn.replace(turn.get().wrapping_add(1)))
    } else {
        0
    };
    let mut last = "no name server".to_owned();
    for _ in 0..settings.attempts {
        for at in 0..servers.len() {
            let Some(server) = servers.get(first.wrapping_add(at) % servers.len().max(1)) else {
                continue;
            };
            match ask(*server, settings, name, kind).await {
                Ok(Reply::Failed(code)) => last = format!("{server} answered with code {code}"),
                Ok(reply) => return Ok(reply),
                Err(error) => last = format!("{server}: {error}"),
            }
        }
    }
    Err(last)
}

async fn ask(server: SocketAddr, settings: &Settings, name: &str, kind: u16) -> io::Result<Reply> {
    let mut id = [0u8; 2];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    let id = u16::from_be_bytes(id);
    if !settings.tcp_only {
        let reply = udp(server, settings.timeout, name, id, kind).await?;
        if reply != Reply::Truncated {
            return Ok(reply);
        }
    }
    timeout(settings.timeout, tcp(server, name, id, kind)).await?
}

async fn udp(
    server: SocketAddr,
    wait: Duration,
    name: &str,
    id: u16,
    kind: u16,
) -> io::Result<Reply> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // Connected: the kernel drops what does not come from this server.
    socket.connect(server).await?;
    socket.send(&question(id, name, kind)).await?;
    let until = Instant::now() + wait;
    let mut buffer = [0u8; ANSWER_BYTES];
    loop {
        let length = timeout_at(until, socket.recv(&mut buffer)).await??;
        let bytes = buffer.get(..length).unwrap_or_default();
        // A forged or late answer is passed over; the true one may still come.
        if let Ok(Some(reply)) = parse(bytes, id, name, kind) {
            return Ok(reply);
        }
    }
}

async fn tcp(server: SocketAddr, name: &str, id: u16, kind: u16) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(server).await?;
    let ask = question(id, name, kind);
    let mut framed = (ask.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(&ask);
    stream.write_all(&framed).await?;
    let length = usize::from(stream.read_u16().await?);
    if length > ANSWER_TCP_BYTES {
        return Err(io::Error::other("the answer is too long"));
    }
    let mut bytes = vec![0u8; length];
    stream.read_exact(&mut bytes).await?;
    match parse(&bytes, id, name, kind) {
        Ok(Some(Reply::Truncated) | None) => {
            Err(io::Error::other("the answer is to another question"))
        }
        Ok(Some(reply)) => Ok(reply),
        Err(error) => Err(io::Error::other(error)),
    }
}
