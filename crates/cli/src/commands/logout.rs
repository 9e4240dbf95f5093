//! `ringfence logout`.

use ringfence_supervisor::home::logins;
use ringfence_supervisor::paths::Paths;

use crate::args::LogoutArgs;
use crate::text::{Failure, line};

/// Removes the login that is kept for an agent.
pub fn run(args: &LogoutArgs) -> Result<u8, Failure> {
    logins::forget(&Paths::find()?, &args.agent)?;
    line(&format!(
        "the kept login of {} is removed; runs that are going on still have it",
        args.agent
    ))?;
    Ok(0)
}
