//! `ringfence completions`.

use clap::CommandFactory;

use crate::args::Cli;
use crate::text::Failure;

/// Prints completions for a shell.
pub fn run(shell: clap_complete::Shell) -> Result<u8, Failure> {
    clap_complete::generate(shell, &mut Cli::command(), "ringfence", &mut std::io::stdout());
    Ok(0)
}
