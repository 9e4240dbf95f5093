//! Decisions, one behaviour per test.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{NOW, ask, connect, endpoint, policy};
use ringfence_authority::{Authority, Now};
use ringfence_model::address::AddressClass;
use ringfence_model::decision::{Decision, Reason, Verdict};
use ringfence_model::request::{Action, Request, Resource};
use std::sync::Arc;

fn authority(body: &str) -> Authority {
    Authority::new(Arc::new(policy(body)), 1)
}

fn reason(own: &Authority, request: &Request) -> Reason {
    let decision = own.decide(request, NOW);
    let allowed = decision.verdict == Verdict::Allow;
    assert_eq!(allowed, decision.reason == Reason::Permitted);
    assert!(!allowed || !decision.rules.is_empty());
    decision.reason
}

/// Every policy that is generated fits the typed schema, strictly.
#[test]
fn the_generated_cedar_is_valid() {
    let body = r#"
name = "web"
profile = "claude-code"
[workspace]
mode = "read-only"
[files]
read = ["/srv/data", { path = "/srv/it's \"odd\" \\ path", for = "2h" }]
write = [{ path = "/srv/out", expires = 2099-12-01T00:00:00Z }]
deny = [".env", "secrets/"]
[network]
allow = ["a.example", "*.b.example:1-1024", "10.0.0.5:5432", "[fd00::/8]:*", "host.ringfence:8080",
  { host = "r.corp:443", addresses = ["10.1.0.0/16", "fd00::/16"], for = "2h", expires = 2099-12-01T00:00:00Z }]
deny = ["*.evil.example", "0.0.0.0/0:22", "[::/0]:22", "2001:db8::/32"]
publish = [3000, "8080:80"]
[environment]
pass = ["TOKEN"]
"#;
    let text = policy(body).cedar();
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(ringfence_policy::cedar::schema())
        .unwrap_or_else(|error| panic!("{error:?}"));
    let set: cedar_policy::PolicySet =
        text.parse().unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    let rules = policy(body).rules().len();
    assert_eq!(set.policies().count(), rules);
    let result =
        cedar_policy::Validator::new(schema).validate(&set, cedar_policy::ValidationMode::Strict);
    let errors: Vec<_> = result.validation_errors().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    for policy in set.policies() {
        assert!(policy.annotation("id").is_some() && policy.annotation("source").is_some());
    }
}

/// PB1, N04: nothing is reached by an empty policy or an empty list.
#[test]
fn pb1_n04_the_empty_policy_denies_everything() {
    for body in ["", "[network]\nallow = []"] {
        let own = authority(body);
        for request in [
            connect("a.example", "", "93.184.216.34", 443),
            connect("", "", "93.184.216.34", 443),
            connect("", "", "127.0.0.1", 80),
            connect("host.ringfence", "", "127.0.0.1", 80),
            ask(Action::Resolve, Resource::Endpoint(endpoint("a.example", "", "", 443))),
            ask(Action::Read, Resource::Path("/home/ann/.ssh/id_rsa".into())),
            ask(Action::Write, Resource::Path("/etc/passwd".into())),
            ask(Action::Publish, Resource::Port(80)),
            ask(Action::Environment, Resource::Variable("TOKEN".to_owned())),
        ] {
            assert_eq!(reason(&own, &request), Reason::NoRule, "{request:?}");
        }
    }
}

/// N08: a name is permitted as whole labels and on its ports only.
#[test]
fn n08_names_and_ports_are_exact() {
    let own = authority("[network]\nallow = [\"github.example\", \"*.b.example:8000-8010\"]");
    let verdict =
        |name: &str, port: u16| own.decide(&connect(name, "", "93.184.216.34", port), NOW).verdict;
    for (name, port) in [("github.example", 443), ("x.b.example", 8000), ("x.y.b.example", 8010)] {
        assert_eq!(verdict(name, port), Verdict::Allow, "{name}:{port}");
    }
    for (name, port) in [
        ("github.example", 80),
        ("evil-github.example", 443),
        ("github.example.evil.example", 443),
        ("x.github.example", 443),
        ("b.example", 8000),
        ("xb.example", 8000),
        ("x.b.example", 8011),
    ] {
        assert_eq!(verdict(name, port), Verdict::Deny, "{name}:{port}");
    }
    let resolve =
        |name: &str| ask(Action::Resolve, Resource::Endpoint(endpoint(name, "", "", 443)));
    assert_eq!(reason(&own, &resolve("github.example")), Reason::Permitted);
    assert_eq!(reason(&own, &resolve("evil.example")), Reason::NoRule);
}

/// N10, N09, LM1: a permitted name that leads to a place that is not public is stopped there.
#[test]
fn n10_n09_lm1_a_name_leads_to_public_places_unless_others_are_named() {
    let own = authority(
        "[network]\nallow = [\"a.example\", { host = \"r.corp\", addresses = [\"10.1.0.0/16\", \"169.254.0.0/16\"] }]",
    );
    for (address, class) in [
        ("10.1.2.3", AddressClass::Private),
        ("127.0.0.1", AddressClass::Loopback),
        ("169.254.169.254", AddressClass::Metadata),
        ("::ffff:169.254.169.254", AddressClass::Metadata),
        ("64:ff9b::a00:1", AddressClass::Private),
        ("2002:7f00:1::", AddressClass::Loopback),
        ("fe80::1", AddressClass::LinkLocal),
        ("224.0.0.1", AddressClass::Reserved),
        ("fd00:ec2::254", AddressClass::Metadata),
    ] {
        let found = reason(&own, &connect("a.example", "", address, 443));
        assert_eq!(found, Reason::UnnamedAddress { class }, "{address}");
    }
    let corp = |address: &str| reason(&own, &connect("r.corp", "", address, 443));
    assert_eq!(corp("10.1.2.3"), Reason::Permitted);
    assert_eq!(corp("::ffff:10.1.2.3"), Reason::Permitted);
    assert_eq!(corp("93.184.216.34"), Reason::Permitted);
    assert_eq!(corp("10.2.0.1"), Reason::UnnamedAddress { class: AddressClass::Private });
    // A wide range never opens a metadata address.
    assert_eq!(corp("169.254.169.254"), Reason::UnnamedAddress { class: AddressClass::Metadata });
    assert_eq!(corp("169.254.1.1"), Reason::Permitted);
    // Where an upstream proxy resolves there is no address to judge.
    assert_eq!(corp(""), Reason::Permitted);
}

/// N01: an address is reached by an address rule, and a name rule's address is none.
#[test]
fn n01_addresses_are_named_as_addresses() {
    let own = authority(
        "[network]\nallow = [\"a.example\", \"10.0.0.0/24:5432\", \"host.ringfence:8080\"]",
    );
    assert_eq!(reason(&own, &connect("", "", "10.0.0.5", 5432)), Reason::Permitted);
    assert_eq!(reason(&own, &connect("", "", "::ffff:10.0.0.5", 5432)), Reason::Permitted);
    assert_eq!(reason(&own, &connect("", "", "10.0.1.5", 5432)), Reason::NoRule);
    assert_eq!(reason(&own, &connect("", "", "64:ff9b::a00:5", 5432)), Reason::NoRule);
    assert_eq!(reason(&own, &connect("", "a.example", "93.184.216.34", 443)), Reason::NoRule);
    assert_eq!(reason(&own, &connect("b.example", "", "10.0.0.5", 5432)), Reason::NoRule);
    assert_eq!(reason(&own, &connect("host.ringfence", "", "127.0.0.1", 8080)), Reason::Permitted);
    assert_eq!(reason(&own, &connect("host.ringfence", "", "127.0.0.1", 8081)), Reason::NoRule);
    let class = AddressClass::Private;
    assert_eq!(
        reason(&own, &connect("host.ringfence", "", "10.0.0.1", 8080)),
        Reason::UnnamedAddress { class }
    );
}

/// N11: the name that a connection claims is the name that was looked up.
#[test]
fn n11_names_that_differ_are_refused() {
    let own = authority("[network]\nallow = [\"a.example\", \"b.example\"]");
    assert_eq!(
        reason(&own, &connect("a.example", "a.example", "93.184.216.34", 443)),
        Reason::Permitted
    );
    assert_eq!(
        reason(&own, &connect("a.example", "b.example", "93.184.216.34", 443)),
        Reason::NameMismatch
    );
    assert_eq!(
        reason(&own, &connect("c.example", "a.example", "93.184.216.34", 443)),
        Reason::NameMismatch
    );
}

/// PB2, F05: a forbid wins whatever permits, by dialled name, claimed name or address.
#[test]
fn pb2_f05_forbids_win() {
    let own = authority(
        "[network]\nallow = [\"*.x.example:*\", \"10.0.0.0/8:*\", { host = \"r.corp\", addresses = [\"10.0.0.0/8\"] }]\n\
         deny = [\"evil.x.example\", \"10.9.0.0/16\", \"93.184.0.0/16:22\"]\n\
         [files]\nread = [\"/srv/data\", \"/srv/data/sub\"]\nwrite = [\"/opt/out\"]\ndeny = [\"*.pem\", \"secrets/\"]",
    );
    for request in [
        connect("evil.x.example", "", "93.184.216.34", 443),
        connect("evil.x.example", "", "", 80),
        connect("", "evil.x.example", "10.0.0.1", 80),
        connect("", "", "10.9.1.1", 80),
        connect("", "", "::ffff:10.9.1.1", 80),
        connect("r.corp", "", "10.9.1.1", 443),
        connect("good.x.example", "", "64:ff9b::a09:101", 443),
        connect("good.x.example", "", "93.184.216.34", 22),
        ask(Action::Read, Resource::Path("/srv/data/key.PEM".into())),
        ask(Action::Read, Resource::Path("/code/p/a/Secrets/x".into())),
        ask(Action::Write, Resource::Path("/opt/out/k.pem".into())),
    ] {
        assert_eq!(reason(&own, &request), Reason::Forbidden, "{request:?}");
    }
    assert_eq!(
        reason(&own, &connect("good.x.example", "", "93.184.216.34", 80)),
        Reason::Permitted
    );
    let decision = own.decide(&connect("evil.x.example", "", "", 80), NOW);
    assert_eq!(decision.rules[0].id, "project.network.deny.1");
    assert_eq!(decision.rules[0].source.to_string(), "/code/p/ringfence.toml:4");
}

/// A forbid of all addresses holds for an address that is not known.
#[test]
fn pb2_an_unknown_address_is_one_of_all() {
    let own = authority("[network]\nallow = [\"a.example\"]\ndeny = [\"0.0.0.0/0\"]");
    assert_eq!(reason(&own, &connect("a.example", "", "", 443)), Reason::Forbidden);
    assert_eq!(reason(&own, &connect("a.example", "", "2606:4700::1111", 443)), Reason::Permitted);
}

/// PB4, F02: paths are judged by whole components, with write as the stronger word.
#[test]
fn pb4_f02_paths_are_judged_by_components() {
    let own =
        authority("[files]\nread = [\"/srv/data\", \"/home/ann/.cfg\"]\nwrite = [\"/srv/out\"]");
    let at = |action, path: &str| reason(&own, &ask(action, Resource::Path(path.into())));
    for path in ["/srv/data", "/srv/data/x/y", "/srv/out/x", "/code/p/src"] {
        assert_eq!(at(Action::Read, path), Reason::Permitted, "{path}");
    }
    for path in ["/srv", "/srv/database", "/srv/dat", "/code/p2", "/code", "/"] {
        assert_eq!(at(Action::Read, path), Reason::NoRule, "{path}");
    }
    assert_eq!(at(Action::Write, "/srv/data/x"), Reason::NoRule);
    assert_eq!(at(Action::Write, "/srv/out/x"), Reason::Permitted);
    use std::os::unix::ffi::OsStringExt as _;
    let odd = std::ffi::OsString::from_vec(b"/srv/data/\xff\"\\".to_vec());
    assert_eq!(reason(&own, &ask(Action::Read, Resource::Path(odd.into()))), Reason::Permitted);
}

/// DX1: what lies below a grant and holds secrets is forbidden.
#[test]
fn dx1_masks_are_forbids() {
    let own = authority("[files]\nread = [\"/home/ann/.config\"]");
    let at = |path: &str| reason(&own, &ask(Action::Read, Resource::Path(path.into())));
    assert_eq!(at("/home/ann/.config/app/x"), Reason::Permitted);
    assert_eq!(at("/home/ann/.config/gh/hosts.yml"), Reason::Forbidden);
    assert_eq!(at("/home/ann/.config/ringfence/trust"), Reason::Forbidden);
}

/// C08, C09: a permit ends with the earlier of its two clocks, and no clock brings it back.
#[test]
fn c08_c09_permits_end() {
    let own = authority(
        "[network]\nallow = [{ host = \"a.example\", for = \"2h\", expires = 2027-01-16T00:00:00Z }, { host = \"b.example\", for = \"1h\" }, \"c.example\", { host = \"c.example\", for = \"1h\" }]",
    );
    let end = 1_800_057_600;
    let at = |name: &str, unix_s: i64, elapsed_ms: u64| -> Decision {
        own.decide(&connect(name, "", "93.184.216.34", 443), Now { unix_s, elapsed_ms })
    };
    let two_hours = 7_200_000;
    assert_eq!(at("a.example", NOW.unix_s, 0).expires, Some(NOW.unix_s + 7200));
    assert_eq!(at("a.example", end - 10, 0).expires, Some(end));
    assert_eq!(at("a.example", NOW.unix_s, two_hours - 1).verdict, Verdict::Allow);
    assert_eq!(at("a.example", NOW.unix_s, two_hours).reason, Reason::Expired);
    assert_eq!(at("a.example", end, 0).reason, Reason::Expired);
    // The wall clock was set back: the time since the start still counts.
    assert_eq!(at("a.example", 0, two_hours).reason, Reason::Expired);
    let expired = at("b.example", NOW.unix_s, u64::MAX);
    assert_eq!((expired.verdict, expired.reason), (Verdict::Deny, Reason::Expired));
    assert_eq!(expired.rules[0].id, "project.network.allow.2");
    // A permit without an end makes the whole have none.
    assert_eq!(at("c.example", NOW.unix_s, 0).expires, None);
}

/// FH5, P20: a question that makes no sense is denied, not guessed.
#[test]
fn fh5_p20_senseless_questions_are_denied() {
    let own = authority("[network]\nallow = [\"a.example\"]\npublish = [80]");
    for request in [
        ask(Action::Read, Resource::Port(80)),
        ask(Action::Publish, Resource::Variable("X".to_owned())),
        ask(Action::Environment, Resource::Endpoint(endpoint("a.example", "", "", 443))),
        ask(Action::Connect, Resource::Path("/code/p".into())),
    ] {
        let decision = own.decide(&request, NOW);
        assert_eq!(decision.verdict, Verdict::Deny);
        assert!(matches!(decision.reason, Reason::Failed { .. }), "{decision:?}");
    }
}

#[test]
fn ports_and_variables_are_named_one_by_one() {
    let own = authority("[network]\npublish = [\"8080:80\"]\n[environment]\npass = [\"TOKEN\"]");
    assert_eq!(reason(&own, &ask(Action::Publish, Resource::Port(80))), Reason::Permitted);
    assert_eq!(reason(&own, &ask(Action::Publish, Resource::Port(8080))), Reason::NoRule);
    let variable =
        |name: &str| reason(&own, &ask(Action::Environment, Resource::Variable(name.to_owned())));
    assert_eq!(variable("TOKEN"), Reason::Permitted);
    assert_eq!(variable("token"), Reason::NoRule);
    assert_eq!(variable("TERM"), Reason::Permitted);
}

#[test]
fn a_new_policy_is_the_next_generation() {
    let mut own = authority("[network]\nallow = [\"a.example\"]");
    let request = connect("a.example", "", "93.184.216.34", 443);
    assert_eq!(own.decide(&request, NOW).generation, 1);
    own.replace(Arc::new(policy("")));
    let decision = own.decide(&request, NOW);
    assert_eq!((decision.verdict, decision.generation), (Verdict::Deny, 2));
}

/// An authority is shared by threads.
#[test]
fn it_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Authority>();
}
