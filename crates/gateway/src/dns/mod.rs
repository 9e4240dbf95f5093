//! DNS: the wire format, the answers given inside, and the server on the handed sockets.
//!
//! No question from inside is ever forwarded.

pub mod answer;
pub mod reply;
pub mod server;
pub mod wire;
