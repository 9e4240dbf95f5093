//! The chat completions protocol, whole or as a stream of chunks.

use serde_json::{Value, json};

use crate::protocol::{Asked, Protocol, Tool, flat, list, object, text};
use crate::reply::{Reply, pieces};
use crate::transcript::ToolResult;

/// `POST …/chat/completions`.
#[derive(Debug)]
pub struct Completions;

impl Protocol for Completions {
    fn serves(&self, path: &str) -> bool {
        path.ends_with("/chat/completions")
    }

    fn read(&self, _path: &str, body: &Value) -> Asked {
        let schema = body.pointer("/response_format/json_schema/schema/properties");
        Asked {
            model: text(body, "model").to_owned(),
            streamed: body.get("stream").and_then(Value::as_bool) == Some(true),
            tools: list(body, "tools").iter().filter_map(tool).collect(),
            results: list(body, "messages").iter().filter_map(result).collect(),
            schema: schema.and_then(Value::as_object).cloned(),
            prose: list(body, "tools").is_empty()
                && list(body, "messages").iter().any(asks_for_prose),
            bytes: body.to_string().len(),
        }
    }

    fn whole(&self, reply: &Reply) -> Value {
        let mut message = json!({"role": "assistant", "content": content(reply)});
        if !reply.calls.is_empty() {
            message["tool_calls"] = calls(reply).into();
        }
        let choice = json!({"index": 0, "message": message, "finish_reason": finish(reply)});
        let mut whole = head(reply, "chat.completion");
        whole["choices"] = json!([choice]);
        whole["usage"] = usage(reply);
        whole
    }

    fn events(&self, reply: &Reply) -> Vec<String> {
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        deltas.extend(pieces(&reply.text).into_iter().map(|piece| json!({"content": piece})));
        for (index, call) in calls(reply).into_iter().enumerate() {
            let arguments = call["function"]["arguments"].as_str().unwrap_or_default().to_owned();
            let mut opening = call;
            opening["index"] = json!(index);
            opening["function"]["arguments"] = json!("");
            deltas.push(json!({"tool_calls": [opening]}));
            deltas.extend(pieces(&arguments).into_iter().map(
                |piece| json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}),
            ));
        }
        let chunk = |delta: Value, finish: Value| {
            let mut chunk = head(reply, "chat.completion.chunk");
            chunk["choices"] = json!([{"index": 0, "delta": delta, "finish_reason": finish}]);
            format!("data: {chunk}\n\n")
        };
        let mut events: Vec<String> =
            deltas.into_iter().map(|delta| chunk(delta, Value::Null)).collect();
        events.push(chunk(json!({}), json!(finish(reply))));
        let mut last = head(reply, "chat.completion.chunk");
        last["choices"] = json!([]);
        last["usage"] = usage(reply);
        events.push(format!("data: {last}\n\n"));
        events.push("data: [DONE]\n\n".to_owned());
        events
    }
}

fn tool(tool: &Value) -> Option<Tool> {
    let function = tool.get("function")?;
    let name = function.get("name")?.as_str()?.to_owned();
    Some(Tool { name, schema: object(function.get("parameters")), ..Tool::default() })
}

/// Whether a message explains how edits are written into the answer.
fn asks_for_prose(message: &Value) -> bool {
    flat(message.get("content")).contains("*SEARCH/REPLACE block*")
}

fn result(message: &Value) -> Option<ToolResult> {
    (text(message, "role") == "tool").then(|| ToolResult {
        id: text(message, "tool_call_id").to_owned(),
        text: flat(message.get("content")),
        is_error: false,
    })
}

fn content(reply: &Reply) -> Value {
    if reply.text.is_empty() { Value::Null } else { json!(reply.text) }
}

fn calls(reply: &Reply) -> Vec<Value> {
    let one = |call: &crate::reply::Call| {
        let function = json!({"name": call.name, "arguments": call.input.to_text()});
        json!({"id": call.id, "type": "function", "function": function})
    };
    reply.calls.iter().map(one).collect()
}

fn finish(reply: &Reply) -> &'static str {
    if reply.calls.is_empty() { "stop" } else { "tool_calls" }
}

fn head(reply: &Reply, object: &str) -> Value {
    let id = format!("chatcmpl_{}", reply.id());
    json!({"id": id, "object": object, "created": 0, "model": reply.model})
}

fn usage(reply: &Reply) -> Value {
    let (asked, said) = (reply.input_tokens, reply.output_tokens());
    json!({"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Input;
    use crate::reply::{Call, call_id, turn};

    #[test]
    fn results_are_messages_of_the_tool() {
        let body = json!({"tools": [{"type": "function", "function": {"name": "bash"}}],
            "messages": [{"role": "user", "content": "go"}, {"role": "tool",
                "tool_call_id": "call_0_0", "content": [{"type": "text", "text": "out"}]}]});
        let asked = Completions.read("", &body);
        assert_eq!(asked.results[0].text, "out");
        assert_eq!(turn(&asked), Some(1));
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says() {
        let call = |number| Call {
            id: call_id(0, number),
            name: "bash".to_owned(),
            namespace: None,
            input: Input::Json(object(Some(&json!({"command": "Ünïcode ".repeat(20)})))),
        };
        let reply = Reply {
            model: "m".to_owned(),
            turn: Some(0),
            text: "Ünïcode text that is longer than one piece, so that it is cut.".to_owned(),
            calls: vec![call(0), call(1)],
            input_tokens: 5,
        };
        let events = Completions.events(&reply);
        assert_eq!(events.last().unwrap(), "data: [DONE]\n\n");
        let (mut text, mut arguments) = (String::new(), vec![String::new(); 2]);
        for event in events.iter().filter(|event| !event.contains("[DONE]")) {
            let data: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            let delta = &data["choices"][0]["delta"];
            text.push_str(delta["content"].as_str().unwrap_or_default());
            for call in list(delta, "tool_calls") {
                let at = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
                arguments[at].push_str(call["function"]["arguments"].as_str().unwrap());
            }
        }
        let message = &Completions.whole(&reply)["choices"][0]["message"];
        assert_eq!(message["content"], text);
        for (at, whole) in arguments.iter().enumerate() {
            assert_eq!(message["tool_calls"][at]["function"]["arguments"], *whole);
        }
    }
}
