//! A first `ringfence.toml` for a project, from facts about it: commented, narrow, and valid as it is.
//!
//! It never opens anything by itself: what a project may need stands there as a comment.

use std::fmt::Write as _;

use crate::bundle::Bundle;

/// What was found in a project. The caller looks; nothing here does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectFacts {
    /// Manifests found at the top, such as `Cargo.toml`, `package.json`, `pyproject.toml`,
    /// `go.mod`, `pom.xml`; others are ignored.
    pub manifests: Vec<String>,
    /// A built-in profile that fits the agent that is installed.
    pub profile: Option<String>,
    /// Files with secrets found, as patterns: such as `.env`, `*.pem`.
    pub secrets: Vec<String>,
    /// Ports that the project's own configuration serves.
    pub ports: Vec<u16>,
}

/// What a manifest means for the definition.
const ECOSYSTEMS: &[(&str, &str, Option<Bundle>, &str)] = &[
    (
        "Cargo.toml",
        "Rust",
        Some(Bundle::Crates),
        "cargo fetches crates from a registry and from git hosts",
    ),
    (
        "package.json",
        "JavaScript",
        Some(Bundle::Npm),
        "npm, pnpm and yarn fetch packages from a registry",
    ),
    (
        "pyproject.toml",
        "Python",
        Some(Bundle::Pypi),
        "pip and uv fetch packages from an index and a file host",
    ),
    (
        "requirements.txt",
        "Python",
        Some(Bundle::Pypi),
        "pip fetches packages from an index and a file host",
    ),
    ("go.mod", "Go", Some(Bundle::Go), "go fetches modules from a proxy and a checksum database"),
    ("pom.xml", "Java", Some(Bundle::Maven), "Maven fetches artifacts from a repository"),
    ("build.gradle", "Java", Some(Bundle::Maven), "Gradle fetches artifacts from a repository"),
    ("build.gradle.kts", "Java", Some(Bundle::Maven), "Gradle fetches artifacts from a repository"),
    ("Gemfile", "Ruby", None, "bundler fetches gems from a server"),
    ("composer.json", "PHP", None, "composer fetches packages from a registry and from git hosts"),
];

/// A definition that says nothing yet, for a first remembered answer: unlike a proposed one it sets no
/// mode, profile or deny, so that it changes nothing but what is then added.
pub const EMPTY: &str = "\
# What an agent may do in this project. Nothing that is not named here can be reached.
# `ringfence policy check` checks this file; after an edit, `ringfence trust` accepts it.
version = 1
";
/// The same for the user's own policy.
pub const EMPTY_USER: &str = "\
# What an agent may do in every project of yours.
version = 1
";

/// The text of a definition.
#[must_use]
pub fn propose(facts: &ProjectFacts) -> String {
    let mut text = String::from(
        "# What an agent may do in this project. Nothing that is not named here can be reached.\n\
         # `ringfence policy check` checks this file; after an edit, `ringfence trust` accepts it.\n\
         version = 1\n",
    );
    match facts.profile.as_deref().filter(|name| crate::profile_text(name).is_some()) {
        Some(name) => {
            let _ = writeln!(
                text,
                "profile = \"{name}\"   # the hosts and settings of the agent itself"
            );
        }
        None => text.push_str(
            "# profile = \"claude-code\"   # the hosts and settings of the agent itself\n",
        ),
    }
    text.push_str(
        "\n[workspace]\nmode = \"review\"   # changes wait for `ringfence apply`; direct, read-only\n\
         # unprotect = [\".vscode\"]   # open one of the protected paths\n",
    );
    files(&mut text, facts);
    network(&mut text, facts);
    text.push_str(
        "\n[environment]\n# pass = [\"MY_TOKEN\"]          # host variables that the agent sees\n\
         # set = { RUST_LOG = \"info\" }  # variables with fixed values\n\
         \n[limits]\n# memory = \"4G\"\n# processes = 512\n# wall = \"8h\"\n",
    );
    text
}

fn files(text: &mut String, facts: &ProjectFacts) {
    text.push_str("\n[files]\n");
    let mut secrets: Vec<&str> = facts
        .secrets
        .iter()
        .map(String::as_str)
        .filter(|pattern| pattern.parse::<crate::DenyPattern>().is_ok())
        .collect();
    secrets.sort_unstable();
    secrets.dedup();
    if secrets.is_empty() {
        text.push_str(
            "# deny = [\".env\", \"secrets/\"]   # hidden at any depth, whatever the case\n",
        );
    } else {
        let list = serde_json::Value::from(secrets);
        let _ = writeln!(text, "deny = {list}   # hidden at any depth, whatever the case");
    }
    text.push_str(
        "# read = [\"~/datasets\"]   # host files that are visible\n\
         # write = [{ path = \"~/out\", for = \"2h\", reason = \"export\" }]\n",
    );
}

fn network(text: &mut String, facts: &ProjectFacts) {
    text.push_str("\n[network]\n");
    let mut seen: Vec<&str> = Vec::new();
    let mut bundles: Vec<&str> = Vec::new();
    for (manifest, language, bundle, needs) in ECOSYSTEMS {
        let found = facts.manifests.iter().any(|name| name == manifest);
        if found && !seen.contains(language) {
            seen.push(language);
            let name = bundle.map(Bundle::name);
            let how = name.map_or("name them in `allow`".to_owned(), |name| {
                format!("the bundle \"{name}\" is what yours is set to ask")
            });
            let _ = writeln!(text, "# {language} ({manifest}): {needs}; {how}.");
            bundles.extend(name);
        }
    }
    if !bundles.is_empty() {
        let _ = writeln!(text, "# allow = {}", serde_json::Value::from(bundles));
    }
    text.push_str("# allow = [\"registry.example.com\", \"host.ringfence:5432\"]   # port 443 if none is written\n");
    let mut ports = facts.ports.clone();
    ports.retain(|port| *port > 0);
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        text.push_str("# publish = [3000]   # ports inside that your browser reaches\n");
    } else {
        let _ = writeln!(text, "publish = {ports:?}   # ports inside that your browser reaches");
    }
}
