//! After a crash: what a killed supervisor may have left is removed by the next command.
//!
//! Processes, mounts and namespaces are never left: the kernel ends them with the supervisor. What
//! can be left are placeholders, control group directories, a socket file, the private home of an
//! unnamed sandbox, and a ledger without an end.

use std::fs;
use std::fs::File;

use ringfence_ledger::{Redactor, Stamp};
use ringfence_model::event::{End, Event, Subject};

use crate::clock;
use crate::paths::Paths;
use crate::plan::remove_placeholders;
use crate::rundir::{self, Cleanup, RunDir, RunInfo};

/// Cleans up after every run whose supervisor is gone.
pub fn heal(paths: &Paths) {
    for run in rundir::live(paths) {
        if let Some(_lock) = run.try_lock() {
            clean(&run);
            close_ledger(&run);
            run.unmark_live();
        }
    }
}

/// Removes what the run made outside its own directory, and what nobody needs in it.
pub fn clean(run: &RunDir) {
    if let Ok(cleanup) = run.read_json::<Cleanup>("cleanup.json") {
        remove_placeholders(&cleanup.placeholders);
        for directory in cleanup.cgroups.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
    let _ = ringfence_workspace::remove_tree(&run.home());
    let _ = ringfence_workspace::remove_tree(&run.file("caches"));
    discard_empty_layer(run);
}

/// A layer without a single entry is no change: nothing to review, nothing to keep.
fn discard_empty_layer(run: &RunDir) {
    let upper = run.layer().join("upper");
    let empty = fs::read_dir(&upper).is_ok_and(|mut entries| entries.next().is_none());
    if empty {
        let _ = ringfence_workspace::remove_tree(&run.layer());
    }
}

/// Writes that the run ended without its supervisor, after the last whole record.
fn close_ledger(run: &RunDir) {
    let path = run.ledger();
    let Ok(file) = fs::OpenOptions::new().read(true).append(true).open(&path) else { return };
    let Ok(info) = run.info() else { return };
    let Ok(mut aside) = File::create(run.file("ledger.torn")) else { return };
    let now = clock::now();
    let stamp = Stamp { unix_s: now.unix_s, unix_ns: now.unix_ns, boot_ns: now.boot_ns };
    let redactor = Redactor::new(std::iter::empty::<String>());
    let resumed = ringfence_ledger::recover::resume(
        file,
        &path.display().to_string(),
        &mut aside,
        subject(&info),
        redactor,
        stamp,
    );
    if let Ok((mut writer, recovered)) = resumed {
        if recovered.tail.is_empty() {
            let _ = fs::remove_file(run.file("ledger.torn"));
        }
        if !recovered.summary.ended {
            let end = End {
                cause: "supervisor-lost".to_owned(),
                code: 137,
                duration_ms: 0,
                allowed: 0,
                denied: 0,
                sent: 0,
                received: 0,
                execs: 0,
            };
            let _ = writer.append(&Event::End(Box::new(end)), stamp);
        }
    }
}

/// Who a run's records are about.
#[must_use]
pub fn subject(info: &RunInfo) -> Subject {
    Subject {
        run: info.id.clone(),
        sandbox: info.name.clone(),
        agent: info.agent.clone(),
        principal: info.person.clone(),
        host: crate::host::hostname(),
        policy: info.policy.clone(),
    }
}
