//! Incidents about configuration that arrives with a project: it opens nothing before a person has
//! accepted exactly these bytes, and nothing inside the boundary can accept them.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use ringfence_contained_tests::needs;
use support::http::Http;
use support::world::{World, get, loopback, probing};

/// S29, C01: a project's definition that opens something is refused until it is accepted, works
/// then, with its own resolver and addresses, and is refused again once a byte of it has changed.
#[test]
fn s29_a_projects_definition_counts_only_as_it_was_accepted() {
    needs!("python3");
    let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
    let server = Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    let definition = world.fixture.project().join("ringfence.toml");
    let text = format!(
        "version = 1\n[network]\nresolver = \"{}\"\nallow = [{}]\n",
        world.dns.address(),
        loopback(&format!("allowed.test:{port}"))
    );
    std::fs::write(&definition, &text).unwrap();
    let ask = probing(&[(
        "ask",
        format!("tcp allowed.test {port} {}", get(&format!("allowed.test:{port}"), "/")),
    )]);
    world.policy_text("");

    let before = world.job().sh(&ask);
    assert_eq!(before.code, 125, "{before:?}");
    assert!(before.stdout.is_empty(), "nothing was started: {before:?}");
    assert!(before.stderr.contains(&format!("allowed.test:{port}")), "in words: {before:?}");
    assert!(before.stderr.contains("ringfence trust"), "{before:?}");
    let unasked = world.fixture.ringfence(&["trust"]);
    assert_ne!(unasked.code, 0, "nobody was there to answer: {unasked:?}");
    assert_eq!(world.job().sh(&ask).code, 125, "an unanswered question accepts nothing");

    let accepted = world.fixture.ringfence(&["trust", "--yes"]);
    assert_eq!(accepted.code, 0, "{accepted:?}");
    let after = world.job().sh(&ask);
    assert!(after.answer("ask").contains("hello from allowed"), "{after:?}");
    world.dns.assert_only(&["allowed.test"]);

    std::fs::write(&definition, format!("{text}# one byte more\n")).unwrap();
    let changed = world.job().sh(&ask);
    assert_eq!(changed.code, 125, "another text needs another yes: {changed:?}");
    assert_eq!(server.server.accepted(), 1);
}

/// S28, C02: an agent that writes itself a wider definition, or the record of its acceptance, has
/// changed nothing for the next run.
#[test]
fn s28_an_agent_cannot_widen_its_own_next_run() {
    for mode in ["review", "direct"] {
        let world = World::new(&[("allowed.test", &["127.0.0.5"])]);
        let server = Http::start("127.0.0.5:0", "hello from allowed");
        let port = server.port();
        let config = world.fixture.config().join("ringfence");
        let before = support::tree::snapshot(&world.fixture.config());
        let outcome = world.job().flags(["--workspace", mode]).sh(&format!(
            "printf 'version = 1\\n[network]\\nallow = [\"allowed.test:{port}\"]\\n' > ringfence.toml\n\
             mkdir -p '{config}' ~/.config/ringfence ~/.ringfence .ringfence\n\
             cp ringfence.toml '{config}/policy.toml'; cp ringfence.toml ~/.config/ringfence/policy.toml\n\
             echo '{{\"definitions\":{{\"'$PWD'/ringfence.toml\":\"'$(sha256sum < ringfence.toml | cut -d' ' -f1)'\"}}}}' \
             | tee '{config}/trusted.json' ~/.config/ringfence/trusted.json > /dev/null\n\
             echo finished",
            config = config.display()
        ));
        assert!(outcome.stdout.contains("finished"), "{outcome:?}");
        support::tree::assert_unchanged(&world.fixture.config(), &before, mode);
        let _ = world.fixture.ringfence(&["apply"]);
        let definition = world.fixture.project().join("ringfence.toml");
        assert!(!definition.exists(), "{mode}: the definition reached the host");
        let ask = format!("tcp allowed.test {port} {}", get(&format!("allowed.test:{port}"), "/"));
        let next = world.job().sh(&probing(&[("ask", ask)]));
        assert!(!next.answer("ask").contains("hello"), "{mode}: {next:?}");
        assert_eq!(server.server.accepted(), 0, "{mode}");
    }
}
