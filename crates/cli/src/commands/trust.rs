//! `ringfence trust`.

use std::io::IsTerminal;

use ringfence_supervisor::definition;

use crate::args::TrustArgs;
use crate::person::yes;
use crate::text::{Failure, REFUSED, line};

/// Shows what a definition opens, and accepts it.
pub fn run(args: &TrustArgs) -> Result<u8, Failure> {
    let review = definition::review(args.file.as_deref())?;
    let name = review.definition.display();
    if review.accepted {
        line(&format!("{name} is accepted as it is"))?;
        return Ok(0);
    }
    if review.widens.is_empty() {
        line(&format!("{name} opens nothing beyond the defaults; it needs no acceptance"))?;
        return Ok(0);
    }
    line(&format!("{name} opens more than the defaults:"))?;
    for widening in &review.widens {
        line(&format!("  {} ({})", widening.words, widening.source))?;
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            let message = "nobody is here to be asked; accept it with: ringfence trust --yes";
            return Err(Failure::new(REFUSED, message));
        }
        if !yes("Accept it as it is now?") {
            return Err(Failure::new(1, "not accepted"));
        }
    }
    definition::accept(&review)?;
    line("accepted; any change to the file asks again")?;
    Ok(0)
}
