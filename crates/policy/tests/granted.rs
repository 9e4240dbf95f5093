//! Permits that are added to a compiled policy: what `--allow` refuses is refused, forbids win, and
//! nothing but the permits changes.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{FakeHost, Layers, project};
use ringfence_model::provenance::{Layer, Source};
use ringfence_policy::{Compiled, Ends, Permit, Permitted, Problems};

fn grant(text: &str, for_ms: u64) -> Permit {
    let ends = Ends { for_ms: Some(for_ms), at_unix: None };
    Permit { text: text.to_owned(), source: Source::grant("allowed by ann"), ends }
}

fn written(text: &str, layer: Layer) -> Permit {
    let source = Source {
        layer,
        file: Some("/code/p/ringfence.toml".into()),
        line: 7,
        column: 1,
        text: "network.allow".to_owned(),
    };
    Permit { text: text.to_owned(), source, ends: Ends::default() }
}

fn with(policy: &Compiled, permits: &[Permit], elapsed: u64) -> Result<Permitted, Problems> {
    policy.with_permits(permits, elapsed, &FakeHost::new())
}

fn sample() -> Compiled {
    project("[network]\nallow = [\"a.example\"]\ndeny = [\"*.evil.example\"]").unwrap()
}

#[test]
fn a_permit_is_added_and_nothing_else() {
    let policy = sample();
    let next = with(&policy, &[grant("b.example:22", 5_000)], 0).unwrap().policy.unwrap();
    assert!(next.is_intact());
    assert_ne!(next.digest, policy.digest);
    let rule = next.network.last().unwrap();
    assert_eq!((rule.id.as_str(), rule.ends.for_ms), ("grant.network.allow.1", Some(5_000)));
    assert_eq!(rule.source.to_string(), "allowed by ann");
    let mut rest = next.clone();
    rest.network.pop();
    rest.digest.clone_from(&policy.digest);
    assert_eq!(rest, policy);
    assert_eq!((next.next_end_ms(0), next.next_end_ms(5_000)), (Some(5_000), None));
    let kept = with(&policy, &[written("c.example", Layer::Project)], 0).unwrap().policy.unwrap();
    assert_eq!(kept.network.last().unwrap().id, "project.network.allow.2");
}

/// PB2: a forbid of any layer wins, and one bad text refuses the whole.
#[test]
fn pb2_what_could_change_nothing_is_refused() {
    let organisation = "version = 1\n[network]\ndeny = [\"no.example\"]\n";
    let policy = Layers { organisation, ..Layers::default() }.compile().unwrap();
    let error = with(&policy, &[grant("no.example", 1_000)], 0).unwrap_err().to_string();
    assert!(error.contains("/etc/ringfence/policy.toml:3"), "{error}");
    assert!(error.contains("only the organisation can change that"), "{error}");
    for (text, why) in [
        ("x.evil.example", "a deny always wins"),
        ("*", "every host"),
        ("*.com", "top-level"),
        ("localhost:80", "sandbox itself"),
        ("b.example:53", "gateway itself"),
        ("crates", "no crates here"),
        ("a\u{1b}[2J.example", "letters"),
    ] {
        let both = [grant("fine.example", 1_000), grant(text, 1_000)];
        let error = with(&sample(), &both, 0).unwrap_err().to_string();
        assert!(error.contains(why), "{text:?}: {error}");
        assert!(!error.chars().any(|c| c.is_control() && c != '\n'), "{error:?}");
    }
}

/// `allow = []` of a more specific layer keeps what it took back; a person's word for one run counts.
#[test]
fn what_a_project_took_back_stays_so() {
    let policy = project("[network]\nallow = []").unwrap();
    for layer in [Layer::User, Layer::Project] {
        let error = with(&policy, &[written("b.example", layer)], 0).unwrap_err().to_string();
        assert!(error.contains("takes back"), "{error}");
    }
    assert!(with(&policy, &[grant("b.example", 1_000)], 0).unwrap().policy.is_some());
    let user = Layers { user: "version = 1\n[network]\nallow = []\n", ..Layers::default() };
    let policy = user.compile().unwrap();
    assert!(with(&policy, &[written("b.example", Layer::Project)], 0).unwrap().policy.is_some());
}

/// What is permitted for good is not granted again; the latest answer about one place holds.
#[test]
fn the_latest_answer_holds() {
    let policy = sample();
    let same = with(&policy, &[grant("a.example:443", 1_000)], 0).unwrap();
    assert!(same.policy.is_none());
    assert_eq!(same.already[0].1.to_string(), "/code/p/ringfence.toml:3");
    let long = with(&policy, &[grant("b.example", 60_000)], 0).unwrap().policy.unwrap();
    let short = with(&long, &[grant("b.example", 2_000)], 1_000).unwrap().policy.unwrap();
    let ends: Vec<_> = short.permits().filter_map(|rule| rule.ends.for_ms).collect();
    assert_eq!(ends, [2_000]);
    let kept = with(&short, &[written("b.example", Layer::Project)], 0).unwrap().policy.unwrap();
    assert_eq!(kept.next_end_ms(0), None);
}

#[test]
fn a_bundle_is_its_hosts() {
    let next = with(&sample(), &[grant("npm", 1_000)], 0).unwrap().policy.unwrap();
    let rule = next.network.last().unwrap();
    assert_eq!(rule.id, "grant.network.allow.1.1");
    assert_eq!(rule.destination.to_string(), "registry.corp.test:443");
    assert!(rule.origin().starts_with("bundle npm, from ~/.npmrc:1 ("));
}

/// Grants that have ended make way for others; those that have not are not lost.
#[test]
fn no_run_holds_more_grants_than_the_limit() {
    let limit = ringfence_policy::limits::GRANTS;
    let hosts = |ms| (0..limit).map(|n| grant(&format!("h{n}.example"), ms)).collect::<Vec<_>>();
    let full = with(&sample(), &hosts(1_000), 0).unwrap().policy.unwrap();
    let more = [grant("more.example", 5_000)];
    let error = with(&full, &more, 999).unwrap_err().to_string();
    assert!(error.contains("1000 grants"), "{error}");
    let next = with(&full, &more, 1_000).unwrap().policy.unwrap();
    assert_eq!(next.permits().count(), sample().permits().count() + 1);
}
