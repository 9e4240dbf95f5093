//! Bundles as rules: provenance, trust, forbids, explanations.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Layers;
use ringfence_model::decision::{Decision, Reason, Verdict};
use ringfence_model::request::{Action, Context, Endpoint, Request, Resource};
use ringfence_policy::{Bundle, CommandLine, Effect, Knowing, explain_knowing};

const NPM: &str = "version = 1\n[network]\nallow = [\"npm\"]\n";

#[test]
fn a_bundle_becomes_rules_that_say_where_they_come_from() {
    let policy = Layers { user: NPM, ..Layers::default() }.compile().unwrap();
    let rules: Vec<_> = policy.permits().filter(|rule| rule.via.is_some()).collect();
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0].destination.to_string(), "registry.corp.test:443");
    assert_eq!(rules[0].addresses[0].to_string(), "10.0.0.0/8");
    let origin = rules[0].origin();
    assert!(origin.starts_with("bundle npm, from ~/.npmrc:1 ("), "{origin}");
    assert!(origin.ends_with(":3)"), "{origin}");
    assert_eq!(policy.bundles(), [Bundle::Npm]);
    let notices: Vec<&str> = policy.notices.iter().map(|n| n.value.as_str()).collect();
    assert!(notices.contains(&"bundle npm: a note"), "{notices:?}");
    assert!(notices.iter().any(|n| n.contains("127.0.0.9/32:80 is left out")), "{notices:?}");
}

#[test]
fn a_projects_bundle_waits_for_trust() {
    let waiting = Layers { project: NPM, ..Layers::default() }.compile().unwrap();
    assert!(waiting.bundles().is_empty());
    let words = &waiting.trust.widens[0].words;
    assert!(
        words.contains("registry.corp.test:443") && words.contains("from ~/.npmrc:1"),
        "{words}"
    );
    let trusted = Layers { project: NPM, trusted: true, ..Layers::default() }.compile().unwrap();
    assert_eq!(trusted.bundles(), [Bundle::Npm]);
}

#[test]
fn a_forbid_wins_over_a_bundle() {
    let organisation = "version = 1\n[network]\ndeny = [\"*.corp.test\"]\n";
    let policy = Layers { organisation, user: NPM, ..Layers::default() }.compile().unwrap();
    assert!(policy.network.iter().any(|rule| rule.effect == Effect::Forbid));
    assert!(
        policy.notices.iter().any(|n| n.value.contains("but *.corp.test")),
        "{:?}",
        policy.notices
    );
}

#[test]
fn lm1_a_bundle_never_opens_metadata_for_a_project() {
    let project = "version = 1\n[network]\nallow = [\"pypi\"]\n";
    let refused = Layers { project, trusted: true, ..Layers::default() }.compile().unwrap_err();
    assert!(refused.to_string().contains("metadata"), "{refused}");
}

#[test]
fn what_a_bundle_cannot_be_is_refused_with_the_way_out() {
    let refused = |text: &str| {
        let user = format!("version = 1\n[network]\n{text}\n");
        let layers = Layers { user: Box::leak(user.into_boxed_str()), ..Layers::default() };
        layers.compile().unwrap_err().to_string()
    };
    assert!(refused("deny = [\"npm\"]").contains("a bundle can only be allowed"));
    let addresses = refused("allow = [{ host = \"npm\", addresses = [\"10.0.0.0/8\"] }]");
    assert!(addresses.contains("remove `addresses`"), "{addresses}");
    let absent = refused("allow = [\"maven\"]");
    assert!(absent.contains("`maven` opens nothing here: no maven here"), "{absent}");
    assert!(absent.contains("fix: install it"), "{absent}");
    assert!(refused("allow = [\"nmp\"]").contains("or a bundle: npm, pypi"));
}

#[test]
fn a_denial_names_the_bundle_of_its_host() {
    let command = CommandLine::default();
    let policy = Layers { command, ..Layers::default() }.compile().unwrap();
    let request = Request {
        action: Action::Resolve,
        resource: Resource::Endpoint(Endpoint {
            name: Some("registry.corp.test".parse().unwrap()),
            claimed: None,
            address: None,
            port: 443,
        }),
        context: Context::default(),
    };
    let decision = Decision {
        verdict: Verdict::Deny,
        reason: Reason::NoRule,
        rules: Vec::new(),
        generation: 0,
        expires: None,
    };
    let npm = Knowing { bundle: &|_, _| Some(Bundle::Npm), ..Knowing::default() };
    let own = explain_knowing(&policy, &request, &decision, &npm);
    assert_eq!(own.now.as_deref(), Some("ringfence run --allow npm …"));
    assert_eq!(own.keep.as_deref(), Some("ringfence allow npm"));
    let none = explain_knowing(&policy, &request, &decision, &Knowing::default());
    assert_eq!(none.now.as_deref(), Some("ringfence run --allow registry.corp.test …"));
}
