//! What every agent is asked: a good day, a day gone wrong, and the latter without a boundary.

use std::fs;

use ringfence_contained_tests::expose;

use super::{Day, KEY, Kind, texts};
use crate::support::tcp::{LEAK, Sink};
use crate::support::tree::{Tree, assert_unchanged, snapshot};

/// A good day: the file is fixed inside, shown by `diff`, and landed by `apply`.
pub fn good(kind: &'static Kind) {
    let Some(day) = Day::new(kind, "good-day.json", "sink.test:9") else {
        return;
    };
    let fixture = &day.world.fixture;
    let before = snapshot(&fixture.home());
    let outcome = day.contained();
    let results = day.results();
    assert_eq!(outcome.code, 0, "{outcome:?}\n{}", texts(&results));
    assert!(outcome.text().contains("The tests pass now"), "{outcome:?}");
    let ran = |text: &str| text.contains("the tests pass");
    assert!(results.iter().any(|result| ran(&result.text)), "not run: {}", texts(&results));
    assert!(results.iter().all(|result| !result.is_error), "{}", texts(&results));
    assert_unchanged(&fixture.home(), &before, "before apply");

    let diff = fixture.ringfence(&["diff"]);
    assert!(diff.stdout.contains("calc.py"), "{diff:?}");
    assert!(diff.stdout.contains("return a + b"), "{diff:?}");
    let applied = fixture.ringfence(&["apply"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let landed = fs::read_to_string(fixture.project().join("calc.py")).unwrap();
    assert_eq!(landed, "def add(a, b):\n    return a + b\n");
    let mut after = snapshot(&fixture.home());
    let mut expected: Tree = before;
    let changed = "work/project/calc.py";
    assert_ne!(after.remove(changed), expected.remove(changed));
    let lost: Vec<&String> = expected.keys().filter(|path| !after.contains_key(*path)).collect();
    assert!(lost.is_empty(), "apply took away more than was shown: {lost:?}");
    for own in kind.leaves {
        after.remove(&format!("work/project/{own}"));
    }
    after.retain(|path, state| expected.get(path) != Some(state));
    assert!(after.is_empty(), "apply landed more than was shown: {after:?}");

    day.world.decisions().assert_allowed("host.ringfence", day.port());
    day.assert_no_false_denial(&[]);
    let ledger = fixture.ledger();
    assert!(!format!("{:?}", ledger.records).contains(KEY), "the key is in the ledger");
    fixture.verify_ledgers();
}

/// The same agent gone wrong finds nothing, reaches nobody, changes nothing, and the person is told.
pub fn rogue(kind: &'static Kind) {
    let sink = Sink::start("127.0.0.7:0");
    let end = format!("sink.test:{}", sink.server.port());
    let Some(day) = Day::new(kind, "rogue.json", &end) else {
        return;
    };
    let fixture = &day.world.fixture;
    let before = snapshot(&fixture.home());
    let outcome = day.contained();
    let results = day.results();
    let played = outcome.text().contains("All done.");
    assert!(played, "not played to its end: {outcome:?}\n{}", texts(&results));
    assert!(results.len() >= 12, "every tool was tried: {}", texts(&results));
    assert_eq!(expose(&texts(&results)), Vec::<&str>::new(), "{}", texts(&results));
    let whole = day.whole();
    assert_eq!(expose(&whole), Vec::<&str>::new(), "a secret left by the model's own connection");
    assert!(!whole.contains(LEAK));
    sink.assert_untouched("the rogue agent");
    assert_unchanged(&fixture.home(), &before, "the rogue agent");

    let (host, port) = ("sink.test", sink.server.port());
    day.world.decisions().assert_denied(host, port, "no-rule");
    day.assert_no_false_denial(&[host]);
    assert!(outcome.stderr.contains(&end), "the end tells what was denied: {}", outcome.stderr);
    assert!(outcome.stderr.contains("denied"), "{}", outcome.stderr);
    let why = fixture.ringfence(&["why", host]);
    assert_eq!(why.code, 0, "{why:?}");
    assert!(why.stdout.contains(host), "{why:?}");
    let logs = fixture.ringfence(&["logs"]);
    assert!(logs.stdout.contains(host), "{logs:?}");
    let diff = fixture.ringfence(&["diff"]);
    assert!(diff.stdout.contains("src"), "the deletion is shown for review: {diff:?}");
    let discarded = fixture.ringfence(&["discard"]);
    assert_eq!(discarded.code, 0, "{discarded:?}");
    assert_unchanged(&fixture.home(), &before, "after discard");
    fixture.verify_ledgers();
}

/// Gone wrong in the mode of a terminal, on the project itself: what is outside is unchanged, and the
/// project, which it destroyed, comes back.
pub fn rogue_in_pair(kind: &'static Kind) {
    let sink = Sink::start("127.0.0.7:0");
    let end = format!("sink.test:{}", sink.server.port());
    let Some(day) = Day::new(kind, "rogue.json", &end) else {
        return;
    };
    let fixture = &day.world.fixture;
    let before = snapshot(&fixture.home());
    let outcome = day.contained_in("pair");
    let results = texts(&day.results());
    assert!(outcome.text().contains("All done."), "{outcome:?}\n{results}");
    assert_eq!(expose(&day.whole()), Vec::<&str>::new());
    sink.assert_untouched("the rogue agent");
    assert!(!fixture.project().join("src").exists(), "the project was not destroyed: {results}");
    let restored = fixture.ringfence(&["restore"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_unchanged(&fixture.home(), &before, "after restore");
    day.assert_no_false_denial(&["sink.test"]);
    fixture.verify_ledgers();
}

/// The control group: without a boundary the rogue script takes, sends, plants and destroys.
pub fn control(kind: &'static Kind) {
    let sink = Sink::start("127.0.0.7:0");
    let end = format!("127.0.0.7:{}", sink.server.port());
    let Some(day) = Day::new(kind, "rogue.json", &end) else {
        return;
    };
    let fixture = &day.world.fixture;
    let outcome = day.unprotected();
    let results = texts(&day.results());
    assert!(outcome.text().contains("All done."), "{outcome:?}\n{results}");
    assert!(!expose(&results).is_empty(), "{results}");
    assert!(sink.server.accepted() > 0, "the sink was reached");
    assert!(!fixture.project().join("src").exists(), "the project was not destroyed: {results}");
    assert!(!fixture.home().join("Documents").exists(), "and more");
}

/// A good day of an agent without tools: what the model wrote is tried inside and lands by `apply`.
pub fn edits(kind: &'static Kind) {
    let Some(day) = Day::new(kind, "good-day.json", "sink.test:9") else {
        return;
    };
    let fixture = &day.world.fixture;
    let before = snapshot(&fixture.home());
    let outcome = day.contained();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.text().contains("the tests pass"), "{outcome:?}");
    assert_unchanged(&fixture.home(), &before, "before apply");
    let applied = fixture.ringfence(&["apply", "calc.py"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let landed = fs::read_to_string(fixture.project().join("calc.py")).unwrap();
    assert_eq!(landed, "def add(a, b):\n    return a + b\n");
    day.world.decisions().assert_allowed("host.ringfence", day.port());
    day.assert_no_false_denial(&[]);
    fixture.verify_ledgers();
}
