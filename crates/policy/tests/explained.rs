//! Explanations: rule, file and line, and a hint only where it would work.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Layers, project};
use ringfence_model::address::AddressClass;
use ringfence_model::decision::{Decision, Reason, RuleRef, Verdict};
use ringfence_model::request::{Action, Context, Endpoint, Request, Resource};
use ringfence_policy::{Compiled, Explanation, Knowing, explain, explain_knowing};

fn endpoint(name: Option<&str>, address: Option<&str>, port: u16) -> Resource {
    Resource::Endpoint(Endpoint {
        name: name.map(|name| name.parse().unwrap()),
        claimed: None,
        address: address.map(|address| address.parse().unwrap()),
        port,
    })
}

fn denied(
    policy: &Compiled,
    action: Action,
    resource: Resource,
    reason: Reason,
    rules: &[usize],
) -> Explanation {
    let rules = rules.iter().map(|at| RuleRef {
        id: policy.network[*at].id.clone(),
        source: policy.network[*at].source.clone(),
    });
    let decision = Decision {
        verdict: Verdict::Deny,
        rules: rules.collect(),
        reason,
        generation: 1,
        expires: None,
    };
    let request = Request { action, resource, context: Context::default() };
    explain(policy, &request, &decision)
}

fn sample() -> Compiled {
    project("[network]\nallow = [\"a.example:8443\"]\ndeny = [\"evil.example\"]").unwrap()
}

#[test]
fn an_unnamed_host_gets_both_hints() {
    let own = denied(
        &sample(),
        Action::Connect,
        endpoint(Some("registry.acme.com"), None, 443),
        Reason::NoRule,
        &[],
    );
    assert_eq!(own.what, "connect registry.acme.com:443");
    assert_eq!(own.why, "no rule names this host ([network])");
    assert_eq!(own.now.as_deref(), Some("ringfence run --allow registry.acme.com …"));
    assert_eq!(own.keep.as_deref(), Some("ringfence allow registry.acme.com"));
    let other = denied(
        &sample(),
        Action::Connect,
        endpoint(Some("a.example"), None, 22),
        Reason::NoRule,
        &[],
    );
    assert_eq!(
        other.why,
        "the rules name other ports of this host: 8443 (/code/p/ringfence.toml:3)"
    );
    assert_eq!(other.now.as_deref(), Some("ringfence run --allow a.example:22 …"));
}

/// A hint that would be refused is not given.
#[test]
fn hints_work_or_are_not_given() {
    let policy = sample();
    let metadata = denied(
        &policy,
        Action::Connect,
        endpoint(None, Some("169.254.169.254"), 80),
        Reason::NoRule,
        &[],
    );
    assert_eq!((&metadata.now, &metadata.keep), (&None, &None));
    assert!(metadata.why.contains("would refuse it: `169.254.169.254:80` holds"), "{metadata:?}");
    let forbidden = denied(
        &policy,
        Action::Connect,
        endpoint(Some("evil.example"), None, 443),
        Reason::Forbidden,
        &[0],
    );
    assert_eq!((&forbidden.now, &forbidden.keep), (&None, &None));
    assert!(forbidden.why.contains("/code/p/ringfence.toml:4"), "{}", forbidden.why);
    let loopback = denied(
        &policy,
        Action::Connect,
        endpoint(None, Some("127.0.0.1"), 80),
        Reason::NoRule,
        &[],
    );
    assert_eq!((&loopback.now, &loopback.keep), (&None, &None));
    assert!(loopback.why.contains("the loopback is the sandbox itself"), "{loopback:?}");
    let mismatch = denied(
        &policy,
        Action::Connect,
        endpoint(Some("a.example"), None, 8443),
        Reason::NameMismatch,
        &[],
    );
    assert_eq!((mismatch.now, mismatch.keep), (None, None));
    let odd = denied(&policy, Action::Read, Resource::Path("/a\nb".into()), Reason::NoRule, &[]);
    assert_eq!((odd.what.as_str(), odd.now, odd.keep), ("read /a\\nb", None, None));
}

#[test]
fn private_addresses_are_named_beside_the_host() {
    let class = AddressClass::Private;
    let own = denied(
        &sample(),
        Action::Connect,
        endpoint(Some("a.example"), Some("10.1.2.3"), 8443),
        Reason::UnnamedAddress { class },
        &[],
    );
    assert_eq!(own.why, "the name leads to the private address 10.1.2.3, which no rule names");
    assert!(
        own.keep
            .unwrap()
            .starts_with("allow = [{ host = \"a.example:8443\", addresses = [\"10.1.2.3/32\"] }]")
    );
}

#[test]
fn paths_variables_and_ports_have_their_options() {
    let policy = sample();
    let own =
        denied(&policy, Action::Write, Resource::Path("/srv/my data".into()), Reason::NoRule, &[]);
    assert_eq!(own.now.as_deref(), Some("ringfence run --rw '/srv/my data' …"));
    assert_eq!(own.keep.as_deref(), Some("ringfence allow --rw '/srv/my data'"));
    let own = denied(
        &policy,
        Action::Environment,
        Resource::Variable("TOKEN".to_owned()),
        Reason::NoRule,
        &[],
    );
    assert_eq!(own.now.as_deref(), Some("ringfence run --env TOKEN …"));
    assert_eq!(own.keep.as_deref(), Some("ringfence allow --env TOKEN"));
    let own = denied(
        &policy,
        Action::Environment,
        Resource::Variable("LD_PRELOAD".to_owned()),
        Reason::NoRule,
        &[],
    );
    assert_eq!((&own.now, &own.keep), (&None, &None));
    assert!(own.why.contains("would refuse it"), "{own:?}");
    let own = denied(&policy, Action::Publish, Resource::Port(3000), Reason::NoRule, &[]);
    assert_eq!(own.now.as_deref(), Some("ringfence run --publish 3000 …"));
}

/// A name that turns the line around is shown for what it is, and no command is offered that would not
/// be what it looks like.
#[test]
fn a_path_that_does_not_look_like_itself_gets_no_command() {
    for (path, shown) in
        [("/srv/a\u{202e}gpj", "a\\u{202e}gpj"), ("/srv/a\u{200b}b", "a\\u{200b}b")]
    {
        let own = denied(&sample(), Action::Read, Resource::Path(path.into()), Reason::NoRule, &[]);
        assert_eq!((&own.now, &own.keep, &own.answer), (&None, &None, &None), "{own:?}");
        assert!(
            own.what.contains(shown) && !own.what.contains(['\u{202e}', '\u{200b}']),
            "{own:?}"
        );
    }
    // The control group: letters of any language are themselves.
    let path = Resource::Path("/srv/größe".into());
    let own = denied(&sample(), Action::Read, path, Reason::NoRule, &[]);
    assert_eq!(own.keep.as_deref(), Some("ringfence allow --ro '/srv/größe'"));
}

/// A hint is for the moment it is read at: a running sandbox can be given it, an ended one cannot.
#[test]
fn a_running_sandbox_is_told_apart() {
    let request = Request {
        action: Action::Connect,
        resource: endpoint(Some("b.example"), None, 22),
        context: Context::default(),
    };
    let decision = Decision { reason: Reason::NoRule, ..Decision::failed("") };
    let knowing = Knowing { running: true, about: " --run abc", ..Knowing::default() };
    let own = explain_knowing(&sample(), &request, &decision, &knowing);
    assert_eq!(own.now.as_deref(), Some("ringfence allow b.example:22 --for 10m --run abc"));
    assert_eq!(own.keep.as_deref(), Some("ringfence allow b.example:22 --run abc"));
    let permitted = project("[network]\nallow = [\"b.example:22\"]").unwrap();
    let own = explain_knowing(&permitted, &request, &decision, &knowing);
    assert!(own.why.ends_with("it is permitted by now (/code/p/ringfence.toml:3)"), "{own:?}");
    assert_eq!((own.now, own.keep), (None, None));
}

/// C01: an untrusted definition that asks for it is named, with the command that accepts it.
#[test]
fn c01_an_untrusted_definition_is_named() {
    let layers = Layers {
        project: "version = 1\n[network]\nallow = [\"a.example\"]\n",
        ..Layers::default()
    };
    let policy = layers.compile().unwrap();
    let own = denied(
        &policy,
        Action::Connect,
        endpoint(Some("a.example"), None, 443),
        Reason::NoRule,
        &[],
    );
    assert_eq!(
        own.why,
        "/code/p/ringfence.toml:3 asks for it, but this definition is not trusted yet"
    );
    assert_eq!(own.keep.as_deref(), Some("ringfence trust"));
}
