//! A TCP server of the test process: one thread per connection, closed when it is dropped.
//!
//! It listens on loopback addresses, or where a test names another address of this machine; it
//! must never dial anywhere.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest silence on a connection before a server gives it up.
const SILENCE: Duration = Duration::from_secs(60);
/// Most bytes that are kept of one connection.
const KEPT_BYTES: usize = 1 << 20;

/// Locks whatever a panicking test left behind.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listening server.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<HashMap<u64, TcpStream>>>,
    accepted: Arc<Mutex<u64>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` (`IP:PORT`, port 0 for a free one) and gives every connection to
    /// `handle` on a thread of its own.
    pub fn start(address: &str, handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::try_start(address, handle)
            .unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"))
    }

    /// The same, for addresses that not every machine or user can listen on.
    pub fn try_start(
        address: &str,
        handle: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(HashMap::new()));
        let accepted = Arc::new(Mutex::new(0));
        let handle = Arc::new(handle);
        let acceptor = thread::spawn({
            let (stop, open, accepted) =
                (Arc::clone(&stop), Arc::clone(&open), Arc::clone(&accepted));
            move || accept_all(&listener, &stop, &open, &accepted, &handle)
        });
        Ok(Self { address, stop, open, accepted, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections have come.
    pub fn accepted(&self) -> u64 {
        *lock(&self.accepted)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let mut wake = self.address;
        if wake.ip().is_unspecified() {
            wake.set_ip([127, 0, 0, 1].into());
        }
        // A failure to connect means that the listener is gone already.
        let _ = TcpStream::connect(wake);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in lock(&self.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept_all<H: Fn(TcpStream) + Send + Sync + 'static>(
    listener: &TcpListener,
    stop: &AtomicBool,
    open: &Arc<Mutex<HashMap<u64, TcpStream>>>,
    accepted: &Mutex<u64>,
    handle: &Arc<H>,
) {
    for stream in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let id = {
            let mut count = lock(accepted);
            *count += 1;
            *count
        };
        let (Ok(copy), Ok(())) = (
            stream.try_clone(),
            stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_nodelay(true)),
        ) else {
            continue;
        };
        lock(open).insert(id, copy);
        let (handle, open) = (Arc::clone(handle), Arc::clone(open));
        thread::spawn(move || {
            handle(stream);
            lock(&open).remove(&id);
        });
    }
}

/// Everything that connections have sent, one entry per connection that has ended.
#[derive(Clone, Default)]
pub struct Received(Arc<Mutex<Vec<Vec<u8>>>>);

impl Received {
    /// Adds one connection's bytes.
    pub fn push(&self, bytes: Vec<u8>) {
        lock(&self.0).push(bytes);
    }

    /// All of it, as text.
    pub fn texts(&self) -> Vec<String> {
        lock(&self.0).iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// Whether `needle` came in on any connection.
    pub fn contains(&self, needle: &str) -> bool {
        lock(&self.0)
            .iter()
            .any(|bytes| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
    }
}

/// A server that nobody should reach: it keeps what it is sent and answers with `LEAK`.
pub struct Sink {
    /// The listening end.
    pub server: Server,
    /// What came.
    pub received: Received,
}

/// What a [`Sink`] says to everybody.
pub const LEAK: &str = "SINK-REACHED";

impl Sink {
    /// A sink on `address`.
    pub fn start(address: &str) -> Self {
        Self::try_start(address).unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"))
    }

    /// A sink on an address that not every machine or user can listen on.
    pub fn try_start(address: &str) -> std::io::Result<Self> {
        let received = Received::default();
        let theirs = received.clone();
        let server = Server::try_start(address, move |mut stream| {
            let mut bytes = vec![0; 64 * 1024];
            // The greeting serves clients that wait; the first bytes are all that a test looks at.
            let _ = stream.write_all(format!("{LEAK}\n").as_bytes());
            let read = stream.read(&mut bytes).unwrap_or(0);
            bytes.truncate(read);
            theirs.push(bytes);
        })?;
        Ok(Self { server, received })
    }

    /// Fails the test if anybody has connected.
    pub fn assert_untouched(&self, what: &str) {
        let count = self.server.accepted();
        assert_eq!(count, 0, "{what}: the sink was reached: {:?}", self.received.texts());
    }
}

/// A server that greets first, as SSH and SMTP do, then echoes what it hears.
pub fn greeter(address: &str, greeting: &'static str) -> Server {
    Server::start(address, move |mut stream| {
        if stream.write_all(greeting.as_bytes()).is_err() {
            return;
        }
        echo(&mut stream);
    })
}

/// Copies a connection back to its sender until it ends.
fn echo(stream: &mut TcpStream) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read) = stream.read(&mut bytes) {
        let Some(part) = bytes.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        if stream.write_all(part).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// Reads until `done` says that enough has come, the peer stops, or too much has come.
pub fn read_until(stream: &mut TcpStream, done: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    while all.len() < KEPT_BYTES && !done(&all) {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => all.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
    }
    all
}
