//! The limits of the scripted model server, in one place.
//!
//! They keep a confused or hostile agent from exhausting the test machine; they must never be
//! raised at run time.

use std::time::Duration;

/// Longest request line or header line, in bytes.
pub const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Most header lines in one request.
pub const MAX_HEADERS: usize = 128;

/// Largest request body, in bytes (a long conversation with tool results is well below).
pub const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// Most connections served at the same time; further ones are closed at once.
pub const MAX_CONNECTIONS: usize = 64;

/// Largest script file, in bytes.
pub const MAX_SCRIPT_BYTES: u64 = 1024 * 1024;

/// Longest piece of text or of tool input in one stream event, in bytes. Small on purpose, so
/// that clients and gateways see a message arrive in many pieces.
pub const DELTA_BYTES: usize = 48;

/// How long a connection may stay silent before it is closed.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
