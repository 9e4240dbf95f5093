//! A DNS server of the test process (UDP and TCP) that stands for the internet's name servers.
//!
//! It answers A and AAAA from a table and counts every question; it asks nobody.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::tcp::lock;

/// How often the server looks whether it should end.
const TICK: Duration = Duration::from_millis(50);
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// The answers of one name: the N-th question gets the N-th list, the last list stays.
type Answers = Vec<Vec<IpAddr>>;

#[derive(Default)]
struct State {
    table: HashMap<String, Answers>,
    given: HashMap<(String, u16), usize>,
    questions: Vec<(String, u16)>,
    aliases: HashMap<String, String>,
    only_tcp: bool,
}

/// The running server.
pub struct Dns {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Dns {
    /// Starts with a table of `(name, addresses)`.
    pub fn start(names: &[(&str, &[&str])]) -> Self {
        let (udp, tcp) = pair();
        let address = udp.local_addr().unwrap();
        udp.set_read_timeout(Some(TICK)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let datagrams = thread::spawn({
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            move || serve_udp(&udp, &state, &stop)
        });
        let streams = thread::spawn({
            let (state, stop) = (Arc::clone(&state), Arc::clone(&stop));
            move || serve_tcp(&tcp, &state, &stop)
        });
        let own = Self { address, state, stop, threads: vec![datagrams, streams] };
        for (name, addresses) in names {
            own.set(name, &[addresses]);
        }
        own
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the answers of a name: one list for each question, the last one for good.
    pub fn set(&self, name: &str, lists: &[&[&str]]) {
        let parse = |list: &&[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        lock(&self.state).table.insert(name.to_owned(), lists.iter().map(parse).collect());
    }

    /// Makes a name an alias (CNAME) of another one.
    pub fn alias(&self, name: &str, target: &str) {
        lock(&self.state).aliases.insert(name.to_owned(), target.to_owned());
    }

    /// Answers datagrams with "too long, ask again over TCP" from now on.
    pub fn only_tcp(&self) {
        lock(&self.state).only_tcp = true;
    }

    /// Every name that was asked for, with its record type.
    pub fn questions(&self) -> Vec<(String, u16)> {
        lock(&self.state).questions.clone()
    }

    /// Fails the test if anything but A or AAAA of `allowed` names was asked.
    pub fn assert_only(&self, allowed: &[&str]) {
        for (name, kind) in self.questions() {
            let known = matches!(kind, TYPE_A | TYPE_AAAA) && allowed.contains(&name.as_str());
            assert!(known, "a question left that should not: {name} type {kind}");
        }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One port number for both protocols.
fn pair() -> (UdpSocket, TcpListener) {
    for _ in 0..64 {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
    panic!("no port on 127.0.0.1 is free for both UDP and TCP");
}

fn serve_udp(socket: &UdpSocket, state: &Mutex<State>, stop: &AtomicBool) {
    let mut query = [0; 4096];
    while !stop.load(Ordering::SeqCst) {
        let Ok((size, peer)) = socket.recv_from(&mut query) else {
            continue;
        };
        if let Some(mut reply) = query.get(..size).and_then(|query| answer(query, state)) {
            if lock(state).only_tcp {
                truncate(&mut reply);
            }
            let _ = socket.send_to(&reply, peer);
        }
    }
}

fn serve_tcp(listener: &TcpListener, state: &Mutex<State>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(TICK);
            continue;
        };
        let mut exchange = || -> std::io::Result<()> {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            let mut size = [0; 2];
            stream.read_exact(&mut size)?;
            let mut query = vec![0; usize::from(u16::from_be_bytes(size))];
            stream.read_exact(&mut query)?;
            let reply = answer(&query, state).unwrap_or_default();
            stream.write_all(&u16::try_from(reply.len()).unwrap_or(0).to_be_bytes())?;
            stream.write_all(&reply)
        };
        let _ = exchange();
    }
}

/// The reply to one query, or `None` if it is no query.
fn answer(query: &[u8], state: &Mutex<State>) -> Option<Vec<u8>> {
    let mut name = String::new();
    let mut at = 12;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let alias = lock(state).aliases.get(&name).cloned();
    let addresses = look_up(state, &name, alias.as_deref(), kind);
    let known = addresses.is_some();
    let addresses = addresses.unwrap_or_default();

    let mut reply = query.get(..2)?.to_vec();
    reply.extend([0x85, if known { 0x80 } else { 0x83 }, 0, 1, 0]);
    reply.push(u8::try_from(addresses.len() + usize::from(alias.is_some())).ok()?);
    reply.extend([0, 0, 0, 0]);
    reply.extend(question);
    // A pointer to the question's name, or the alias's own.
    let mut owner = vec![0xc0, 12];
    if let Some(alias) = &alias {
        let target = wire(alias);
        reply.extend(owner);
        reply.extend([0, 5, 0, 1, 0, 0, 0, 0, 0]);
        reply.push(u8::try_from(target.len()).ok()?);
        reply.extend(&target);
        owner = target;
    }
    for address in addresses {
        // Class IN, a time to live of 0 seconds.
        reply.extend(&owner);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 0]);
        match address {
            IpAddr::V4(v4) => reply.extend([0, 4].iter().chain(&v4.octets())),
            IpAddr::V6(v6) => reply.extend([0, 16].iter().chain(&v6.octets())),
        }
    }
    Some(reply)
}

/// Makes a reply the truncated one of RFC 1035 section 4.1.1: the TC bit and no answers.
fn truncate(reply: &mut Vec<u8>) {
    let question_end = reply.iter().skip(12).position(|byte| *byte == 0);
    if let (Some(flags), Some(end)) = (reply.get_mut(2), question_end) {
        *flags |= 2;
        reply.truncate(12 + end + 5);
    }
    if let Some(counts) = reply.get_mut(6..8) {
        counts.fill(0);
    }
}

/// A name in the form of the wire.
fn wire(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).unwrap();
        std::iter::once(length).chain(label.bytes())
    });
    labels.chain([0]).collect()
}

/// The addresses for one question; `None` if there is no such name.
fn look_up(
    state: &Mutex<State>,
    name: &str,
    alias: Option<&str>,
    kind: u16,
) -> Option<Vec<IpAddr>> {
    let mut state = lock(state);
    state.questions.push((name.to_owned(), kind));
    let lists = state.table.get(alias.unwrap_or(name))?.clone();
    let turn = state.given.entry((name.to_owned(), kind)).or_default();
    let index = (*turn).min(lists.len().saturating_sub(1));
    *turn += 1;
    let list = lists.get(index).cloned().unwrap_or_default();
    let fits = |address: &IpAddr| match kind {
        TYPE_A => address.is_ipv4(),
        TYPE_AAAA => address.is_ipv6(),
        _ => false,
    };
    Some(list.into_iter().filter(fits).collect())
}
