//! What the tests of the documents share: fenced blocks, sessions run for real, the source tree.
//!
//! Nothing here needs a network or changes anything outside a temporary directory.
#![forbid(unsafe_code)]

pub mod blocks;
pub mod session;
pub mod tree;
