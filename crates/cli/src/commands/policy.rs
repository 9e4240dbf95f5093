//! `ringfence policy`.

use ringfence_supervisor::definition;

use super::command_line;
use crate::args::{PolicyArgs, PolicyShowArgs};
use crate::text::{Failure, json, line, table};

/// Checks the policy that would be in force here.
pub fn check(args: PolicyArgs) -> Result<u8, Failure> {
    let compiled = definition::compiled(args.definition.as_deref(), &command_line(&args))?;
    for source in &compiled.sources {
        line(&format!("ok: {} ({})", source.file.display(), source.layer))?;
    }
    for notice in &compiled.notices {
        line(&format!("note: {} ({})", notice.value, notice.source))?;
    }
    if !compiled.trust.accepted && !compiled.trust.widens.is_empty() {
        line("not in force until you accept it with `ringfence trust`:")?;
        for widening in &compiled.trust.widens {
            line(&format!("  {} ({})", widening.words, widening.source))?;
        }
    }
    Ok(0)
}

/// Shows it.
pub fn show(args: PolicyShowArgs) -> Result<u8, Failure> {
    let line_args = command_line(&args.policy);
    let compiled = definition::compiled(args.policy.definition.as_deref(), &line_args)?;
    if args.json {
        json(&compiled)?;
        return Ok(0);
    }
    if args.cedar {
        line(&compiled.cedar())?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = ringfence_supervisor::policy_table(&compiled)
        .into_iter()
        .map(|row| vec![row.what, row.value, row.source])
        .collect();
    table(&["WHAT", "VALUE", "FROM"], &rows)?;
    line(&format!("\nsha256:{}", compiled.digest))?;
    Ok(0)
}

/// Prints the schema.
pub fn schema() -> Result<u8, Failure> {
    json(&ringfence_supervisor::definition_schema())?;
    Ok(0)
}
