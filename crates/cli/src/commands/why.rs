//! `ringfence why`.

use ringfence_supervisor::view;

use crate::args::WhyArgs;
use crate::text::{Failure, json, line};

/// Explains a decision. `why RUN WHAT`, `why WHAT` and `why` all work: a first word that names a
/// run is taken as one.
pub fn run(args: &WhyArgs) -> Result<u8, Failure> {
    let mut words = args.what.iter().map(String::as_str);
    let mut what = words.next();
    let run = match (&args.run, what) {
        (Some(run), _) => view::find(Some(run))?.1,
        (None, Some(word)) => match view::find(Some(word)) {
            Ok((_, run)) => {
                what = words.next();
                run
            }
            Err(_) => view::find(None)?.1,
        },
        (None, None) => view::find(None)?.1,
    };
    // `connect host:443`, as the exit block prints it, is understood too.
    if let Some("connect" | "resolve" | "read" | "write" | "publish") = what {
        what = words.next().or(what);
    }
    let why = view::why(&run, what)?;
    if args.json {
        json(&why)?;
        return Ok(0);
    }
    let Some(words) = &why.words else { return Ok(0) };
    let verdict = why.decision.verdict;
    let record = why.record.map_or_else(
        || "judged now; it did not happen in this run".to_owned(),
        |seq| format!("record {seq}"),
    );
    line(&format!("{verdict}: {} ({record})", words.what))?;
    line(&format!("  why:  {}", words.why))?;
    for rule in &why.decision.rules {
        line(&format!("  rule: {} ({})", rule.id, rule.source))?;
    }
    if let Some(now) = &words.now {
        line(&format!("  now:  {now}"))?;
    }
    if let Some(keep) = &words.keep {
        line(&format!("  keep: {keep}"))?;
    }
    Ok(0)
}
