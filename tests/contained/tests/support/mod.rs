//! Servers and worlds of the network tests.
//!
//! Everything listens on this machine alone; nothing here may dial anything but the loopback.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a broken fixture stops the test and says why"
)]

pub mod answers;
pub mod dns;
pub mod http;
pub mod proxy;
pub mod registry;
pub mod tcp;
pub mod tls;
pub mod tree;
pub mod world;
