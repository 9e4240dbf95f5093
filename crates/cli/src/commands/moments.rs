//! `ringfence checkpoint`, `restore`.

use ringfence_supervisor::{taken_back, view};

use crate::args::{CheckpointArgs, RestoreArgs};
use crate::text::{Failure, json, line, table};

/// Names this moment.
pub fn checkpoint(args: &CheckpointArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    let name = taken_back::checkpoint(&run, args.name.as_deref())?;
    line(&format!("{name}\n  back to it: ringfence restore {name} --run {}", run.id()))?;
    Ok(0)
}

/// Takes the workspace back.
pub fn restore(args: &RestoreArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    if args.list {
        return list(&run, args.json);
    }
    let taken = taken_back::restore(&run, args.to.as_deref())?;
    let complete = taken.failed.is_none() && taken.left_count == 0;
    if args.json {
        json(&taken)?;
        return Ok(u8::from(!complete));
    }
    if let Some(why) = &taken.failed {
        return Err(Failure::new(1, why));
    }
    line(&format!("{} things were put back", taken.restored))?;
    for (path, why) in &taken.left {
        line(&format!("not put back: {path} ({why})"))?;
    }
    let more = taken.left_count.saturating_sub(taken.left.len() as u64);
    if more > 0 {
        line(&format!("not put back: {more} more"))?;
    }
    if let Some(undo) = &taken.undo {
        line(&format!("  undo this: ringfence restore {undo} --run {}", run.id()))?;
    }
    Ok(u8::from(!complete))
}

fn list(run: &ringfence_supervisor::rundir::RunDir, as_json: bool) -> Result<u8, Failure> {
    let moments = taken_back::moments(run)?;
    if as_json {
        json(&moments)?;
        return Ok(0);
    }
    let rows: Vec<Vec<String>> = moments
        .iter()
        .map(|moment| vec![moment.name.clone(), taken_back::when(moment), moment.steps.to_string()])
        .collect();
    table(&["MOMENT", "WHEN", "STEPS SINCE"], &rows)?;
    Ok(0)
}
