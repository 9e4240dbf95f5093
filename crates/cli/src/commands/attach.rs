//! `ringfence attach` and `ringfence wait`.

use ringfence_supervisor::client::{self, Attached, KeyWatch, Over};
use ringfence_supervisor::view;

use super::run::tell;
use crate::args::{AttachArgs, RunNameArgs};
use crate::text::Failure;

/// Shows a detached run until it ends (then its exit code is the command's) or is let go.
pub fn attach(args: &AttachArgs) -> Result<u8, Failure> {
    let keys: KeyWatch = args.detach_keys.parse()?;
    let (_, run) = view::find(args.run.as_deref()).map_err(|error| Failure::new(125, error))?;
    let attached = client::attach(&run, keys).map_err(|error| {
        let code = u8::try_from(error.code()).unwrap_or(125);
        Failure::new(code, error)
    })?;
    match attached {
        Attached::LetGo => {
            eprintln!("let go of {id}; it goes on: ringfence attach {id}", id = run.id());
            Ok(0)
        }
        Attached::Ended(over) => Ok(told(&over)),
    }
}

/// Waits for a run's end.
pub fn wait(args: &RunNameArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref()).map_err(|error| Failure::new(125, error))?;
    let over = client::over(&run).map_err(|error| Failure::new(125, error))?;
    Ok(told(&over))
}

fn told(over: &Over) -> u8 {
    if let Some(finished) = &over.finished {
        tell(finished);
    }
    u8::try_from(over.code).unwrap_or(255)
}
