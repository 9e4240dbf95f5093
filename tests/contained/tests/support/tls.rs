//! A TLS end of the test process that reads one ClientHello, keeps its server name and says no.
//!
//! It proves which bytes arrive through the gateway; it must never finish a handshake. Where a
//! whole handshake is needed a test starts the system's `openssl s_server`.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringfence_contained_tests::free_port;

use super::tcp::{Server, lock, read_until};

/// `handshake_failure`, RFC 8446 section 6.
const ALERT: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];

/// A server that keeps the server names of the ClientHellos it is sent.
pub struct Hellos {
    /// The listening end.
    pub server: Server,
    names: Arc<Mutex<Vec<Option<String>>>>,
}

impl Hellos {
    /// Listens on `address`.
    pub fn start(address: &str) -> Self {
        Self::try_start(address).unwrap_or_else(|e| panic!("cannot listen on {address}: {e}"))
    }

    /// Listens on an address that not every user can listen on.
    pub fn try_start(address: &str) -> std::io::Result<Self> {
        let names = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&names);
        let server = Server::try_start(address, move |mut stream| {
            let hello =
                read_until(&mut stream, |all| record_length(all).is_some_and(|n| all.len() >= n));
            if !hello.is_empty() {
                lock(&theirs).push(server_name(&hello));
            }
            let _ = stream.write_all(&ALERT);
        })?;
        Ok(Self { server, names })
    }

    /// The server names seen so far, `None` for a ClientHello without one.
    pub fn names(&self) -> Vec<Option<String>> {
        lock(&self.names).clone()
    }
}

/// Length of the first record with its header, once the header is there.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let length = u16::from_be_bytes([*bytes.get(3)?, *bytes.get(4)?]);
    Some(usize::from(length) + 5)
}

/// The host name of the server_name extension, RFC 6066 section 3. One record is enough for the
/// clients of these tests.
fn server_name(record: &[u8]) -> Option<String> {
    let two =
        |at: usize| Some(usize::from(u16::from_be_bytes([*record.get(at)?, *record.get(at + 1)?])));
    // Record header, handshake header, version and random, then three vectors.
    let mut at = 5 + 4 + 2 + 32;
    at += 1 + usize::from(*record.get(at)?);
    at += 2 + two(at)?;
    at += 1 + usize::from(*record.get(at)?);
    let end = at + 2 + two(at)?;
    at += 2;
    while at + 4 <= end {
        let (kind, length) = (two(at)?, two(at + 2)?);
        if kind == 0 {
            let name_length = two(at + 7)?;
            let name = record.get(at + 9..at + 9 + name_length)?;
            return Some(String::from_utf8_lossy(name).into_owned());
        }
        at += 4 + length;
    }
    None
}

/// A ClientHello with any bytes as its server name, in one record.
pub fn client_hello(name: &[u8]) -> Vec<u8> {
    record(&hello_message(&[&[name]]))
}

/// A ClientHello with one server_name extension for each list of names, which RFC 6066 forbids
/// above one name of one list.
pub fn client_hello_with(lists: &[&[&[u8]]]) -> Vec<u8> {
    record(&hello_message(lists))
}

/// The same message as [`client_hello`], in records of `size` bytes each.
pub fn client_hello_in_records(name: &[u8], size: usize) -> Vec<u8> {
    hello_message(&[&[name]]).chunks(size).flat_map(record).collect()
}

/// One handshake record.
fn record(fragment: &[u8]) -> Vec<u8> {
    let mut record = vec![0x16, 3, 1];
    record.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
    record.extend(fragment);
    record
}

fn hello_message(lists: &[&[&[u8]]]) -> Vec<u8> {
    let length = |n: usize| u16::try_from(n).unwrap().to_be_bytes();
    let mut extensions = Vec::new();
    for names in lists {
        let mut entries = Vec::new();
        for name in *names {
            entries.push(0);
            entries.extend(length(name.len()));
            entries.extend(*name);
        }
        extensions.extend([0, 0]);
        extensions.extend(length(entries.len() + 2));
        extensions.extend(length(entries.len()));
        extensions.extend(entries);
    }
    // supported_versions with TLS 1.3, RFC 8446 section 4.2.1.
    extensions.extend([0, 43, 0, 3, 2, 3, 4]);

    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 1, 1, 0]);
    body.extend(length(extensions.len()));
    body.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(length(body.len()));
    handshake.extend(body);
    handshake
}

/// A real TLS server with a throw-away certificate, ended when dropped.
pub struct OpenSsl {
    child: Child,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

impl OpenSsl {
    /// Starts `openssl s_server -www`, or says why it cannot.
    pub fn start(directory: &std::path::Path) -> Result<Self, String> {
        let (key, certificate) = (directory.join("key.pem"), directory.join("certificate.pem"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-days", "2", "-subj", "/CN=tls.test", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status()
            .map_err(|e| format!("openssl cannot be started: {e}"))?;
        if !made.success() {
            return Err("openssl req failed".to_owned());
        }
        let port = free_port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-www", "-accept", &format!("127.0.0.1:{port}"), "-key"])
            .arg(&key)
            .arg("-cert")
            .arg(&certificate)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("openssl cannot be started: {e}"))?;
        let own = Self { child, port };
        let patience = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > patience {
                return Err("openssl s_server does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(own)
    }
}

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
