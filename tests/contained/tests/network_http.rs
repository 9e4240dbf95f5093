//! What a connection says of itself must be what was dialled: Host for HTTP, SNI for TLS, on
//! every request of a connection; and ports 80 and 443 carry HTTP and TLS alone.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use ringfence_contained_tests::{needs, skip};
use support::http::{self, Http};
use support::tcp::{LEAK, Received, Server, Sink};
use support::tls::{Hellos, OpenSsl, client_hello, client_hello_in_records, client_hello_with};
use support::world::{World, get, hex, loopback};

fn world() -> World {
    World::new(&[
        ("allowed.test", &["127.0.0.5"]),
        ("other.test", &["127.0.0.5"]),
        ("denied.test", &["127.0.0.7"]),
    ])
}

/// N11: a Host that is not the dialled name is refused before it reaches the server.
#[test]
fn n11_host_must_be_the_dialled_name() {
    needs!("python3");
    let world = world();
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    world.policy(
        &[loopback(&format!("allowed.test:{port}")), loopback(&format!("other.test:{port}"))],
        &["evil.test"],
    );
    let heads: [(&str, String); 16] = [
        ("other", "GET / HTTP/1.1\r\nHost: other.test\r\n\r\n".into()),
        ("denied", "GET / HTTP/1.1\r\nHost: denied.test\r\n\r\n".into()),
        ("forbidden", "GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n".into()),
        ("port", "GET / HTTP/1.1\r\nHost: allowed.test:1\r\n\r\n".into()),
        (
            "two",
            format!("GET / HTTP/1.1\r\nHost: allowed.test:{port}\r\nHost: denied.test\r\n\r\n"),
        ),
        ("none", "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n".into()),
        (
            "absolute",
            format!("GET http://denied.test/ HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n"),
        ),
        ("userinfo", "GET / HTTP/1.1\r\nHost: allowed.test@denied.test\r\n\r\n".into()),
        ("nul", "GET / HTTP/1.1\r\nHost: denied.test\0.allowed.test\r\n\r\n".into()),
        ("space", format!("GET / HTTP/1.1\r\nHost : allowed.test:{port}\r\n\r\n")),
        ("fold", format!("GET / HTTP/1.1\r\nHost: allowed.test:{port}\r\n denied.test\r\n\r\n")),
        ("bare cr", "GET / HTTP/1.1\r\nHost: allowed.test\rHost: denied.test\r\n\r\n".into()),
        ("bare lf", "GET / HTTP/1.1\nHost: denied.test\n\n".into()),
        ("connect", "CONNECT denied.test:443 HTTP/1.1\r\nHost: denied.test:443\r\n\r\n".into()),
        ("address", "GET / HTTP/1.1\r\nHost: 127.0.0.7\r\n\r\n".into()),
        ("comma", "GET / HTTP/1.1\r\nHost: allowed.test, denied.test\r\n\r\n".into()),
    ];
    let mut probes: Vec<_> = heads
        .iter()
        .map(|(label, head)| (*label, format!("tcp allowed.test {port} {}", hex(head))))
        .collect();
    probes.push((
        "good",
        format!("tcp allowed.test {port} {}", get(&format!("allowed.test:{port}"), "/good")),
    ));
    let answers = world.probe(&probes);
    for (label, _) in &heads {
        let answer = answers.get(label);
        assert!(!answer.contains("hello from allowed"), "{label}: {answer}");
        answers.assert_denied(label);
    }
    answers.assert_got("good", "hello from allowed");
    let seen = server.requests.texts();
    assert_eq!(seen.len(), 1, "only the good request arrives: {seen:?}");
    let decisions = world.decisions();
    decisions.assert_denied("allowed.test", port, "name-mismatch");
    decisions.assert_denied("allowed.test", port, "malformed");
}

/// S11, N11: the second request of a kept connection is judged as the first one was.
#[test]
fn s11_every_request_of_a_connection_is_judged() {
    needs!("python3");
    let world = world();
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let good = format!("GET /one HTTP/1.1\r\nHost: allowed.test:{port}\r\n\r\n");
    let switched = "GET /two HTTP/1.1\r\nHost: denied.test\r\n\r\n";
    let chunked = format!(
        "POST /chunked HTTP/1.1\r\nHost: allowed.test:{port}\r\nTransfer-Encoding: chunked\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n"
    );
    let both = format!(
        "POST /both HTTP/1.1\r\nHost: allowed.test:{port}\r\nContent-Length: 6\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: denied.test\r\n\r\n"
    );
    let answers = world.probe(&[
        (
            "kept",
            format!("kept allowed.test {port} {} {} {}", hex(&good), hex(&good), hex(switched)),
        ),
        ("switch", format!("tcp allowed.test {port} {}", hex(format!("{good}{switched}")))),
        ("chunked", format!("tcp allowed.test {port} {}", hex(format!("{chunked}{switched}")))),
        ("both", format!("tcp allowed.test {port} {}", hex(both))),
    ]);
    let kept: Vec<_> = answers.get("kept").split(" / ").collect();
    let served = kept.iter().filter(|answer| answer.contains("hello from allowed"));
    assert_eq!(served.count(), 2, "two good requests, then a foreign one: {kept:?}");
    for needle in ["/two", "/smuggled", "denied.test"] {
        assert!(!server.requests.contains(needle), "{needle}: {:?}", server.requests.texts());
    }
    let answer = answers.get("both");
    assert!(!answer.contains("hello from allowed"), "ambiguous framing is refused: {answer}");
    world.decisions().assert_denied("allowed.test", port, "name-mismatch");
}

/// S11: a relay inside the sandbox makes no difference: the dial is judged, not its author.
#[test]
fn s11_a_helper_inside_that_relays_is_judged_the_same() {
    needs!("python3", "curl");
    let world = world();
    let sink = Sink::start("127.0.0.7:0");
    let port = sink.server.port();
    let server = Http::start(&format!("127.0.0.5:{port}"), "hello from allowed");
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let relay = format!(
        "python3 - <<'END' &\n\
         import socket, threading\n\
         def pump(a, b):\n\
         \x20   try:\n\
         \x20       while True:\n\
         \x20           part = a.recv(65536)\n\
         \x20           if not part: break\n\
         \x20           b.sendall(part)\n\
         \x20   except OSError: pass\n\
         \x20   b.close()\n\
         server = socket.create_server(('127.0.0.1', 18080))\n\
         open('ready', 'w').close()\n\
         while True:\n\
         \x20   client, _ = server.accept()\n\
         \x20   head = client.recv(65536).decode()\n\
         \x20   host, port = head.split()[1].split(':')\n\
         \x20   try: upstream = socket.create_connection((host, int(port)), 5)\n\
         \x20   except OSError: client.close(); continue\n\
         \x20   client.sendall(b'HTTP/1.1 200 OK\\r\\n\\r\\n')\n\
         \x20   threading.Thread(target=pump, args=(client, upstream), daemon=True).start()\n\
         \x20   threading.Thread(target=pump, args=(upstream, client), daemon=True).start()\n\
         END\n\
         until [ -e ready ]; do sleep 0.05; done\n\
         for name in allowed.test denied.test; do\n\
         \x20 printf \"$name\\t\"; curl -sS -m 10 -p -x http://127.0.0.1:18080 http://$name:{port}/ 2>&1 | tail -n 1; echo\n\
         done\n"
    );
    let outcome = world.job().sh(&relay);
    assert!(outcome.answer("allowed.test").contains("hello from allowed"), "{outcome:?}");
    assert!(!outcome.answer("denied.test").contains(LEAK), "{outcome:?}");
    sink.assert_untouched("S11");
    assert_eq!(server.server.accepted(), 1);
    world.decisions().assert_denied("denied.test", port, "no-rule");
}

/// N11, S10: the server name of a ClientHello must be the dialled name, and must be there.
#[test]
fn n11_sni_must_be_the_dialled_name() {
    needs!("python3");
    let world = world();
    let server = Hellos::start("127.0.0.5:0");
    let port = server.server.port();
    world.policy(
        &[loopback(&format!("allowed.test:{port}")), loopback(&format!("other.test:{port}"))],
        &[],
    );
    let sink = Sink::start(&format!("127.0.0.7:{port}"));
    let raw = |hello: Vec<u8>| format!("tcp allowed.test {port} {} open", hex(hello));
    let (good, evil) = (b"allowed.test".as_slice(), b"denied.test".as_slice());
    let slow = client_hello(evil);
    let (first, rest) = slow.split_at(3);
    let denied = [
        ("other", format!("tls allowed.test {port} other.test")),
        ("foreign", format!("tls allowed.test {port} denied.test")),
        ("none", format!("tls allowed.test {port} -")),
        ("denied", format!("tls denied.test {port} denied.test")),
        ("fronted", format!("tls denied.test {port} allowed.test")),
        ("nul", raw(client_hello(b"denied.test\0.allowed.test"))),
        ("nul behind", raw(client_hello(b"allowed.test\0.denied.test"))),
        ("empty", raw(client_hello(b""))),
        ("address", raw(client_hello(b"127.0.0.7"))),
        ("two names", raw(client_hello_with(&[&[good, evil]]))),
        ("two names, other order", raw(client_hello_with(&[&[evil, good]]))),
        ("two lists", raw(client_hello_with(&[&[good], &[evil]]))),
        ("two lists, other order", raw(client_hello_with(&[&[evil], &[good]]))),
        ("records of 7", raw(client_hello_in_records(evil, 7))),
        ("records of 1", raw(client_hello_in_records(evil, 1))),
        ("slow", format!("pieces allowed.test {port} 0.4 {} {}", hex(first), hex(rest))),
    ];
    let mut probes = denied.to_vec();
    probes.push(("good", format!("tls allowed.test {port} allowed.test")));
    probes.push(("good in records", raw(client_hello_in_records(good, 9))));
    let answers = world.probe(&probes);
    for (label, _) in &denied {
        answers.assert_denied(label);
    }
    sink.assert_untouched("N11");
    // The second good one comes in records of which this server reads the first alone.
    assert_eq!(
        server.names(),
        vec![Some("allowed.test".to_owned()), None],
        "only the good ones arrive: {answers:?}"
    );
    let decisions = world.decisions();
    decisions.assert_denied("allowed.test", port, "name-mismatch");
    decisions.assert_denied("denied.test", port, "no-rule");
}

/// N11: a head that a server may still read as HTTP is not taken for another protocol.
#[test]
fn n11_disguised_heads_do_not_pass_as_something_else() {
    let world = world();
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let tail = "/ HTTP/1.1\r\nHost: denied.test\r\n\r\n";
    let heads = [
        ("crlf first", format!("\r\nGET {tail}")),
        ("two crlf first", format!("\r\n\r\nGET {tail}")),
        ("lf first", format!("\nGET {tail}")),
        ("odd method", format!("FOO-BAR {tail}")),
        ("long method", format!("{} {tail}", "M".repeat(40))),
        ("absolute", "GET http://denied.test/ HTTP/1.1\r\n\r\n".to_owned()),
        ("http 1.0", "GET / HTTP/1.0\r\nHost: denied.test\r\n\r\n".to_owned()),
    ];
    let mut probes: Vec<_> = heads
        .iter()
        .map(|(label, head)| (*label, format!("tcp allowed.test {port} {}", hex(head))))
        .collect();
    probes.push((
        "slow",
        format!("pieces allowed.test {port} 0.4 {} {}", hex("GE"), hex(format!("T {tail}"))),
    ));
    probes.push((
        "byte by byte",
        format!(
            "pieces allowed.test {port} 0.05 {} {} {} {}",
            hex("G"),
            hex("E"),
            hex("T"),
            hex(format!(" {tail}"))
        ),
    ));
    let answers = world.probe(&probes);
    let passed: Vec<_> = probes
        .iter()
        .filter(|(label, _)| answers.get(label).contains("hello"))
        .map(|(label, _)| *label)
        .collect();
    assert_eq!(passed, Vec::<&str>::new(), "these passed as something else");
    let arrived = server.requests.texts();
    assert!(!server.requests.contains("denied.test"), "{arrived:?}");
}

/// TLS by name passes through end to end: the certificate seen inside is the server's own.
#[test]
fn tls_passes_through_by_name() {
    needs!("curl");
    let world = world();
    let keys = tempfile::tempdir().unwrap();
    let server = match OpenSsl::start(keys.path()) {
        Ok(server) => server,
        Err(why) => return skip("a whole TLS handshake", &why),
    };
    world.dns.set("tls.test", &[&["127.0.0.1"]]);
    let port = server.port;
    world.policy(&[loopback(&format!("tls.test:{port}"))], &[]);
    let outcome = world.job().sh(&format!(
        "curl -sS -k -m 20 -o /dev/null -w 'code %{{http_code}}\\n' https://tls.test:{port}/\n\
         echo | openssl s_client -connect tls.test:{port} -servername tls.test 2>/dev/null \
         | grep -m 1 -o 'CN *= *tls.test'"
    ));
    assert!(outcome.stdout.contains("code 200"), "{outcome:?}");
    assert!(outcome.stdout.contains("tls.test"), "{outcome:?}");
    world.decisions().assert_allowed("tls.test", port);
}

/// N16: port 443 is for TLS and port 80 for HTTP; opaque bytes are refused before any dial.
#[test]
fn n16_opaque_bytes_on_well_known_ports_are_refused() {
    needs!("python3");
    let world = world();
    world.policy(&[loopback("allowed.test:443"), loopback("allowed.test:80")], &[]);
    let web = Http::try_start("127.0.0.5:80", "hello from port 80");
    let secure = Hellos::try_start("127.0.0.5:443");
    let answers = world.probe(&[
        ("ssh on 443", format!("tcp allowed.test 443 {}", hex("SSH-2.0-x\r\n"))),
        ("http on 443", format!("tcp allowed.test 443 {}", get("allowed.test", "/opaque"))),
        ("zeros on 443", format!("tcp allowed.test 443 {}", hex([0; 64]))),
        ("short record on 443", format!("tcp allowed.test 443 {}", hex([0x16, 3, 1, 0, 0]))),
        ("ssh on 80", format!("tcp allowed.test 80 {}", hex("SSH-2.0-x\r\n"))),
        ("tls on 80", format!("tcp allowed.test 80 {}", hex([0x16, 3, 1, 2, 0, 1]))),
        ("h2 on 80", format!("tcp allowed.test 80 {}", hex("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))),
        (
            "h2c on 80",
            format!(
                "tcp allowed.test 80 {}",
                hex("GET /h2c HTTP/1.1\r\nHost: allowed.test\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                     Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
            ),
        ),
        ("good on 80", format!("tcp allowed.test 80 {}", get("allowed.test", "/good"))),
        ("good on 443", "tls allowed.test 443 allowed.test".to_owned()),
    ]);
    for label in [
        "ssh on 443",
        "http on 443",
        "zeros on 443",
        "ssh on 80",
        "tls on 80",
        "h2 on 80",
        "h2c on 80",
    ] {
        answers.assert_denied(label);
    }
    assert!(!answers.get("short record on 443").contains("hello"));
    let decisions = world.decisions();
    decisions.assert_denied("allowed.test", 443, "malformed");
    decisions.assert_denied("allowed.test", 80, "malformed");
    match web {
        Ok(web) => {
            answers.assert_got("good on 80", "hello from port 80");
            assert_eq!(web.requests.texts().len(), 1, "{:?}", web.requests.texts());
        }
        Err(why) => skip("HTTP through port 80", &format!("it cannot be listened on here: {why}")),
    }
    match secure {
        Ok(secure) => assert_eq!(secure.names(), vec![Some("allowed.test".to_owned())]),
        Err(why) => skip("TLS through port 443", &format!("it cannot be listened on here: {why}")),
    }
}

/// N15: a redirect is a new dial and is judged as one.
#[test]
fn n15_a_redirect_to_a_denied_host_is_judged() {
    needs!("curl");
    let world = world();
    let sink = Sink::start("127.0.0.7:0");
    let target = sink.server.port();
    let server = Http::answering("127.0.0.5:0", move |_| {
        http::redirect(&format!("http://denied.test:{target}/stolen?q=canary"))
    });
    let port = server.port();
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let script =
        format!("curl -sS -L -m 10 -w '\\ncode %{{http_code}}' http://allowed.test:{port}/ 2>&1");
    let outcome = world.job().sh(&script);
    assert_eq!(server.server.accepted(), 1, "{outcome:?}");
    assert!(!outcome.stdout.contains(LEAK), "{outcome:?}");
    sink.assert_untouched("N15");
    world.decisions().assert_denied("denied.test", target, "no-rule");
    let loose = script
        .replace("allowed.test", "127.0.0.5")
        .replace("curl", &format!("curl --http0.9 --resolve denied.test:{target}:127.0.0.7"));
    let control = world.fixture.unprotected(&loose);
    assert!(control.stdout.contains(LEAK), "the attack itself is broken: {control:?}");
}

/// A denied web client is told in words that a program can read.
#[test]
fn denied_clients_are_told_why() {
    needs!("curl");
    let world = world();
    let outcome =
        world.job().sh("curl -sS -m 10 -w '\\ncode %{http_code}\\n' http://denied.test/ 2>&1\n\
         curl -sS -m 10 https://denied.test/ 2>&1; echo tls $?");
    assert!(outcome.stdout.contains("code 403"), "{outcome:?}");
    let body = outcome.stdout.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_str(body)
        .unwrap_or_else(|error| panic!("the refusal is no JSON ({error}): {outcome:?}"));
    assert_eq!(body["host"], "denied.test", "{body}");
    assert!(body["error"].as_str().is_some_and(|text| text.contains("denied")), "{body}");
    assert!(!outcome.stdout.contains("tls 0"), "{outcome:?}");
    assert!(!outcome.stdout.contains("tls 28"), "not by time-out: {outcome:?}");
}

/// N07, S10: what a proxy client sends (SOCKS5, CONNECT) is no protocol of any port inside, so a
/// NUL in a host name has no parser to deceive.
#[test]
fn n07_socks_and_connect_bytes_dial_nothing() {
    needs!("python3");
    let world = world();
    let sink = Sink::start("127.0.0.7:0");
    let port = sink.server.port();
    let received = Received::default();
    let theirs = received.clone();
    let server = Server::start(&format!("127.0.0.5:{port}"), move |mut stream| {
        theirs.push(support::tcp::read_until(&mut stream, |all| all.len() > 4));
    });
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let host = b"denied.test\0.allowed.test";
    let mut socks = vec![5, 1, 0, 5, 1, 0, 3, u8::try_from(host.len()).unwrap()];
    socks.extend(host);
    socks.extend(port.to_be_bytes());
    let connect = format!("CONNECT denied.test\0.allowed.test:{port} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut probes = Vec::new();
    let labels: Vec<(String, String)> = ["127.0.0.1", "198.18.0.1", "8.8.8.8"]
        .iter()
        .flat_map(|address| {
            [
                ("socks", 1080, hex(&socks)),
                ("connect", 3128, hex(&connect)),
                ("connect", 80, hex(&connect)),
            ]
            .map(|(word, port, bytes)| {
                (format!("{word} {address} {port}"), format!("tcp {address} {port} {bytes}"))
            })
        })
        .collect();
    probes.extend(labels.iter().map(|(label, words)| (label.as_str(), words.clone())));
    let answers = world.probe(&probes);
    for (label, _) in &probes {
        answers.assert_denied(label);
    }
    sink.assert_untouched("N07");
    let decisions = world.decisions();
    for port in [1080, 3128] {
        decisions.assert_denied("8.8.8.8", port, "no-rule");
    }
    // On port 80 the head itself is refused, before any rule is asked.
    decisions.assert_denied("8.8.8.8", 80, "malformed");
    assert_eq!(server.accepted(), 0, "{:?}", received.texts());
}
