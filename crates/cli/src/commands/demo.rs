//! `ringfence demo`.

use crate::args::JsonArgs;
use crate::text::Failure;

/// Shows a rogue agent, free and contained.
pub fn run(_args: &JsonArgs) -> Result<u8, Failure> {
    Err(Failure::new(1, "being written"))
}
