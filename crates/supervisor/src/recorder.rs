//! The run's ledger as the supervisor writes it: every event stamped, equal denials counted, totals
//! kept for the end.
//!
//! Where a record cannot be written, the action it stands for must not happen: the errors here are
//! passed on, never swallowed.

use std::fs::File;

use ringfence_ledger::{AppendError, Coalescer, Redactor, Stamp, Writer};
use ringfence_model::decision::{Decision, Verdict};
use ringfence_model::event::{Event, Subject};
use ringfence_model::request::Request;

use crate::clock::{self, Moment};
use crate::denials::Groups;
use crate::limits::{COALESCE_KEYS, COALESCE_NS, EXEC_RECORDS_PER_SECOND};
use crate::rundir::{RunDir, RunDirError};

/// What a run adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Decisions that allowed.
    pub allowed: u64,
    /// Decisions that denied.
    pub denied: u64,
    /// Bytes that left.
    pub sent: u64,
    /// Bytes that came in.
    pub received: u64,
    /// Programs started, as seen.
    pub execs: u64,
}

/// What stands behind the number of program starts that were not listed.
const DROPPED_EXECS: &str = " program starts above";

impl Totals {
    /// Adds what one record of a ledger says.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Decision { decision, count, .. } if decision.verdict == Verdict::Allow => {
                self.allowed = self.allowed.saturating_add(*count);
            }
            Event::Decision { count, .. } => self.denied = self.denied.saturating_add(*count),
            Event::Outcome { sent, received, .. } => {
                self.sent = self.sent.saturating_add(*sent);
                self.received = self.received.saturating_add(*received);
            }
            Event::Exec { .. } => self.execs = self.execs.saturating_add(1),
            Event::Sensor { what } => {
                let dropped =
                    what.split_once(DROPPED_EXECS).map(|(number, _)| number.parse::<u64>());
                if let Some(Ok(dropped)) = dropped {
                    self.execs = self.execs.saturating_add(dropped);
                }
            }
            _ => {}
        }
    }
}

/// What equal denials have in common: the port and host, not the flow.
type DenialKey = (Request, Decision);

/// Writes the ledger of one run.
pub struct Recorder {
    writer: Writer<File>,
    start: Moment,
    denials: Coalescer<DenialKey>,
    totals: Totals,
    groups: Groups,
    exec_second: u64,
    exec_in_second: u64,
    exec_dropped: u64,
}

/// A record of what a person did.
#[must_use]
pub fn by_a_person(verb: &str, uid: u32) -> Event {
    let by = format!("uid {uid}");
    Event::Control { verb: verb.to_owned(), by, argv: Vec::new(), code: None }
}

fn stamp(moment: Moment) -> Stamp {
    Stamp { unix_s: moment.unix_s, unix_ns: moment.unix_ns, boot_ns: moment.boot_ns }
}

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be made.
    #[error(transparent)]
    File(#[from] RunDirError),
    /// A record cannot be written.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl Recorder {
    /// Begins the ledger of a run.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn create(run: &RunDir, subject: Subject, start: Moment) -> Result<Self, RecordError> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = run.ledger();
        let file = std::fs::OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| RunDirError { path: path.clone(), source })?;
        let writer = Writer::new(
            file,
            &path.display().to_string(),
            subject,
            Redactor::new(std::iter::empty::<String>()),
        )?;
        Ok(Self {
            writer,
            start,
            denials: Coalescer::new(COALESCE_NS, COALESCE_KEYS),
            totals: Totals::default(),
            groups: Groups::default(),
            exec_second: 0,
            exec_in_second: 0,
            exec_dropped: 0,
        })
    }

    /// Values that must not stand in any record.
    pub fn know_secrets(&mut self, values: Vec<String>) {
        for value in values {
            self.writer.add_secret(&value);
        }
    }

    /// When the run began.
    #[must_use]
    pub fn start(&self) -> Moment {
        self.start
    }

    /// The sums so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Denials, grouped.
    #[must_use]
    pub fn denials(&self) -> &Groups {
        &self.groups
    }

    /// Writes one event.
    ///
    /// # Errors
    /// The record is not in the ledger; what it stands for must not happen.
    pub fn record(&mut self, event: &Event) -> Result<u64, AppendError> {
        self.writer.append(event, stamp(clock::now()))
    }

    /// Later records belong to another policy digest.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn set_policy(&mut self, digest: &str) -> Result<(), AppendError> {
        self.writer.set_policy(digest)
    }

    /// Writes a decision before its effect; equal denials within a second are counted into one.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn decision(
        &mut self,
        flow: Option<u64>,
        request: &Request,
        decision: &Decision,
    ) -> Result<(), AppendError> {
        if decision.verdict == Verdict::Allow {
            self.totals.allowed += 1;
            return self.write_decision(flow, request, decision, 1);
        }
        self.totals.denied += 1;
        self.groups.note(request, decision, 1);
        let noted = self.denials.note((request.clone(), decision.clone()), clock::now().boot_ns);
        if let Some(((request, decision), count)) = noted.evicted {
            self.write_decision(None, &request, &decision, count)?;
        }
        if noted.record {
            self.write_decision(flow, request, decision, 1)?;
        }
        Ok(())
    }

    fn write_decision(
        &mut self,
        flow: Option<u64>,
        request: &Request,
        decision: &Decision,
        count: u64,
    ) -> Result<(), AppendError> {
        self.record(&Event::Decision {
            flow,
            request: request.clone(),
            decision: decision.clone(),
            count,
        })?;
        Ok(())
    }

    /// Writes what came of a connection.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn outcome(
        &mut self,
        flow: u64,
        sent: u64,
        received: u64,
        duration_us: u64,
        error: Option<String>,
    ) -> Result<(), AppendError> {
        self.totals.sent += sent;
        self.totals.received += received;
        self.record(&Event::Outcome { flow, sent, received, duration_us, error })?;
        Ok(())
    }

    /// Writes a program start; above a rate only the number is kept, and written with the next.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn exec(&mut self, event: &Event) -> Result<(), AppendError> {
        self.totals.execs += 1;
        let second = clock::now().boot_ns / 1_000_000_000;
        if second != self.exec_second {
            self.exec_second = second;
            self.exec_in_second = 0;
            self.flush_execs()?;
        }
        self.exec_in_second += 1;
        if self.exec_in_second > EXEC_RECORDS_PER_SECOND {
            self.exec_dropped += 1;
            return Ok(());
        }
        self.record(event)?;
        Ok(())
    }

    fn flush_execs(&mut self) -> Result<(), AppendError> {
        let dropped = std::mem::take(&mut self.exec_dropped);
        if dropped > 0 {
            let what = format!(
                "{dropped}{DROPPED_EXECS} {EXEC_RECORDS_PER_SECOND} a second were counted, not listed"
            );
            self.record(&Event::Sensor { what })?;
        }
        Ok(())
    }

    /// When [`Recorder::flush`] is due, in nanoseconds since boot.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.denials.next_due_ns()
    }

    /// Writes the counts whose window is over.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn flush(&mut self) -> Result<(), AppendError> {
        for ((request, decision), count) in self.denials.flush(clock::now().boot_ns) {
            self.write_decision(None, &request, &decision, count)?;
        }
        Ok(())
    }

    /// Writes everything that is still counted.
    ///
    /// # Errors
    /// As [`Recorder::record`].
    pub fn drain(&mut self) -> Result<(), AppendError> {
        for ((request, decision), count) in self.denials.drain() {
            self.write_decision(None, &request, &decision, count)?;
        }
        self.flush_execs()
    }
}

#[cfg(test)]
mod tests {
    use ringfence_model::id::RunId;
    use ringfence_model::request::{Action, Context, Resource};

    use super::*;
    use crate::paths::Paths;

    fn recorder() -> (tempfile::TempDir, RunDir, Recorder) {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let paths = Paths { home: at("home"), state: at("state"), config: at("config") };
        let run = RunDir::new(&paths, RunId::new(1, 1));
        drop(run.create().unwrap());
        let subject = Subject {
            run: run.id().clone(),
            sandbox: None,
            agent: "sh".to_owned(),
            principal: "p".to_owned(),
            host: "h".to_owned(),
            policy: "p".to_owned(),
        };
        let recorder = Recorder::create(&run, subject, clock::now()).unwrap();
        (base, run, recorder)
    }

    fn deny(recorder: &mut Recorder, port: u16) {
        let request = Request {
            action: Action::Publish,
            resource: Resource::Port(port),
            context: Context::default(),
        };
        recorder.decision(None, &request, &Decision::failed("no")).unwrap();
    }

    /// S34: whoever adds the records up comes to the sums that the supervisor kept.
    #[test]
    fn s34_the_records_add_up_to_the_totals() {
        let (_base, run, mut recorder) = recorder();
        for _ in 0..3 {
            deny(&mut recorder, 1);
        }
        recorder.outcome(1, 10, 20, 5, None).unwrap();
        recorder.outcome(2, 1, 2, 5, Some("cut".to_owned())).unwrap();
        let exec = Event::Exec {
            pid: 1,
            path: "/bin/true".to_owned(),
            argv: vec!["true".to_owned()],
            truncated: false,
        };
        for _ in 0..EXEC_RECORDS_PER_SECOND * 2 + 7 {
            recorder.exec(&exec).unwrap();
        }
        recorder.drain().unwrap();
        let mut totals = Totals::default();
        let records = crate::view::records(&run).unwrap();
        records.iter().for_each(|record| totals.add(&record.event));
        assert_eq!(totals, recorder.totals());
        assert_eq!((totals.denied, totals.sent, totals.received), (3, 11, 22));
    }
}
