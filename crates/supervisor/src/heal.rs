//! After a crash: what a killed supervisor may have left is removed by the next command.
//!
//! Processes, mounts and namespaces are never left: the kernel ends them with the supervisor. What
//! can be left are placeholders, control group directories, a socket file, the private home of an
//! unnamed sandbox, and a ledger without an end.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_ledger::{Reader, Redactor, Stamp};
use ringfence_model::event::{End, Event, Subject};

use crate::clock;
use crate::paths::Paths;
use crate::plan::remove_placeholders;
use crate::recorder::Totals;
use crate::rundir::{self, Cleanup, RunDir, RunInfo};

/// Cleans up after every run whose supervisor is gone, and goes on with removals that were interrupted.
pub fn heal(paths: &Paths) {
    crate::removal::finish(paths);
    for run in rundir::live(paths) {
        if let Some(_lock) = run.try_lock() {
            let clean = clean(&run);
            if run.ledger().exists() {
                close_ledger(&run);
            }
            // What could not be removed yet is tried again by the next command.
            if clean {
                run.unmark_live();
                if !run.ledger().exists() {
                    // Nothing was started: there is nothing to remember.
                    let _ = ringfence_workspace::remove_tree(run.path());
                }
            }
        }
    }
}

/// Removes what the run made outside its own directory, and what nobody needs in it; whether all of
/// it is gone.
pub fn clean(run: &RunDir) -> bool {
    let mut gone = true;
    if let Ok(mut cleanup) = run.read_json::<Cleanup>("cleanup.json") {
        give_up_placeholders(run, &mut cleanup);
        if let Some(excluded) = &cleanup.excluded {
            let _turn = run.turn();
            excluded.take_away();
        }
        for directory in cleanup.cgroups.iter().rev() {
            gone &= remove_group(directory);
        }
    }
    // A login that was made or refreshed inside outlives the run's home, even after a crash.
    let _ = crate::home::logins::take_back(run);
    remove(&run.home(), &[]);
    remove(&run.temporary(), &[]);
    remove(&run.file("brought"), &[]);
    remove(&run.file("caches"), &[]);
    // What overlayfs leaves of its own behind, so that an unchanged layer goes with plain calls.
    remove(&run.layer().join("work"), &["work", "incompat/volatile", "incompat"]);
    if fs::remove_dir(run.layer().join("upper")).is_ok() {
        let _ = fs::remove_dir(run.layer());
    }
    gone
}

/// How often a control group directory is tried while the kernel still ends its processes.
const GROUP_TRIES: u32 = 100;
/// The pause between two tries.
const GROUP_PAUSE: Duration = Duration::from_millis(20);

/// Removes a control group directory; processes that are dying in it keep it for a moment.
fn remove_group(directory: &Path) -> bool {
    for _ in 0..GROUP_TRIES {
        match fs::remove_dir(directory) {
            Ok(()) => return true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
            Err(_) => {
                kill_group(directory);
                std::thread::sleep(GROUP_PAUSE);
            }
        }
    }
    false
}

/// Ends what is left in a group whose supervisor is gone: only its own sandbox can be in it.
fn kill_group(directory: &Path) {
    if fs::write(directory.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let procs = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let numbers = procs.lines().filter_map(|line| line.trim().parse::<i32>().ok());
    for pid in numbers.filter(|pid| *pid > 0) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Removes the placeholders that no other living run rests on, and says that this one rests on none
/// any more. One run at a time: of two that end at once, the second finds the first out of the way.
fn give_up_placeholders(run: &RunDir, cleanup: &mut Cleanup) {
    if cleanup.placeholders.is_empty() {
        return;
    }
    let _turn = run.turn();
    let needed = placeholders_of_others(run);
    let own: Vec<PathBuf> =
        cleanup.placeholders.drain(..).filter(|path| !needed.contains(path)).collect();
    remove_placeholders(&own);
    let _ = run.write_json("cleanup.json", cleanup);
}

/// Placeholders that other living runs rest on.
fn placeholders_of_others(run: &RunDir) -> Vec<PathBuf> {
    run.others()
        .iter()
        .filter(|other| other.is_running())
        .filter_map(|other| other.read_json::<Cleanup>("cleanup.json").ok())
        .flat_map(|cleanup| cleanup.placeholders)
        .collect()
}

/// Removes a directory of the run: most are empty, and then `rmdir(2)` is all it takes; `empty` names
/// empty directories in it.
fn remove(directory: &Path, empty: &[&str]) {
    for name in empty {
        let _ = fs::remove_dir(directory.join(name));
    }
    match fs::remove_dir(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(_) => {
            let _ = ringfence_workspace::remove_tree(directory);
        }
    }
}

/// What the whole records of a ledger add up to, and the milliseconds from the first to the last of
/// them: what was not recorded before the crash is not known. A bad record ends the count; the
/// ledger is not gone on with then.
fn sums(run: &RunDir) -> (Totals, u64) {
    let mut totals = Totals::default();
    let (mut first, mut last) = (None, 0);
    let Ok(file) = File::open(run.ledger()) else { return (totals, 0) };
    let mut reader = Reader::new(BufReader::new(file));
    while let Ok(Some((record, _))) = reader.next_line() {
        totals.add(&record.event);
        if let Ok(boot_ns) = record.boot_ns.parse::<u64>() {
            first.get_or_insert(boot_ns);
            last = boot_ns;
        }
    }
    (totals, last.saturating_sub(first.unwrap_or(last)) / 1_000_000)
}

/// Writes that the run ended without its supervisor, after the last whole record.
fn close_ledger(run: &RunDir) {
    let path = run.ledger();
    let Ok(file) = fs::OpenOptions::new().read(true).append(true).open(&path) else { return };
    let Ok(info) = run.info() else { return };
    let (totals, duration_ms) = sums(run);
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
                duration_ms,
                allowed: totals.allowed,
                denied: totals.denied,
                sent: totals.sent,
                received: totals.received,
                execs: totals.execs,
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

#[cfg(test)]
mod tests {
    use ringfence_model::decision::Decision;
    use ringfence_model::id::RunId;
    use ringfence_model::request::{Action, Context, Request, Resource};

    use super::*;
    use crate::recorder::Recorder;

    /// FH8, S34: a supervisor that was killed leaves records; the end says what they add up to.
    #[test]
    fn fh8_s34_the_end_after_a_crash_sums_up_the_records() {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let paths = Paths { home: at("home"), state: at("state"), config: at("config") };
        let run = RunDir::new(&paths, RunId::new(1, 1));
        let lock = run.create().unwrap();
        let start = clock::now();
        let info = RunInfo::sample(&run, at("project"), start);
        run.write_json("run.json", &info).unwrap();
        let mut recorder = Recorder::create(&run, subject(&info), start).unwrap();
        recorder.record(&Event::Sensor { what: "the first".to_owned() }).unwrap();
        let request = Request {
            action: Action::Publish,
            resource: Resource::Port(1),
            context: Context::default(),
        };
        let denied = Decision::failed("no");
        let allowed = Decision {
            verdict: ringfence_model::decision::Verdict::Allow,
            ..Decision::failed("yes")
        };
        recorder.decision(None, &request, &denied).unwrap();
        recorder.decision(Some(1), &request, &allowed).unwrap();
        recorder.decision(Some(2), &request, &allowed).unwrap();
        recorder.outcome(1, 3_000, 70, 5, None).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        let exec = Event::Exec {
            pid: 1,
            path: "/bin/true".to_owned(),
            argv: vec!["true".to_owned()],
            truncated: false,
        };
        recorder.exec(&exec).unwrap();
        drop(recorder);
        heal(&paths);
        let records = crate::view::records(&run).unwrap();
        let boot = |at: Option<&ringfence_model::event::Record>| -> u64 {
            at.unwrap().boot_ns.parse().unwrap()
        };
        let lived = (boot(records.last()) - boot(records.first())) / 1_000_000;
        assert!(lived > 0);
        let ended = records.iter().any(|record| matches!(record.event, Event::End(_)));
        assert!(!ended, "ended under a living supervisor");

        // The supervisor is gone, in the middle of a record, and much later the next command heals.
        use std::io::Write;
        let torn = fs::OpenOptions::new().append(true).open(run.ledger());
        torn.unwrap().write_all(b"{\"torn").unwrap();
        drop(lock);
        std::thread::sleep(Duration::from_millis(30));
        heal(&paths);
        crate::view::verify(&run).unwrap();
        let last = crate::view::records(&run).unwrap().pop().unwrap();
        let Event::End(end) = last.event else { panic!("{:?}", last.event) };
        assert_eq!((end.cause.as_str(), end.code), ("supervisor-lost", 137));
        assert_eq!((end.allowed, end.denied, end.execs), (2, 1, 1));
        assert_eq!((end.sent, end.received), (3_000, 70));
        assert_eq!(end.duration_ms, lived, "not the time until the healing");
    }
}
