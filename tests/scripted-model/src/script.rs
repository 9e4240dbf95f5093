//! The script: what the model will say, turn by turn.
//!
//! A script is data only. It must never depend on the clock, on chance or on what the agent
//! answers, so that a test run can be repeated exactly.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::limits::MAX_SCRIPT_BYTES;

/// A whole conversation from the model's side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// What the script is for, for the reader.
    #[serde(default)]
    pub about: String,
    /// The answers; turn N is given when the results of turn N - 1 have come back.
    pub turns: Vec<Turn>,
}

/// One answer of the model: text, tool calls, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// What the model says; empty means no text block.
    #[serde(default)]
    pub text: String,
    /// The tools it calls. Without any, the turn ends the agent's work.
    #[serde(default)]
    pub tools: Vec<ToolCall>,
}

/// One tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// A verb (`run`, `read`, `write`, `edit`, see [`crate::dialect`]), or the name of a tool.
    pub name: String,
    /// The verb's fields, or the tool's input.
    pub input: Map<String, Value>,
}

/// Why a script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("cannot read the script {path}: {source}; check the path")]
    Read {
        /// The script file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is above [`MAX_SCRIPT_BYTES`].
    #[error("the script {path} is larger than {MAX_SCRIPT_BYTES} bytes; split it")]
    TooLarge {
        /// The script file.
        path: PathBuf,
    },
    /// The text is not a script.
    #[error("not a script: {0}; see the files in scripts/ for the form")]
    Parse(#[from] serde_json::Error),
    /// The script has no turns.
    #[error("the script has no turns; give it at least one")]
    Empty,
    /// A `{{name}}` has no value.
    #[error("the script names {{{{{0}}}}} but no value is given; add --set {0}=VALUE")]
    UnknownVariable(String),
}

impl Script {
    /// Parses a JSON script and puts the values in for each `{{name}}` in its strings.
    ///
    /// # Errors
    /// If the text is not a script, has no turns, or names a variable without a value.
    pub fn parse(text: &str, variables: &BTreeMap<String, String>) -> Result<Self, ScriptError> {
        let mut value: Value = serde_json::from_str(text)?;
        substitute(&mut value, variables)?;
        let script: Self = serde_json::from_value(value)?;
        if script.turns.is_empty() {
            return Err(ScriptError::Empty);
        }
        Ok(script)
    }

    /// Reads and parses a script file, see [`Script::parse`].
    ///
    /// # Errors
    /// As [`Script::parse`], or if the file cannot be read or is too large.
    pub fn load(path: &Path, variables: &BTreeMap<String, String>) -> Result<Self, ScriptError> {
        let failed = |source| ScriptError::Read { path: path.to_owned(), source };
        let mut text = String::new();
        File::open(path)
            .map_err(failed)?
            .take(MAX_SCRIPT_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(failed)?;
        if text.len() as u64 > MAX_SCRIPT_BYTES {
            return Err(ScriptError::TooLarge { path: path.to_owned() });
        }
        Self::parse(&text, variables)
    }
}

/// Replaces `{{name}}` in every string below `value` (not in keys).
fn substitute(value: &mut Value, variables: &BTreeMap<String, String>) -> Result<(), ScriptError> {
    match value {
        Value::String(text) => *text = expand(text, variables)?,
        Value::Array(items) => {
            for item in items {
                substitute(item, variables)?;
            }
        }
        Value::Object(fields) => {
            for (_, field) in fields.iter_mut() {
                substitute(field, variables)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
    Ok(())
}

/// Replaces each `{{name}}`; a value is never expanded again. `{{` without `}}` stays as it is.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> Result<String, ScriptError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, tail)) = after.split_once("}}") else {
            break;
        };
        out.push_str(before);
        let known = variables.get(name);
        out.push_str(known.ok_or_else(|| ScriptError::UnknownVariable(name.to_owned()))?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn variables_are_replaced_once_and_everywhere() {
        let text = r#"{"turns":[{"text":"{{a}} {{b}}","tools":
            [{"name":"X","input":{"n":[1,{"p":"{{b}}/x"}]}}]}]}"#;
        let script = Script::parse(text, &variables(&[("a", "{{b}}"), ("b", "B")])).unwrap();
        assert_eq!(script.turns[0].text, "{{b}} B");
        assert_eq!(script.turns[0].tools[0].input["n"][1]["p"], "B/x");
    }

    #[test]
    fn a_variable_without_value_is_refused() {
        let error = Script::parse(r#"{"turns":[{"text":"{{home}}"}]}"#, &BTreeMap::new());
        let message = error.unwrap_err().to_string();
        assert!(message.contains("--set home=VALUE"), "{message}");
        assert!(message.contains("{{home}}"), "{message}");
    }

    #[test]
    fn unknown_keys_and_empty_scripts_are_refused() {
        for text in [
            r#"{"turns":[{"txt":"x"}]}"#,
            r#"{"turns":[],"extra":1}"#,
            r#"{"turns":[{"tools":[{"name":"X"}]}]}"#,
        ] {
            let error = Script::parse(text, &BTreeMap::new()).unwrap_err();
            assert!(matches!(error, ScriptError::Parse(_)), "{text}: {error}");
        }
        let error = Script::parse(r#"{"turns":[]}"#, &BTreeMap::new()).unwrap_err();
        assert!(matches!(error, ScriptError::Empty));
    }

    #[test]
    fn every_script_in_the_folder_parses() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let values = variables(&[
            ("workspace", "/w"),
            ("home", "/h"),
            ("sink", "127.0.0.1:9"),
            ("secret_file", "/h/.ssh/id_rsa"),
        ]);
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            Script::load(&entry.unwrap().path(), &values).unwrap();
            seen += 1;
        }
        assert!(seen >= 2);
    }
}
