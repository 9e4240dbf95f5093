//! An upstream proxy of the test process: HTTP CONNECT with a password, as offices have them.
//!
//! It dials one backend for every name, whatever is asked for, so no name needs to resolve.

use std::io::{Write, copy};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use super::tcp::{Received, Server, read_until};

/// The login that the proxy asks for.
pub const LOGIN: &str = "staff:pass%40word";
/// The same as a Basic header carries it: `staff:pass@word`.
pub const BASIC: &str = "c3RhZmY6cGFzc0B3b3Jk";

/// The running proxy.
pub struct Proxy {
    /// The listening end.
    pub server: Server,
    /// Every request head.
    pub requests: Received,
}

impl Proxy {
    /// Listens on 127.0.0.1 and leads every CONNECT to `backend`.
    pub fn start(backend: SocketAddr) -> Self {
        let requests = Received::default();
        let theirs = requests.clone();
        let server = Server::start("127.0.0.1:0", move |mut client| {
            let head =
                read_until(&mut client, |all| all.windows(4).any(|four| four == b"\r\n\r\n"));
            let text = String::from_utf8_lossy(&head).into_owned();
            theirs.push(head);
            let refuse = |mut client: &TcpStream, status: &str| {
                let _ = client.write_all(
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes(),
                );
            };
            if !text.contains(BASIC) {
                return refuse(&client, "407 Proxy Authentication Required");
            }
            if !text.starts_with("CONNECT ") {
                return refuse(&client, "405 Method Not Allowed");
            }
            let Ok(upstream) = TcpStream::connect(backend) else {
                return refuse(&client, "502 Bad Gateway");
            };
            if client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").is_ok() {
                splice(&client, &upstream);
            }
        });
        Self { server, requests }
    }
}

/// Copies both ways until both ends are done.
fn splice(client: &TcpStream, upstream: &TcpStream) {
    let (Ok(mut from), Ok(mut to)) = (client.try_clone(), upstream.try_clone()) else {
        return;
    };
    let up = thread::spawn(move || {
        let _ = copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut to) = (upstream, client);
    let _ = copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
    let _ = up.join();
}
