//! `ringfence exec` and `ringfence shell`.

use ringfence_supervisor::{client, view};

use crate::args::{ExecArgs, RunningArgs};
use crate::text::Failure;

/// Exit code for words that are not understood, as clap has it.
const USAGE: u8 = 2;

/// Runs a program in a running sandbox; its exit code is the command's.
pub fn exec(args: ExecArgs) -> Result<u8, Failure> {
    let (run, argv) = words(args)?;
    serve(run.as_deref(), argv)
}

/// Opens a shell there.
pub fn shell(args: &RunningArgs) -> Result<u8, Failure> {
    serve(args.run.as_deref(), Vec::new())
}

/// Which run, and what: `[RUN] -- CMD …` or `RUN CMD …`.
fn words(args: ExecArgs) -> Result<(Option<String>, Vec<String>), Failure> {
    let mut before = args.run.into_iter();
    let run = before.next();
    let rest: Vec<String> = before.collect();
    let argv = match (rest.is_empty(), args.argv.is_empty()) {
        (_, true) => rest,
        (true, false) => args.argv,
        (false, false) => {
            let why = "one RUN stands before `--`: ringfence exec [RUN] -- CMD";
            return Err(Failure::new(USAGE, why));
        }
    };
    if argv.is_empty() {
        let why =
            "no program is named: ringfence exec [RUN] -- CMD (`ringfence shell` for a shell)";
        return Err(Failure::new(USAGE, why));
    }
    Ok((run, argv))
}

fn serve(run: Option<&str>, argv: Vec<String>) -> Result<u8, Failure> {
    let (_, run) = view::find_running(run).map_err(|error| Failure::new(125, error))?;
    let ended = client::exec(&run, argv).map_err(|error| {
        let code = u8::try_from(error.code()).unwrap_or(125);
        Failure::new(code, error)
    })?;
    if let Some(why) = ended.why {
        eprintln!("ringfence: {why}");
    }
    Ok(u8::try_from(ended.code).unwrap_or(255))
}
