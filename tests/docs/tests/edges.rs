//! The edges between crates that must not exist: ARCHITECTURE.md draws them, this keeps them true.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use ringfence_docs_tests::tree;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Most packages in the lock file. Raising it is a decision: say in the commit what it buys.
const LOCK_ENTRIES: usize = 320;
/// Most packages of other people in the crate that builds the boundary, whatever their depth; five of
/// them come with features that other crates of the workspace ask of `serde_json`.
const JAIL_PACKAGES: usize = 25;

/// What each crate of ours may use of ours. What is not here may not be used.
const EDGES: [(&str, &[&str]); 12] = [
    ("model", &[]),
    ("sys", &[]),
    ("jail", &["sys", "model"]),
    ("policy", &["model"]),
    ("authority", &["model", "policy"]),
    ("gateway", &["model", "sys"]),
    ("workspace", &["model", "sys"]),
    ("ledger", &["model"]),
    ("control", &["model"]),
    (
        "supervisor",
        &[
            "model",
            "sys",
            "jail",
            "policy",
            "authority",
            "gateway",
            "workspace",
            "ledger",
            "control",
        ],
    ),
    ("cli", &["model", "control", "supervisor"]),
    ("docs-tests", &[]),
];

/// Packages that may be reached from these crates alone.
const LEAVES: [(&str, &[&str]); 4] = [
    // It builds for minutes.
    ("cedar-policy", &["authority", "supervisor", "cli"]),
    // Threads in a process that forks are unsound, so the runtime lives in the gateway's process.
    ("tokio", &["gateway", "supervisor", "cli"]),
    ("toml", &["policy", "authority", "supervisor", "cli"]),
    ("clap", &["cli"]),
];

/// Packages that nothing may reach: other TLS and crypto stacks, and abandoned ones.
const BANNED: [&str; 8] = [
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "serde_yaml",
    "serde_yml",
    "bincode",
    "rustls-pemfile",
];

/// Packages by id, and for each what it uses in a normal build on this platform.
struct Graph {
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
    own: BTreeMap<String, String>,
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().expect(key).to_owned()
}

impl Graph {
    fn read() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        // One platform: what others would use was never fetched.
        let output = Command::new(cargo)
            .args(["metadata", "--offline", "--locked", "--format-version", "1"])
            .args(["--filter-platform", &format!("{}-unknown-linux-gnu", std::env::consts::ARCH)])
            .current_dir(tree::root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let names = packages.iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
        let own = packages
            .iter()
            .filter(|p| p["source"].is_null())
            .map(|p| (short(&text(p, "name")).to_owned(), text(p, "id")))
            .collect();
        let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
        let edges = nodes.iter().map(|node| (text(node, "id"), normal(node))).collect();
        Self { names, edges, own }
    }

    /// Names of everything that a crate of ours reaches.
    fn reach(&self, own: &str) -> BTreeSet<&str> {
        let mut seen = BTreeSet::new();
        let mut pending = vec![self.own[own].as_str()];
        while let Some(id) = pending.pop() {
            for next in self.edges.get(id).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    pending.push(next);
                }
            }
        }
        seen.into_iter().map(|id| self.names[id].as_str()).collect()
    }
}

/// What a node uses other than for its own tests.
fn normal(node: &Value) -> Vec<String> {
    let all = node["deps"].as_array().unwrap().iter();
    let kept = all.filter(|dep| {
        let kinds = dep["dep_kinds"].as_array().unwrap();
        kinds.iter().any(|kind| kind["kind"].as_str() != Some("dev"))
    });
    kept.map(|dep| text(dep, "pkg")).collect()
}

/// `ringfence-jail` is `jail`, `ringfence` is the command line.
fn short(name: &str) -> &str {
    if name == "ringfence" { "cli" } else { name.strip_prefix("ringfence-").unwrap_or(name) }
}

#[test]
fn crates_use_what_the_map_draws() {
    let graph = Graph::read();
    for (own, id) in &graph.own {
        let Some((_, may)) = EDGES.iter().find(|(name, _)| name == own) else {
            let test_only =
                ["contained-tests", "everyday-tests", "scripted-model"].contains(&own.as_str());
            assert!(test_only, "crate {own} is not on the map");
            continue;
        };
        let used = graph.edges[id].iter().filter_map(|next| {
            let name = short(&graph.names[next]);
            graph.own.contains_key(name).then_some(name)
        });
        for name in used {
            assert!(may.contains(&name), "{own} must not use {name}");
        }
    }
    for (name, _) in EDGES {
        assert!(graph.own.contains_key(name), "the map draws {name}, which is not there");
    }
}

#[test]
fn gv5_heavy_and_banned_packages_stay_where_they_are() {
    let graph = Graph::read();
    for own in graph.own.keys().filter(|own| EDGES.iter().any(|(name, _)| name == own)) {
        let reach = graph.reach(own);
        for (package, may) in LEAVES {
            assert!(
                may.contains(&own.as_str()) || !reach.contains(package),
                "{own} reaches {package}"
            );
        }
        for package in BANNED {
            assert!(!reach.contains(package), "{own} reaches {package}");
        }
    }
}

#[test]
fn gv5_what_builds_the_boundary_stays_small() {
    let graph = Graph::read();
    let reach = graph.reach("jail");
    let others: Vec<_> = reach.iter().filter(|name| !name.starts_with("ringfence")).collect();
    assert!(others.len() <= JAIL_PACKAGES, "{} packages: {others:?}", others.len());
}

#[test]
fn gv5_the_lock_file_has_a_cap() {
    let lock = tree::text("Cargo.lock".as_ref()).unwrap();
    let entries = lock.lines().filter(|line| *line == "[[package]]").count();
    assert!(
        entries > 50 && entries <= LOCK_ENTRIES,
        "{entries} packages, {LOCK_ENTRIES} are the most"
    );
}
