//! Every TCP connection is captured, whatever its address, port or family, with no proxy variable
//! set; what a rule names passes through unchanged, everything else is turned away at once.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use ringfence_contained_tests::{needs, skip};
use support::http::Http;
use support::tcp::{LEAK, Sink, greeter};
use support::world::{
    World, get, hex, loopback, machine_address, machine_address6, plain, probing,
};

const GREETING: &str = "SSH-2.0-ringfence-test\r\n";

/// N01, N02, PB1: without a rule nothing is reached, by name or by any form of address.
#[test]
fn n01_nothing_is_reached_without_a_rule() {
    needs!("python3");
    let world = World::new(&[("sink.test", &["127.0.0.7"])]);
    let sink = Sink::start("0.0.0.0:0");
    let port = sink.server.port();
    let own = machine_address();
    let mut targets: Vec<(String, String)> = [
        "sink.test",
        "127.0.0.1",
        "127.0.0.7",
        "0.0.0.0",
        "localhost",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:7f00:7",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "169.254.169.254",
        "fd00:ec2::254",
        "10.0.0.1",
        "192.168.0.1",
        "172.16.0.1",
        "100.64.0.1",
        "8.8.8.8",
        "2001:4860:4860::8888",
        "198.18.0.1",
        "198.19.255.254",
        "fd52:6966:656e::1:77",
        "255.255.255.255",
        "240.0.0.1",
    ]
    .iter()
    .map(|host| {
        ((*host).to_owned(), format!("tcp {host} {port} {}", hex("GET / HTTP/1.0\r\n\r\n")))
    })
    .collect();
    match own {
        Some(address) => {
            targets.push((address.to_string(), format!("tcp {address} {port} 41")));
            targets.push(("mapped".to_owned(), format!("tcp ::ffff:{address} {port} 41")));
        }
        None => skip("the machine's own address", "it has none beside the loopback"),
    }
    let probes: Vec<_> =
        targets.iter().map(|(label, words)| (label.as_str(), words.clone())).collect();
    let answers = world.probe(&probes);
    for (label, _) in &probes {
        let answer = answers.get(label);
        assert!(!answer.contains(LEAK), "{label}: {answer}");
        assert_ne!(answer, "TIMEOUT", "{label}: a denied client must learn it at once");
    }
    sink.assert_untouched("N01");
    let decisions = world.decisions();
    decisions.assert_denied("sink.test", port, "no-rule");
    decisions.assert_denied("8.8.8.8", port, "no-rule");
    decisions.assert_denied("169.254.169.254", port, "no-rule");
    if let Some(address) = own {
        decisions.assert_denied(&address.to_string(), port, "no-rule");
        let control = world.unprotected(&[("own", format!("tcp {address} {port} 41"))]);
        control.assert_got("own", LEAK);
    }
    let control = world.unprotected(&[("loopback", format!("tcp 127.0.0.7 {port} 41"))]);
    control.assert_got("loopback", LEAK);
}

/// N01: datagrams and other protocols have no way out, and QUIC is refused at once.
#[test]
fn n01_datagrams_do_not_leave() {
    needs!("python3");
    let world = World::new(&[("sink.test", &["127.0.0.7"])]);
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    let own = machine_address().map(|a| a.to_string());
    let mut probes = vec![
        ("loopback", format!("udp 127.0.0.1 {port}")),
        ("name", format!("udp sink.test {port}")),
        ("quic", "udp 192.0.2.10 443".to_owned()),
        ("v6", format!("udp 2001:db8::1 {port}")),
        ("metadata", format!("udp 169.254.169.254 {port}")),
    ];
    if let Some(address) = &own {
        probes.push(("own", format!("udp {address} {port}")));
    }
    let answers = world.probe(&probes);
    for (label, _) in &probes {
        let answer = answers.get(label);
        let refused = ["ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "EPERM", "EACCES"];
        assert!(refused.contains(&answer), "{label} must be refused at once: {answer}");
    }
    let mut bytes = [0; 64];
    assert!(socket.recv(&mut bytes).is_err(), "a datagram left: {bytes:?}");
    let _ = world.unprotected(&[("loopback", format!("udp 127.0.0.1 {port}"))]);
    assert!(socket.recv(&mut bytes).is_ok(), "the attack itself is broken");
}

/// N02, S33: the same for programs that ignore proxy variables, since none is needed.
#[test]
fn n02_no_proxy_variable_is_set_and_none_is_needed() {
    needs!("curl");
    let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let outcome = world.job().sh(&format!(
        "env | grep -i proxy | sed 's/^/variable /'\n\
         env -i /usr/bin/env curl -sS --noproxy '*' http://allowed.test:{port}/\n\
         unset http_proxy https_proxy all_proxy\n\
         curl -sS -4 http://allowed.test:{port}/; curl -sS -6 http://allowed.test:{port}/"
    ));
    assert_eq!(outcome.stdout.matches("hello from allowed").count(), 3, "{outcome:?}");
    assert!(!outcome.stdout.contains("variable "), "{outcome:?}");
    world.decisions().assert_allowed("allowed.test", port);
}

/// Plain TCP of any protocol: the server may speak first, and every byte arrives unchanged.
#[test]
fn capture_passes_a_server_first_protocol_through() {
    needs!("python3");
    let world = World::new(&[("shell.test", &["127.0.0.8"])]);
    let server = greeter("127.0.0.8:0", GREETING);
    let port = server.port();
    world.policy(&[loopback(&format!("shell.test:{port}"))], &[]);
    let answers = world.probe(&[
        ("banner", format!("tcp shell.test {port} {}", hex("hello there\n"))),
        ("bulk", format!("bulk shell.test {port} 8")),
    ]);
    answers.assert_got("banner", "SSH-2.0-ringfence-test|hello there|");
    assert_eq!(answers.get("bulk"), format!("SSH-2.0-ringfence-test {} True", 8 << 20));
    let ledger = world.fixture.ledger();
    let outcomes = ledger.events("outcome");
    let whole = 8 << 20;
    let moved = |field: &str| outcomes.iter().any(|event| event[field].as_u64() == Some(whole));
    assert!(moved("sent"), "the bytes are counted: {outcomes:#?}");
}

/// A rule by address reaches that address and port alone, in both families.
#[test]
fn capture_rules_by_address_and_range() {
    needs!("python3");
    let Some(own) = machine_address() else {
        return skip("rules by address", "this machine has no address beside the loopback");
    };
    let world = World::new(&[]);
    let server = greeter(&format!("{own}:0"), GREETING);
    let other = Sink::start(&format!("{own}:0"));
    let (port, denied) = (server.port(), other.server.port());
    world.policy(&[plain(&format!("{own}:{port}"))], &[]);
    let probes = [
        ("named", format!("tcp {own} {port}")),
        ("mapped", format!("tcp ::ffff:{own} {port}")),
        ("other port", format!("tcp {own} {denied} 41")),
        ("nat64", format!("tcp 64:ff9b::{own} {port} 41")),
    ];
    let answers = world.probe(&probes);
    answers.assert_got("named", "SSH-2.0-ringfence-test");
    answers.assert_denied("other port");
    answers.assert_denied("nat64");
    // The mapped form is the same address or no address at all, never another one.
    let mapped = answers.get("mapped");
    assert!(mapped.contains("SSH-2.0") || !mapped.starts_with("got"), "{mapped}");
    other.assert_untouched("a rule by address");
    let decisions = world.decisions();
    decisions.assert_allowed(&own.to_string(), port);
    decisions.assert_denied(&own.to_string(), denied, "no-rule");

    let around = own.to_string().rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).unwrap();
    world.policy(&[plain(&format!("{around}:{port}"))], &[&format!("{own}/32:{port}")]);
    let outcome = world.job().sh(&probing(&[("forbidden", format!("tcp {own} {port}"))]));
    assert!(!outcome.stdout.contains("SSH-2.0"), "a forbid wins over the range: {outcome:?}");
    world.decisions().assert_denied(&own.to_string(), port, "forbidden");
}

/// The same over IPv6.
#[test]
fn capture_rules_by_ipv6_address() {
    needs!("python3");
    let Some(own) = machine_address6() else {
        return skip(
            "rules by IPv6 address",
            "this machine has no IPv6 address beside the loopback",
        );
    };
    let world = World::new(&[]);
    let server = greeter(&format!("[{own}]:0"), GREETING);
    let port = server.port();
    world.policy(&[plain(&format!("[{own}]:{port}"))], &[]);
    let answers = world.probe(&[
        ("named", format!("tcp {own} {port}")),
        ("other port", format!("tcp {own} {} 41", port ^ 1)),
    ]);
    answers.assert_got("named", "SSH-2.0-ringfence-test");
    answers.assert_denied("other port");
}

/// The capture listeners themselves are no way out and no service to the agent.
#[test]
fn capture_port_itself_is_refused() {
    needs!("python3");
    let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    world.policy(&[loopback(&format!("allowed.test:{}", server.port()))], &[]);
    let request = get("allowed.test", "/");
    let mut probes = Vec::new();
    let labels: Vec<(String, String)> =
        ["127.0.0.1", "::1", "10.1.2.3", "allowed.test", "127.9.9.9"]
            .iter()
            .flat_map(|host| {
                [61, 62]
                    .map(|port| (format!("{host} {port}"), format!("tcp {host} {port} {request}")))
            })
            .collect();
    probes.extend(labels.iter().map(|(label, words)| (label.as_str(), words.clone())));
    probes.push((
        "after",
        format!(
            "tcp allowed.test {} {}",
            server.port(),
            get(&format!("allowed.test:{}", server.port()), "/")
        ),
    ));
    let answers = world.probe(&probes);
    for (label, _) in &labels {
        let answer = answers.get(label);
        assert!(!answer.contains("hello from allowed"), "{label}: {answer}");
        assert_ne!(answer, "TIMEOUT", "{label}: it must be refused, not loop");
    }
    answers.assert_got("after", "hello from allowed");
    assert_eq!(server.server.accepted(), 1);
}

/// Wildcards cover names below theirs, port ranges their ports, and a deny wins over both.
#[test]
fn capture_wildcards_ranges_and_denies() {
    needs!("python3");
    let world = World::new(&[]);
    for name in ["a.wild.test", "b.a.wild.test", "secret.wild.test", "wild.test"] {
        world.dns.set(name, &[&["127.0.0.5"]]);
    }
    let server = Http::start("127.0.0.5:0", "hello from wild");
    let port = server.port();
    let (first, last) = (port.saturating_sub(3), port.saturating_add(3));
    world.policy(&[loopback(&format!("*.wild.test:{first}-{last}"))], &["secret.wild.test"]);
    let ask = |name: &str| format!("tcp {name} {port} {}", get(&format!("{name}:{port}"), "/"));
    let answers = world.probe(&[
        ("below", ask("a.wild.test")),
        ("deep", ask("b.a.wild.test")),
        ("itself", ask("wild.test")),
        ("denied", ask("secret.wild.test")),
        ("port", format!("tcp a.wild.test {} 41", last + 1)),
    ]);
    answers.assert_got("below", "hello from wild");
    answers.assert_got("deep", "hello from wild");
    for label in ["itself", "denied", "port"] {
        answers.assert_denied(label);
    }
    assert_eq!(server.server.accepted(), 2);
    let decisions = world.decisions();
    decisions.assert_denied("wild.test", port, "no-rule");
    decisions.assert_denied("secret.wild.test", port, "forbidden");
    decisions.assert_denied("a.wild.test", last + 1, "no-rule");
}

/// N04, PB2: an empty allow-list denies everything, also what other layers allow.
#[test]
fn n04_an_empty_list_denies_everything() {
    needs!("python3");
    let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    let probe =
        [("ask", format!("tcp allowed.test {port} {}", get(&format!("allowed.test:{port}"), "/")))];
    world.policy(&[], &[]);
    world.probe(&probe).assert_denied("ask");
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    world.probe(&probe).assert_got("ask", "hello from allowed");
    // A project may always narrow: no trust is needed for an empty list.
    std::fs::write(
        world.fixture.project().join("ringfence.toml"),
        "version = 1\n[network]\nallow = []\n",
    )
    .unwrap();
    world.probe(&probe).assert_denied("ask");
    assert_eq!(server.server.accepted(), 1);
}

/// N03, PB3: a setting that does not exist, or a list that could not be enforced, stops the start.
#[test]
fn n03_what_cannot_be_enforced_stops_the_start() {
    let world = World::new(&[]);
    let broken = [
        ("[network]\nenabled = false\n", "enabled"),
        ("[network]\nallow = \"*\"\n", "allow"),
        ("[network]\nallow = [\"*\"]\n", "*"),
        ("[network]\nallow = [\"0.0.0.0/0:*\"]\n", "0.0.0.0/0"),
        ("[network]\nallow = [\"*.com\"]\n", "*.com"),
        ("[network]\nallow = [\"evil.test\\u0000.allowed.test\"]\n", "host name"),
        ("[network]\nallow = [\"https://allowed.test/\"]\n", "URL"),
        ("[network]\nalow = [\"allowed.test\"]\n", "alow"),
        ("[network]\nallow = [\"allowed.test\"]\nallow = []\n", "duplicate"),
        ("[network]\nresolver = \"not an address\"\n", "resolver"),
        ("[networks]\nallow = []\n", "networks"),
    ];
    for (text, named) in broken {
        world.policy_text(text);
        let outcome = world.job().sh("echo STARTED");
        assert_eq!(outcome.code, 125, "{text}: {outcome:?}");
        assert!(!outcome.stdout.contains("STARTED"), "{text}: {outcome:?}");
        assert!(outcome.stderr.contains(named), "{text} must be named: {outcome:?}");
        assert!(outcome.stderr.contains("policy.toml:"), "with its line: {outcome:?}");
    }
    world.policy(&[], &[]);
    assert_eq!(world.job().sh("echo STARTED").stdout, "STARTED\n");
}
