//! Captured connections: what is asked, what is dialled, what passes, how refusals look.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use ringfence_model::decision::Reason;
use ringfence_model::link::FromGateway;
use ringfence_model::request::{Action, Request, Resource};
use support::{
    Policy, Rig, Setup, Upstream, client_hello, proxy, read_all, read_head, server, sink, synthetic,
};

#[test]
fn child() {
    support::child();
}

/// Denies connections to these addresses, allows all else.
fn without_addresses(denied: &'static [&'static str]) -> Policy {
    Box::new(move |request| match &request.resource {
        Resource::Endpoint(endpoint)
            if endpoint.address.is_some_and(|a| denied.contains(&a.to_string().as_str())) =>
        {
            Reason::Forbidden
        }
        _ => Reason::Permitted,
    })
}

fn nobody() -> Policy {
    Box::new(|_| Reason::NoRule)
}

fn upstream(names: &[&str]) -> Upstream {
    let upstream = Upstream::start();
    for name in names {
        upstream.set(name, &["127.0.0.1"]);
    }
    upstream
}

fn echo() -> std::net::SocketAddr {
    server(|mut stream| {
        let mut copy = stream.try_clone().unwrap();
        // Ends when the client has ended or is gone.
        let _ = std::io::copy(&mut stream, &mut copy);
        let _ = copy.shutdown(Shutdown::Write);
    })
}

/// One route to `a.example` at the port of `to`.
fn rig_to(to: std::net::SocketAddr, policy: Option<Policy>) -> (Rig, Upstream) {
    let upstream = upstream(&["a.example"]);
    let rig = Rig::start(Setup {
        names: vec!["a.example"],
        routes: vec![synthetic(0, to.port())],
        resolver: Some(upstream.address),
        policy,
        ..Setup::default()
    });
    (rig, upstream)
}

fn closed(rig: &Rig) -> (u64, u64, Option<String>) {
    match rig.wait_for("closed", |m| matches!(m, FromGateway::Closed { .. })) {
        FromGateway::Closed { sent, received, error, .. } => (sent, received, error),
        _ => unreachable!(),
    }
}

/// Megabytes both ways arrive whole, half-close works, and the bytes are counted.
#[test]
fn bytes_pass_both_ways_and_are_counted() {
    let (rig, _upstream) = rig_to(echo(), None);
    let mut stream = rig.dial(0);
    let data: Vec<u8> = (0..8u32 << 20).map(|i| (i ^ (i >> 9)) as u8 | 0x80).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = data.clone();
    let sender = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let back = read_all(&mut stream);
    sender.join().unwrap();
    assert!(back == data, "{} of {} bytes", back.len(), data.len());
    assert_eq!(closed(&rig), (data.len() as u64, data.len() as u64, None));
    let actions: Vec<String> = rig.asked().into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, ["resolve", "connect"]);
}

/// A server that speaks first is heard before the client says a word.
#[test]
fn a_server_may_speak_first() {
    let (rig, _upstream) = rig_to(
        server(|mut stream| {
            stream.write_all(b"SSH-2.0-test\r\n").unwrap();
            read_all(&mut stream);
        }),
        None,
    );
    let mut banner = [0u8; 14];
    rig.dial(0).read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"SSH-2.0-test\r\n");
}

/// N10: the address that a name leads to is judged, on every connection anew, and only it is dialled.
#[test]
fn n10_rebinding_is_judged_by_the_dialled_address() {
    let (address, seen) = sink();
    let (rig, upstream) =
        rig_to(address, Some(without_addresses(&["169.254.169.254", "127.0.0.1"])));
    upstream.set("a.example", &["169.254.169.254"]);
    let mut stream = rig.dial(0);
    stream.write_all(b"\0").unwrap();
    assert!(read_all(&mut stream).is_empty());
    upstream.set("a.example", &["127.0.0.1"]);
    let mut stream = rig.dial(0);
    stream.write_all(b"\0").unwrap();
    assert!(read_all(&mut stream).is_empty());
    let dialled: Vec<String> =
        rig.asked().iter().filter_map(|(_, e)| e.address.map(|a| a.to_string())).collect();
    assert_eq!(dialled, ["169.254.169.254", "127.0.0.1"]);
    assert!(seen.lock().unwrap().is_empty());
}

/// N10: of several addresses each is judged; a denied one does not stop an allowed one.
#[test]
fn n10_every_candidate_is_judged() {
    let (rig, upstream) = rig_to(echo(), Some(without_addresses(&["10.0.0.1", "::1"])));
    upstream.set("a.example", &["10.0.0.1", "::1", "127.0.0.1"]);
    let mut stream = rig.dial(0);
    stream.write_all(b"\x01hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), b"\x01hello");
    assert_eq!(closed(&rig).2, None);
}

/// A denied name is told so in its own protocol, and nothing is looked up for it.
#[test]
fn a_denied_client_is_told_in_its_own_protocol() {
    let upstream = upstream(&["a.example"]);
    let rig = Rig::start(Setup {
        names: vec!["a.example"],
        routes: vec![synthetic(0, 80), synthetic(0, 443), synthetic(0, 8080), synthetic(0, 22)],
        resolver: Some(upstream.address),
        policy: Some(nobody()),
        ..Setup::default()
    });
    for route in [0, 2] {
        let mut stream = rig.dial(route);
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
        let answer = String::from_utf8(read_all(&mut stream)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
        let body: serde_json::Value =
            serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(body["error"], "denied by ringfence");
        assert_eq!(body["host"], "a.example");
        assert_eq!(body["why"], "no rule names it");
    }
    let mut stream = rig.dial(1);
    stream.write_all(&client_hello("a.example")).unwrap();
    assert_eq!(read_all(&mut stream), [21, 3, 3, 0, 2, 2, 49]);
    let mut stream = rig.dial(3);
    assert!(read_all(&mut stream).is_empty());
    assert!(upstream.questions.lock().unwrap().is_empty());
    assert!(rig.asked().iter().all(|(action, _)| action == "resolve"));
}

/// N11, S11: another Host on a kept connection does not pass, however it comes.
#[test]
fn n11_s11_another_host_on_a_kept_connection_is_refused() {
    for second in [
        "GET /second HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET http://evil.example/second HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "CONNECT evil.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET /second HTTP/1.1\r\nHost: a.example\r\nHost: evil.example\r\n\r\n",
    ] {
        let (address, seen) = sink();
        let (rig, _upstream) = rig_to(address, None);
        let mut stream = rig.dial(0);
        stream.write_all(b"POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n").unwrap();
        stream.write_all(second.as_bytes()).unwrap();
        read_all(&mut stream);
        rig.wait_refused();
        let seen = String::from_utf8(seen.lock().unwrap().clone()).unwrap();
        assert!(!seen.contains("second") && !seen.contains("evil"), "{seen}");
    }
}

/// N11: the first request and the ClientHello must name what was dialled.
#[test]
fn n11_the_claimed_name_must_be_the_dialled_one() {
    for first in
        [client_hello("evil.example"), b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_vec()]
    {
        let (address, seen) = sink();
        let (rig, _upstream) = rig_to(address, None);
        let mut stream = rig.dial(0);
        stream.write_all(&first).unwrap();
        let answer = read_all(&mut stream);
        assert_eq!(rig.wait_refused(), Reason::NameMismatch);
        assert!(
            answer.starts_with(b"HTTP/1.1 403") || answer == [21, 3, 3, 0, 2, 2, 49],
            "{answer:?}"
        );
        assert!(seen.lock().unwrap().is_empty());
    }
}

/// N13, N14, N07: requests that can be read in two ways, or that would open a tunnel, get 400.
#[test]
fn n07_n13_n14_crooked_requests_are_refused() {
    for request in [
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\nHost: a.example\n\n",
        "GET / HTTP/1.1\r\nHost: evil.com\0.a.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n",
    ] {
        let (address, seen) = sink();
        let (rig, _upstream) = rig_to(address, None);
        let mut stream = rig.dial(0);
        stream.write_all(request.as_bytes()).unwrap();
        let answer = read_all(&mut stream);
        assert!(
            answer.starts_with(b"HTTP/1.1 400 "),
            "{request:?}: {}",
            String::from_utf8_lossy(&answer)
        );
        assert!(matches!(rig.wait_refused(), Reason::Malformed { .. }));
        assert!(seen.lock().unwrap().is_empty(), "{request:?}");
    }
}

/// N14: a WebSocket passes once the server has agreed; without that, requests go on being judged.
#[test]
fn n14_an_upgrade_is_opaque_only_after_101() {
    let ask =
        b"GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (rig, _upstream) = rig_to(
        server(|mut stream| {
            read_head(&mut stream);
            stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap();
            let mut frame = [0u8; 3];
            stream.read_exact(&mut frame).unwrap();
            stream.write_all(&frame).unwrap();
        }),
        None,
    );
    let mut stream = rig.dial(0);
    stream.write_all(ask).unwrap();
    assert!(read_head(&mut stream).contains(" 101 "));
    stream.write_all(&[0x81, 0, 0xff]).unwrap();
    assert_eq!(read_all(&mut stream), [0x81, 0, 0xff]);

    let (rig, _upstream) = rig_to(
        server(|mut stream| {
            read_head(&mut stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            assert_eq!(read_head(&mut stream), "", "an unjudged request came through");
        }),
        None,
    );
    let mut stream = rig.dial(0);
    stream.write_all(ask).unwrap();
    assert!(read_head(&mut stream).contains(" 200 "));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").unwrap();
    read_all(&mut stream);
    assert_eq!(rig.wait_refused(), Reason::NameMismatch);
}

/// N15: a redirect leads to a connection of its own, and that one is judged.
#[test]
fn n15_a_redirect_is_judged_where_it_leads() {
    let target = server(|mut stream| {
        read_head(&mut stream);
        stream
            .write_all(
                b"HTTP/1.1 302 Found\r\nLocation: http://b.example/\r\nContent-Length: 0\r\n\r\n",
            )
            .unwrap();
    });
    let upstream = upstream(&["a.example", "b.example"]);
    let rig = Rig::start(Setup {
        names: vec!["a.example", "b.example"],
        routes: vec![synthetic(0, target.port()), synthetic(1, target.port())],
        resolver: Some(upstream.address),
        policy: Some(Box::new(|request| match &request.resource {
            Resource::Endpoint(e) if e.host() == "b.example" => Reason::NoRule,
            _ => Reason::Permitted,
        })),
        ..Setup::default()
    });
    let get = |route: usize, host: &str| {
        let mut stream = rig.dial(route);
        write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        read_head(&mut stream)
    };
    assert!(get(0, "a.example").contains(" 302 "));
    assert!(get(1, "b.example").contains(" 403 "));
}

/// N16: port 443 is for TLS and port 80 for HTTP; through an upstream proxy, which is asked only
/// for what was allowed, with the host's own credentials.
#[test]
fn n16_ports_hold_their_protocol_and_the_host_proxy_is_followed() {
    let hello = client_hello("a.example");
    let address = proxy(|mut stream, head| {
        assert!(head.contains("Proxy-Authorization: Basic dTpw\r\n"), "{head}");
        assert!(head.starts_with("CONNECT a.example:443 HTTP/1.1\r\n"), "{head}");
        let mut first = [0u8; 5];
        stream.read_exact(&mut first).unwrap();
        stream.write_all(&first).unwrap();
    });
    let url = format!("http://u:p@{address}");
    let rig = Rig::start(Setup {
        names: vec!["a.example"],
        routes: vec![synthetic(0, 443), synthetic(0, 80)],
        https_proxy: Some(url.clone()),
        http_proxy: Some(url),
        ..Setup::default()
    });
    let mut stream = rig.dial(0);
    stream.write_all(&hello).unwrap();
    let mut first = [0u8; 5];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, hello[..5]);
    let asked = rig.asked();
    assert!(asked.iter().all(|(_, endpoint)| endpoint.address.is_none()), "{asked:?}");
    assert_eq!(asked.last().unwrap().1.claimed, Some("a.example".parse().unwrap()));
    let before = rig.asked().len();
    for (route, bytes) in [
        (0, &b"SSH-2.0-x\r\n"[..]),
        (0, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
        (1, b"\x00\x01"),
        (1, &hello),
    ] {
        let mut stream = rig.dial(route);
        stream.write_all(bytes).unwrap();
        read_all(&mut stream);
    }
    let refused = rig.log().iter().filter(|m| matches!(m, FromGateway::Refused { .. })).count();
    assert_eq!(refused, 4);
    let connects = rig.asked()[before..].iter().filter(|(action, _)| action == "connect").count();
    assert_eq!(connects, 0, "nothing is dialled before the first bytes were judged");
}

/// A dialled address is asked about as such; what the connection claims is asked about too.
#[test]
fn n09_a_dialled_address_is_judged_with_its_claim() {
    let (address, seen) = sink();
    let rig = Rig::start(Setup {
        routes: vec![address],
        policy: Some(Box::new(|request| match &request.resource {
            Resource::Endpoint(e) if e.claimed.is_some() => Reason::Forbidden,
            _ => Reason::Permitted,
        })),
        ..Setup::default()
    });
    let mut stream = rig.dial(0);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: forbidden.example\r\n\r\n").unwrap();
    assert!(read_all(&mut stream).starts_with(b"HTTP/1.1 403 "));
    let asked = rig.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|(action, e)| action == "connect"
        && e.name.is_none()
        && e.address == Some(address.ip())));
    assert!(seen.lock().unwrap().is_empty());
}

/// A new policy closes what it no longer allows, and leaves the rest.
#[test]
fn a_new_generation_judges_open_connections_again() {
    let (address, _seen) = sink();
    let upstream = upstream(&["a.example", "b.example"]);
    let rig = Rig::start(Setup {
        names: vec!["a.example", "b.example"],
        routes: vec![synthetic(0, address.port()), synthetic(1, address.port())],
        resolver: Some(upstream.address),
        ..Setup::default()
    });
    let (mut a, mut b) = (rig.dial(0), rig.dial(1));
    a.write_all(b"\x01a").unwrap();
    b.write_all(b"\x01b").unwrap();
    let open = |rig: &Rig| rig.asked().iter().filter(|(action, _)| action == "connect").count();
    while open(&rig) < 2 {
        thread::yield_now();
    }
    rig.replace_policy(Box::new(|request: &Request| match &request.resource {
        Resource::Endpoint(e) if e.host() == "a.example" => Reason::Expired,
        _ => Reason::Permitted,
    }));
    assert!(read_all(&mut a).is_empty());
    assert!(closed(&rig).2.unwrap().contains("no longer allowed"));
    b.set_nonblocking(true).unwrap();
    assert_eq!(b.read(&mut [0u8; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    let again = |m: &FromGateway| matches!(m, FromGateway::Decide { request, .. } if request.context.again && request.action == Action::Connect);
    assert!(rig.log().iter().any(again));
}

/// The supervisor's end is the gateway's, and that of every connection.
#[test]
fn nothing_goes_on_without_the_supervisor() {
    let (address, _seen) = sink();
    let (mut rig, _upstream) = rig_to(address, None);
    let mut stream = rig.dial(0);
    stream.write_all(b"\x01").unwrap();
    rig.wait_for(
        "connect",
        |m| matches!(m, FromGateway::Decide { request, .. } if request.action == Action::Connect),
    );
    rig.hang_up();
    read_all(&mut stream);
    assert!(rig.process.wait().unwrap().success());
}

/// What nobody can connect to is an outcome that is told as such.
#[test]
fn an_unreachable_server_is_told_and_recorded() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (rig, _upstream) = rig_to(gone, None);
    let mut stream = rig.dial(0);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    assert!(read_all(&mut stream).starts_with(b"HTTP/1.1 502 "));
    assert!(closed(&rig).2.unwrap().contains("unreachable"));
}

/// A dial to the capture port itself, and to a synthetic address that stands for nothing.
#[test]
fn a_dial_to_the_capture_port_is_refused() {
    let rig =
        Rig::start(Setup { routes: vec!["198.18.200.1:443".parse().unwrap()], ..Setup::default() });
    let mut stream = TcpStream::connect(rig.capture).unwrap();
    assert!(read_all(&mut stream).is_empty());
    assert_eq!(rig.wait_refused(), Reason::Malformed { what: "dial to the capture port".into() });
    let mut stream = rig.dial(0);
    stream.write_all(&client_hello("a.example")).unwrap();
    read_all(&mut stream);
    rig.wait_for("unassigned", |m| matches!(m, FromGateway::Refused { decision, .. } if decision.reason.to_string().contains("no name was given")));
    assert!(rig.asked().is_empty());
}

/// The host's loopback is reached by its reserved name only, without any lookup.
#[test]
fn the_host_loopback_has_a_name() {
    let upstream = upstream(&[]);
    let to = echo();
    let rig = Rig::start(Setup {
        names: vec!["host.ringfence"],
        routes: vec![synthetic(0, to.port())],
        resolver: Some(upstream.address),
        ..Setup::default()
    });
    let mut stream = rig.dial(0);
    stream.write_all(b"\x02x").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), b"\x02x");
    assert!(upstream.questions.lock().unwrap().is_empty());
    assert_eq!(rig.asked().last().unwrap().1.address, Some("127.0.0.1".parse().unwrap()));
}

/// A published port leads inside, after the authority allowed that very connection.
#[test]
fn n24_a_published_port_is_judged_for_each_connection() {
    let inside = echo();
    let rig = Rig::start(Setup { publish: vec![inside.port()], ..Setup::default() });
    rig.play_init();
    let round = |rig: &Rig| {
        let mut stream = TcpStream::connect(rig.published[0]).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        read_all(&mut stream)
    };
    assert_eq!(round(&rig), b"hello");
    assert_eq!(closed(&rig), (5, 5, None));
    rig.replace_policy(nobody());
    assert!(round(&rig).is_empty());
}

/// The gateway's own confinement, as the kernel tells it.
#[test]
fn the_gateway_is_confined() {
    let rig = Rig::start(Setup::default());
    // The test runner has threads of its own; the gateway's is the one with the filter.
    let tasks = std::fs::read_dir(format!("/proc/{}/task", rig.process.id())).unwrap();
    let mut statuses =
        tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let status = statuses.find(|status| status.contains("Seccomp:\t2\n")).unwrap();
    let value = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(value("NoNewPrivs:"), "1");
    assert_eq!(value("CapEff:"), "0000000000000000");
    assert_eq!(value("CapPrm:"), "0000000000000000");
    assert_ne!(value("Uid:"), "0");
    let FromGateway::Ready { controls } =
        rig.wait_for("ready", |m| matches!(m, FromGateway::Ready { .. }))
    else {
        unreachable!()
    };
    let names: Vec<&str> = controls.iter().map(|control| control.name.as_str()).collect();
    assert_eq!(
        names,
        ["gateway.landlock", "gateway.seccomp", "gateway.privileges", "gateway.capture"]
    );
}
