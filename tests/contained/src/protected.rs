//! The product's own list of protected paths, so that a new row is attacked from its first day.
//!
//! It is the same source file, not a copy: the policy crate itself takes minutes to build.

#[allow(dead_code, reason = "the functions serve the policy crate")]
#[path = "../../../crates/policy/src/protected.rs"]
mod rows;

pub use rows::{PROTECTED, Protected};
