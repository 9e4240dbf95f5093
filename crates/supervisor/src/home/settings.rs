//! The first copy of an agent's settings: the members that its row names, and the hooks and servers
//! that a person has accepted. Everything else of the file stays outside.

use std::collections::BTreeMap;
use std::fs::File;

use ringfence_ledger::Redactor;
use serde_json::{Map, Value};

use super::agents::{Agent, Format, Kind, Settings};
use super::entries::Entry;
use super::place::{Host, Out};
use crate::limits::{AGENT_SETTING_BYTES, AGENT_SETTINGS_BYTES};
use crate::load::read_up_to;

/// What goes into one file of the private home.
pub type Files = BTreeMap<&'static str, (Format, Map<String, Value>)>;

/// Reads one settings file of the user's; `None` if there is none.
///
/// # Errors
/// In words, why it stays out.
pub fn read(host: &Host<'_>, row: &Settings) -> Result<Option<Value>, String> {
    let found = match host.open(&host.home.join(row.path)) {
        Ok(found) if !found.directory => found,
        Ok(_) => return Err("it is a directory".to_owned()),
        Err(Out::Missing) => return Ok(None),
        Err(Out::Refused(why)) => return Err(why),
    };
    let bytes = read_up_to(File::from(found.fd), AGENT_SETTINGS_BYTES)
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    // Neither parser's own words are shown: they quote the file, and a secret may stand there.
    match row.format {
        Format::Json => serde_json::from_str(&text)
            .or_else(|_| serde_json::from_str(&without_comments(&text)))
            .map(Some)
            .map_err(|error| format!("line {} is not JSON", error.line())),
        Format::Toml => toml::from_str(&text).map(Some).map_err(|_| "it is not TOML".to_owned()),
    }
}

/// The settings files of the private home: members that may come in, and accepted entries.
pub fn compose(agent: &Agent, host: &Host<'_>, accepted: &[Entry]) -> (Files, Vec<String>) {
    let (mut files, mut notes) = (Files::new(), Vec::new());
    let redactor = Redactor::default();
    for row in agent.settings {
        let mut out = Map::new();
        match read(host, row) {
            Ok(Some(whole)) => {
                for kept in row.kept {
                    if let Some(value) = member(&whole, kept).filter(|v| plain(v, &redactor)) {
                        put(&mut out, kept, value.clone());
                    }
                }
            }
            Ok(None) => {}
            Err(why) => notes.push(format!("~/{} stays out of the agent's home: {why}", row.path)),
        }
        for entry in accepted.iter().filter(|entry| entry.file == row.path) {
            add(&mut out, entry);
        }
        if !out.is_empty() {
            files.insert(row.path, (row.format, out));
        }
    }
    (files, notes)
}

/// A file's text, or why there is none.
///
/// # Errors
/// It has no form in its format.
pub fn text(format: Format, members: &Map<String, Value>) -> Result<String, String> {
    match format {
        Format::Json => serde_json::to_string_pretty(members).map_err(|error| error.to_string()),
        Format::Toml => toml::to_string(members).map_err(|error| error.to_string()),
    }
}

fn member<'a>(whole: &'a Value, dotted: &str) -> Option<&'a Value> {
    dotted.split('.').try_fold(whole, |value, name| value.get(name))
}

fn put(out: &mut Map<String, Value>, dotted: &str, value: Value) {
    match dotted.split_once('.') {
        None => {
            out.insert(dotted.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = out.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

/// A number, a word or a yes: nothing that could be a program or a secret.
fn plain(value: &Value, redactor: &Redactor) -> bool {
    match value {
        Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => {
            text.len() <= AGENT_SETTING_BYTES
                && !text.chars().any(char::is_control)
                && redactor.text(text) == *text
        }
        _ => false,
    }
}

fn add(out: &mut Map<String, Value>, entry: &Entry) {
    let table = out.entry(entry.at).or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(table) = table else { return };
    match entry.kind {
        Kind::Server => {
            table.insert(entry.name.clone(), entry.value.clone());
        }
        Kind::Hook => {
            let list = table.entry(&entry.name).or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.push(entry.value.clone());
            }
        }
    }
}

/// JSON as editors write it: `//` and `/* */` outside of texts become blanks.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = rest.next() {
        match (quoted, c) {
            (true, '\\') => {
                out.push(c);
                out.extend(rest.next());
            }
            (_, '"') => {
                quoted = !quoted;
                out.push(c);
            }
            (false, '/') if rest.peek() == Some(&'/') => {
                while rest.next_if(|c| *c != '\n').is_some() {}
            }
            (false, '/') if rest.peek() == Some(&'*') => {
                let mut last = ' ';
                rest.next();
                for c in rest.by_ref() {
                    if last == '*' && c == '/' {
                        break;
                    }
                    if c == '\n' {
                        out.push('\n');
                    }
                    last = c;
                }
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_part_of_settings() {
        let text = "{ // \"x\": 1\n \"a\": \"// no /* c */\", /* , \n */ \"b\": \"\\\"//\" }";
        let value: Value = serde_json::from_str(&without_comments(text)).unwrap();
        assert_eq!(value, serde_json::json!({"a": "// no /* c */", "b": "\"//"}));
    }

    #[test]
    fn c14_only_named_and_plain_members_come_in() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().canonicalize().unwrap();
        std::fs::create_dir(home.join(".claude")).unwrap();
        std::fs::write(
            home.join(".claude/settings.json"),
            r#"{"model":"opus","theme":{"x":1},"language":"sk-ant-api03-CANARY0123456789abcdef",
                "apiKeyHelper":"/CANARY","env":{"A":"CANARY"},"permissions":{"allow":["CANARY"]},
                "hooks":{"PreToolUse":[{"hooks":[{"type":"command","command":"CANARY"}]}]},
                "statusLine":{"command":"CANARY"}}"#,
        )
        .unwrap();
        let uid = rustix::process::getuid().as_raw();
        let host = Host { home: &home, uid };
        let agent = super::super::agents::of("claude-code").unwrap();
        let (files, notes) = compose(agent, &host, &[]);
        assert!(notes.is_empty(), "{notes:?}");
        let (format, members) = files.get(".claude/settings.json").unwrap();
        let text = text(*format, members).unwrap();
        assert_eq!(text, "{\n  \"model\": \"opus\"\n}");
    }

    #[test]
    fn toml_settings_are_read_and_written() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().canonicalize().unwrap();
        std::fs::create_dir(home.join(".codex")).unwrap();
        std::fs::write(
            home.join(".codex/config.toml"),
            "model = \"m\"\nnotify = [\"CANARY\"]\n[tui]\ntheme = \"t\"\nkeymap = \"k\"\n[mcp_servers.docs]\ncommand = \"srv\"\nargs = [\"-x\"]\n",
        )
        .unwrap();
        let uid = rustix::process::getuid().as_raw();
        let host = Host { home: &home, uid };
        let agent = super::super::agents::of("codex").unwrap();
        let (entries, _) = super::super::entries::collect(agent, &host, &|_| None);
        assert_eq!(entries.len(), 1);
        let (files, _) = compose(agent, &host, &entries);
        let (format, members) = files.get(".codex/config.toml").unwrap();
        let text = text(*format, members).unwrap();
        assert!(!text.contains("CANARY") && !text.contains("keymap"), "{text}");
        let back: Value = toml::from_str(&text).unwrap();
        assert_eq!(back["mcp_servers"]["docs"]["args"][0], "-x");
        assert_eq!((back["model"].as_str(), back["tui"]["theme"].as_str()), (Some("m"), Some("t")));
    }
}
