//! `ringfence inspect`.

use ringfence_model::boundary::Tier;
use ringfence_model::residual::RESIDUAL_RISKS;
use ringfence_supervisor::view::{self, Inspection};

use crate::args::InspectArgs;
use crate::text::{Failure, json, line, table};

/// Shows what a run is, what holds it, and what does not.
pub fn run(args: &InspectArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    let inspection = view::inspect(&run)?;
    match (args.json, args.residual_risks) {
        (true, true) => json(&inspection.start.map(|start| start.residual_risks))?,
        (true, false) => json(&inspection)?,
        (false, true) => risks(&inspection)?,
        (false, false) => show(&inspection)?,
    }
    Ok(0)
}

fn show(inspection: &Inspection) -> Result<(), Failure> {
    let run = &inspection.run;
    line(&format!("run:       {}", run.id))?;
    line(&format!("agent:     {}", run.agent))?;
    line(&format!("command:   {}", ringfence_model::text::visible(&run.argv.join(" "))))?;
    line(&format!("for:       {}", run.person))?;
    line(&format!("workspace: {}", run.workspace.display()))?;
    line(&format!("tier:      {}", tier(run.tier)))?;
    line(&format!("policy:    sha256:{}", run.policy))?;
    for source in inspection.start.iter().flat_map(|start| &start.sources) {
        line(&format!("           {} {}", source.layer, source.file.display()))?;
    }
    match (&inspection.status, &inspection.end) {
        (Some(status), _) => line(&format!(
            "state:     running for {} s, {} allowed, {} denied, {} programs, {} bytes out, {} in",
            status.elapsed_ms / 1000,
            status.allowed,
            status.denied,
            status.execs,
            status.sent,
            status.received
        ))?,
        (None, Some(end)) => line(&format!(
            "state:     {} with {} after {} ms, {} allowed, {} denied, {} programs, {} bytes out, {} in",
            end.cause,
            end.code,
            end.duration_ms,
            end.allowed,
            end.denied,
            end.execs,
            end.sent,
            end.received
        ))?,
        (None, None) => line("state:     its supervisor is gone")?,
    }
    line("")?;
    let rows: Vec<Vec<String>> = inspection
        .controls
        .iter()
        .map(|control| {
            let strength = serde_json::to_string(&control.strength).unwrap_or_default();
            vec![
                control.name.clone(),
                strength.trim_matches('"').to_owned(),
                control.requested.clone(),
                control.enforced.clone(),
            ]
        })
        .collect();
    table(&["CONTROL", "STRENGTH", "REQUESTED", "ENFORCED"], &rows)?;
    line("")?;
    line("not contained:")?;
    risks(inspection)
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Process => "process",
        Tier::Landlock => "landlock (weaker: no namespaces, no network)",
    }
}

fn risks(inspection: &Inspection) -> Result<(), Failure> {
    for id in inspection.start.iter().flat_map(|start| &start.residual_risks) {
        match RESIDUAL_RISKS.iter().find(|row| row.id == id) {
            Some(row) => line(&format!("  {}  {}", row.id, row.what))?,
            None => line(&format!("  {id}"))?,
        }
    }
    Ok(())
}
