//! The user's terminal: what of a sandbox's output may reach it.
//!
//! Nothing here does I/O or writes bytes of its own into the output.

mod filter;
mod limits;
mod rules;

pub use filter::TerminalFilter;
