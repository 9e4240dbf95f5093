//! Limits, disguises and ends: what the gateway does with too much, too slow, and too clever.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::thread;
use std::time::Duration;

use ringfence_model::decision::Reason;
use ringfence_model::link::FromGateway;
use ringfence_model::request::Request;
use support::{
    Rig, Setup, Upstream, client_hello_with, everything, read_all, read_head, server, silence,
    sink, synthetic,
};

#[test]
fn child() {
    support::child();
}

/// One route to `a.example` at the port of `to`.
fn rig_to(to: SocketAddr, descriptors: Option<u64>) -> (Rig, Upstream) {
    let upstream = Upstream::start();
    upstream.set("a.example", &["127.0.0.1"]);
    let rig = Rig::start(Setup {
        names: vec!["a.example"],
        routes: vec![synthetic(0, to.port())],
        resolver: Some(upstream.address),
        descriptors,
        ..Setup::default()
    });
    (rig, upstream)
}

fn closed(rig: &Rig) -> Option<String> {
    match rig.wait_for("closed", |m| matches!(m, FromGateway::Closed { .. })) {
        FromGateway::Closed { error, .. } => error,
        _ => unreachable!(),
    }
}

/// N25: there is room for so many connections; one more is refused with words in the record, and a
/// place that is given back is used again.
#[test]
fn n25_connections_beyond_the_limit_are_refused_and_recorded() {
    /// What `limits::DESCRIPTORS_RESERVED` and eight times `DESCRIPTORS_PER_FLOW` come to.
    const DESCRIPTORS: u64 = 96 + 8 * 6;
    let (address, _seen) = sink();
    let (rig, _upstream) = rig_to(address, Some(DESCRIPTORS));
    let open = || {
        let mut stream = rig.dial(0);
        stream.write_all(b"\x01").unwrap();
        stream
    };
    let mut held: Vec<TcpStream> = (0..8).map(|_| open()).collect();
    let mut ninth = open();
    assert!(read_all(&mut ninth).is_empty());
    assert_eq!(
        rig.wait_refused(),
        Reason::Limit { what: "8 connections of this sandbox are open".into() }
    );
    for stream in &mut held {
        stream.set_nonblocking(true).unwrap();
        let error = stream.read(&mut [0u8; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    drop(held.pop());
    closed(&rig);
    let mut again = open();
    again.set_nonblocking(true).unwrap();
    rig.wait_for(
        "a ninth allowed connection",
        |m| matches!(m, FromGateway::Decide { flow, .. } if *flow >= 10),
    );
    assert!(again.read(&mut [0u8; 1]).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
}

/// N25: a head that comes byte by byte has the time of one head, not of one byte.
#[test]
fn n25_a_slow_head_is_ended() {
    let (address, seen) = sink();
    let (rig, _upstream) = rig_to(address, None);
    let stream = rig.dial(0);
    let mut writer = stream.try_clone().unwrap();
    let dribble = thread::spawn(move || {
        // Until the gateway has had enough.
        for byte in b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat_n(&b'x', 400)) {
            if writer.write_all(&[*byte]).is_err() {
                return true;
            }
            thread::sleep(Duration::from_millis(100));
        }
        false
    });
    assert!(closed(&rig).unwrap().contains("did not say in time"));
    drop(stream);
    assert!(dribble.join().unwrap(), "the connection stayed open");
    assert!(seen.lock().unwrap().is_empty());
}

/// A connection about which the supervisor says nothing under a new policy is closed.
#[test]
fn n25_no_answer_about_an_open_connection_closes_it() {
    let (address, _seen) = sink();
    let (rig, _upstream) = rig_to(address, None);
    let mut stream = rig.dial(0);
    stream.write_all(b"\x01").unwrap();
    rig.wait_for(
        "connect",
        |m| matches!(m, FromGateway::Decide { request, .. } if request.action.name() == "connect"),
    );
    rig.replace_policy(Box::new(
        |request: &Request| {
            if request.context.again { silence() } else { Reason::Permitted }
        },
    ));
    assert!(read_all(&mut stream).is_empty());
    let error = closed(&rig).unwrap();
    assert!(error.contains("did not answer in time"), "{error}");
    rig.replace_policy(everything());
}

/// N11: what a lenient server would read as a request for another host does not reach it.
#[test]
fn n11_a_disguised_request_does_not_pass() {
    for head in [
        "\r\n\r\nGET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "FOO-BAR / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET\t/\tHTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ] {
        let (address, seen) = sink();
        let (rig, _upstream) = rig_to(address, None);
        let mut stream = rig.dial(0);
        let (front, back) = head.as_bytes().split_at(4);
        stream.write_all(front).unwrap();
        stream.write_all(back).unwrap();
        read_all(&mut stream);
        rig.wait_refused();
        assert!(seen.lock().unwrap().is_empty(), "{head:?}");
    }
}

/// A word without a line end passes once it is clear that no more follows.
#[test]
fn a_bare_word_passes_when_the_client_has_ended() {
    let (address, seen) = sink();
    let (rig, _upstream) = rig_to(address, None);
    let mut stream = rig.dial(0);
    stream.write_all(b"ruok").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_all(&mut stream);
    assert_eq!(closed(&rig), None);
    assert_eq!(*seen.lock().unwrap(), b"ruok");
}

/// N06: an encrypted ClientHello passes on its outer name, which is said once for each destination.
#[test]
fn n06_a_hidden_name_is_told() {
    let (address, seen) = sink();
    let (rig, _upstream) = rig_to(address, None);
    let hidden = client_hello_with("a.example", &[0xfe, 0x0d, 0, 3, 0, 0, 1]);
    for round in 1..=2 {
        let mut stream = rig.dial(0);
        stream.write_all(&hidden).unwrap();
        while seen.lock().unwrap().len() < round * hidden.len() {
            thread::yield_now();
        }
    }
    let told = |m: &FromGateway| matches!(m, FromGateway::Fault { what } if what.contains("encrypted_client_hello") && what.contains("a.example"));
    rig.wait_for("the hidden name", told);
    assert_eq!(rig.log().iter().filter(|m| told(m)).count(), 1);
    // The outer name of another host is refused as ever.
    let mut stream = rig.dial(0);
    stream.write_all(&client_hello_with("front.example", &[0xfe, 0x0d, 0, 3, 0, 0, 1])).unwrap();
    assert_eq!(read_all(&mut stream), [21, 3, 3, 0, 2, 2, 49]);
    assert_eq!(rig.wait_refused(), Reason::NameMismatch);
}

/// N14: a server that ends instead of answering an upgrade leaves no connection behind.
#[test]
fn n14_an_upgrade_without_an_answer_ends() {
    let to = server(|mut stream| {
        read_head(&mut stream);
    });
    let (rig, _upstream) = rig_to(to, None);
    let mut stream = rig.dial(0);
    stream.write_all(b"GET /ws HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n").unwrap();
    assert!(read_all(&mut stream).is_empty());
    drop(stream);
    closed(&rig);
}

/// N05, N25: at the end of the run what was only counted is told, and what is open is closed.
#[test]
fn n05_n25_last_words_complete_the_record() {
    const FLOOD: u64 = 400;
    let (address, seen) = sink();
    let (mut rig, _upstream) = rig_to(address, None);
    let mut stream = rig.dial(0);
    stream.write_all(b"\x01234").unwrap();
    while seen.lock().unwrap().len() < 4 {
        thread::yield_now();
    }
    for i in 0..FLOOD {
        assert!(rig.resolve(&format!("n{i}.example"), 1).is_some());
    }
    rig.end();
    assert!(rig.process.wait().unwrap().success());
    let end = rig.wait_for("closed", |m| matches!(m, FromGateway::Closed { .. }));
    assert!(
        matches!(&end, FromGateway::Closed { sent: 4, error: Some(why), .. } if why == "the run ended"),
        "{end:?}"
    );
    let count = |log: &[FromGateway]| -> u64 {
        let of = |m: &FromGateway| match m {
            FromGateway::Dns { name, .. } if name.starts_with('n') => 1,
            FromGateway::Fault { what } if what.contains("DNS questions") => {
                what.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
            }
            _ => 0,
        };
        log.iter().map(of).sum()
    };
    let until = std::time::Instant::now() + support::PATIENCE;
    while count(&rig.log()) < FLOOD && std::time::Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(count(&rig.log()), FLOOD);
}

/// P18: the gateway goes with the process that started it, even when it cannot hear its link end;
/// dropping to another user does not undo that.
#[test]
fn p18_the_gateway_dies_with_its_parent() {
    // The kernel takes the end of the thread that started it for the parent's.
    let mut rig = thread::spawn(|| Rig::start(Setup::default())).join().unwrap();
    let until = std::time::Instant::now() + support::PATIENCE;
    let status = loop {
        match rig.process.try_wait().unwrap() {
            Some(status) => break status,
            None => assert!(std::time::Instant::now() < until, "it lives on"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.signal(), Some(9), "{status:?}");
}
