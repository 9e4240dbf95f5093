//! The agent's environment: an allowlist, never the host's own.

use std::collections::BTreeMap;
use std::path::Path;

use ringfence_model::boundary::Identity;
use ringfence_policy::Compiled;

use super::Setting;
use super::toolchains::Toolchains;

/// Host variables that say how to talk to a person, and nothing else.
const PASSED: [&str; 22] = [
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_ADDRESS",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
    "TZ",
];

/// Builds the whole environment.
pub fn build(
    compiled: &Compiled,
    setting: &Setting<'_>,
    who: &Identity,
    tools: &Toolchains,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let mut copy = |name: &str| {
        if let Some(value) = (setting.variable)(name) {
            variables.insert(name.to_owned(), value);
        }
    };
    for name in PASSED {
        copy(name);
    }
    for rule in &compiled.pass {
        copy(&rule.name);
    }
    for (name, value) in &compiled.set {
        variables.insert(name.clone(), value.value.clone());
    }
    // What the definition says wins over what the host's tools would like.
    for (name, value) in &tools.variables {
        variables.entry(name.clone()).or_insert_with(|| value.clone());
    }
    let shell = if Path::new("/bin/bash").exists() { "/bin/bash" } else { "/bin/sh" };
    let fixed = [
        ("HOME", who.home.to_string_lossy().into_owned()),
        ("USER", who.user.clone()),
        ("LOGNAME", who.user.clone()),
        ("SHELL", shell.to_owned()),
        ("TMPDIR", "/tmp".to_owned()),
        ("PATH", tools.path.clone()),
        ("RINGFENCE_RUN", setting.run.id().to_string()),
    ];
    for (name, value) in fixed {
        variables.insert(name.to_owned(), value);
    }
    // There is no browser inside: an opener that fails at once makes agents print the address.
    variables.entry("BROWSER".to_owned()).or_insert_with(|| "/bin/false".to_owned());
    variables
}

/// No key of the person's is inside: commits and tags are not signed, whatever the repository's own
/// settings say, rather than fail. What a command itself asks for (`-S`, `-c`) still counts.
pub fn unsigned(variables: &mut BTreeMap<String, String>) {
    if variables.contains_key("GIT_CONFIG_COUNT") {
        return;
    }
    let keys = ["commit.gpgsign", "tag.gpgsign"];
    variables.insert("GIT_CONFIG_COUNT".to_owned(), keys.len().to_string());
    for (number, key) in keys.into_iter().enumerate() {
        variables.insert(format!("GIT_CONFIG_KEY_{number}"), key.to_owned());
        variables.insert(format!("GIT_CONFIG_VALUE_{number}"), "false".to_owned());
    }
}
