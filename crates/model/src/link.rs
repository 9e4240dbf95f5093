//! Messages between the gateway process and the supervisor: one JSON object per packet.
//!
//! The gateway parses hostile bytes, so the supervisor treats what comes from it as a request to
//! be judged, never as an order.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::decision::Decision;
use crate::enforcement::Control;
use crate::host::HostName;
use crate::request::Request;

/// From the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum FromGateway {
    /// The gateway is confined and listens; what confines it.
    Ready {
        /// Landlock, seccomp, capture.
        controls: Vec<Control>,
    },
    /// May this happen? Answered by [`ToGateway::Decided`] with the same id.
    Decide {
        /// Chosen by the gateway, rising.
        id: u64,
        /// The connection it belongs to: all questions and the outcome of one connection share it.
        flow: u64,
        /// The question.
        request: Request,
    },
    /// The gateway itself refused, before any rule was asked (malformed, mismatched, limit).
    Refused {
        /// The connection.
        flow: u64,
        /// What would have been asked.
        request: Request,
        /// Why it was refused.
        decision: Decision,
    },
    /// A connection that was allowed has ended.
    Closed {
        /// The connection.
        flow: u64,
        /// Bytes from the sandbox.
        sent: u64,
        /// Bytes to the sandbox.
        received: u64,
        /// How long it was open, in microseconds.
        duration_us: u64,
        /// What ended it, if not a plain close.
        error: Option<String>,
    },
    /// A name was asked for inside.
    Dns {
        /// The name, or the raw question escaped if it is no host name.
        name: String,
        /// The record type, such as `A` or `TXT`.
        record: String,
        /// The synthetic address given, if any.
        answer: Option<IpAddr>,
    },
    /// Something that an operator must know.
    Fault {
        /// What.
        what: String,
    },
}

/// To the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum ToGateway {
    /// The answer to [`FromGateway::Decide`].
    Decided {
        /// The question's id.
        id: u64,
        /// The answer.
        decision: Decision,
    },
    /// The policy has changed: every open connection must be asked about again, and closed unless
    /// it is allowed.
    Generation {
        /// The new generation.
        generation: u64,
    },
}

/// The name of a synthetic address, kept by the gateway for as long as the run lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Synthetic {
    /// The name it stands for.
    pub name: HostName,
    /// The address.
    pub address: IpAddr,
}
