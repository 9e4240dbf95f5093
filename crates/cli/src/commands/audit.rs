//! `ringfence audit`.

use ringfence_supervisor::view;

use crate::args::AuditVerifyArgs;
use crate::text::{Failure, json, line};

/// Checks a run's ledger.
pub fn verify(args: &AuditVerifyArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    let summary = view::verify(&run)?;
    if args.json {
        json(&serde_json::json!({
            "run": run.id().to_string(),
            "records": summary.records,
            "head": summary.head,
            "ended": summary.ended,
            "first": summary.first_time,
            "last": summary.last_time,
            "warnings": summary.warning_count,
        }))?;
        return Ok(0);
    }
    line(&format!(
        "ok: {} records of run {}, none changed, missing or out of order",
        summary.records,
        run.id()
    ))?;
    line(&format!("  from {} to {}", summary.first_time, summary.last_time))?;
    line(&format!("  head sha256:{}", summary.head))?;
    if !summary.ended {
        line("  the run has no end record yet")?;
    }
    for warning in &summary.warnings {
        line(&format!("  note: {warning}"))?;
    }
    Ok(0)
}
