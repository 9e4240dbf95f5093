//! One script for every agent: what the script wants done, said in a tool that the agent offers.
//!
//! A script knows four verbs: `run {command}`, `read {path}`, `write {path, content}` and
//! `edit {path, old, new}`. Like a model, this chooses among the tools of the request, fills what
//! their schemas require, and takes the shell for what there is no tool for. A call of any other
//! name goes out as it stands.

use serde_json::{Map, Value, json};

use crate::protocol::Tool;
use crate::reply::filler;
use crate::script::ToolCall;

/// The input of a tool call.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A JSON object.
    Json(Map<String, Value>),
    /// Plain text.
    Text(String),
}

impl Input {
    /// As it goes over the wire.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Json(fields) => Value::Object(fields.clone()).to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Names of the shell among the agents' tools.
const SHELL: &[&str] =
    &["Bash", "bash", "exec_command", "shell_command", "run_shell_command", "run"];
/// The tool that takes a program instead of a command and calls the shell from it.
const PROGRAM: &str = "exec";

/// Tools that do what a verb says.
fn tools_of(verb: &str) -> &'static [&'static str] {
    match verb {
        "run" => SHELL,
        "read" => &["Read", "read", "view", "read_file"],
        "write" => &["Write", "write", "create", "write_file"],
        "edit" => &["Edit", "edit", "replace"],
        _ => &[],
    }
}

/// Names that agents have for a field of a verb.
fn fields_of(field: &str) -> &'static [&'static str] {
    match field {
        "command" => &["command", "cmd"],
        "path" => &["file_path", "filePath", "path"],
        "content" => &["content", "file_text"],
        "old" => &["old_string", "oldString", "old_str"],
        "new" => &["new_string", "newString", "new_str"],
        _ => &[],
    }
}

/// Name, namespace and input of a call, in the words of the agent that offers `tools`.
#[must_use]
pub fn call(wanted: &ToolCall, tools: &[Tool]) -> (String, Option<String>, Input) {
    let find = |names: &[&str]| tools.iter().find(|tool| names.contains(&tool.name.as_str()));
    if let Some(tool) = find(tools_of(&wanted.name)) {
        let input = Input::Json(filled(&wanted.input, tool));
        return (tool.name.clone(), tool.namespace.clone(), input);
    }
    let Some(command) = shell_words(wanted) else {
        return (wanted.name.clone(), None, Input::Json(wanted.input.clone()));
    };
    let by_shell = Map::from_iter([("command".to_owned(), json!(command))]);
    if let Some(tool) = find(SHELL) {
        return (tool.name.clone(), tool.namespace.clone(), Input::Json(filled(&by_shell, tool)));
    }
    if let Some(tool) = tools.iter().find(|tool| tool.freeform && tool.name == PROGRAM) {
        let program = format!(
            "const done = await tools.exec_command({});\ntext(done);",
            json!({"cmd": command, "yield_time_ms": 30_000})
        );
        return (tool.name.clone(), tool.namespace.clone(), Input::Text(program));
    }
    (wanted.name.clone(), None, Input::Json(wanted.input.clone()))
}

/// The fields under the names that the tool's schema has, and what else it requires.
fn filled(input: &Map<String, Value>, tool: &Tool) -> Map<String, Value> {
    let properties = tool.schema.get("properties").and_then(Value::as_object);
    let known = |name: &str| properties.is_some_and(|own| own.contains_key(name));
    let mut fields = Map::new();
    for (field, value) in input {
        let name = fields_of(field).iter().find(|name| known(name)).copied();
        fields.insert(name.unwrap_or(field).to_owned(), value.clone());
    }
    let required = tool.schema.get("required").and_then(Value::as_array);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            let schema = properties.and_then(|own| own.get(name)).cloned().unwrap_or_default();
            fields.insert(name.to_owned(), filler(&schema));
        }
    }
    fields
}

/// What the shell would do for a verb; `None` for anything that is no verb.
fn shell_words(wanted: &ToolCall) -> Option<String> {
    let field = |name: &str| wanted.input.get(name).and_then(Value::as_str).unwrap_or_default();
    let path = quoted(field("path"));
    match wanted.name.as_str() {
        "run" => Some(field("command").to_owned()),
        "read" => Some(format!("cat -- {path}")),
        "write" => Some(format!("printf %s {} > {path}", quoted(field("content")))),
        "edit" => {
            let (old, new) = (quoted(field("old")), quoted(field("new")));
            let program = "import sys; p, old, new = sys.argv[1:]; s = open(p).read(); \
                           assert old in s; open(p, \"w\").write(s.replace(old, new, 1))";
            Some(format!("python3 -c '{program}' {path} {old} {new}"))
        }
        _ => None,
    }
}

/// An edit or a new file in the text of an answer, for an agent without tools; it is asked to run nothing.
#[must_use]
pub fn prose(wanted: &ToolCall) -> Option<String> {
    let field = |name: &str| wanted.input.get(name).and_then(Value::as_str).unwrap_or_default();
    let (old, new) = match wanted.name.as_str() {
        "edit" => (format!("{}\n", field("old")), format!("{}\n", field("new"))),
        "write" => (String::new(), field("content").to_owned()),
        _ => return None,
    };
    let (path, fence) = (field("path"), "```");
    let block = format!("<<<<<<< SEARCH\n{old}=======\n{new}>>>>>>> REPLACE");
    Some(format!("{path}\n{fence}\n{block}\n{fence}\n"))
}

/// A word that a shell takes as it stands.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, input: Value) -> ToolCall {
        ToolCall { name: name.to_owned(), input: input.as_object().unwrap().clone() }
    }

    fn tool(name: &str, schema: Value) -> Tool {
        let schema = schema.as_object().unwrap().clone();
        Tool { name: name.to_owned(), schema, ..Tool::default() }
    }

    #[test]
    fn the_agents_own_tool_and_names_are_used() {
        let schema = json!({"properties": {"filePath": {}, "oldString": {}, "newString": {},
            "why": {"type": "string"}}, "required": ["filePath", "why"]});
        let edit = wanted("edit", json!({"path": "/a", "old": "x", "new": "y"}));
        let (name, _, input) = call(&edit, &[tool("bash", json!({})), tool("edit", schema)]);
        assert_eq!(name, "edit");
        let Input::Json(fields) = input else { panic!("no JSON") };
        assert_eq!(fields["filePath"], "/a");
        assert_eq!((&fields["oldString"], &fields["newString"]), (&json!("x"), &json!("y")));
        assert_eq!(fields["why"], crate::reply::ASIDE);
    }

    #[test]
    fn the_shell_does_what_there_is_no_tool_for() {
        let shell = tool("exec_command", json!({"properties": {"cmd": {"type": "string"}}}));
        let read = wanted("read", json!({"path": "/it's"}));
        let (name, _, input) = call(&read, std::slice::from_ref(&shell));
        assert_eq!(name, "exec_command");
        assert_eq!(input.to_text(), r#"{"cmd":"cat -- '/it'\\''s'"}"#);
        let freeform = Tool { freeform: true, ..tool("exec", json!({})) };
        let (name, _, input) = call(&read, &[freeform]);
        assert_eq!(name, "exec");
        assert!(input.to_text().contains("tools.exec_command({\"cmd\":\"cat -- "), "{input:?}");
    }

    #[test]
    fn the_shells_edit_edits() {
        if std::process::Command::new("python3").arg("--version").output().is_err() {
            assert!(std::env::var_os("RINGFENCE_NO_SKIPS").is_none(), "python3 is not installed");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("it's.py");
        std::fs::write(&path, "a - b\na - b\n").unwrap();
        let edit = wanted("edit", json!({"path": path, "old": "a - b", "new": "a'+\"b"}));
        let words = shell_words(&edit).unwrap();
        assert!(std::process::Command::new("sh").args(["-c", &words]).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a'+\"b\na - b\n");
        let write = wanted("write", json!({"path": path, "content": "#!/bin/sh\n'%s'\n"}));
        let words = shell_words(&write).unwrap();
        assert!(std::process::Command::new("sh").args(["-c", &words]).status().unwrap().success());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "#!/bin/sh\n'%s'\n");
    }

    #[test]
    fn edits_of_an_agent_without_tools_stand_in_the_text() {
        let edit = wanted("edit", json!({"path": "a.py", "old": "x", "new": "y"}));
        let block = "a.py\n```\n<<<<<<< SEARCH\nx\n=======\ny\n>>>>>>> REPLACE\n```\n";
        assert_eq!(prose(&edit).unwrap(), block);
        assert_eq!(prose(&wanted("run", json!({"command": "id"}))), None);
    }

    #[test]
    fn other_names_go_out_as_they_stand() {
        let own = wanted("Bash", json!({"command": "id"}));
        let (name, _, input) = call(&own, &[tool("Read", json!({}))]);
        assert_eq!((name.as_str(), input.to_text().as_str()), ("Bash", r#"{"command":"id"}"#));
    }
}
