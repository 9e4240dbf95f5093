//! The server as a client sees it: framing, streams, routing, the transcript, and its end.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

use ringfence_scripted_model::{Script, Server, transcript};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

const SCRIPT: &str = r#"{"turns":[
    {"text":"first","tools":[{"name":"Bash","input":{"command":"id"}}]},
    {"text":"last"}]}"#;

fn script() -> Script {
    Script::parse(SCRIPT, &BTreeMap::new()).unwrap()
}

/// A connection that keeps itself open and reads answers one by one.
struct Client {
    reader: BufReader<TcpStream>,
}

struct Answer {
    status: u16,
    chunks: Vec<String>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.chunks.concat()).unwrap()
    }
}

impl Client {
    fn new(server: &Server) -> Self {
        Self { reader: BufReader::new(TcpStream::connect(server.address()).unwrap()) }
    }

    fn raw(&mut self, text: &str, head: bool) -> Answer {
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
        let status = self.line();
        let status = status.split(' ').nth(1).unwrap().parse().unwrap();
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("content-length", n)) => length = n.parse().unwrap(),
                Some(("transfer-encoding", "chunked")) => chunked = true,
                Some(_) => {}
                None => break,
            }
        }
        let mut chunks = Vec::new();
        if chunked {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).unwrap();
                if size > 0 {
                    chunks.push(self.exactly(size));
                }
                assert_eq!(self.line(), "");
                if size == 0 {
                    break;
                }
            }
        } else if !head {
            chunks.push(self.exactly(length));
        }
        Answer { status, chunks }
    }

    fn send(&mut self, method: &str, target: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let text = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nX-Api-Key: key-1\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.raw(&text, method == "HEAD")
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn exactly(&mut self, size: usize) -> String {
        let mut bytes = vec![0; size];
        self.reader.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

fn request(results: &[&str], stream: bool) -> Value {
    let mut messages = vec![json!({"role": "user", "content": "go"})];
    for result in results {
        messages.push(json!({"role": "assistant", "content": []}));
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_0_0", "is_error": true,
             "content": [{"type": "text", "text": result}]}]}));
    }
    json!({"model": "m", "stream": stream, "tools": [{"name": "Bash"}], "messages": messages})
}

#[test]
fn a_whole_conversation_on_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let server = Server::start(script(), Some(&path), 0).unwrap();
    let mut client = Client::new(&server);

    let streamed = client.send("POST", "/v1/messages?beta=true", &request(&[], true));
    assert_eq!(streamed.status, 200);
    assert!(streamed.chunks.len() > 8);
    assert!(streamed.chunks[0].starts_with("event: message_start\ndata: {"));
    assert!(streamed.chunks.iter().all(|c| c.ends_with("\n\n")));
    assert!(streamed.chunks.concat().contains(r#""id":"call_0_0""#));

    let whole = client.send("POST", "/v1/messages", &request(&["uid=0"], false)).json();
    assert_eq!(whole["content"], json!([{"type": "text", "text": "last"}]));
    assert_eq!(whole["stop_reason"], "end_turn");

    let records = transcript::read(&path).unwrap();
    assert_eq!(records.iter().map(|r| r.turn).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert_eq!(records[0].query, "beta=true");
    assert_eq!(records[0].header("x-api-key"), Some("key-1"));
    let results = transcript::tool_results(&records);
    assert_eq!(results.len(), 1);
    assert_eq!((results[0].id.as_str(), results[0].text.as_str()), ("call_0_0", "uid=0"));
    assert!(results[0].is_error);
}

#[test]
fn other_requests_are_answered_sensibly_and_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let server = Server::start(script(), Some(&path), 0).unwrap();
    let mut client = Client::new(&server);
    assert_eq!(client.send("HEAD", "/", &Value::Null).status, 200);
    assert_eq!(client.send("GET", "/", &Value::Null).status, 200);
    assert_eq!(client.send("GET", "/v1/messages", &Value::Null).status, 405);
    assert_eq!(client.send("POST", "/v1/messages", &json!([1])).status, 400);
    let missing = client.send("GET", "/api/hello", &Value::Null);
    assert_eq!(
        (missing.status, missing.json()["error"]["type"].clone()),
        (404, json!("not_found_error"))
    );
    let counted = client.send("POST", "/v1/messages/count_tokens", &request(&[], false)).json();
    assert!(counted["input_tokens"].as_u64().unwrap() > 1);
    let aside = client.send("POST", "/v1/messages", &json!({"messages": []})).json();
    assert_eq!(aside["stop_reason"], "end_turn");

    let records = transcript::read(&path).unwrap();
    assert_eq!(records.len(), 7);
    assert!(records.iter().all(|r| r.turn.is_none()));
    assert!(transcript::tool_results(&records).is_empty());
}

#[test]
fn a_bad_request_ends_its_connection_only() {
    let server = Server::start(script(), None, 0).unwrap();
    let mut bad = Client::new(&server);
    let text = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(bad.raw(text, false).status, 400);
    assert_eq!(bad.reader.read(&mut [0]).unwrap(), 0);
    assert_eq!(Client::new(&server).send("GET", "/", &Value::Null).status, 200);
}

#[test]
fn a_dropped_server_closes_its_port_and_connections() {
    let server = Server::start(script(), None, 0).unwrap();
    let address = server.address();
    let mut client = Client::new(&server);
    assert_eq!(client.send("GET", "/", &Value::Null).status, 200);
    drop(server);
    assert_eq!(client.reader.read(&mut [0]).unwrap_or(0), 0);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn the_program_prints_its_port_and_ends_with_its_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.json");
    std::fs::write(&file, r#"{"turns":[{"text":"hello {{who}}"}]}"#).unwrap();
    let program = env!("CARGO_BIN_EXE_ringfence-scripted-model");
    let mut child = Command::new(program)
        .args(["--until-stdin-ends", "--set", "who=you", "--script"])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port.trim().parse().unwrap())).unwrap();
    let mut client = Client { reader: BufReader::new(stream) };
    let answer = client.send("POST", "/v1/messages", &request(&[], false)).json();
    assert_eq!(answer["content"][0]["text"], "hello you");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());

    let output = Command::new(program).arg("--script").arg(&file).output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("--set who=VALUE"), "{message}");
}
