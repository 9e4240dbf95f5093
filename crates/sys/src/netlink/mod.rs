//! Netlink messages: routes and packet rules inside a sandbox's own network namespace.
//!
//! Three messages of rtnetlink(7) and one batch of nfnetlink; no program needs to be installed.

mod message;
mod nft;
mod route;

pub use nft::{Redirect, redirect_everything};
pub use route::{capture_routes, loopback_up};
