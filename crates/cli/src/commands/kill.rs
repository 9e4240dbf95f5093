//! `ringfence kill`.

use ringfence_supervisor::{rundir, view};

use crate::args::KillArgs;
use crate::text::{Failure, line};

/// Ends a run, or all of them.
pub fn run(args: &KillArgs) -> Result<u8, Failure> {
    if !args.all {
        let (paths, run) = view::find(args.run.as_deref())?;
        view::kill(&paths, &run)?;
        line(&format!("ended {}", run.id()))?;
        return Ok(0);
    }
    let paths = ringfence_supervisor::paths::Paths::find()?;
    let mut failed = 0;
    for run in rundir::live(&paths).into_iter().filter(rundir::RunDir::is_running) {
        match view::kill(&paths, &run) {
            Ok(()) => line(&format!("ended {}", run.id()))?,
            Err(error) => {
                failed += 1;
                eprintln!("ringfence: {error}");
            }
        }
    }
    Ok(u8::from(failed > 0))
}
