//! What every wire protocol has in common: a request is asked something, a reply is said back.
//!
//! A protocol reads and writes its own form of JSON and decides nothing; what is answered stands in
//! [`crate::reply`], and which of the agent's tools is called in [`crate::dialect`].

use serde_json::{Map, Value};

use crate::completions::Completions;
use crate::generate::Generate;
use crate::http::Request;
use crate::messages::Messages;
use crate::reply::Reply;
use crate::responses::Responses;
use crate::transcript::ToolResult;

/// A tool that the agent offers and runs itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// The JSON schema of its input; empty for a tool that takes plain text.
    pub schema: Map<String, Value>,
    /// Whether it takes plain text instead of JSON.
    pub freeform: bool,
    /// The namespace that it is called in, if it stands in one.
    pub namespace: Option<String>,
}

/// What a request asks, whatever its protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Asked {
    /// The model's name.
    pub model: String,
    /// Whether the answer is streamed.
    pub streamed: bool,
    /// The tools that the agent itself runs.
    pub tools: Vec<Tool>,
    /// What came back from tool calls so far.
    pub results: Vec<ToolResult>,
    /// Properties of the JSON object that the answer must be, if it must.
    pub schema: Option<Map<String, Value>>,
    /// Whether the agent has no tools and takes edits from the model's text.
    pub prose: bool,
    /// Length of the request.
    pub bytes: usize,
}

/// One wire protocol.
pub trait Protocol: Sync {
    /// Whether a conversation comes to this path.
    fn serves(&self, path: &str) -> bool;
    /// Reads a request.
    fn read(&self, path: &str, body: &Value) -> Asked;
    /// The whole reply, for a request that does not want a stream.
    fn whole(&self, reply: &Reply) -> Value;
    /// The events of a streamed reply, each the complete text of one server-sent event.
    fn events(&self, reply: &Reply) -> Vec<String>;
}

const PROTOCOLS: [&dyn Protocol; 4] = [&Messages, &Responses, &Completions, &Generate];

/// The protocol of a path.
#[must_use]
pub fn of(path: &str) -> Option<&'static dyn Protocol> {
    PROTOCOLS.into_iter().find(|protocol| protocol.serves(path))
}

/// The protocol of a request whose body is an object.
pub(crate) fn of_request(request: &Request, body: &Value) -> Option<&'static dyn Protocol> {
    (request.method == "POST" && body.is_object()).then(|| of(&request.path)).flatten()
}

/// The items of a list, none if it is no list.
pub(crate) fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text, empty if it is none.
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// An object, empty if it is none.
pub(crate) fn object(value: Option<&Value>) -> Map<String, Value> {
    value.and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A content that is a text, or a list of parts with texts.
pub(crate) fn flat(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|p| p.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}
