//! Boundary in, running process tree out: the process tier, and the Landlock tier beside it.
//!
//! The jail knows nothing of policy: it gets a plain [`ringfence_model::boundary::Boundary`] and
//! builds exactly that, or fails. It never decides, never logs and never continues with less.
#![forbid(unsafe_code)]

pub mod adjust;
mod agent;
mod alone;
mod beside;
pub mod cgroup;
mod devices;
mod idmap;
mod init;
mod launch;
mod limits;
mod message;
mod network;
mod overlay;
mod root;
mod self_test;
mod step;

pub use init::NAME as INIT_NAME;
pub use launch::{Launch, LaunchError, Probes, Sandbox, Stdio, launch};
pub use limits::{CAPTURE_PORT, DNS_PORT};
pub use message::{FromInside, Order, Passed, Probe};
pub use step::StepError;
