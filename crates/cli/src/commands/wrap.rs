//! `ringfence wrap` and `ringfence unwrap`.

use clap::Parser;
use ringfence_supervisor::wrap::{self, Wrapper};

use crate::args::{Cli, Command, UnwrapArgs, WrapArgs};
use crate::text::{Failure, json, line, table};

/// Makes a program's plain name the contained one, or lists such names.
pub fn wrap(args: &WrapArgs) -> Result<u8, Failure> {
    let Some(program) = args.program.as_deref().filter(|_| !args.list) else {
        return list(args.json);
    };
    let mut options = Vec::new();
    if let Some(profile) = &args.profile {
        options.extend(["--profile".to_owned(), profile.clone()]);
    }
    options.extend(args.options.iter().cloned());
    let profile = check(program, &options)?;
    let wrapper = wrap::wrap(program, &options, profile.as_deref())?;
    line(&format!("wrote {}", wrapper.file.display()))?;
    if wrapper.in_force {
        line(&format!(
            "`{program}` runs contained from now on (a shell that is open may need: hash -r)"
        ))?;
    } else {
        line(&format!(
            "not in force: PATH does not find it first. Add this to your shell's start-up file:\n  {}",
            export(&wrapper)
        ))?;
    }
    Ok(0)
}

fn export(wrapper: &Wrapper) -> String {
    let home = std::env::var_os("HOME").map(std::path::PathBuf::from);
    wrapper.line(home.and_then(|home| home.canonicalize().ok()).as_deref())
}

/// The options must be ones of `run`, and nothing else. Gives the profile that they name.
fn check(program: &str, options: &[String]) -> Result<Option<String>, Failure> {
    let words = ["ringfence", "run"].map(str::to_owned).into_iter().chain(options.iter().cloned());
    let words = words.chain(["--".to_owned(), program.to_owned()]);
    let parsed = Cli::try_parse_from(words).map_err(|error| Failure::new(2, error))?;
    match parsed.command {
        Command::Run(run) if run.argv == [program] => Ok(run.policy.profile),
        _ => Err(Failure::new(2, "after `--` stand options of `ringfence run`, and no program")),
    }
}

fn list(as_json: bool) -> Result<u8, Failure> {
    let wrappers = wrap::list()?;
    if as_json {
        json(&wrappers)?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = wrappers
        .iter()
        .map(|own| {
            vec![
                own.program.clone(),
                if own.in_force { "yes" } else { "no" }.to_owned(),
                own.original.as_ref().map_or_else(|| "-".to_owned(), |at| at.display().to_string()),
                own.options.join(" "),
            ]
        })
        .collect();
    table(&["PROGRAM", "IN FORCE", "RUNS", "OPTIONS"], &rows)?;
    if let Some(out) = wrappers.iter().find(|own| !own.in_force) {
        line(&format!("\nput them first: {}", export(out)))?;
    }
    Ok(0)
}

/// Takes a wrapper away.
pub fn unwrap(args: &UnwrapArgs) -> Result<u8, Failure> {
    let file = wrap::unwrap(&args.program)?;
    line(&format!("removed {}", file.display()))?;
    Ok(0)
}
