//! A small HTTP/1.1 server of the test process that keeps every request head it sees.
//!
//! It answers what a test tells it to and must never follow anything.

use std::io::Write;
use std::net::TcpStream;

use super::tcp::{Received, Server, read_until};

/// A running HTTP server.
pub struct Http {
    /// The listening end.
    pub server: Server,
    /// Every request head, with the part of the body that came along.
    pub requests: Received,
}

impl Http {
    /// Answers every request with 200 and `body`.
    pub fn start(address: &str, body: &'static str) -> Self {
        Self::answering(address, move |_| ok(body))
    }

    /// Answers every request head with what `answer` makes of it.
    pub fn answering(
        address: &str,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let server = |received: Received| Server::try_start(address, serving(answer, received));
        Self::from(server).unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"))
    }

    /// Answers with 200 and `body`, on an address that not every user can listen on.
    pub fn try_start(address: &str, body: &'static str) -> std::io::Result<Self> {
        Self::from(|received| Server::try_start(address, serving(move |_| ok(body), received)))
    }

    fn from(start: impl FnOnce(Received) -> std::io::Result<Server>) -> std::io::Result<Self> {
        let requests = Received::default();
        Ok(Self { server: start(requests.clone())?, requests })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.server.port()
    }
}

fn serving(
    answer: impl Fn(&str) -> String + Send + Sync + 'static,
    received: Received,
) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |mut stream| {
        loop {
            let head =
                read_until(&mut stream, |all| all.windows(4).any(|four| four == b"\r\n\r\n"));
            if head.is_empty() {
                return;
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            received.push(head);
            if stream.write_all(answer(&text).as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// A whole 200 response.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A whole redirection.
pub fn redirect(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}
