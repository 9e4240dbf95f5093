//! Numbers of the harness, with units, in one place.

use std::time::Duration;

/// How long one command may take before it is killed and the test fails; an emulated processor is ten
/// times slower than this one.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a waiting helper looks again.
pub const POLL: Duration = Duration::from_millis(5);
/// How long what a run started may take to be gone after the run's end. The kernel needs a moment
/// to take a process-id namespace down; the boundary promises that nothing is left after it.
pub const GONE: Duration = Duration::from_secs(5);
/// How long a run that a failed test leaves running gets to end in order before it is killed.
pub const ORDERLY: Duration = Duration::from_secs(3);
/// Most bytes kept of one output stream.
pub const OUTPUT_BYTES: usize = 64 << 20;
/// How deep the search for left control groups goes below a mount of control groups.
pub const GROUP_DEPTH: usize = 6;
/// Kills in the crash tests where the environment does not say another number.
pub const KILLS: u32 = 20;
/// Variable that says how many kills the crash tests make.
pub const KILLS_VARIABLE: &str = "RINGFENCE_KILLS";
/// Start of a script that would harm a host if it ever ran without a boundary: inside, process ids
/// begin at 1, so a shell with a high one is outside and stops at once.
pub const ONLY_INSIDE: &str = "[ $$ -lt 100 ] || { echo outside; exit 99; }\n";
