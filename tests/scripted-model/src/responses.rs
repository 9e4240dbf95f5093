//! The Responses protocol, whole or as a stream of events.

use serde_json::{Value, json};

use crate::dialect::Input;
use crate::protocol::{Asked, Protocol, Tool, flat, list, object, text};
use crate::reply::{Call, Reply, pieces};
use crate::transcript::ToolResult;

/// `POST …/responses`.
#[derive(Debug)]
pub struct Responses;

impl Protocol for Responses {
    fn serves(&self, path: &str) -> bool {
        path.ends_with("/responses")
    }

    fn read(&self, _path: &str, body: &Value) -> Asked {
        let mut tools = Vec::new();
        let input = list(body, "input");
        // Tools come beside the conversation, or as an item of it.
        let late = input.iter().filter(|item| text(item, "type") == "additional_tools");
        for tool in list(body, "tools").iter().chain(late.flat_map(|item| list(item, "tools"))) {
            collect(tool, None, &mut tools);
        }
        Asked {
            model: text(body, "model").to_owned(),
            streamed: body.get("stream").and_then(Value::as_bool) == Some(true),
            tools,
            results: input.iter().filter_map(result).collect(),
            schema: body
                .pointer("/text/format/schema/properties")
                .and_then(Value::as_object)
                .cloned(),
            prose: false,
            bytes: body.to_string().len(),
        }
    }

    fn whole(&self, reply: &Reply) -> Value {
        response(reply, "completed", items(reply))
    }

    fn events(&self, reply: &Reply) -> Vec<String> {
        let mut events = Stream::default();
        events.push(json!({
            "type": "response.created",
            "response": response(reply, "in_progress", Vec::new()),
        }));
        for (index, item) in items(reply).iter().enumerate() {
            events.item(index, item);
        }
        events.push(json!({"type": "response.completed", "response": self.whole(reply)}));
        events.0
    }
}

/// A tool that the agent runs; those of a namespace one by one.
fn collect(tool: &Value, namespace: Option<&str>, tools: &mut Vec<Tool>) {
    let name = text(tool, "name");
    match text(tool, "type") {
        "namespace" => {
            for inner in list(tool, "tools") {
                collect(inner, Some(name), tools);
            }
        }
        kind @ ("function" | "custom") if !name.is_empty() => tools.push(Tool {
            name: name.to_owned(),
            schema: object(tool.get("parameters")),
            freeform: kind == "custom",
            namespace: namespace.map(str::to_owned),
        }),
        _ => {}
    }
}

fn result(item: &Value) -> Option<ToolResult> {
    matches!(text(item, "type"), "function_call_output" | "custom_tool_call_output").then(|| {
        ToolResult {
            id: text(item, "call_id").to_owned(),
            text: flat(item.get("output")),
            is_error: false,
        }
    })
}

fn items(reply: &Reply) -> Vec<Value> {
    let mut items = Vec::new();
    if !reply.text.is_empty() {
        items.push(json!({
            "type": "message",
            "id": format!("msg_{}", reply.id()),
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": reply.text, "annotations": []}],
        }));
    }
    items.extend(reply.calls.iter().map(call_item));
    items
}

fn call_item(call: &Call) -> Value {
    let (kind, id, key) = match &call.input {
        Input::Json(_) => ("function_call", "fc", "arguments"),
        Input::Text(_) => ("custom_tool_call", "ctc", "input"),
    };
    let mut item = json!({
        "type": kind,
        "id": format!("{id}_{}", call.id),
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        key: call.input.to_text(),
    });
    if let Some(namespace) = &call.namespace {
        item["namespace"] = json!(namespace);
    }
    item
}

fn response(reply: &Reply, status: &str, output: Vec<Value>) -> Value {
    let (asked, said) = (reply.input_tokens, reply.output_tokens());
    json!({
        "id": format!("resp_{}", reply.id()),
        "object": "response",
        "created_at": 0,
        "status": status,
        "model": reply.model,
        "output": output,
        "parallel_tool_calls": true,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": asked,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": asked + said,
        },
    })
}

/// Events, numbered as they are pushed.
#[derive(Default)]
struct Stream(Vec<String>);

impl Stream {
    fn push(&mut self, mut data: Value) {
        data["sequence_number"] = json!(self.0.len());
        self.0.push(format!("event: {}\ndata: {data}\n\n", text(&data, "type")));
    }

    fn item(&mut self, index: usize, item: &Value) {
        let mut opening = item.clone();
        opening["status"] = json!("in_progress");
        let (whole, kind, key) = match text(item, "type") {
            "message" => {
                opening["content"] = json!([]);
                (item.pointer("/content/0/text"), "response.output_text", "text")
            }
            "function_call" => {
                opening["arguments"] = json!("");
                (item.get("arguments"), "response.function_call_arguments", "arguments")
            }
            _ => {
                opening["input"] = json!("");
                (item.get("input"), "response.custom_tool_call_input", "input")
            }
        };
        let whole = whole.and_then(Value::as_str).unwrap_or_default();
        let id = &item["id"];
        let at = |kind: &str| json!({"type": kind, "output_index": index});
        let mut added = at("response.output_item.added");
        added["item"] = opening;
        self.push(added);
        for piece in pieces(whole) {
            let mut delta = at(&format!("{kind}.delta"));
            delta["item_id"] = id.clone();
            delta["content_index"] = json!(0);
            delta["delta"] = json!(piece);
            self.push(delta);
        }
        let mut done = at(&format!("{kind}.done"));
        done["item_id"] = id.clone();
        done["content_index"] = json!(0);
        done[key] = json!(whole);
        self.push(done);
        let mut done = at("response.output_item.done");
        done["item"] = item.clone();
        self.push(done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{call_id, turn};

    #[test]
    fn tools_come_beside_or_within_the_conversation() {
        let body = json!({"tools": [{"type": "web_search"}, {"type": "function", "name": "a",
            "parameters": {"required": ["x"]}}], "input": [
            {"type": "additional_tools", "tools": [{"type": "namespace", "name": "n",
                "tools": [{"type": "custom", "name": "exec"}]}]},
            {"type": "function_call_output", "call_id": "call_2_0", "output": "out"},
            {"type": "custom_tool_call_output", "call_id": "call_1_0",
                "output": [{"type": "input_text", "text": "list"}]}]});
        let asked = Responses.read("", &body);
        let names: Vec<&str> = asked.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(names, ["a", "exec"]);
        assert_eq!(asked.tools[1].namespace.as_deref(), Some("n"));
        assert!(asked.tools[1].freeform && !asked.tools[0].freeform);
        let texts: Vec<&str> = asked.results.iter().map(|result| result.text.as_str()).collect();
        assert_eq!(texts, ["out", "list"]);
        assert_eq!(turn(&asked), Some(3));
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says() {
        let call = |number, input| Call {
            id: call_id(1, number),
            name: "t".to_owned(),
            namespace: None,
            input,
        };
        let long = "Ünïcode that is longer than one piece of a stream, so that it is cut.";
        let reply = Reply {
            model: "m".to_owned(),
            turn: Some(1),
            text: long.to_owned(),
            calls: vec![
                call(0, Input::Json(object(Some(&json!({"cmd": long}))))),
                call(1, Input::Text(long.to_owned())),
            ],
            input_tokens: 5,
        };
        let parse = |e: &String| serde_json::from_str(e.split_once("data: ").unwrap().1).unwrap();
        let events: Vec<Value> = Responses.events(&reply).iter().map(parse).collect();
        let whole = Responses.whole(&reply);
        assert_eq!(events.last().unwrap()["response"], whole);
        let done = events.iter().filter(|event| event["type"] == "response.output_item.done");
        assert_eq!(
            done.map(|event| event["item"].clone()).collect::<Vec<_>>(),
            list(&whole, "output")
        );
        let deltas = events.iter().filter(|event| event["type"] == "response.output_text.delta");
        assert_eq!(deltas.map(|event| event["delta"].as_str().unwrap()).collect::<String>(), long);
        assert_eq!(whole["output"][1]["type"], "function_call");
        assert_eq!(whole["output"][2]["input"], long);
        for (at, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], at);
        }
    }
}
