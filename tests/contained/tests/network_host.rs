//! Where names may lead, the host's own loopback, published ports, an office's proxy, and an
//! organisation's policy that changes under a running sandbox.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::{Live, Outcome, free_port, is_root, needs, skip};
use support::http::Http;
use support::proxy::{BASIC, LOGIN, Proxy};
use support::tcp::{LEAK, Sink, greeter};
use support::world::{
    World, addressed, eventually, get, loopback, machine_address, plain, probing,
};

/// N10, N09, PB4: a permitted name that leads to a place that no rule names is not dialled.
#[test]
fn n10_names_that_lead_to_unnamed_places_are_not_dialled() {
    needs!("python3");
    let world = World::new(&[]);
    let sink = Sink::start("0.0.0.0:0");
    let port = sink.server.port();
    let own = machine_address().map(|address| address.to_string());
    let mut places = vec![
        ("loopback.test", "127.0.0.1"),
        ("zero.test", "0.0.0.0"),
        ("six.test", "::1"),
        ("mapped.test", "::ffff:127.0.0.1"),
        ("nat64.test", "64:ff9b::7f00:1"),
        ("sixtofour.test", "2002:7f00:1::1"),
        ("teredo.test", "2001:0:1:1:1:1:80ff:fffe"),
        ("compat.test", "::127.0.0.1"),
        ("metadata.test", "169.254.169.254"),
        ("metadata6.test", "fd00:ec2::254"),
        ("linklocal.test", "169.254.1.1"),
        ("ten.test", "10.0.0.1"),
        ("shared.test", "100.64.0.1"),
        ("home.test", "192.168.1.1"),
        ("ula.test", "fd12:3456::1"),
        ("multicast.test", "224.0.0.1"),
        ("synthetic.test", "198.18.0.1"),
    ];
    if let Some(own) = &own {
        places.push(("own.test", own));
    }
    let allow: Vec<String> =
        places.iter().map(|(name, _)| plain(&format!("{name}:{port}"))).collect();
    for (name, address) in &places {
        world.dns.set(name, &[&[address]]);
    }
    world.policy(&allow, &[]);
    let probes: Vec<_> = places
        .iter()
        .map(|(name, _)| {
            (*name, format!("tcp {name} {port} {}", get(&format!("{name}:{port}"), "/")))
        })
        .collect();
    let answers = world.probe(&probes);
    for (name, _) in &places {
        answers.assert_denied(name);
    }
    sink.assert_untouched("N10");
    let decisions = world.decisions();
    for (name, _) in &places {
        decisions.assert_denied(name, port, "unnamed-address");
    }
    assert_eq!(decisions.dialled(), Vec::<String>::new());
}

/// N10: what was judged is what is dialled, when the answers change and when they are mixed.
#[test]
fn n10_rebinding_changes_nothing() {
    needs!("python3");
    let world = World::new(&[]);
    let good = Http::start("127.0.0.5:0", "hello from allowed");
    let port = good.port();
    let bad = Sink::start(&format!("127.0.0.6:{port}"));
    for name in ["rebind.test", "mixed.test", "flip.test"] {
        world.dns.set(name, &[&["127.0.0.5"], &["127.0.0.6"]]);
    }
    world.dns.set("mixed.test", &[&["127.0.0.6", "127.0.0.5"]]);
    world.dns.set("flip.test", &[&["127.0.0.6"], &["127.0.0.5"]]);
    let rule = |name: &str| addressed(&format!("{name}:{port}"), &["127.0.0.5/32"]);
    world.policy(&[rule("rebind.test"), rule("mixed.test"), rule("flip.test")], &[]);
    let ask = |name: &str| format!("tcp {name} {port} {}", get(&format!("{name}:{port}"), "/"));
    let mut probes = vec![("mixed", ask("mixed.test"))];
    let labels: Vec<String> = (0..6).map(|n| format!("rebind {n}")).collect();
    probes.extend(labels.iter().map(|label| (label.as_str(), ask("rebind.test"))));
    probes.push(("flip", ask("flip.test")));
    let answers = world.probe(&probes);
    answers.assert_got("mixed", "hello from allowed");
    answers.assert_got("rebind 0", "hello from allowed");
    for label in labels.iter().map(String::as_str).chain(["flip"]) {
        assert!(!answers.get(label).contains(LEAK), "{label}: {}", answers.get(label));
    }
    bad.assert_untouched("N10");
    assert!(world.decisions().dialled().iter().all(|address| address == "127.0.0.5"));
    world.decisions().assert_denied("flip.test", port, "unnamed-address");
}

/// N01, N24: the host's loopback is reached as `host.ringfence`, on the ports that are named.
#[test]
fn host_ringfence_reaches_named_ports_only() {
    needs!("python3");
    let world = World::new(&[("other.test", &["127.0.0.1"])]);
    let named = Http::start("127.0.0.1:0", "hello from the host");
    let unnamed = Sink::start("127.0.0.1:0");
    let (port, closed) = (named.port(), unnamed.server.port());
    world.policy(&[plain(&format!("host.ringfence:{port}"))], &[]);
    let answers = world.probe(&[
        (
            "named",
            format!("tcp host.ringfence {port} {}", get(&format!("host.ringfence:{port}"), "/")),
        ),
        ("unnamed", format!("tcp host.ringfence {closed} 41")),
        ("loopback", format!("tcp 127.0.0.1 {port} 41")),
        ("localhost", format!("tcp localhost {port} 41")),
        (
            "other name",
            format!("tcp other.test {port} {}", get(&format!("other.test:{port}"), "/")),
        ),
        ("below", format!("tcp x.host.ringfence {port} 41")),
        ("host header", format!("tcp host.ringfence {port} {}", get("other.test", "/"))),
    ]);
    answers.assert_got("named", "hello from the host");
    for label in ["unnamed", "loopback", "localhost", "other name", "below", "host header"] {
        answers.assert_denied(label);
    }
    let arrived = named.requests.texts();
    assert_eq!(arrived.len(), 1, "only the named request arrives: {arrived:?}");
    unnamed.assert_untouched("host.ringfence");
    assert_eq!(world.dns.questions(), Vec::new(), "the host's loopback is never looked up");
    let decisions = world.decisions();
    decisions.assert_allowed("host.ringfence", port);
    decisions.assert_denied("host.ringfence", closed, "no-rule");
}

/// N24: what listens inside is reached from the host only where a port is published.
#[test]
fn n24_only_published_ports_are_reached_from_the_host() {
    needs!("python3");
    let world = World::new(&[]);
    let (published, hidden) = (free_port(), free_port());
    let job = world.job().flags(["--publish", &format!("{published}:18081")]);
    let mut live = job.start_sh(&format!(
        "python3 net.py serve 18081 hello-inside & python3 net.py serve {hidden} hidden-inside & wait"
    ));
    let served = |live: &Live| live.stdout().matches("serving").count() == 2;
    eventually("both servers listen", || served(&live));
    let read = |port: u16| -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    assert_eq!(read(published).unwrap(), "hello-inside");
    assert_eq!(read(published).unwrap(), "hello-inside", "and again");
    assert!(read(hidden).is_err(), "a port that is not published was reached");
    assert!(read(18081).is_err(), "the inside port is not one of the host's");
    if let Some(own) = machine_address() {
        let outside = TcpStream::connect((own, published));
        assert!(outside.is_err(), "a published port is for the host's loopback alone");
    }
    assert!(live.runs());
    live.signal(rustix::process::Signal::TERM);
    let _ = live.wait();
    assert!(read(published).is_err(), "the port closes with the run");
    let ledger = world.fixture.ledger();
    let allowed = ledger.events("decision").into_iter().any(|event| {
        event["request"]["action"] == "publish" && event["decision"]["verdict"] == "allow"
    });
    assert!(allowed, "{:#?}", ledger.records);
}

/// N02: behind an office's proxy the gateway logs in to it, and the agent never sees the login.
#[test]
fn upstream_proxy_is_used_by_the_gateway_alone() {
    needs!("python3");
    let world = World::new(&[]);
    let backend = greeter("127.0.0.1:0", "HELLO-BEHIND-PROXY\n");
    let proxy = Proxy::start(backend.address());
    world
        .policy(&[plain("far.example:9443"), plain("*.corp.example:80")], &["denied.corp.example"]);
    let url = format!("http://{LOGIN}@127.0.0.1:{}", proxy.server.port());
    let script = format!(
        "{}env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'",
        probing(&[
            ("far", "tcp far.example 9443 ''".to_owned()),
            ("denied", "tcp denied.corp.example 80 41".to_owned()),
            ("unnamed", "tcp other.invalid 9443 41".to_owned()),
        ])
    );
    let job = world.job().env("HTTPS_PROXY", &url).env("https_proxy", &url).env("ALL_PROXY", &url);
    let outcome = job.sh(&script);
    assert!(outcome.answer("far").contains("HELLO-BEHIND-PROXY"), "{outcome:?}");
    for secret in ["pass%40word", "pass@word", BASIC, "staff"] {
        assert!(!outcome.text().contains(secret), "the login is visible inside: {outcome:?}");
    }
    let seen = proxy.requests.texts();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].starts_with("CONNECT far.example:9443 HTTP/1.1\r\n"), "{seen:?}");
    let decisions = world.decisions();
    decisions.assert_allowed("far.example", 9443);
    decisions.assert_denied("denied.corp.example", 80, "forbidden");
    decisions.assert_denied("other.invalid", 9443, "no-rule");
    let ledger = world.fixture.ledger();
    let text = format!("{:?}", ledger.records);
    assert!(!text.contains("pass%40word") && !text.contains(BASIC), "the login is in the ledger");
    assert_eq!(world.dns.questions(), Vec::new(), "the proxy resolves");
}

/// N10: a proxy that is configured but not there is no reason to dial past it.
#[test]
fn a_dead_upstream_proxy_opens_nothing() {
    needs!("python3");
    let world = World::new(&[("far.test", &["127.0.0.5"])]);
    let backend = Http::start("127.0.0.5:0", "hello directly");
    let port = backend.port();
    world.policy(&[loopback(&format!("far.test:{port}"))], &[]);
    let url = format!("http://127.0.0.1:{}", free_port());
    let job = world.job().env("HTTPS_PROXY", &url).env("HTTP_PROXY", &url).env("ALL_PROXY", &url);
    let script = probing(&[(
        "far",
        format!("tcp far.test {port} {}", get(&format!("far.test:{port}"), "/")),
    )]);
    let outcome = job.sh(&script);
    assert!(!outcome.answer("far").contains("hello directly"), "{outcome:?}");
    assert_eq!(backend.server.accepted(), 0);
    let direct = world.job().sh(&script);
    assert!(direct.answer("far").contains("hello directly"), "without a proxy: {direct:?}");
}

/// A proxy setting that the gateway cannot use stops the start and is named: neither ignored, which
/// would dial past the office's proxy, nor a riddle.
#[test]
fn an_upstream_proxy_that_cannot_be_used_is_named() {
    let world = World::new(&[]);
    for (name, value) in [
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("HTTPS_PROXY", "garbage:::"),
        ("https_proxy", "ftp://x"),
    ] {
        let outcome = world.job().env(name, value).sh("echo STARTED");
        assert_eq!(outcome.code, 125, "{name}={value}: {outcome:?}");
        assert!(!outcome.stdout.contains("STARTED"), "{outcome:?}");
        let words = outcome.stderr.to_lowercase();
        assert!(words.contains("proxy"), "{name}={value} is not named: {outcome:?}");
    }
}

/// C08: a permit with an end cuts the open connection and refuses new ones, each recorded once.
#[test]
fn c08_a_permit_that_ends_cuts_open_connections() {
    needs!("python3");
    let world = World::new(&[]);
    let server = greeter("127.0.0.1:0", "hello\n");
    let port = server.port();
    world.policy(&[format!("{{ host = \"host.ringfence:{port}\", for = \"4s\" }}")], &[]);
    let script = format!(
        "python3 - <<'END'\n\
         import socket\n\
         held = socket.create_connection(('host.ringfence', {port}), 10)\n\
         print('first', held.recv(16))\n\
         held.settimeout(30)\n\
         try: print('held', held.recv(16))\n\
         except OSError as error: print('held', type(error).__name__)\n\
         END\n\
         {}",
        probing(&[("again", format!("tcp host.ringfence {port}"))])
    );
    let outcome = world.job().sh(&script);
    assert!(outcome.stdout.contains("first b'hello"), "{outcome:?}");
    let cut =
        outcome.stdout.contains("held ConnectionResetError") || outcome.stdout.contains("held b''");
    assert!(cut, "the open connection was not cut: {outcome:?}");
    assert!(!outcome.answer("again").contains("hello"), "{outcome:?}");
    let decisions = world.decisions();
    decisions.assert_denied("host.ringfence", port, "expired");
    let count = decisions.about("host.ringfence", port).count();
    assert!(count < 20, "one end of a permit made {count} records");
}

/// PB2, C08: an organisation's new deny reaches a running sandbox and cuts open connections.
///
/// The organisation's file is only an administrator's to write; it is laid over `/etc` in a mount
/// namespace of the test's own, so that the machine's file is neither read nor changed.
#[test]
fn organisation_policy_reaches_a_running_sandbox() {
    needs!("python3");
    if !is_root() {
        return skip("an organisation's policy", "only an administrator can write one");
    }
    let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
    let server = greeter("127.0.0.5:0", "hello\n");
    let port = server.port();
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let (upper, work) =
        (world.fixture.root().join("etc-upper"), world.fixture.root().join("etc-work"));
    let organisation = upper.join("ringfence/policy.toml");
    std::fs::create_dir_all(organisation.parent().unwrap()).unwrap();
    std::fs::create_dir_all(&work).unwrap();
    std::fs::write(&organisation, "version = 1\n").unwrap();
    let agent = format!(
        "python3 - <<'END'\n\
         import socket\n\
         held = socket.create_connection(('allowed.test', {port}), 10)\n\
         held.recv(16); print('open', flush=True)\n\
         held.settimeout(30)\n\
         try:\n\
         \x20   print('held', held.recv(16), flush=True)\n\
         except OSError as error:\n\
         \x20   print('held', type(error).__name__, flush=True)\n\
         END\n\
         {}",
        probing(&[("again", format!("tcp allowed.test {port}"))])
    );
    // The definition is read through /etc, so the change is made through it as well.
    let outer = "mount --make-rprivate / && mount -t overlay overlay -o \"lowerdir=/etc,upperdir=$UPPER,workdir=$WORK\" /etc \
                 && { n=0; until [ -e \"$CHANGE\" ] || [ $((n += 1)) -gt 600 ]; do sleep 0.05; done; cp \"$CHANGE\" /etc/ringfence/new && mv /etc/ringfence/new /etc/ringfence/policy.toml; } & \
                 sleep 0.2; exec \"$0\" \"$@\"";
    let inner = world.job().command(["sh", "-c", &agent]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", outer]);
    command.arg(inner.get_program()).args(inner.get_args());
    world.fixture.surround(&mut command);
    let change = world.fixture.root().join("change.toml");
    command.env("UPPER", &upper).env("WORK", &work).env("CHANGE", &change);
    command.current_dir(world.fixture.project());
    let mut live = Live::start(command, b"", Duration::from_secs(60));
    live.wait_for("open");
    std::fs::write(&change, "version = 1\n[network]\ndeny = [\"allowed.test\"]\n").unwrap();
    live.wait_for("held");
    let outcome: Outcome = live.wait();
    assert!(
        !outcome.stdout.contains("held TimeoutError"),
        "the open connection was not cut: {outcome:?}"
    );
    assert!(!outcome.answer("again").contains("hello"), "{outcome:?}");
    world.decisions().assert_denied("allowed.test", port, "forbidden");
    let ledger = world.fixture.ledger();
    let changed = ledger.events("policy").into_iter().any(|event| event["layer"] == "organisation");
    assert!(changed, "{:#?}", ledger.records);
}
