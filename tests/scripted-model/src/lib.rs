//! A model server that follows a script: real agents run against it, so that the tests of the
//! boundary need neither a model nor the internet.
//!
//! It speaks the Messages, Responses, chat completions and generateContent protocols (streamed or
//! not) on the loopback, gives turn N of a [`Script`] once the results of the turn before have come
//! back, says what it wants in the tools that the agent offers, and records every request in a
//! transcript, so that a test sees what the agent's tools answered. It is for tests only: it records credentials as they arrive
//! and must never be given a real one.
//!
//! ```
//! use ringfence_scripted_model::{Script, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let script = Script::parse(r#"{"turns":[{"text":"done"}]}"#, &Default::default())?;
//! let server = Server::start(script, None, 0)?;
//! assert_ne!(server.address().port(), 0);
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

pub mod completions;
pub mod dialect;
pub mod generate;
pub mod http;
pub mod limits;
pub mod messages;
pub mod protocol;
pub mod reply;
pub mod responses;
mod script;
mod server;
pub mod transcript;

pub use script::{Script, ScriptError, ToolCall, Turn};
pub use server::{Server, ServerError};
