//! Clear-text HTTP/1: one strict reading of request heads and body framing.
//!
//! What two programs could read in two ways is refused, so that nothing rides behind what was
//! judged (RFC 9112 sections 2.2, 5, 6, 11.2).

pub mod framing;
pub mod head;
pub mod status;
