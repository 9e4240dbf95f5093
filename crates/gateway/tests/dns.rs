//! DNS inside: what is answered, what is recorded, and that nothing is asked outside.

mod support;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};

use ringfence_model::link::FromGateway;
use support::{PATIENCE, Rig, Setup, Upstream, query};

#[test]
fn child() {
    support::child();
}

/// N05, S18: whatever is asked, no question leaves, and each distinct one is recorded once.
#[test]
fn n05_s18_no_question_leaves() {
    let upstream = Upstream::start();
    let rig = Rig::start(Setup { resolver: Some(upstream.address), ..Setup::default() });
    let long = format!("{}.{}.sink.example", "a".repeat(63), "b".repeat(63));
    for name in ["a.example", &long, "a.example"] {
        assert!(rig.resolve(name, 1).is_some());
        for kind in [16, 5, 255, 65, 10, 15] {
            assert_eq!(rig.resolve(name, kind), None, "{name} {kind}");
        }
    }
    assert_eq!(rig.resolve("localhost", 1), None);
    assert_eq!(rig.resolve("wpad", 1), None);
    let first = rig.resolve("a.example", 1);
    assert_eq!(first, Some("198.18.1.0".parse().unwrap()));
    assert_eq!(rig.resolve("a.example", 28), Some("fd52:6966:656e::1:0".parse().unwrap()));
    rig.wait_for(
        "the last question",
        |m| matches!(m, FromGateway::Dns { record, .. } if record == "AAAA"),
    );
    let mut seen: Vec<(String, String)> = rig
        .log()
        .into_iter()
        .filter_map(|m| {
            if let FromGateway::Dns { name, record, .. } = m { Some((name, record)) } else { None }
        })
        .collect();
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((count, seen.len()), (17, 17));
    assert!(upstream.questions.lock().unwrap().is_empty());
}

/// N05: more questions than may be recorded are answered, counted and bounded.
#[test]
fn n05_n25_a_flood_of_names_is_counted() {
    let rig = Rig::start(Setup::default());
    for i in 0..400 {
        assert!(rig.resolve(&format!("n{i}.example"), 1).is_some());
    }
    let told = rig.log().iter().filter(|m| matches!(m, FromGateway::Dns { .. })).count();
    if told < 400 {
        rig.wait_for(
            "the count",
            |m| matches!(m, FromGateway::Fault { what } if what.contains("DNS questions")),
        );
    }
}

/// S10, N07: broken packets and odd bytes get an error or silence, and the server lives on.
#[test]
fn n07_s10_broken_packets_do_no_harm() {
    let rig = Rig::start(Setup::default());
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(&[1, 2, 3], rig.dns).unwrap();
    let mut response = query("a.example", 1);
    response[2] = 0x80;
    socket.send_to(&response, rig.dns).unwrap();
    socket.send_to(&query("a.example", 1)[..14], rig.dns).unwrap();
    let mut buffer = [0u8; 512];
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(
        (length, buffer[3] & 0xf),
        (12, 1),
        "only the cut question is answered, with FORMERR"
    );
    let mut nul = query("evilx.allowed.com", 1);
    nul[17] = 0;
    socket.send_to(&nul, rig.dns).unwrap();
    let length = socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[7], 0, "no address for a label with NUL: {:?}", &buffer[..length]);
}

/// The same answers over TCP, several on one connection.
#[test]
fn questions_over_tcp_are_answered() {
    let rig = Rig::start(Setup::default());
    let mut stream = TcpStream::connect(rig.dns_tcp).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for name in ["a.example", "b.example"] {
        let packet = query(name, 1);
        stream.write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&packet).unwrap();
        let mut length = [0u8; 2];
        stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0u8; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes).unwrap();
        let message = hickory_proto::op::Message::from_vec(&bytes).unwrap();
        assert_eq!(message.answers.len(), 1);
    }
}
