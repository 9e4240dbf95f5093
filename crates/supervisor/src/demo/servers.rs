//! The decoy servers: three on the host's loopback, one on a Unix socket.
//!
//! They answer anything with two letters and remember what they were asked. They listen nowhere but
//! on 127.0.0.1 and in the decoy host's own runtime directory.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::attempts::Server;
use crate::limits::{DEMO_REQUEST_BYTES, DEMO_REQUEST_MS};

/// How often the servers look whether they are still wanted.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

type Heard = Arc<Mutex<Vec<(Server, Vec<u8>)>>>;

/// All servers of one round; they stop when this is dropped.
pub struct Servers {
    ports: [u16; 3],
    heard: Heard,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Sockets {
    tcp: [(Server, TcpListener); 3],
    engine: UnixListener,
}

impl Servers {
    /// Starts them; the engine's socket is `docker.sock` in `runtime`.
    pub fn start(runtime: &Path) -> io::Result<Self> {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let sockets = Sockets {
            tcp: [
                (Server::Loopback, listen()?),
                (Server::Exfil, listen()?),
                (Server::Metadata, listen()?),
            ],
            engine: UnixListener::bind(runtime.join("docker.sock"))?,
        };
        let mut ports = [0; 3];
        for (port, (_, listener)) in ports.iter_mut().zip(&sockets.tcp) {
            *port = listener.local_addr()?.port();
        }
        let (heard, stop) = (Heard::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::Builder::new().spawn({
            let (heard, stop) = (Arc::clone(&heard), Arc::clone(&stop));
            move || serve(&sockets, &heard, &stop)
        })?;
        Ok(Self { ports, heard, stop, thread: Some(thread) })
    }

    /// Ports of loopback service, thief and metadata service.
    pub fn ports(&self) -> [u16; 3] {
        self.ports
    }

    /// Whether a server was sent `word`.
    pub fn heard(&self, server: Server, word: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().any(|(by, bytes)| *by == server && super::contains(bytes, word))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(sockets: &Sockets, heard: &Heard, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let descriptors = sockets.tcp.iter().map(|(_, listener)| listener.as_fd());
        let descriptors: Vec<BorrowedFd<'_>> =
            descriptors.chain([sockets.engine.as_fd()]).collect();
        let mut watched: Vec<PollFd<'_>> =
            descriptors.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if poll(&mut watched, Some(&TURN)).is_err() {
            continue;
        }
        let ready: Vec<bool> =
            watched.iter().map(|fd| fd.revents().contains(PollFlags::IN)).collect();
        let patience = Some(Duration::from_millis(DEMO_REQUEST_MS));
        for ((server, listener), _) in sockets.tcp.iter().zip(&ready).filter(|(_, ready)| **ready) {
            if let Ok((stream, _)) = listener.accept()
                && stream.set_read_timeout(patience).is_ok()
            {
                note(heard, *server, stream);
            }
        }
        if ready.last() == Some(&true)
            && let Ok((stream, _)) = sockets.engine.accept()
            && stream.set_read_timeout(patience).is_ok()
        {
            note(heard, Server::Engine, stream);
        }
    }
}

/// Reads one request head, remembers it, answers.
fn note(heard: &Heard, server: Server, mut stream: impl Read + Write) {
    let mut request = Vec::new();
    let mut piece = [0u8; 1024];
    while request.len() < DEMO_REQUEST_BYTES && !super::contains(&request, "\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => request.extend_from_slice(piece.get(..count).unwrap_or_default()),
        }
    }
    heard.lock().unwrap_or_else(PoisonError::into_inner).push((server, request));
    let _ = stream.write_all(ANSWER);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    #[test]
    fn servers_remember_who_was_asked_what() {
        let place = tempfile::tempdir().unwrap();
        let servers = Servers::start(place.path()).unwrap();
        let [loopback, _, metadata] = servers.ports();
        let mut tcp = TcpStream::connect(("127.0.0.1", loopback)).unwrap();
        tcp.write_all(b"GET /abc HTTP/1.0\r\n\r\n").unwrap();
        let mut unix = UnixStream::connect(place.path().join("docker.sock")).unwrap();
        unix.write_all(b"GET /def HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("ok"), "{answer}");
        unix.read_to_string(&mut answer).unwrap();
        assert!(servers.heard(Server::Loopback, "/abc"));
        assert!(servers.heard(Server::Engine, "/def"));
        assert!(!servers.heard(Server::Loopback, "/def"));
        assert!(!servers.heard(Server::Metadata, "/abc"));
        drop(servers);
        assert!(TcpStream::connect(("127.0.0.1", metadata)).is_err(), "it still listens");
    }
}
