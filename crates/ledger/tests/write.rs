//! Writing, failing, recovering and reading back.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed set-up may panic.

mod common;

use common::{denial, end, ledger, lines, stamp, start, subject};
use proptest::prelude::*;
use ringfence_ledger::limits::{LINE_BYTES, RECORD_BYTES};
use ringfence_ledger::recover::resume;
use ringfence_ledger::{AppendError, Reader, Redactor, Writer, canonical_record, recover, verify};
use ringfence_model::event::Event;
use std::cell::RefCell;
use std::io::{self, Read as _, Seek as _, Write};
use std::rc::Rc;

/// Takes a limited number of bytes, then is full; counts the calls.
#[derive(Clone, Default)]
struct Disk {
    bytes: Rc<RefCell<Vec<u8>>>,
    calls: Rc<RefCell<usize>>,
    room: usize,
    interrupt: usize,
}

impl Write for Disk {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.interrupt > 0 {
            self.interrupt -= 1;
            return Err(io::ErrorKind::Interrupted.into());
        }
        *self.calls.borrow_mut() += 1;
        let take = buf.len().min(self.room);
        if take == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room -= take;
        self.bytes.borrow_mut().extend_from_slice(&buf[..take]);
        Ok(take)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn writer<W: Write>(out: W) -> Writer<W> {
    Writer::new(out, "/state/run.ledger", subject(), Redactor::default()).unwrap()
}

#[test]
fn al1_one_record_is_one_write() {
    let disk = Disk { room: usize::MAX, interrupt: 3, ..Disk::default() };
    let mut w = writer(disk.clone());
    for n in 0..5 {
        assert_eq!(w.append(&denial(n), stamp(n)).unwrap(), n);
    }
    assert_eq!(*disk.calls.borrow(), 5);
    assert_eq!(w.head().hash, verify(disk.bytes.borrow().as_slice()).unwrap().head);
}

#[test]
fn al3_c12_a_full_disk_poisons_the_writer() {
    for room in [0, 1, 700] {
        let disk = Disk { room, ..Disk::default() };
        let mut w = writer(disk.clone());
        let failed = (0..9).find_map(|n| w.append(&denial(n), stamp(n)).err()).unwrap();
        assert!(matches!(failed, AppendError::Write { .. }), "{failed}");
        assert!(failed.to_string().contains("/state/run.ledger"), "{failed}");
        assert!(w.is_poisoned());
        let calls = *disk.calls.borrow();
        let again = w.append(&end(), stamp(99)).unwrap_err();
        assert!(matches!(again, AppendError::Poisoned { .. }), "{again}");
        assert_eq!(*disk.calls.borrow(), calls, "a poisoned writer writes nothing");
    }
}

#[test]
fn al3_a_real_full_device_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut w = writer(full);
    assert!(matches!(w.append(&start(), stamp(0)), Err(AppendError::Write { .. })));
}

#[test]
fn c14_no_secret_reaches_the_file() {
    let mut out = Vec::new();
    let redactor = Redactor::new(["swordfish-42".to_owned()]);
    let mut w = Writer::new(&mut out, "l", subject(), redactor).unwrap();
    w.add_secret("later-secret-9");
    w.append(&start(), stamp(0)).unwrap();
    let argv = [
        "sh",
        "-c",
        "curl -H 'Authorization: Bearer abcdefgh' https://u:p@h/swordfish-42",
        "--password",
        "zzz",
        "later-secret-9",
    ];
    let exec = Event::Exec {
        pid: 1,
        path: "/bin/sh".to_owned(),
        argv: argv.map(str::to_owned).to_vec(),
        truncated: false,
    };
    w.append(&exec, stamp(1)).unwrap();
    w.set_labels(&["read swordfish-42".to_owned()]);
    w.append(&Event::Sensor { what: "sk-ant-api03-abcdefghijk".to_owned() }, stamp(2)).unwrap();
    let text = String::from_utf8(out).unwrap();
    for secret in ["swordfish", "hunter2", "ghx", "abcdefgh", "u:p@", "zzz", "later-secret"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(text.contains("\"HOME\":\"/home/x\""));
    assert!(text.contains("\"18446744073709551615\""), "exact, as a text");
    verify(text.as_bytes()).unwrap();
}

#[test]
fn al5_c13_huge_and_hostile_fields_are_cut_marked_and_escaped() {
    let mut out = Vec::new();
    let mut w = writer(&mut out);
    let huge = "é\n\u{1b}\"}{".repeat(1000);
    let exec = Event::Exec {
        pid: 1,
        path: huge.clone(),
        argv: vec![huge.clone(); 1500],
        truncated: false,
    };
    w.append(&exec, stamp(0)).unwrap();
    let paths = vec![huge; 1000];
    w.append(
        &Event::Workspace { verb: "apply".to_owned(), paths, count: 1, digest: String::new() },
        stamp(1),
    )
    .unwrap();
    drop(w);
    assert_eq!(lines(&out).len(), 2);
    assert!(lines(&out).iter().all(|line| line.len() <= LINE_BYTES));
    let records: Vec<_> = Reader::new(out.as_slice()).map(Result::unwrap).collect();
    let Event::Exec { argv, truncated, .. } = &records[0].event else { panic!() };
    assert!(truncated);
    assert!(argv[0].contains("…[cut "), "{}", argv[0]);
    assert!(argv.last().unwrap().contains(" items]"));
    verify(out.as_slice()).unwrap();
}

#[test]
fn al3_what_cannot_be_recorded_is_refused_and_the_chain_goes_on() {
    let mut out = Vec::new();
    let mut w = writer(&mut out);
    let too_big =
        Event::Outcome { flow: 1 << 60, sent: 0, received: 0, duration_us: 0, error: None };
    assert!(matches!(w.append(&too_big, stamp(0)), Err(AppendError::Event { .. })));
    let self_test = vec!["x".to_owned(); 1_000];
    let controls =
        vec![ringfence_model::enforcement::Control::enforced("c", "x".repeat(300)); 3_000];
    let heavy = Event::Released { controls, self_test };
    let refused = w.append(&heavy, stamp(0)).unwrap_err();
    assert!(refused.to_string().contains(&RECORD_BYTES.to_string()), "{refused}");
    assert_eq!(w.append(&denial(0), stamp(1)).unwrap(), 0);
    verify(out.as_slice()).unwrap();
}

#[test]
fn tp3_records_of_two_threads_never_go_back_in_boot_time() {
    let mut out = Vec::new();
    let mut w = writer(&mut out);
    w.append(&denial(0), stamp(5)).unwrap();
    w.append(&denial(1), stamp(4)).unwrap();
    verify(out.as_slice()).unwrap();
}

#[test]
fn al2_what_is_read_back_has_the_canonical_bytes_that_were_hashed() {
    let out = ledger(1);
    let mut reader = Reader::new(out.as_slice());
    while let Some((record, line)) = reader.next_line().unwrap() {
        let at = line.find(",\"hash\":\"").unwrap();
        let hashed = format!("{}{}", &line[..at], &line[at + 9 + 64 + 1..]);
        assert_eq!(String::from_utf8(canonical_record(&record).unwrap()).unwrap(), hashed);
    }
}

#[test]
fn a_reader_waits_for_the_rest_of_a_line() {
    let whole = ledger(0);
    let mut file = tempfile::tempfile().unwrap();
    let mut follower = file.try_clone().unwrap();
    file.write_all(&whole[..whole.len() - 40]).unwrap();
    follower.rewind().unwrap();
    // Two handles, one offset: read through positions of our own.
    struct At(std::fs::File, u64);
    impl io::Read for At {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = std::os::unix::fs::FileExt::read_at(&self.0, buf, self.1)?;
            self.1 += n as u64;
            Ok(n)
        }
    }
    let mut reader = Reader::new(io::BufReader::new(At(follower, 0)));
    assert!(matches!(reader.next().unwrap().unwrap().event, Event::Start(_)));
    assert!(reader.next().is_none());
    assert!(reader.next().is_none());
    file.seek(io::SeekFrom::End(0)).unwrap();
    file.write_all(&whole[whole.len() - 40..]).unwrap();
    assert!(matches!(reader.next().unwrap().unwrap().event, Event::End(_)));
    assert!(reader.next().is_none());
}

#[test]
fn a_reader_names_a_bad_line_and_goes_on() {
    let mut bytes = lines(&ledger(0));
    bytes.insert(1, b"{\"not\":\"a record\"}\n".to_vec());
    let found: Vec<_> =
        Reader::new(bytes.concat().as_slice()).map(|r| r.map_err(|e| e.to_string())).collect();
    assert_eq!(found.len(), 3);
    assert!(found[1].as_ref().unwrap_err().contains("line 2"), "{found:?}");
}

#[test]
fn al1_a_whole_but_wrong_record_is_no_crash() {
    let mut bytes = ledger(2);
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    assert_eq!(recover(bytes.as_slice()).unwrap_err().index, 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn al1_a_ledger_torn_at_any_byte_is_continued_and_nothing_is_lost(cut in 0usize..4096) {
        let whole = ledger(3);
        let cut = cut % (whole.len() + 1);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&whole[..cut]).unwrap();
        file.rewind().unwrap();
        let mut aside = Vec::new();
        let (mut writer, found) =
            resume(file.try_clone().unwrap(), "l", &mut aside, subject(), Redactor::default(), stamp(50)).unwrap();
        let kept = found.summary.bytes as usize;
        prop_assert_eq!([&whole[..kept], &aside].concat(), whole[..cut].to_vec());
        prop_assert_eq!(&aside, &found.tail);
        if !found.summary.ended {
            writer.append(&end(), stamp(51)).unwrap();
        }
        writer.sync().unwrap();
        let mut all = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut all).unwrap();
        prop_assert!(all.starts_with(&whole[..kept]));
        let summary = verify(all.as_slice()).unwrap();
        prop_assert!(summary.ended);
        prop_assert_eq!(aside.is_empty(), !String::from_utf8_lossy(&all).contains("torn record"));
    }
}
