//! The server: listens on the loopback, one thread for each connection, stops when dropped.
//!
//! It must never listen on anything but the loopback, and never dial anywhere.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, BufReader, BufWriter};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::http::{self, HttpError, Request};
use crate::limits::{IDLE_TIMEOUT, MAX_CONNECTIONS};
use crate::messages::COUNT;
use crate::protocol::{self, Protocol};
use crate::reply::{self, Reply};
use crate::script::Script;
use crate::transcript::{Record, Transcript};

const JSON: &str = "application/json";

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port cannot be bound.
    #[error("cannot listen on 127.0.0.1:{port}: {source}; use port 0 for a free one")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The transcript cannot be opened.
    #[error("cannot write the transcript {path}: {source}; check that its directory exists")]
    Transcript {
        /// The transcript file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A running server; dropping it closes its port and all connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    script: Script,
    transcript: Transcript,
    stopping: AtomicBool,
    /// Open connections, kept so that they can be closed from outside their threads.
    open: Mutex<HashMap<u64, TcpStream>>,
}

impl Server {
    /// Starts serving `script` on `127.0.0.1:port` (0: any free port), recording every request
    /// in `transcript` (appended, JSON lines).
    ///
    /// # Errors
    /// If the port cannot be bound or the transcript cannot be opened.
    pub fn start(
        script: Script,
        transcript: Option<&Path>,
        port: u16,
    ) -> Result<Self, ServerError> {
        let transcript =
            Transcript::open(transcript).map_err(|source| ServerError::Transcript {
                path: transcript.map(Path::to_owned).unwrap_or_default(),
                source,
            })?;
        let failed = |source| ServerError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            script,
            transcript,
            stopping: AtomicBool::new(false),
            open: Mutex::new(HashMap::new()),
        });
        let theirs = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept_all(&listener, &theirs));
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL an agent is given, without a slash at the end.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for stream in self.shared.open().values() {
            // Already closed by the client: nothing left to do.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the acceptor; if this fails the listener is gone and it has ended by itself.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    for id in 0_u64.. {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let Ok((stream, _)) = accepted else { continue };
        threads.retain(|thread| !thread.is_finished());
        let Ok(copy) = stream.try_clone() else {
            continue;
        };
        {
            let mut open = shared.open();
            if open.len() >= MAX_CONNECTIONS {
                continue; // dropped, which closes it
            }
            open.insert(id, copy);
        }
        let theirs = Arc::clone(shared);
        threads.push(thread::spawn(move || {
            // A failed connection concerns its client alone.
            let _ = serve_connection(&stream, &theirs);
            let _ = stream.shutdown(Shutdown::Both);
            theirs.open().remove(&id);
        }));
    }
    // Connections accepted while stopping are closed here, the rest by `drop`.
    for stream in shared.open().values() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn serve_connection(stream: &TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IDLE_TIMEOUT))?;
    stream.set_write_timeout(Some(IDLE_TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::new(stream);
    loop {
        let request = match http::read_request(&mut reader, &mut writer) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(HttpError::Io(source)) => return Err(source),
            Err(bad @ HttpError::Bad(_)) => {
                let body = error_body("invalid_request_error", &bad.to_string());
                return http::write_response(&mut writer, 400, JSON, &body, false, false);
            }
        };
        answer(&request, shared, &mut writer)?;
        if !request.keep_alive || shared.stopping.load(Ordering::SeqCst) {
            return Ok(());
        }
    }
}

/// Records and answers one request.
fn answer(
    request: &Request,
    shared: &Shared,
    writer: &mut BufWriter<&TcpStream>,
) -> io::Result<()> {
    let parsed: Result<Value, _> = serde_json::from_slice(&request.body);
    let is_object = parsed.as_ref().is_ok_and(Value::is_object);
    let body = parsed.unwrap_or_else(|_| match request.body.as_slice() {
        [] => Value::Null,
        bytes => json!(String::from_utf8_lossy(bytes)),
    });
    shared.transcript.append(&Record::new(request, body.clone()))?;

    if let Some(protocol) = protocol::of_request(request, &body) {
        let asked = protocol.read(&request.path, &body);
        let said = reply::reply(&shared.script, &asked);
        if asked.streamed {
            return stream_events(request, protocol, &said, writer);
        }
        let whole = protocol.whole(&said).to_string().into_bytes();
        return http::write_response(writer, 200, JSON, &whole, false, request.keep_alive);
    }
    let served = request.path == COUNT || protocol::of(&request.path).is_some();
    let (status, answer) = match (request.method.as_str(), request.path.as_str()) {
        ("POST", COUNT) if is_object => {
            let count = reply::tokens(request.body.len());
            (200, json!({"input_tokens": count}).to_string().into_bytes())
        }
        ("POST", _) if served => {
            (400, error_body("invalid_request_error", "the body is not a JSON object"))
        }
        _ if served => (405, error_body("invalid_request_error", "only POST is served here")),
        ("GET" | "HEAD", "/") => (200, b"{}".to_vec()),
        (_, path) => (404, error_body("not_found_error", &format!("nothing is served at {path}"))),
    };
    let head = request.method == "HEAD";
    http::write_response(writer, status, JSON, &answer, head, request.keep_alive)
}

fn stream_events(
    request: &Request,
    protocol: &dyn Protocol,
    said: &Reply,
    writer: &mut BufWriter<&TcpStream>,
) -> io::Result<()> {
    http::start_chunks(writer, 200, "text/event-stream; charset=utf-8", request.keep_alive)?;
    for event in protocol.events(said) {
        http::write_chunk(writer, event.as_bytes())?;
    }
    http::finish_chunks(writer)
}

fn error_body(kind: &str, message: &str) -> Vec<u8> {
    json!({"type": "error", "error": {"type": kind, "message": message}}).to_string().into_bytes()
}
