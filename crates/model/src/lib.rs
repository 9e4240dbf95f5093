//! The words of ringfence as plain data: hosts, requests, decisions, events, the boundary plan.
//!
//! Nothing here does I/O, reads a clock or decides anything. Every crate may depend on this one;
//! this one depends on none of them.
#![forbid(unsafe_code)]

pub mod address;
pub mod boundary;
pub mod decision;
pub mod enforcement;
pub mod event;
pub mod host;
pub mod id;
pub mod limits;
pub mod link;
pub mod provenance;
pub mod request;
pub mod residual;
pub mod text;
