//! The Messages API: which turn of the script answers a request, and how it looks on the wire,
//! whole or as a stream of events.
//!
//! An answer depends on the request and the script alone; nothing is remembered between requests.

use serde_json::{Value, json};

use crate::limits::DELTA_BYTES;
use crate::script::{Script, Turn};

/// What the model says when the script has no turn left.
pub const OVER: &str = "The script is over.";

/// What the model says to requests beside the conversation (titles, summaries).
pub const ASIDE: &str = "Scripted session";

/// What a request was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The agent's own conversation, at this turn of the script.
    Turn(usize),
    /// A request beside it: it offers no tools that the agent runs.
    Aside,
}

/// Decides what a request is: the conversation offers tools that the agent itself runs, and its
/// turn is the number of answers that tool results have come back to.
///
/// Results of one answer count once, in however many messages they come. A conversation of a
/// sub-agent looks like the main one and starts at turn 0: a script must not start any.
#[must_use]
pub fn role(request: &Value) -> Role {
    if !list(request, "tools").iter().any(is_own_tool) {
        return Role::Aside;
    }
    let mut rounds = 0;
    let mut answered = false;
    for message in list(request, "messages") {
        if message.get("role").and_then(Value::as_str) == Some("assistant") {
            answered = true;
        } else if answered && has_tool_result(message) {
            rounds += 1;
            answered = false;
        }
    }
    Role::Turn(rounds)
}

/// A tool without a type, or of type `custom`, is run by the agent; others by the API itself.
fn is_own_tool(tool: &Value) -> bool {
    matches!(tool.get("type").and_then(Value::as_str), None | Some("custom"))
        && tool.get("name").is_some()
}

fn has_tool_result(message: &Value) -> bool {
    message.get("role").and_then(Value::as_str) == Some("user")
        && list(message, "content")
            .iter()
            .any(|block| block.get("type").and_then(Value::as_str) == Some("tool_result"))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The id of a tool call: `toolu_TURN_CALL`, both from 0, so that a test can name a result.
#[must_use]
pub fn tool_use_id(turn: usize, call: usize) -> String {
    format!("toolu_{turn}_{call}")
}

/// The whole answer to a request, in the form of a non-streamed response.
#[must_use]
pub fn answer(script: &Script, request: &Value) -> Value {
    let role = role(request);
    let (id, turn) = match role {
        Role::Turn(n) => {
            let over = || Turn { text: OVER.to_owned(), tools: Vec::new() };
            (format!("msg_{n}"), script.turns.get(n).cloned().unwrap_or_else(over))
        }
        Role::Aside => ("msg_aside".to_owned(), Turn { text: aside(request), tools: Vec::new() }),
    };
    let number = if let Role::Turn(n) = role { n } else { 0 };
    let mut content = Vec::new();
    if !turn.text.is_empty() {
        content.push(json!({"type": "text", "text": turn.text}));
    }
    for (call, tool) in turn.tools.iter().enumerate() {
        content.push(json!({
            "type": "tool_use",
            "id": tool_use_id(number, call),
            "name": tool.name,
            "input": tool.input,
        }));
    }
    let stop = if turn.tools.is_empty() { "end_turn" } else { "tool_use" };
    let written: usize = content.iter().map(|block| block.to_string().len()).sum();
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": request.get("model").cloned().unwrap_or_else(|| json!("scripted-model")),
        "content": content,
        "stop_reason": stop,
        "stop_sequence": null,
        "usage": {
            "input_tokens": tokens(request.to_string().len()),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": tokens(written),
        },
    })
}

/// Text for a request beside the conversation. Where it asks for JSON of a given schema, each
/// string property gets [`ASIDE`], so that the client's parser is content.
fn aside(request: &Value) -> String {
    let schema = request
        .pointer("/output_config/format/schema/properties")
        .or_else(|| request.pointer("/output_format/schema/properties"));
    let Some(properties) = schema.and_then(Value::as_object) else {
        return ASIDE.to_owned();
    };
    let filled = properties.iter().map(|(name, property)| {
        let value = match property.get("type").and_then(Value::as_str) {
            Some("boolean") => json!(false),
            Some("number" | "integer") => json!(0),
            Some("array") => json!([]),
            Some("object") => json!({}),
            _ => json!(ASIDE),
        };
        (name.clone(), value)
    });
    Value::Object(filled.collect()).to_string()
}

/// A rough token count for a length in bytes: four bytes to a token, never 0.
#[must_use]
pub fn tokens(bytes: usize) -> usize {
    bytes / 4 + 1
}

/// The events of a streamed answer, each the complete text of one server-sent event.
#[must_use]
pub fn events(answer: &Value) -> Vec<String> {
    let mut start = answer.clone();
    let output_tokens = answer.pointer("/usage/output_tokens").cloned().unwrap_or_default();
    if let Some(fields) = start.as_object_mut() {
        fields.insert("content".to_owned(), json!([]));
        fields.insert("stop_reason".to_owned(), Value::Null);
        if let Some(usage) = fields.get_mut("usage").and_then(Value::as_object_mut) {
            usage.insert("output_tokens".to_owned(), json!(1));
        }
    }
    let mut events = vec![
        event(&json!({"type": "message_start", "message": start})),
        event(&json!({"type": "ping"})),
    ];
    for (index, block) in list(answer, "content").iter().enumerate() {
        block_events(index, block, &mut events);
    }
    events.push(event(&json!({
        "type": "message_delta",
        "delta": {"stop_reason": answer.get("stop_reason"), "stop_sequence": null},
        "usage": {"output_tokens": output_tokens},
    })));
    events.push(event(&json!({"type": "message_stop"})));
    events
}

fn block_events(index: usize, block: &Value, events: &mut Vec<String>) {
    let mut opening = block.clone();
    let (whole, kind, key) = match block.get("text").and_then(Value::as_str) {
        Some(text) => {
            opening["text"] = json!("");
            (text.to_owned(), "text_delta", "text")
        }
        None => {
            opening["input"] = json!({});
            let input = block.get("input").cloned().unwrap_or_else(|| json!({}));
            (input.to_string(), "input_json_delta", "partial_json")
        }
    };
    let start = json!({"type": "content_block_start", "index": index, "content_block": opening});
    events.push(event(&start));
    for piece in pieces(&whole) {
        events.push(event(&json!({
            "type": "content_block_delta",
            "index": index,
            "delta": {"type": kind, key: piece},
        })));
    }
    events.push(event(&json!({"type": "content_block_stop", "index": index})));
}

/// Cuts text into pieces of at most [`DELTA_BYTES`], never inside a character.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at(rest.floor_char_boundary(DELTA_BYTES));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

fn event(data: &Value) -> String {
    let name = data.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn script() -> Script {
        let text = r#"{"turns":[
            {"text":"Ünïcode text that is longer than one piece, so that it is cut.",
             "tools":[{"name":"Read","input":{"file_path":"/a"}},
                      {"name":"Bash","input":{"command":"true"}}]},
            {"text":"done"}]}"#;
        Script::parse(text, &BTreeMap::new()).unwrap()
    }

    fn conversation(rounds: usize) -> Value {
        let mut messages = vec![json!({"role": "user", "content": "go"})];
        for _ in 0..rounds {
            messages.push(json!({"role": "assistant", "content": [{"type": "tool_use"}]}));
            messages.push(json!({"role": "user", "content": [
                {"type": "tool_result"}, {"type": "tool_result"}, {"type": "text", "text": "x"}]}));
        }
        json!({"model": "m", "tools": [{"name": "Read"}], "messages": messages})
    }

    #[test]
    fn the_turn_is_the_number_of_result_rounds() {
        assert_eq!(role(&conversation(0)), Role::Turn(0));
        assert_eq!(role(&conversation(3)), Role::Turn(3));
        // Results of one answer in two messages, with something else between, are one round.
        let mut split = conversation(1);
        let messages = split["messages"].as_array_mut().unwrap();
        messages.push(json!({"role": "system", "content": "x"}));
        messages.push(json!({"role": "user", "content": [{"type": "tool_result"}]}));
        assert_eq!(role(&split), Role::Turn(1));
        let first = answer(&script(), &conversation(0));
        assert_eq!(first["stop_reason"], "tool_use");
        assert_eq!(first["content"][2]["id"], "toolu_0_1");
        assert_eq!(answer(&script(), &conversation(1))["stop_reason"], "end_turn");
        assert_eq!(answer(&script(), &conversation(2))["content"][0]["text"], OVER);
    }

    #[test]
    fn requests_without_own_tools_stand_aside() {
        let mut request = conversation(1);
        request["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
        assert_eq!(role(&request), Role::Aside);
        request["tools"] = json!([]);
        assert_eq!(answer(&script(), &request)["content"][0]["text"], ASIDE);
        request["output_config"] = json!({"format": {"schema": {"properties":
            {"title": {"type": "string"}, "new": {"type": "boolean"}}}}});
        let reply = answer(&script(), &request);
        let text = reply["content"][0]["text"].as_str().unwrap();
        let parsed: Value = serde_json::from_str(text).unwrap();
        assert_eq!(parsed, json!({"title": ASIDE, "new": false}));
    }

    /// Reads a stream back the way a client does.
    fn reassemble(events: &[String]) -> Value {
        let parsed: Vec<Value> = events
            .iter()
            .map(|e| serde_json::from_str(e.split_once("data: ").unwrap().1).unwrap())
            .collect();
        let mut message = parsed[0]["message"].clone();
        let mut texts: Vec<String> = Vec::new();
        for data in &parsed {
            match data["type"].as_str().unwrap() {
                "content_block_start" => {
                    message["content"].as_array_mut().unwrap().push(data["content_block"].clone());
                    texts.push(String::new());
                }
                "content_block_delta" => {
                    let delta = &data["delta"];
                    let piece = delta.get("text").or_else(|| delta.get("partial_json")).unwrap();
                    texts.last_mut().unwrap().push_str(piece.as_str().unwrap());
                }
                "content_block_stop" => {
                    let block = &mut message["content"][data["index"].as_u64().unwrap() as usize];
                    let whole = texts.last().unwrap();
                    if block["type"] == "text" {
                        block["text"] = json!(whole);
                    } else {
                        block["input"] = serde_json::from_str(whole).unwrap();
                    }
                }
                "message_delta" => {
                    message["stop_reason"] = data["delta"]["stop_reason"].clone();
                    message["usage"]["output_tokens"] = data["usage"]["output_tokens"].clone();
                }
                _ => {}
            }
        }
        message
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says() {
        for rounds in 0..3 {
            let whole = answer(&script(), &conversation(rounds));
            assert_eq!(reassemble(&events(&whole)), whole);
        }
        assert!(events(&answer(&script(), &conversation(0))).len() > 12);
    }
}
