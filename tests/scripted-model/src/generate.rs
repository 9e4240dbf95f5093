//! The generateContent protocol, whole or as a stream of parts.

use serde_json::{Value, json};

use crate::dialect::Input;
use crate::protocol::{Asked, Protocol, Tool, list, object, text};
use crate::reply::{Reply, pieces};
use crate::transcript::ToolResult;

/// `POST …/models/NAME:generateContent` and `:streamGenerateContent`.
#[derive(Debug)]
pub struct Generate;

const WHOLE: &str = ":generateContent";
const STREAM: &str = ":streamGenerateContent";

impl Protocol for Generate {
    fn serves(&self, path: &str) -> bool {
        path.ends_with(WHOLE) || path.ends_with(STREAM)
    }

    fn read(&self, path: &str, body: &Value) -> Asked {
        let name = path.rsplit('/').next().unwrap_or_default();
        let declared =
            list(body, "tools").iter().flat_map(|tool| list(tool, "functionDeclarations"));
        let parts = list(body, "contents").iter().flat_map(|content| list(content, "parts"));
        let config = body.get("generationConfig").unwrap_or(&Value::Null);
        let schema = config.get("responseJsonSchema").or_else(|| config.get("responseSchema"));
        Asked {
            model: name.split(':').next().unwrap_or_default().to_owned(),
            streamed: path.ends_with(STREAM),
            tools: declared.filter_map(tool).collect(),
            results: parts.filter_map(result).collect(),
            schema: schema.map(|schema| object(schema.get("properties"))),
            prose: false,
            bytes: body.to_string().len(),
        }
    }

    fn whole(&self, reply: &Reply) -> Value {
        let mut parts = Vec::new();
        if !reply.text.is_empty() {
            parts.push(json!({"text": reply.text}));
        }
        parts.extend(calls(reply));
        content(reply, parts, true)
    }

    fn events(&self, reply: &Reply) -> Vec<String> {
        let mut parts: Vec<Value> =
            pieces(&reply.text).into_iter().map(|piece| json!({"text": piece})).collect();
        parts.extend(calls(reply));
        let last = parts.len().saturating_sub(1);
        let event = |(at, part)| format!("data: {}\n\n", content(reply, vec![part], at == last));
        parts.into_iter().enumerate().map(event).collect()
    }
}

fn tool(function: &Value) -> Option<Tool> {
    let schema = function.get("parametersJsonSchema").or_else(|| function.get("parameters"));
    let name = function.get("name")?.as_str()?.to_owned();
    Some(Tool { name, schema: object(schema), ..Tool::default() })
}

fn result(part: &Value) -> Option<ToolResult> {
    let answer = part.get("functionResponse")?;
    let response = answer.get("response").unwrap_or(&Value::Null);
    let error = response.get("error");
    let said = error.or_else(|| response.get("output")).unwrap_or(response);
    Some(ToolResult {
        id: text(answer, "id").to_owned(),
        text: said.as_str().map_or_else(|| said.to_string(), str::to_owned),
        is_error: error.is_some(),
    })
}

fn calls(reply: &Reply) -> Vec<Value> {
    let one = |call: &crate::reply::Call| {
        let args = match &call.input {
            Input::Json(fields) => json!(fields),
            Input::Text(text) => json!({"input": text}),
        };
        json!({"functionCall": {"id": call.id, "name": call.name, "args": args}})
    };
    reply.calls.iter().map(one).collect()
}

fn content(reply: &Reply, parts: Vec<Value>, last: bool) -> Value {
    let (asked, said) = (reply.input_tokens, reply.output_tokens());
    let mut candidate = json!({"index": 0, "content": {"role": "model", "parts": parts}});
    if last {
        candidate["finishReason"] = json!("STOP");
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": asked,
            "candidatesTokenCount": said,
            "totalTokenCount": asked + said,
        },
        "modelVersion": reply.model,
        "responseId": format!("gen_{}", reply.id()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::{Call, call_id, turn};

    #[test]
    fn model_and_stream_stand_in_the_path() {
        let body = json!({"tools": [{"functionDeclarations": [{"name": "a",
                "parametersJsonSchema": {"required": ["x"]}}]}],
            "contents": [{"role": "user", "parts": [{"functionResponse": {"id": "call_1_0",
                "name": "a", "response": {"error": "no"}}}]}]});
        let asked = Generate.read("/v1beta/models/m-1:streamGenerateContent", &body);
        assert_eq!((asked.model.as_str(), asked.streamed), ("m-1", true));
        assert_eq!(asked.tools[0].schema["required"][0], "x");
        assert_eq!((asked.results[0].text.as_str(), asked.results[0].is_error), ("no", true));
        assert_eq!(turn(&asked), Some(2));
        assert!(!Generate.read("/v1beta/models/m-1:generateContent", &json!({})).streamed);
    }

    #[test]
    fn a_stream_says_what_the_whole_answer_says() {
        let call = Call {
            id: call_id(0, 0),
            name: "a".to_owned(),
            namespace: None,
            input: Input::Json(object(Some(&json!({"x": 1})))),
        };
        let long = "Ünïcode text that is longer than one piece, so that it is cut.";
        let reply = Reply {
            model: "m".to_owned(),
            turn: Some(0),
            text: long.to_owned(),
            calls: vec![call],
            input_tokens: 5,
        };
        let (mut text, mut calls, mut ends) = (String::new(), Vec::new(), 0);
        for event in Generate.events(&reply) {
            let data: Value = serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap();
            let candidate = &data["candidates"][0];
            ends += usize::from(candidate.get("finishReason").is_some());
            for part in list(&candidate["content"], "parts") {
                text.push_str(part["text"].as_str().unwrap_or_default());
                calls.extend(part.get("functionCall").cloned());
            }
        }
        let whole = Generate.whole(&reply);
        assert_eq!((text.as_str(), ends), (long, 1));
        assert_eq!(whole["candidates"][0]["content"]["parts"][1]["functionCall"], calls[0]);
    }
}
