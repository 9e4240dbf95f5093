//! A gateway in a process of its own, confined for real, with a supervisor, an init and a name
//! server that the test plays.
//!
//! Without a sandbox there is no captured traffic, so each route is a loopback listener that
//! stands for the destination that was "dialled".
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringfence_gateway::{CaptureMode, Config, FromInit, Handoff, ProxySettings, serve};
use ringfence_model::decision::{Decision, Reason, Verdict};
use ringfence_model::link::{FromGateway, ToGateway};
use ringfence_model::request::{Endpoint, Request, Resource};
use ringfence_sys::fdpass;
use serde::{Deserialize, Serialize};

/// Set in the child process.
const CHILD: &str = "RINGFENCE_GATEWAY_TEST_CHILD";
/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Serialize, Deserialize)]
struct Order {
    resolver: Option<SocketAddr>,
    https: Option<String>,
    http: Option<String>,
    publish: Vec<u16>,
    descriptors: Option<u64>,
}

/// The child's side: must be called by a test named `child` of every test binary.
pub fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
    let (bytes, fds) = fdpass::receive(stdin.as_fd()).unwrap();
    let order: Order = serde_json::from_slice(&bytes).unwrap();
    if let Some(most) = order.descriptors {
        let limit = rustix::process::Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    }
    let mut fds = fds.into_iter();
    let (link, listeners) = (fds.next().unwrap(), fds.next().unwrap());
    let publish = order
        .publish
        .into_iter()
        .map(|inside| (TcpListener::from(fds.next().unwrap()), inside))
        .collect();
    let proxy = ProxySettings { https: order.https, http: order.http, ..ProxySettings::default() };
    let drop_to = rustix::process::geteuid().is_root().then_some((65_534, 65_534));
    let upstream_resolver = order.resolver;
    let config = Config {
        link,
        listeners,
        publish,
        upstream_resolver,
        proxy,
        drop_to,
        sandbox: "test".into(),
    };
    let code = match serve(config) {
        Ok(()) => 0,
        Err(_) => 3,
    };
    ringfence_sys::process::exit_now(code);
}

pub type Policy = Box<dyn Fn(&Request) -> Reason + Send>;

/// What a policy says for a question that the supervisor is to leave without an answer.
pub fn silence() -> Reason {
    Reason::Failed { what: "silence".into() }
}

/// Allows everything.
pub fn everything() -> Policy {
    Box::new(|_| Reason::Permitted)
}

#[derive(Default)]
pub struct Setup {
    /// Names asked for at the start, in order: the first is 198.18.1.0, and so on.
    pub names: Vec<&'static str>,
    /// What the routes stand for.
    pub routes: Vec<SocketAddr>,
    pub resolver: Option<SocketAddr>,
    pub http_proxy: Option<String>,
    pub https_proxy: Option<String>,
    pub publish: Vec<u16>,
    /// The gateway's limit of open descriptors.
    pub descriptors: Option<u64>,
    pub policy: Option<Policy>,
}

pub struct Rig {
    pub process: Child,
    pub dns: SocketAddr,
    pub dns_tcp: SocketAddr,
    pub capture: SocketAddr,
    pub published: Vec<SocketAddr>,
    routes: Vec<SocketAddr>,
    log: Arc<Mutex<Vec<FromGateway>>>,
    policy: Arc<Mutex<Policy>>,
    generation: Arc<AtomicU64>,
    link: Option<Arc<OwnedFd>>,
    init: Arc<OwnedFd>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The synthetic address of the n-th name, with a port.
pub fn synthetic(index: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([198, 18, 1, index]), port)
}

fn decide(policy: &Policy, generation: u64, request: &Request) -> Decision {
    let reason = policy(request);
    let verdict = if reason == Reason::Permitted { Verdict::Allow } else { Verdict::Deny };
    Decision { verdict, rules: Vec::new(), reason, generation, expires: None }
}

impl Rig {
    pub fn start(setup: Setup) -> Self {
        let (link, their_link) = fdpass::pair().unwrap();
        let (init, their_init) = fdpass::pair().unwrap();
        let (order_socket, their_order) = fdpass::pair().unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(Stdio::from(their_order))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let host: Vec<TcpListener> = setup.publish.iter().map(|_| bind()).collect();
        let order = Order {
            resolver: setup.resolver,
            https: setup.https_proxy,
            http: setup.http_proxy,
            publish: setup.publish,
            descriptors: setup.descriptors,
        };
        let mut fds = vec![their_link.as_fd(), their_init.as_fd()];
        fds.extend(host.iter().map(AsFd::as_fd));
        fdpass::send(order_socket.as_fd(), &serde_json::to_vec(&order).unwrap(), &fds).unwrap();
        drop((their_link, their_init));

        let routes: Vec<TcpListener> = setup.routes.iter().map(|_| bind()).collect();
        let stands_for: BTreeMap<u16, SocketAddr> = routes
            .iter()
            .zip(&setup.routes)
            .map(|(own, to)| (own.local_addr().unwrap().port(), *to))
            .collect();
        let (tcp4, dns4) = (bind(), bind());
        let bind6 = || TcpListener::bind("[::1]:0").unwrap();
        let (tcp6, dns6) = (bind6(), bind6());
        let udp4 = UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp6 = UdpSocket::bind("[::1]:0").unwrap();
        let handoff = Handoff {
            mode: CaptureMode::Ports,
            capture_port: tcp4.local_addr().unwrap().port(),
            dns_port: udp4.local_addr().unwrap().port(),
            stands_for,
        };
        let six =
            [tcp4.as_fd(), tcp6.as_fd(), udp4.as_fd(), udp6.as_fd(), dns4.as_fd(), dns6.as_fd()];
        fdpass::send(init.as_fd(), &serde_json::to_vec(&handoff).unwrap(), &six).unwrap();
        if !routes.is_empty() {
            let more = FromInit::More(u16::try_from(routes.len()).unwrap());
            let fds: Vec<_> = routes.iter().map(AsFd::as_fd).collect();
            fdpass::send(init.as_fd(), &serde_json::to_vec(&more).unwrap(), &fds).unwrap();
        }
        let rig = Self {
            process,
            dns: udp4.local_addr().unwrap(),
            dns_tcp: dns4.local_addr().unwrap(),
            capture: tcp4.local_addr().unwrap(),
            published: host.iter().map(|listener| listener.local_addr().unwrap()).collect(),
            routes: routes.iter().map(|listener| listener.local_addr().unwrap()).collect(),
            log: Arc::default(),
            policy: Arc::new(Mutex::new(setup.policy.unwrap_or_else(everything))),
            generation: Arc::new(AtomicU64::new(1)),
            link: Some(Arc::new(link)),
            init: Arc::new(init),
        };
        rig.supervise();
        rig.wait_for("ready", |message| matches!(message, FromGateway::Ready { .. }));
        for name in &setup.names {
            rig.resolve(name, 1).unwrap_or_else(|| panic!("{name} has no address"));
        }
        rig
    }

    /// Answers questions on a thread until the link ends.
    fn supervise(&self) {
        let link = Arc::downgrade(self.link.as_ref().unwrap());
        let (log, policy, generation) =
            (Arc::clone(&self.log), Arc::clone(&self.policy), Arc::clone(&self.generation));
        thread::spawn(move || {
            while let Some(link) = link.upgrade() {
                let mut ready = [rustix::event::PollFd::new(&*link, rustix::event::PollFlags::IN)];
                let tick = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                if rustix::event::poll(&mut ready, Some(&tick)).unwrap() == 0 {
                    continue;
                }
                let mut buffer = vec![0u8; 64 * 1024];
                let Ok((_, length)) = rustix::net::recv(
                    &*link,
                    buffer.as_mut_slice(),
                    rustix::net::RecvFlags::empty(),
                ) else {
                    return;
                };
                if length == 0 {
                    return;
                }
                let message: FromGateway = serde_json::from_slice(&buffer[..length]).unwrap();
                log.lock().unwrap().push(message.clone());
                if let FromGateway::Decide { id, request, .. } = message {
                    let decision = decide(
                        &policy.lock().unwrap(),
                        generation.load(Ordering::SeqCst),
                        &request,
                    );
                    if decision.reason == silence() {
                        continue;
                    }
                    let answer = serde_json::to_vec(&ToGateway::Decided { id, decision }).unwrap();
                    // The gateway may be gone by now.
                    let _ = rustix::net::send(&*link, &answer, rustix::net::SendFlags::NOSIGNAL);
                }
            }
        });
    }

    /// Puts another policy in force and tells the gateway.
    pub fn replace_policy(&self, policy: Policy) {
        *self.policy.lock().unwrap() = policy;
        let generation = self.generation.fetch_add(1, Ordering::SeqCst) + 1;
        let notice = serde_json::to_vec(&ToGateway::Generation { generation }).unwrap();
        rustix::net::send(self.link.as_ref().unwrap(), &notice, rustix::net::SendFlags::NOSIGNAL)
            .unwrap();
    }

    /// The supervisor dies.
    pub fn hang_up(&mut self) {
        let link = self.link.take().unwrap();
        rustix::net::shutdown(&*link, rustix::net::Shutdown::Both).unwrap();
    }

    /// The supervisor says nothing more, but listens.
    pub fn end(&self) {
        let link = self.link.as_ref().unwrap();
        rustix::net::shutdown(&**link, rustix::net::Shutdown::Write).unwrap();
    }

    /// Plays init for published ports: hands out plain sockets.
    pub fn play_init(&self) {
        let init = Arc::clone(&self.init);
        thread::spawn(move || {
            while let Ok((bytes, _)) = fdpass::receive(init.as_fd()) {
                if bytes.is_empty() {
                    return;
                }
                assert_eq!(bytes, br#"{"want":"tcp4"}"#);
                let socket = rustix::net::socket(
                    rustix::net::AddressFamily::INET,
                    rustix::net::SocketType::STREAM,
                    None,
                )
                .unwrap();
                fdpass::send(init.as_fd(), br#"{"have":"tcp4"}"#, &[socket.as_fd()]).unwrap();
            }
        });
    }

    pub fn log(&self) -> Vec<FromGateway> {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a message fits and returns it.
    pub fn wait_for(&self, what: &str, fits: impl Fn(&FromGateway) -> bool) -> FromGateway {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(found) = self.log.lock().unwrap().iter().find(|message| fits(message)) {
                return found.clone();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("no message: {what}; got {:#?}", self.log());
    }

    pub fn wait_refused(&self) -> Reason {
        match self.wait_for("refused", |message| matches!(message, FromGateway::Refused { .. })) {
            FromGateway::Refused { decision, .. } => decision.reason,
            _ => unreachable!(),
        }
    }

    /// Endpoints of the questions asked, in order.
    pub fn asked(&self) -> Vec<(String, Endpoint)> {
        let endpoint = |message: &FromGateway| match message {
            FromGateway::Decide {
                request: Request { action, resource: Resource::Endpoint(endpoint), .. },
                ..
            } => Some((action.to_string(), endpoint.clone())),
            _ => None,
        };
        self.log().iter().filter_map(endpoint).collect()
    }

    /// Dials the n-th route.
    pub fn dial(&self, route: usize) -> TcpStream {
        let stream = TcpStream::connect(self.routes[route]).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks the gateway's DNS over UDP; the first address of the answer.
    pub fn resolve(&self, name: &str, kind: u16) -> Option<IpAddr> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&query(name, kind), self.dns).unwrap();
        let mut buffer = [0u8; 1500];
        let length = socket.recv(&mut buffer).unwrap();
        let message = hickory_proto::op::Message::from_vec(&buffer[..length]).unwrap();
        message.answers.first().and_then(|record| record.data.ip_addr())
    }
}

/// A query packet.
pub fn query(name: &str, kind: u16) -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&1u16.to_be_bytes());
    packet
}

/// A name server outside, with answers that can change, that counts its questions.
pub struct Upstream {
    pub address: SocketAddr,
    pub questions: Arc<Mutex<Vec<String>>>,
    records: Arc<Mutex<HashMap<String, Vec<IpAddr>>>>,
}

impl Upstream {
    pub fn start() -> Self {
        use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
        use hickory_proto::rr::{RData, Record, RecordType, rdata};
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let records: Arc<Mutex<HashMap<String, Vec<IpAddr>>>> = Arc::default();
        let questions: Arc<Mutex<Vec<String>>> = Arc::default();
        let (known, asked) = (Arc::clone(&records), Arc::clone(&questions));
        thread::spawn(move || {
            let mut buffer = [0u8; 1500];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
                let query = Message::from_vec(&buffer[..length]).unwrap();
                let question = query.queries[0].clone();
                let name = question.name().to_ascii().trim_end_matches('.').to_owned();
                asked.lock().unwrap().push(name.clone());
                let mut reply =
                    Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
                reply.add_query(question.clone());
                match known.lock().unwrap().get(&name) {
                    None => reply.metadata.response_code = ResponseCode::NXDomain,
                    Some(addresses) => {
                        for address in addresses {
                            let data = match (address, question.query_type()) {
                                (IpAddr::V4(ip), RecordType::A) => RData::A(rdata::A(*ip)),
                                (IpAddr::V6(ip), RecordType::AAAA) => RData::AAAA(rdata::AAAA(*ip)),
                                _ => continue,
                            };
                            reply.add_answer(Record::from_rdata(question.name().clone(), 0, data));
                        }
                    }
                }
                let _ = socket.send_to(&reply.to_vec().unwrap(), peer);
            }
        });
        Self { address, questions, records }
    }

    pub fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.records.lock().unwrap().insert(name.to_owned(), addresses);
    }
}

/// A server outside: each connection is handed to `serve` on a thread of its own.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A server that keeps all it receives and answers nothing.
pub fn sink() -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let address = server(move |mut stream| {
        let mut buffer = [0u8; 4096];
        while let Ok(length) = stream.read(&mut buffer) {
            if length == 0 {
                return;
            }
            keep.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
    });
    (address, seen)
}

/// An upstream proxy: answers CONNECT and hands the tunnel to `serve` with the request's head.
pub fn proxy(serve: impl Fn(TcpStream, String) + Send + Sync + 'static) -> SocketAddr {
    server(move |mut stream| {
        let head = read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
        serve(stream, head);
    })
}

/// Reads up to the empty line and no further.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Everything until the end; what a reset leaves is what came before it.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0u8; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return all,
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("the connection stayed open: {error}"),
        }
    }
}

/// A ClientHello that asks for `name`.
pub fn client_hello(name: &str) -> Vec<u8> {
    client_hello_with(name, &[])
}

/// A ClientHello that asks for `name`, with these bytes among its extensions.
pub fn client_hello_with(name: &str, more: &[u8]) -> Vec<u8> {
    let vector = |size: usize, bytes: &[u8]| {
        let mut out = bytes.len().to_be_bytes()[8 - size..].to_vec();
        out.extend_from_slice(bytes);
        out
    };
    let entry = [&[0u8][..], &vector(2, name.as_bytes())].concat();
    let extension = [&[0u8, 0][..], &vector(2, &vector(2, &entry)), more].concat();
    let body =
        [&[3u8, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &vector(2, &extension)].concat();
    let message = [&[1u8][..], &vector(3, &body)].concat();
    [&[22u8, 3, 1][..], &vector(2, &message)].concat()
}
