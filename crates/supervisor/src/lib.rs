//! The supervisor: owns a run from its start to its end. Authority, ledger, life cycle, control.
//!
//! It runs outside every boundary. It never parses what a sandbox sends over the network (the
//! gateway does) and never acts on what a sandbox says about itself.
#![forbid(unsafe_code)]

pub mod allow;
mod binary;
mod bundles;
pub mod changes;
pub mod client;
mod clock;
mod container;
mod control_server;
pub mod definition;
pub mod demo;
pub mod denials;
pub mod doctor;
mod exec_seen;
pub mod heal;
pub mod home;
pub mod host;
mod inodes;
mod limits;
pub mod load;
pub mod mend;
mod outside;
mod pair;
pub mod paths;
mod plan;
mod program;
mod recorder;
mod reload;
pub mod removal;
mod risks;
pub mod run;
pub mod rundir;
mod show;
mod stdio;
pub mod taken_back;
mod terminal;
pub mod trust;
pub mod view;
mod watch;
pub mod wrap;

pub use ringfence_ledger::render::line as render_record;
pub use ringfence_policy::{CommandLine, duration, schema as definition_schema, shell_word};
pub use show::{Row as PolicyRow, policy_table};
