//! The gateway: the only way out of a boundary. Captures every connection, answers DNS, asks the
//! authority, dials what was judged.
//!
//! It reads hostile bytes, so it confines itself first, and it never allows anything by itself:
//! without the supervisor's answer nothing leaves.
#![forbid(unsafe_code)]

mod capture;
pub mod config;
mod confine;
mod dial;
pub mod dns;
pub mod error;
mod farewell;
pub mod filter;
pub mod first;
mod flow;
mod gateway;
mod handoff;
pub mod http;
pub mod limits;
mod link;
pub mod names;
mod proxy;
mod publish;
mod relay;
mod resolve;
mod serve;
pub mod tls;
mod upward;

pub use config::{CaptureMode, Config, FromInit, Handoff, ProxySettings, Socket, ToInit};
pub use error::GatewayError;
pub use serve::serve;
