//! How layers are laid over each other: forbids win, caps hold, empty lists take back, trust decides.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{Layers, project};
use proptest::prelude::*;
use ringfence_model::boundary::{ExecMode, WorkspaceMode};
use ringfence_model::provenance::Layer;
use ringfence_policy::{CommandLine, Compiled, DefinitionText, Effect, LimitKind, ProgramProfile};
use std::path::Path;

fn permits(compiled: &Compiled) -> Vec<String> {
    compiled.permits().map(|rule| rule.destination.to_string()).collect()
}

/// PB1: without any definition nothing of the host is named.
#[test]
fn pb1_the_empty_policy_opens_nothing() {
    let empty = Layers::default().compile().unwrap();
    assert!(empty.network.is_empty() && empty.files.is_empty() && empty.publish.is_empty());
    assert!(empty.resolver.is_none() && empty.name.is_none() && empty.set.is_empty());
    assert!(empty.pass.iter().all(|rule| rule.source.layer == Layer::BuiltIn));
    assert!(
        empty.pass.iter().all(|rule| ringfence_policy::dangerous_variable(&rule.name).is_none())
    );
    assert_eq!(empty.limit(LimitKind::Memory), Some((16 << 30) / 100 * 75));
    assert_eq!(empty.limit(LimitKind::Tmp), Some((16 << 30) / 100 * 25));
    assert_eq!(empty.limit(LimitKind::Wall), None);
    assert_eq!(empty.workspace.protected.len(), ringfence_policy::PROTECTED.len());
    assert_eq!(empty.trust.digest, None);
    assert!(empty.is_intact());
}

/// Every value says where it is written, to the column.
#[test]
fn every_value_has_its_source() {
    let text = "version = 1\nname = \"web\"\n[network]\nallow = [\n  \"a.example\",\n  { host = \"b.example:8443\", reason = \"x\" },\n]\n";
    let layers = Layers {
        project: text,
        trusted: true,
        command: CommandLine { allow: vec!["c.example".to_owned()], ..CommandLine::default() },
        ..Layers::default()
    };
    let compiled = layers.compile().unwrap();
    let rule = &compiled.network[1];
    assert_eq!(rule.id, "project.network.allow.2");
    assert_eq!((rule.source.line, rule.source.column), (6, 3));
    assert_eq!(rule.source.to_string(), "/code/p/ringfence.toml:6");
    assert_eq!(rule.reason.as_deref(), Some("x"));
    assert_eq!(compiled.network[2].source.to_string(), "command line: --allow c.example");
    assert_eq!(compiled.name.as_ref().unwrap().source.line, 2);
    assert_eq!(compiled.sources.len(), 2);
    assert_eq!(compiled.sources[1].digest, ringfence_policy::digest(text.as_bytes()));
    let stored = serde_json::to_string(&compiled).unwrap();
    let back: Compiled = serde_json::from_str(&stored).unwrap();
    assert_eq!(back, compiled);
    assert!(back.is_intact());
    let mut changed = back;
    changed.network.pop();
    assert!(!changed.is_intact());
}

/// C01, S28: what an untrusted project asks for is left out and listed; what it forbids holds.
#[test]
fn c01_s28_an_untrusted_project_only_narrows() {
    let body = "version = 1
profile = \"claude-code\"
[workspace]
mode = \"direct\"
unprotect = [\".vscode\"]
[files]
read = [\"/srv/data\"]
write = [\"~/out\"]
deny = [\".env\"]
[network]
allow = [\"a.example\"]
deny = [\"evil.example\"]
publish = [3000]
resolver = \"127.0.0.1:5353\"
[environment]
pass = [\"TOKEN\"]
set = { RUST_LOG = \"info\", LD_PRELOAD = \"x\" }
[process]
debug = true
[limits]
memory = \"none\"
processes = 100000
wall = \"8h\"
";
    let mut layers = Layers { project: body, ..Layers::default() };
    let without = Layers::default().compile().unwrap();
    let own = layers.compile().unwrap();
    assert!(permits(&own).is_empty() && own.files.is_empty() && own.publish.is_empty());
    assert!(own.profile.is_none() && own.resolver.is_none() && own.workspace.mode.is_none());
    assert_eq!(own.pass, without.pass);
    assert_eq!(own.workspace.protected, without.workspace.protected);
    assert!(!own.debug.value && own.residual_risks.is_empty());
    assert_eq!(own.limit(LimitKind::Memory), without.limit(LimitKind::Memory));
    assert_eq!(own.limit(LimitKind::Processes), without.limit(LimitKind::Processes));
    assert_eq!(own.limit(LimitKind::Wall), Some(8 * 3_600_000));
    assert_eq!(own.set.keys().collect::<Vec<_>>(), ["RUST_LOG"]);
    assert_eq!(own.denies.len(), 1);
    assert_eq!(own.network.len(), 1);
    let words: Vec<_> = own.trust.widens.iter().map(|widening| widening.words.as_str()).collect();
    assert_eq!(
        words,
        [
            "uses the profile claude-code",
            "reads /srv/data",
            "reads and changes /home/ann/out",
            "connects to a.example:443",
            "serves its port 3000 on the host's port 3000",
            "sees your variable TOKEN",
            "sets LD_PRELOAD=x",
            "changes .vscode (the editor runs tasks and loads settings from it)",
            "changes the project's files directly",
            "asks 127.0.0.1:5353 for the addresses of names",
            "traces its own processes",
            "uses more: memory without limit",
            "uses more: processes 100000",
        ]
    );
    assert!(own.trust.widens.iter().all(|widening| widening.source.line > 1));
    layers.trusted = true;
    let trusted = layers.compile().unwrap();
    assert_eq!(trusted.trust.widens, own.trust.widens);
    assert!(trusted.trust.accepted && trusted.debug.value && trusted.files.len() == 2);
    assert_eq!(trusted.limit(LimitKind::Memory), None);
    assert!(permits(&trusted).contains(&"api.anthropic.com:443".to_owned()));
    assert_ne!(trusted.digest, own.digest);
}

/// What a more trusted layer already permits is no widening of the project's.
#[test]
fn what_holds_without_the_project_is_no_widening() {
    let layers = Layers {
        user: "version = 1\nprofile = \"claude-code\"\n[workspace]\nmode = \"direct\"\n[files]\nread = [\"/srv/data\"]\n[network]\nallow = [\"*.example.com:*\", { host = \"t.example\", for = \"1h\" }]\n[environment]\npass = [\"TOKEN\"]\n",
        project: "version = 1\nprofile = \"claude-code\"\n[workspace]\nmode = \"direct\"\n[files]\nread = [\"/srv/data\"]\n[network]\nallow = [\"api.example.com\"]\n[environment]\npass = [\"TOKEN\"]\n[limits]\nmemory = \"1G\"\n",
        ..Layers::default()
    };
    assert_eq!(layers.compile().unwrap().trust.widens, []);
    // A permit that ends does not cover one that does not, nor do other private places.
    let more = Layers {
        project: "version = 1\n[network]\nallow = [\"t.example\", { host = \"x.example.com\", addresses = [\"10.0.0.0/8\"] }]\n",
        ..layers
    };
    assert_eq!(more.compile().unwrap().trust.widens.len(), 2);
}

/// N04, PB1: a list that is written empty takes back what the layers below permit.
#[test]
fn n04_pb1_an_empty_list_takes_back() {
    let mut layers = Layers {
        user: "version = 1\nprofile = \"claude-code\"\n[network]\nallow = [\"a.example\"]\ndeny = [\"evil.example\"]\npublish = [80]\n[files]\nread = [\"/srv/data\"]\n[environment]\npass = [\"X\"]\n",
        project: "version = 1\n[network]\nallow = []\npublish = []\n[files]\nread = []\n[environment]\npass = []\n",
        ..Layers::default()
    };
    let own = layers.compile().unwrap();
    assert!(permits(&own).is_empty() && own.publish.is_empty() && own.files.is_empty());
    assert!(own.pass.is_empty());
    assert!(own.network.iter().any(|rule| rule.effect == Effect::Forbid), "forbids stay");
    layers.command.allow = vec!["b.example".to_owned()];
    assert_eq!(permits(&layers.compile().unwrap()), ["b.example:443"]);
    layers.project = "version = 1\n[network]\n";
    assert!(permits(&layers.compile().unwrap()).contains(&"a.example:443".to_owned()));
}

/// PB2: caps and floors of the organisation hold against every layer.
#[test]
fn pb2_the_organisation_caps_every_layer() {
    let layers = Layers {
        organisation: "version = 1\n[workspace]\nmode = \"review\"\n[process]\nexec = \"base\"\ndebug = false\n[limits]\nmemory = \"2G\"\nwall = \"1h\"\n[require]\nlandlock = 3\ncgroup = true\n[network]\ndeny = [\"a.example\"]\n[files]\ndeny = [\"*.pem\"]\n",
        user: "version = 1\n[network]\nallow = [\"a.example\", \"b.example\"]\n[require]\nlandlock = 1\ncgroup = false\n",
        command: CommandLine {
            mode: Some("direct".to_owned()),
            exec: Some("any".to_owned()),
            debug: true,
            limits: vec!["memory=none".to_owned(), "wall=30m".to_owned()],
            ..CommandLine::default()
        },
        ..Layers::default()
    };
    let own = layers.compile().unwrap();
    assert_eq!(own.limit(LimitKind::Memory), Some(2 << 30));
    assert_eq!(own.limits[&LimitKind::Memory].source.layer, Layer::Organisation);
    assert_eq!(own.limit(LimitKind::Wall), Some(1_800_000));
    assert_eq!(own.workspace.mode_or(WorkspaceMode::Direct), WorkspaceMode::Review);
    assert_eq!(own.exec.value, ExecMode::Base);
    assert!(!own.debug.value);
    assert_eq!((own.floor.landlock.value, own.floor.cgroup.value), (3, true));
    assert_eq!(own.network[0].id, "organisation.network.deny.1");
    assert_eq!(own.denies[0].id, "organisation.files.deny.1");
    let notices: Vec<_> = own.notices.iter().map(|notice| notice.value.as_str()).collect();
    assert!(
        notices.iter().any(|words| words.starts_with("memory is 2G as the organisation caps it")),
        "{notices:?}"
    );
    assert!(
        notices
            .iter()
            .any(|words| words.starts_with("a.example:443 is allowed, but a.example:* denies it"))
    );
}

/// The running binary inside the workspace may not be changed directly.
#[test]
fn c02_a_workspace_that_holds_the_binary_is_not_direct() {
    let mut facts = common::facts();
    facts.binary = "/code/p/target/ringfence".into();
    let layers = Layers {
        facts: Some(facts),
        command: CommandLine { mode: Some("direct".to_owned()), ..CommandLine::default() },
        ..Layers::default()
    };
    let own = layers.compile().unwrap();
    assert_eq!(own.workspace.mode_or(WorkspaceMode::Direct), WorkspaceMode::Review);
}

fn reload(own: &Compiled, text: &str) -> Result<Compiled, ringfence_policy::Problems> {
    own.with_organisation(&DefinitionText {
        file: Path::new("/etc/ringfence/policy.toml"),
        bytes: text.as_bytes(),
    })
}

/// FH5: a new organisation policy only narrows, and one that cannot be read is an error.
#[test]
fn fh5_a_reload_only_narrows() {
    let layers = Layers {
        organisation: "version = 1\n[network]\ndeny = [\"a.example\"]\n[limits]\nmemory = \"2G\"\n[files]\ndeny = [\"*.pem\"]\n",
        user: "version = 1\n[network]\nallow = [\"a.example\", \"b.example\"]\n",
        ..Layers::default()
    };
    let own = layers.compile().unwrap();
    let next = reload(&own, "version = 1\n[network]\ndeny = [\"b.example\", \"c.example\"]\n[limits]\nmemory = \"8G\"\n[files]\ndeny = [\"*.pem\", \"*.key\"]\n").unwrap();
    let forbids: Vec<_> = next
        .network
        .iter()
        .filter(|rule| rule.effect == Effect::Forbid)
        .map(|rule| format!("{} {}", rule.id, rule.destination))
        .collect();
    assert_eq!(
        forbids,
        [
            "organisation.network.deny.1 a.example:*",
            "organisation.network.deny.2 b.example:*",
            "organisation.network.deny.3 c.example:*",
        ]
    );
    assert_eq!(next.limit(LimitKind::Memory), Some(2 << 30));
    assert_eq!(next.denies.len(), 2);
    assert!(next.is_intact() && next.digest != own.digest);
    let lower = reload(&next, "version = 1\n[limits]\nmemory = \"1G\"\n").unwrap();
    assert_eq!(lower.limit(LimitKind::Memory), Some(1 << 30));
    assert_eq!(lower.network, next.network);
    assert!(reload(&own, "version = 1\n[network]\nallow = [\"x.example\"]\n").is_err());
    assert!(reload(&own, "not toml").is_err());
}

#[test]
fn the_profiles_are_valid_and_compile() {
    for name in ringfence_policy::profile_names() {
        let layers = Layers {
            command: CommandLine { profile: Some(name.to_owned()), ..CommandLine::default() },
            ..Layers::default()
        };
        let own = layers.compile().unwrap();
        assert_eq!(own.notices, [], "{name}");
        assert_eq!(own.profile.unwrap().value, name);
    }
}

#[test]
fn the_programs_profile_yields_to_any_that_is_named() {
    let program = Some(ProgramProfile { profile: "codex", program: "/usr/bin/codex".into() });
    let chosen = |user: &'static str, profile: Option<&str>| {
        let profile = profile.map(str::to_owned);
        let command = CommandLine { profile, program: program.clone(), ..CommandLine::default() };
        let layers = Layers { user, command, ..Layers::default() };
        let own = layers.compile().unwrap();
        (own.profile.unwrap().value, own.notices.len())
    };
    let named = "version = 1\nprofile = \"opencode\"\n";
    assert_eq!(chosen("version = 1\n", None), ("codex".to_owned(), 1));
    assert_eq!(chosen(named, None), ("opencode".to_owned(), 0));
    assert_eq!(chosen("version = 1\n", Some("default")), ("default".to_owned(), 0));
    assert_eq!(chosen(named, Some("aider")), ("aider".to_owned(), 0));
}

/// Keys in order, whatever map type serde_json was built with.
fn sorted(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let ordered: std::collections::BTreeMap<_, _> =
                map.iter().map(|(key, item)| (key.clone(), sorted(item))).collect();
            ordered.into_iter().collect::<serde_json::Map<_, _>>().into()
        }
        serde_json::Value::Array(items) => items.iter().map(sorted).collect::<Vec<_>>().into(),
        plain => plain.clone(),
    }
}

#[test]
fn the_schema_is_what_it_was() {
    let text = serde_json::to_string_pretty(&sorted(&ringfence_policy::schema())).unwrap();
    insta::assert_snapshot!("schema", text);
}

#[test]
fn proposed_definitions_check() {
    use ringfence_policy::init::{ProjectFacts, propose};
    let rich = ProjectFacts {
        manifests: ["Cargo.toml", "package.json", "pyproject.toml", "go.mod", "pom.xml", "other"]
            .map(str::to_owned)
            .to_vec(),
        profile: Some("claude-code".to_owned()),
        secrets: vec![".env".to_owned(), "~bad".to_owned(), "it's \"odd\".pem".to_owned()],
        ports: vec![3000, 0, 3000],
    };
    for facts in [ProjectFacts::default(), rich.clone()] {
        let text = propose(&facts);
        let layers = Layers { project: &text, trusted: true, ..Layers::default() };
        assert_eq!(layers.problems(), "no problem", "{text}");
        // What stands there as a comment is valid, too.
        for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
            let Some((key, _)) = line.split_once(" = ") else {
                continue;
            };
            if key.contains(' ') {
                continue;
            }
            let section = ["workspace", "files", "network", "environment", "limits"]
                .into_iter()
                .find(|section| {
                    let keys = &ringfence_policy::schema()["properties"][*section]["properties"];
                    keys.get(key).is_some()
                });
            let body = match section {
                Some(section) => format!("[{section}]\n{line}"),
                None => line.to_owned(),
            };
            let checked = format!("version = 1\n{body}\n");
            let text = DefinitionText { file: Path::new("x"), bytes: checked.as_bytes() };
            assert!(ringfence_policy::check(&text, Layer::Project).is_ok(), "{line}");
        }
    }
    let text = propose(&rich);
    for part in [
        "# Rust (Cargo.toml)",
        "# Go (go.mod)",
        "publish = [3000]",
        "\".env\"",
        "profile = \"claude-code\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

const HOSTS: [&str; 5] =
    ["a.example", "b.example:80", "*.c.example", "10.0.0.0/8:22", "host.ringfence:5432"];

/// A list key: not written, or written with these entries.
fn list() -> impl Strategy<Value = Option<Vec<usize>>> {
    proptest::option::of(proptest::collection::vec(0..HOSTS.len(), 0..4))
}

fn written(list: &Option<Vec<usize>>, key: &str) -> String {
    let Some(list) = list else {
        return String::new();
    };
    let all: Vec<_> = list.iter().map(|at| format!("\"{}\"", HOSTS[*at])).collect();
    format!("{key} = [{}]\n", all.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// N04, PB1, PB2: whatever the layers say, permits are those above the last empty list, forbids
    /// are all of them, and an untrusted project never adds a permit.
    #[test]
    fn n04_pb2_merges_hold_for_every_combination(
        user in list(), mine in list(), line in proptest::collection::vec(0..HOSTS.len(), 0..3),
        org_deny in list(), trusted in any::<bool>(),
    ) {
        let organisation = format!("version = 1\n[network]\n{}", written(&org_deny, "deny"));
        let user_text = format!("version = 1\n[network]\n{}", written(&user, "allow"));
        let project_text = format!("version = 1\n[network]\n{}", written(&mine, "allow"));
        let layers = Layers {
            organisation: &organisation,
            user: &user_text,
            project: &project_text,
            trusted,
            command: CommandLine {
                allow: line.iter().map(|at| HOSTS[*at].to_owned()).collect(),
                ..CommandLine::default()
            },
            ..Layers::default()
        };
        let own = layers.compile().unwrap();
        let mut expected: Vec<usize> = user.clone().unwrap_or_default();
        if let Some(mine) = &mine {
            if mine.is_empty() {
                expected.clear();
            }
            let held = expected.clone();
            expected.extend(mine.iter().filter(|at| trusted || held.contains(at)));
        }
        expected.extend(&line);
        let name = |at: &usize| {
            let parsed: ringfence_model::host::Destination = HOSTS[*at].parse().unwrap();
            parsed.to_string()
        };
        prop_assert_eq!(permits(&own), expected.iter().map(name).collect::<Vec<_>>());
        let forbids = own.network.iter().filter(|rule| rule.effect == Effect::Forbid).count();
        prop_assert_eq!(forbids, org_deny.map_or(0, |list| list.len()));
    }

    /// The parser takes any text without a panic, and what it accepts compiles or is refused whole.
    #[test]
    fn any_text_is_parsed_or_refused(text in "[a-z\\[\\]{}=\",. \n0-9#:/*~-]{0,200}") {
        let _ = project(&text);
    }
}

/// A review workspace over the user's read-only one is told for what it is.
#[test]
fn a_mode_above_the_users_is_named() {
    for (mode, words) in [
        ("review", "changes files, which wait for `ringfence apply`"),
        ("direct", "changes the project's files directly"),
    ] {
        let project = format!("version = 1\n[workspace]\nmode = \"{mode}\"");
        let layers = Layers {
            user: "version = 1\n[workspace]\nmode = \"read-only\"",
            project: &project,
            ..Layers::default()
        };
        let own = layers.compile().unwrap();
        assert_eq!(own.trust.widens[0].words, words);
    }
}
