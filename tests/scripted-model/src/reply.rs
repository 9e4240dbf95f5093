//! What the model says to a request: which turn of the script, and in which of the agent's tools.
//!
//! A reply depends on the request and the script alone; nothing is remembered between requests.

use serde_json::{Map, Value, json};

use crate::dialect::{Input, call, prose};
use crate::limits::DELTA_BYTES;
use crate::protocol::Asked;
use crate::script::{Script, Turn};

/// What the model says when the script has no turn left.
pub const OVER: &str = "The script is over.";

/// What the model says to requests beside the conversation (titles, summaries).
pub const ASIDE: &str = "Scripted session";

/// One tool call, in the words of the agent that asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// See [`call_id`].
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The namespace that it stands in.
    pub namespace: Option<String>,
    /// Its input.
    pub input: Input,
}

/// One answer, before it takes the form of a protocol.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The model's name, as it was asked for.
    pub model: String,
    /// The turn of the script; `None` beside the conversation.
    pub turn: Option<usize>,
    /// What is said; empty means nothing.
    pub text: String,
    /// The tools that are called.
    pub calls: Vec<Call>,
    /// Rough count of what was asked.
    pub input_tokens: usize,
}

impl Reply {
    /// Identifies the answer.
    #[must_use]
    pub fn id(&self) -> String {
        self.turn.map_or_else(|| "aside".to_owned(), |turn| turn.to_string())
    }

    /// Rough count of what is answered.
    #[must_use]
    pub fn output_tokens(&self) -> usize {
        let calls = self.calls.iter().map(|call| call.input.to_text().len());
        tokens(self.text.len() + calls.sum::<usize>())
    }
}

/// The id of a tool call: `call_TURN_CALL`, both from 0, so that a test can name a result and the
/// model knows from a result which turn has been played.
#[must_use]
pub fn call_id(turn: usize, call: usize) -> String {
    format!("call_{turn}_{call}")
}

fn turn_of(id: &str) -> Option<usize> {
    id.strip_prefix("call_")?.split_once('_')?.0.parse().ok()
}

/// The turn of the script that a request is answered with; `None` for a request beside the
/// conversation: it offers no tools that the agent runs, and does not take edits from text either.
///
/// A conversation of a sub-agent looks like the main one and starts at turn 0: a script must not
/// start any.
#[must_use]
pub fn turn(asked: &Asked) -> Option<usize> {
    if asked.prose {
        return Some(0);
    }
    if asked.tools.is_empty() {
        return None;
    }
    let played = asked.results.iter().filter_map(|result| turn_of(&result.id)).max();
    Some(played.map_or(0, |turn| turn + 1))
}

/// The answer to a request.
#[must_use]
pub fn reply(script: &Script, asked: &Asked) -> Reply {
    let turn = turn(asked);
    let over = || Turn { text: OVER.to_owned(), tools: Vec::new() };
    let said = match turn {
        Some(_) if asked.prose => in_prose(script),
        Some(turn) => script.turns.get(turn).cloned().unwrap_or_else(over),
        None => Turn { text: aside(asked.schema.as_ref()), tools: Vec::new() },
    };
    let calls = said.tools.iter().enumerate().map(|(number, tool)| {
        let (name, namespace, input) = call(tool, &asked.tools);
        Call { id: call_id(turn.unwrap_or_default(), number), name, namespace, input }
    });
    Reply {
        model: asked.model.clone(),
        turn,
        calls: calls.collect(),
        text: said.text,
        input_tokens: tokens(asked.bytes),
    }
}

/// The whole script in one text.
fn in_prose(script: &Script) -> Turn {
    let mut text = String::new();
    for turn in &script.turns {
        text.push_str(&turn.text);
        text.push('\n');
        text.extend(turn.tools.iter().filter_map(prose));
    }
    Turn { text, tools: Vec::new() }
}

/// Text for a request beside the conversation. Where it asks for JSON of a given schema, each
/// property gets a value of its kind, so that the client's parser is content.
fn aside(schema: Option<&Map<String, Value>>) -> String {
    let Some(properties) = schema else {
        return ASIDE.to_owned();
    };
    let filled = properties.iter().map(|(name, schema)| (name.clone(), filler(schema)));
    Value::Object(filled.collect()).to_string()
}

/// Some value that a schema allows.
pub(crate) fn filler(schema: &Value) -> Value {
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|all| all.first()) {
        return first.clone();
    }
    match schema.get("type").and_then(Value::as_str).map(str::to_ascii_lowercase).as_deref() {
        Some("boolean") => json!(false),
        Some("number" | "integer") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!(ASIDE),
    }
}

/// A rough token count for a length in bytes: four bytes to a token, never 0.
#[must_use]
pub fn tokens(bytes: usize) -> usize {
    bytes / 4 + 1
}

/// Cuts text into pieces of at most [`DELTA_BYTES`], never inside a character.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(DELTA_BYTES));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Tool;
    use crate::transcript::ToolResult;
    use std::collections::BTreeMap;

    fn asked(results: &[&str]) -> Asked {
        let result =
            |id: &&str| ToolResult { id: (*id).to_owned(), text: String::new(), is_error: false };
        Asked {
            tools: vec![Tool { name: "Bash".to_owned(), ..Tool::default() }],
            results: results.iter().map(result).collect(),
            ..Asked::default()
        }
    }

    #[test]
    fn the_turn_follows_the_last_result() {
        let text = r#"{"turns":[{"tools":[{"name":"Bash","input":{}}]},{"text":"done"}]}"#;
        let script = Script::parse(text, &BTreeMap::new()).unwrap();
        assert_eq!(reply(&script, &asked(&[])).calls[0].id, "call_0_0");
        // Results of one answer count once, and foreign ids not at all.
        let second = reply(&script, &asked(&["call_0_0", "call_0_1", "toolu_9_9"]));
        assert_eq!((second.turn, second.text.as_str()), (Some(1), "done"));
        assert_eq!(reply(&script, &asked(&["call_1_0"])).text, OVER);
        assert_eq!(reply(&script, &asked(&["call_0_0", "call_11_0"])).turn, Some(12));
    }

    #[test]
    fn requests_without_own_tools_stand_aside() {
        let script = Script::parse(r#"{"turns":[{"text":"x"}]}"#, &BTreeMap::new()).unwrap();
        let mut beside = Asked { tools: Vec::new(), ..asked(&["call_0_0"]) };
        assert_eq!(reply(&script, &beside).text, ASIDE);
        let schema = json!({"title": {"type": "string"}, "new": {"type": "BOOLEAN"},
            "kind": {"type": "string", "enum": ["a", "b"]}});
        beside.schema = Some(schema.as_object().unwrap().clone());
        let parsed: Value = serde_json::from_str(&reply(&script, &beside).text).unwrap();
        assert_eq!(parsed, json!({"title": ASIDE, "new": false, "kind": "a"}));
    }

    #[test]
    fn pieces_never_cut_a_character() {
        let text = "Ünïcode".repeat(20);
        let cut = pieces(&text);
        assert!(cut.len() > 2 && cut.iter().all(|piece| piece.len() <= DELTA_BYTES));
        assert_eq!(cut.concat(), text);
    }
}
