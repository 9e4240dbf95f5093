//! The Messages protocol, whole or as a stream of events.

use serde_json::{Value, json};

use crate::dialect::Input;
use crate::protocol::{Asked, Protocol, Tool, flat, list, object, text};
use crate::reply::{Reply, pieces};
use crate::transcript::ToolResult;

/// `POST /v1/messages`.
#[derive(Debug)]
pub struct Messages;

/// Where a client asks how long a conversation is.
pub const COUNT: &str = "/v1/messages/count_tokens";

impl Protocol for Messages {
    fn serves(&self, path: &str) -> bool {
        path == "/v1/messages"
    }

    fn read(&self, _path: &str, body: &Value) -> Asked {
        let results =
            list(body, "messages").iter().filter(|message| text(message, "role") == "user");
        let results = results.flat_map(|message| list(message, "content"));
        let schema = body
            .pointer("/output_config/format/schema/properties")
            .or_else(|| body.pointer("/output_format/schema/properties"));
        Asked {
            model: text(body, "model").to_owned(),
            streamed: body.get("stream").and_then(Value::as_bool) == Some(true),
            tools: list(body, "tools").iter().filter_map(tool).collect(),
            results: results.filter_map(result).collect(),
            schema: schema.and_then(Value::as_object).cloned(),
            prose: false,
            bytes: body.to_string().len(),
        }
    }

    fn whole(&self, reply: &Reply) -> Value {
        let mut content = Vec::new();
        if !reply.text.is_empty() {
            content.push(json!({"type": "text", "text": reply.text}));
        }
        for call in &reply.calls {
            let input = match &call.input {
                Input::Json(fields) => json!(fields),
                Input::Text(text) => json!({"input": text}),
            };
            content.push(
                json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input}),
            );
        }
        let stop = if reply.calls.is_empty() { "end_turn" } else { "tool_use" };
        json!({
            "id": format!("msg_{}", reply.id()),
            "type": "message",
            "role": "assistant",
            "model": reply.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": null,
            "usage": {
                "input_tokens": reply.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": reply.output_tokens(),
            },
        })
    }

    fn events(&self, reply: &Reply) -> Vec<String> {
        let answer = self.whole(reply);
        let mut start = answer.clone();
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        start["usage"]["output_tokens"] = json!(1);
        let mut events = vec![
            event(&json!({"type": "message_start", "message": start})),
            event(&json!({"type": "ping"})),
        ];
        for (index, block) in list(&answer, "content").iter().enumerate() {
            block_events(index, block, &mut events);
        }
        events.push(event(&json!({
            "type": "message_delta",
            "delta": {"stop_reason": answer["stop_reason"], "stop_sequence": null},
            "usage": {"output_tokens": answer["usage"]["output_tokens"]},
        })));
        events.push(event(&json!({"type": "message_stop"})));
        events
    }
}

/// A tool without a type, or of type `custom`, is run by the agent; others by the API itself.
fn tool(tool: &Value) -> Option<Tool> {
    if !matches!(text(tool, "type"), "" | "custom") {
        return None;
    }
    let name = tool.get("name")?.as_str()?.to_owned();
    Some(Tool { name, schema: object(tool.get("input_schema")), ..Tool::default() })
}

fn result(block: &Value) -> Option<ToolResult> {
    (text(block, "type") == "tool_result").then(|| ToolResult {
        id: text(block, "tool_use_id").to_owned(),
        text: flat(block.get("content")),
        is_error: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
    })
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

fn event(data: &Value) -> String {
    format!("event: {}\ndata: {data}\n\n", text(data, "type"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{Call, call_id};

    fn reply(calls: usize) -> Reply {
        let call = |number| Call {
            id: call_id(0, number),
            name: "Read".to_owned(),
            namespace: None,
            input: Input::Json(object(Some(&json!({"file_path": "/a"})))),
        };
        Reply {
            model: "m".to_owned(),
            turn: Some(0),
            text: "Ünïcode text that is longer than one piece, so that it is cut.".to_owned(),
            calls: (0..calls).map(call).collect(),
            input_tokens: 9,
        }
    }

    #[test]
    fn tools_of_the_api_itself_are_none_of_the_agents() {
        let body = json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]});
        assert!(Messages.read("", &body).tools.is_empty());
        let body = json!({"tools": [{"name": "Read"}], "messages": [
            {"role": "assistant", "content": [{"type": "tool_use"}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "call_3_0", "content": "a"},
                {"type": "text", "text": "x"}]}]});
        assert_eq!(crate::reply::turn(&Messages.read("", &body)), Some(4));
    }

    /// Reads a stream back the way a client does.
    fn reassemble(events: &[String]) -> Value {
        let parse = |e: &String| serde_json::from_str(e.split_once("data: ").unwrap().1).unwrap();
        let parsed: Vec<Value> = events.iter().map(parse).collect();
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
                    let at = usize::try_from(data["index"].as_u64().unwrap()).unwrap();
                    let block = &mut message["content"][at];
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
        for calls in 0..3 {
            let reply = reply(calls);
            assert_eq!(reassemble(&Messages.events(&reply)), Messages.whole(&reply));
        }
        assert!(Messages.events(&reply(2)).len() > 12);
    }
}
