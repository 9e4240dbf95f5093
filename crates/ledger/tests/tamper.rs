//! Tampering: whatever is done to a ledger's bytes, verification names the first bad record.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A failed set-up may panic.

mod common;

use common::{end, ledger, lines, stamp, start, subject};
use proptest::prelude::*;
use ringfence_ledger::verify::{FaultKind, Warning};
use ringfence_ledger::{Redactor, Stamp, Writer, verify};
use ringfence_model::event::Event;

#[test]
fn al2_an_honest_ledger_verifies_and_says_what_it_is() {
    let summary = verify(ledger(3).as_slice()).unwrap();
    assert_eq!((summary.records, summary.ended, summary.warning_count), (5, true, 0));
    assert_eq!(summary.first_time, "2026-11-25T01:30:28.000000005Z");
    assert_eq!(summary.last_time, "2026-11-25T01:30:32.000000005Z");
    assert_eq!(summary.bytes, ledger(3).len() as u64);
    let empty = verify(&b""[..]).unwrap();
    assert_eq!(
        (empty.records, empty.ended, empty.head.as_str()),
        (0, false, ringfence_ledger::GENESIS)
    );
}

#[test]
fn al2_a_third_party_finds_the_same_hash_without_this_code() {
    // Documented way: remove the member `hash`, hash the rest.
    let line = String::from_utf8(lines(&ledger(0))[1].clone()).unwrap();
    let at = line.find(",\"hash\":\"").unwrap();
    let rest = format!("{}{}", &line[..at], line[at + 9 + 64 + 1..].trim_end());
    use sha2::Digest as _;
    let digest: String =
        sha2::Sha256::digest(rest.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(&line[at + 9..at + 9 + 64], digest);
    assert_eq!(digest, verify(ledger(0).as_slice()).unwrap().head);
}

#[test]
fn s34_every_flipped_bit_of_every_byte_is_found_at_its_record() {
    let honest = ledger(2);
    let mut index = 0;
    for at in 0..honest.len() {
        for bit in 0..8 {
            let mut changed = honest.clone();
            changed[at] ^= 1 << bit;
            let fault = verify(changed.as_slice()).expect_err("a flipped bit");
            assert_eq!(fault.index, index, "byte {at} bit {bit}: {fault}");
        }
        index += u64::from(honest[at] == b'\n');
    }
}

#[test]
fn s34_c12_a_clock_set_back_is_seen() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, "test", subject(), Redactor::default()).unwrap();
    writer.append(&start(), stamp(10)).unwrap();
    writer.append(&end(), Stamp { unix_s: 5, ..stamp(11) }).unwrap();
    let summary = verify(out.as_slice()).unwrap();
    assert_eq!(summary.warning_count, 1);
    assert!(matches!(summary.warnings[0], Warning::WallClock { index: 1, .. }));

    // The writer never writes an earlier boot clock; someone who forges hashes might.
    let text = String::from_utf8(out).unwrap().replace("\"boot_ns\":\"1011\"", "\"boot_ns\":\"0\"");
    let forged = rehash(&lines(text.as_bytes()));
    let fault = verify(forged.as_slice()).expect_err("boot clock");
    assert!(matches!(fault.what, FaultKind::BootClock { from: 1010, to: 0 }), "{fault}");
}

/// Recomputes each line's own hash, as a forger without the following lines would.
fn rehash(lines: &[Vec<u8>]) -> Vec<u8> {
    use sha2::Digest as _;
    let rehashed = lines.iter().map(|line| {
        let line = String::from_utf8(line.clone()).unwrap();
        let at = line.find(",\"hash\":\"").unwrap();
        let after = &line[at + 9 + 64 + 1..];
        let rest = format!("{}{}", &line[..at], after.trim_end());
        let digest: String = sha2::Sha256::digest(rest.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{},\"hash\":\"{digest}\"{after}", &line[..at]).into_bytes()
    });
    rehashed.collect::<Vec<_>>().concat()
}

#[test]
fn s34_a_record_replaced_with_a_fresh_hash_breaks_the_chain() {
    let honest = lines(&ledger(3));
    let mut forged = honest.clone();
    let text = String::from_utf8(forged[2].clone()).unwrap().replace("registry", "harmless");
    forged[2] = text.into_bytes();
    let fault = verify(rehash(&forged).as_slice()).expect_err("forged");
    assert!(matches!(fault.what, FaultKind::Chain), "{fault}");
    assert_eq!(fault.index, 3);
}

#[test]
fn al1_a_missing_end_is_said_and_nothing_but_later_acts_may_follow_it() {
    let honest = lines(&ledger(2));
    assert!(!verify(honest[..3].concat().as_slice()).unwrap().ended);

    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, "test", subject(), Redactor::default()).unwrap();
    writer.append(&end(), stamp(0)).unwrap();
    let apply = Event::Workspace {
        verb: "apply".to_owned(),
        paths: vec!["a".to_owned()],
        count: 1,
        digest: String::new(),
    };
    writer.append(&apply, stamp(1)).unwrap();
    writer.append(&common::denial(1), stamp(2)).unwrap();
    let fault = verify(out.as_slice()).expect_err("after the end");
    assert!(matches!(fault.what, FaultKind::AfterEnd), "{fault}");
    assert_eq!(fault.index, 2);
}

#[test]
fn al2_other_spellings_of_the_same_record_are_refused() {
    let text = String::from_utf8(ledger(0)).unwrap();
    for (from, to) in [
        ("\"schema\":1", "\"schema\": 1"),
        ("\"schema\":1", "\"schema\":01"),
        ("\"code\":0", "\"code\":-0"),
        ("\"exit\"", "\"\\u0065xit\""),
        ("\"allowed\":0,\"cause\":\"exit\"", "\"cause\":\"exit\",\"allowed\":0"),
    ] {
        assert!(text.contains(from), "{from}");
        let fault = verify(text.replace(from, to).as_bytes()).expect_err(to);
        assert!(matches!(fault.what, FaultKind::Form(_)), "{to}: {fault}");
    }
    let torn = &text.as_bytes()[..text.len() - 1];
    let fault = verify(torn).expect_err("torn");
    assert!(matches!((fault.index, fault.what), (1, FaultKind::Torn { .. })));
}

#[test]
fn n25_a_line_without_end_does_not_fill_memory() {
    let endless = std::io::Read::take(std::io::repeat(b'a'), 1 << 30);
    let fault = verify(endless).expect_err("endless");
    assert!(matches!(fault.what, FaultKind::TooLong), "{fault}");
}

proptest! {
    #[test]
    fn s34_deleted_repeated_and_moved_records_are_found(from in 0usize..9, to in 0usize..9, what in 0u8..3) {
        let honest = lines(&ledger(8));
        let mut changed = honest.clone();
        let expected = match what {
            0 => { changed.remove(from); from }
            1 => { changed.insert(to, honest[from].clone()); to.min(9) }
            _ => { changed.swap(from, to); from.min(to) }
        };
        prop_assume!(changed != honest);
        match verify(changed.concat().as_slice()) {
            Ok(summary) => prop_assert!(false, "not found: {summary:?}"),
            // A repeated record is itself in order when it stands where it stood.
            Err(fault) if what == 1 && to == from => prop_assert_eq!(fault.index as usize, from + 1),
            Err(fault) => prop_assert_eq!(fault.index as usize, expected, "{}", fault),
        }
    }

    #[test]
    fn s34_any_changed_byte_is_found(at in 0usize..4000, byte: u8) {
        let honest = ledger(5);
        let at = at % honest.len();
        let mut changed = honest.clone();
        changed[at] = byte;
        prop_assume!(changed != honest);
        let index = honest[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        prop_assert_eq!(verify(changed.as_slice()).unwrap_err().index, index);
    }

    #[test]
    fn al2_verification_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = verify(bytes.as_slice());
    }
}
