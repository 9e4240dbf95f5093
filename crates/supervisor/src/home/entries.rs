//! Hooks and servers of the user's agent configuration: each is a program that would start, or a
//! host that would be talked to, so each is asked about and bound to its bytes.
//!
//! What comes inside was read from the user's own file; secrets in it stay out unless the policy
//! passes the variable of that name.

use ringfence_ledger::Redactor;
use serde_json::{Map, Value};

use super::agents::{Agent, Entries, Kind};
use super::place::Host;
use super::settings;
use crate::limits::{AGENT_ENTRIES, AGENT_ENTRY_BYTES};

/// One hook or server.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The profile.
    pub agent: &'static str,
    /// The settings file, relative to the home.
    pub file: &'static str,
    /// The member that holds it.
    pub at: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The server's name, or the event that starts the hook.
    pub name: String,
    /// What comes inside: secrets are left out of it.
    pub value: Value,
    /// What was left out, by name.
    pub left_out: Vec<String>,
    /// SHA-256 over where it stands and its bytes as they are in the user's file.
    pub digest: String,
}

impl Entry {
    /// A short name for notes.
    #[must_use]
    pub fn title(&self) -> String {
        let kind = match self.kind {
            Kind::Server => "the MCP server",
            Kind::Hook => "a hook on",
        };
        format!("{}: {kind} {} of ~/{}", self.agent, visible(&self.name), self.file)
    }

    /// In words, for the person who is asked: the whole entry, nothing in it can hide.
    #[must_use]
    pub fn words(&self) -> String {
        let mut text = self.title();
        for command in commands(&self.value) {
            text.push_str(&format!("\n  runs: {}", visible(&command)));
        }
        for address in ["url", "httpUrl", "serverUrl"] {
            if let Some(url) = self.value.get(address).and_then(Value::as_str) {
                text.push_str(&format!("\n  talks to: {}", visible(url)));
            }
        }
        text.push_str(&format!("\n  as a whole: {}", visible(&self.value.to_string())));
        if !self.left_out.is_empty() {
            text.push_str(&format!(
                "\n  left out as secret: {} (pass a variable with --env NAME)",
                visible(&self.left_out.join(", "))
            ));
        }
        text
    }
}

/// The text with everything escaped that a terminal could take for something else; JSON keeps its
/// backslashes.
fn visible(text: &str) -> String {
    ringfence_model::text::visible_but(text, &['\\'])
}

/// The command lines in an entry, wherever they stand.
fn commands(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(commands).collect(),
        Value::Object(members) => {
            let own = members.get("command").or_else(|| members.get("bash")).map(|command| {
                let words = [Some(command), members.get("args")].into_iter().flatten();
                let words = words.flat_map(|part| match part {
                    Value::Array(items) => items.iter().map(word).collect(),
                    one => vec![word(one)],
                });
                words.collect::<Vec<_>>().join(" ")
            });
            let below = members.values().filter(|v| v.is_object() || v.is_array());
            own.into_iter().chain(below.flat_map(commands)).collect()
        }
        _ => Vec::new(),
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// All entries of an agent's settings, with secrets taken out. `passed` gives the value of a
/// variable that the policy passes inside.
pub fn collect(
    agent: &Agent,
    host: &Host<'_>,
    passed: &dyn Fn(&str) -> Option<String>,
) -> (Vec<Entry>, Vec<String>) {
    let (mut entries, mut notes) = (Vec::new(), Vec::new());
    for row in agent.settings.iter().filter(|row| !row.entries.is_empty()) {
        // A file that does not parse is named where its settings are read.
        let Ok(Some(whole)) = settings::read(host, row) else { continue };
        for group in row.entries {
            for (name, value) in listed(&whole, group) {
                let entry = entry(agent.profile, row.path, group, name, value, passed);
                if value.to_string().len() > AGENT_ENTRY_BYTES || entries.len() >= AGENT_ENTRIES {
                    notes.push(format!("{} is left out: too many or too large", entry.title()));
                } else {
                    entries.push(entry);
                }
            }
        }
    }
    notes.truncate(1);
    (entries, notes)
}

fn listed<'a>(whole: &'a Value, group: &Entries) -> Vec<(&'a str, &'a Value)> {
    let Some(table) = whole.get(group.at).and_then(Value::as_object) else { return Vec::new() };
    match group.kind {
        Kind::Server => {
            table.iter().filter(|(_, v)| v.is_object()).map(|(k, v)| (k.as_str(), v)).collect()
        }
        Kind::Hook => table
            .iter()
            .flat_map(|(event, list)| {
                list.as_array().into_iter().flatten().map(move |value| (event.as_str(), value))
            })
            .collect(),
    }
}

fn entry(
    agent: &'static str,
    file: &'static str,
    group: &Entries,
    name: &str,
    value: &Value,
    passed: &dyn Fn(&str) -> Option<String>,
) -> Entry {
    let whole = serde_json::json!([agent, file, group.at, name, value]);
    let mut scrub = Scrub { redactor: Redactor::default(), passed, left_out: Vec::new() };
    let clean = scrub.value("", value);
    Entry {
        agent,
        file,
        at: group.at,
        kind: group.kind,
        name: name.to_owned(),
        value: clean.unwrap_or(Value::Null),
        left_out: scrub.left_out,
        digest: ringfence_policy::digest(whole.to_string().as_bytes()),
    }
}

struct Scrub<'a> {
    redactor: Redactor,
    passed: &'a dyn Fn(&str) -> Option<String>,
    left_out: Vec<String>,
}

impl Scrub<'_> {
    /// The value without secrets; `None` if it is one.
    fn value(&mut self, name: &str, value: &Value) -> Option<Value> {
        match value {
            Value::String(text) => {
                if let Some(passed) = (self.passed)(name) {
                    return Some(Value::String(passed));
                }
                let secret = self.redactor.named(name, text) != *text
                    || self.redactor.document(text) != *text;
                if secret {
                    self.left_out.push(name.to_owned());
                }
                (!secret).then(|| value.clone())
            }
            Value::Array(items) => Some(self.list(name, items)),
            Value::Object(members) => {
                let clean: Map<String, Value> = members
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), self.value(name, value)?)))
                    .collect();
                Some(Value::Object(clean))
            }
            other => Some(other.clone()),
        }
    }

    /// A list keeps its length: a command without one of its arguments would be another command.
    fn list(&mut self, name: &str, items: &[Value]) -> Value {
        let texts: Option<Vec<String>> =
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
        match texts {
            Some(texts) => {
                let clean = self.redactor.arguments(&texts);
                if clean != texts {
                    self.left_out.push(name.to_owned());
                }
                clean.into()
            }
            None => {
                items.iter().filter_map(|item| self.value(name, item)).collect::<Vec<_>>().into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(kind: Kind) -> Entries {
        Entries { at: "mcpServers", kind }
    }

    fn made(value: &Value, passed: &dyn Fn(&str) -> Option<String>) -> Entry {
        entry("claude-code", ".claude.json", &group(Kind::Server), "s", value, passed)
    }

    #[test]
    fn c14_secrets_of_an_entry_stay_out_unless_the_policy_passes_them() {
        let value = serde_json::json!({
            "command": "npx", "args": ["-y", "srv", "--token", "CANARY-1", "--port", "1"],
            "env": {"API_TOKEN": "CANARY-2", "LOG_LEVEL": "debug", "PASSED_KEY": "CANARY-3"},
            "headers": {"Authorization": "Bearer CANARY-4-0123456789", "X-Api-Key": "CANARY-5"},
        });
        let passed = |name: &str| (name == "PASSED_KEY").then(|| "given".to_owned());
        let entry = made(&value, &passed);
        let text = entry.value.to_string() + &entry.words();
        assert!(!text.contains("CANARY"), "{text}");
        assert!(text.contains("debug") && text.contains("given"), "{text}");
        assert!(text.contains("runs: npx -y srv --token"), "{text}");
        for name in ["API_TOKEN", "Authorization", "X-Api-Key", "args"] {
            assert!(entry.left_out.iter().any(|left| left == name), "{name}: {:?}", entry.left_out);
        }
    }

    #[test]
    fn s29_an_entry_is_bound_to_all_of_its_bytes() {
        let one = serde_json::json!({"command": "a", "env": {"API_TOKEN": "CANARY-1"}});
        let other = serde_json::json!({"command": "a", "env": {"API_TOKEN": "CANARY-2"}});
        let digest = |value: &Value| made(value, &|_| None).digest;
        assert_eq!(digest(&one), digest(&one.clone()));
        assert_ne!(digest(&one), digest(&other), "what is scrubbed counts, too");
    }

    #[test]
    fn p14_nothing_in_an_entry_moves_a_terminal() {
        let value = serde_json::json!({"command": "a\u{1b}[2Jb\r\n\u{202e}c", "x\u{7}": 1});
        let words = made(&value, &|_| None).words();
        assert!(!words.contains(['\u{1b}', '\r', '\u{202e}', '\u{7}']), "{words:?}");
    }
}
