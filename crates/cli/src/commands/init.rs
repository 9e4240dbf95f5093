//! `ringfence init`.

use ringfence_supervisor::definition;

use crate::args::InitArgs;
use crate::text::{Failure, line};

/// Writes (or prints) a definition for this project.
pub fn run(args: &InitArgs) -> Result<u8, Failure> {
    let (path, text) = definition::propose()?;
    if args.print {
        line(text.trim_end())?;
        return Ok(0);
    }
    definition::write_proposal(&path, &text)?;
    line(&format!("wrote {}", path.display()))?;
    line("check it:  ringfence policy check")?;
    line("accept it: ringfence trust")?;
    Ok(0)
}
