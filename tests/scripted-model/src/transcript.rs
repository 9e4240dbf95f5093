//! The transcript: one JSON line for each request, and the questions tests ask of it.
//!
//! Lines are appended whole, in the order in which requests were read; a line is written before
//! its request is answered. Nothing in it may be masked or left out: a test looks for leaks here.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::http::Request;
use crate::protocol;
use crate::reply;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// HTTP method.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query without the `?`.
    pub query: String,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// Which turn of the script answers it; `None` for everything but the conversation itself.
    pub turn: Option<usize>,
    /// The body as JSON; a body that is not JSON is a string; none is null.
    pub body: Value,
}

/// What came back from one tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolResult {
    /// Id of the call, see [`crate::reply::call_id`].
    pub id: String,
    /// The text of the result, parts joined by line breaks.
    pub text: String,
    /// Whether the agent called it an error.
    pub is_error: bool,
}

impl Record {
    /// The record of a request.
    #[must_use]
    pub fn new(request: &Request, body: Value) -> Self {
        let conversation = protocol::of_request(request, &body);
        let turn = conversation.and_then(|own| reply::turn(&own.read(&request.path, &body)));
        Self {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            turn,
            body,
        }
    }

    /// The first value of a header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A transcript being written.
#[derive(Debug)]
pub(crate) struct Transcript {
    file: Option<Mutex<File>>,
}

impl Transcript {
    /// Opens the file for appending; `None` records nothing.
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        Ok(Self { file: path.map(open).transpose()?.map(Mutex::new) })
    }

    /// Appends one record in one write.
    pub(crate) fn append(&self, record: &Record) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

/// Reads a transcript.
///
/// # Errors
/// If the file cannot be read or a line is not a record.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    BufReader::new(File::open(path)?)
        .lines()
        .map(|line| serde_json::from_str(&line?).map_err(io::Error::other))
        .collect()
}

/// The tool results of the conversation, each once, in the order of the calls. They are taken
/// from the last request that carries each, since a conversation repeats its history.
#[must_use]
pub fn tool_results(records: &[Record]) -> Vec<ToolResult> {
    let mut results: Vec<ToolResult> = Vec::new();
    for record in records.iter().filter(|r| r.turn.is_some()) {
        let asked = protocol::of(&record.path).map(|own| own.read(&record.path, &record.body));
        for result in asked.into_iter().flat_map(|asked| asked.results) {
            match results.iter_mut().find(|known| known.id == result.id) {
                Some(known) => *known = result,
                None => results.push(result),
            }
        }
    }
    results
}
