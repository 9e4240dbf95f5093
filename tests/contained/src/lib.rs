//! Harness of the acceptance tests: a private host for each test, runs inside and outside the
//! boundary, the ledger, and a census of what a run left behind.
//!
//! It must never attack the real host: every file it offers is a decoy below one temporary
//! directory, and every limit is set by a flag of the run. It builds nothing and needs no network.
//!
//! A test that shows something denied must also show (with [`Fixture::unprotected`]) that the same
//! attack works outside; else it would pass where the attack itself is broken.
//!
//! The suite runs as root and as an ordinary user, and must pass as both. Variables that it obeys:
//! `RINGFENCE_BIN` (the program under test, else the one beside the test), `RINGFENCE_TEST_DIR` (where
//! fixtures are made, else the temporary directory), `RINGFENCE_KILLS` (how often the crash test
//! kills a part, 20 by default). A program without any boundary in the place of `ringfence` must
//! fail every test that is not a control group; nothing in the suite harms the host then.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "test support: a broken fixture stops the test and says why"
)]

mod binary;
mod canary;
mod census;
mod fixture;
mod job;
mod ledger;
pub mod limits;
pub mod needs;
pub mod operations;
pub mod protected;
pub mod tier;

pub use binary::{attack_directory, copy_program, ringfence, write_script};
pub use canary::{CANARIES, Canary, expose};
pub use census::{Census, descends_from_us, processes_of};
pub use fixture::Fixture;
pub use job::{Job, Live, Outcome};
pub use ledger::{Ledger, of_type};
pub use needs::{free_port, skip};

/// Whether the suite runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
