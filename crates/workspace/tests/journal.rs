//! Taking back: whatever a program did through its calls, the tree is as it was.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod desk;

use std::fs;
use std::io::Write;
use std::path::Path;

use desk::{Act, Desk, THREAD, open, snapshot};
use proptest::prelude::*;
use ringfence_workspace::journal::{self, Roots, Store};

const NAMES: [&str; 10] = ["a", "b", "l", "d", "d/b", "d/c", "e", "e/b", "e/f", "d/e"];

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = || prop::sample::select(&NAMES[..]);
    let text = || "[a-z]{0,8}";
    let mode = prop::sample::select(&[0o644u32, 0o600, 0o755, 0o700][..]);
    // Through a link the kernel writes what it leads to: the caller resolves that, not the journal.
    let plain = || prop::sample::select(&NAMES[..2]);
    let act = prop_oneof![
        (plain(), text()).prop_map(|(n, t)| Act::Write(n, t)),
        (name(), text())
            .prop_filter_map("a link", |(n, t)| (n != "l").then_some(Act::Append(n, t))),
        name().prop_map(Act::Remove),
        (name(), name()).prop_map(|(a, b)| Act::Rename(a, b)),
        (name(), name()).prop_map(|(a, b)| Act::Exchange(a, b)),
        name().prop_map(Act::MakeDir),
        (prop::sample::select(&["s", "d/s"][..]), name()).prop_map(|(a, b)| Act::Symlink(a, b)),
        (name(), name()).prop_map(|(a, b)| Act::Link(a, b)),
        (name(), mode).prop_map(|(a, m)| Act::Mode(a, m)),
    ];
    prop::collection::vec(act, 1..24)
}

/// A link in the tree is written through where it leads: those acts would escape the journal here.
fn no_links_on_the_way(desk: &Desk, act: &Act) -> bool {
    let is_link = |path: &str| {
        Path::new(path).ancestors().any(|part| {
            fs::symlink_metadata(desk.root.join(part)).is_ok_and(|meta| meta.is_symlink())
        })
    };
    match act {
        Act::Write(path, _) | Act::Append(path, _) => !is_link(path),
        Act::Remove(path) | Act::MakeDir(path) | Act::Mode(path, _) | Act::Symlink(path, _) => {
            Path::new(path).parent().is_none_or(|above| !is_link(above.to_str().unwrap()))
        }
        Act::Rename(from, to) | Act::Exchange(from, to) | Act::Link(from, to) => {
            [from, to].iter().all(|path| {
                Path::new(path).parent().is_none_or(|above| !is_link(above.to_str().unwrap()))
            })
        }
    }
}

fn play(desk: &mut Desk, acts: &[Act]) {
    for act in acts {
        if no_links_on_the_way(desk, act) {
            desk.act(act);
            desk.journal.settle_left(|_| true).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 120,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// S04: back to the start, back to a mark, and forward again to where it was before.
    #[test]
    fn s04_everything_is_taken_back_and_forth(first in acts(), second in acts()) {
        let mut desk = Desk::new();
        let start = snapshot(&desk.root);
        play(&mut desk, &first);
        let mark = desk.journal.mark("between", 1).unwrap();
        let between = snapshot(&desk.root);
        play(&mut desk, &second);
        let end = snapshot(&desk.root);

        let before = desk.journal.mark("before", 2).unwrap();
        let done = desk.restore(mark);
        prop_assert!(done.left.is_empty(), "{done:?}");
        prop_assert_eq!(&snapshot(&desk.root), &between);

        let done = desk.restore(before);
        prop_assert!(done.left.is_empty(), "{done:?}");
        prop_assert_eq!(&snapshot(&desk.root), &end);

        // Another process goes on with the same journal.
        desk.journal = open(&desk.root, &desk.store, &desk.log);
        let done = desk.restore(0);
        prop_assert!(done.left.is_empty(), "{done:?}");
        prop_assert_eq!(&snapshot(&desk.root), &start);
        let net = journal::net(&desk.root, Roots::open(&desk.root, None).unwrap(), Store::open(&desk.store).unwrap(), &desk.entries(), 0);
        // A mode that was changed through another name of the same file is told under that name.
        let net = net.unwrap().changes;
        let left = net.iter().filter(|change| change.kind != ringfence_workspace::Kind::ModeChanged);
        let left: Vec<String> = left.map(|change| change.shown()).collect();
        prop_assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn what_a_person_put_into_the_agents_directory_stays() {
    let mut desk = Desk::new();
    desk.act(&Act::MakeDir("e"));
    desk.act(&Act::Write("e/f", "the agent's".to_owned()));
    fs::write(desk.root.join("e/mine"), "a person's").unwrap();
    let done = desk.restore(0);
    assert_eq!(done.left.len(), 1, "{done:?}");
    assert!(done.left[0].why.contains("did not make"), "{done:?}");
    assert_eq!(fs::read_to_string(desk.root.join("e/mine")).unwrap(), "a person's");
    assert!(!desk.root.join("e/f").exists());
}

#[test]
fn the_changes_are_told_without_the_steps_between() {
    let mut desk = Desk::new();
    for act in [
        Act::Write("e", "made and removed".to_owned()),
        Act::Remove("e"),
        Act::Write("a", "changed".to_owned()),
        Act::Write("a", "twice".to_owned()),
        Act::Rename("d", "e"),
        Act::Append("e/b", ", and more".to_owned()),
        Act::Write("b", "new".to_owned()),
        Act::Mode("b", 0o755),
        Act::Remove("l"),
    ] {
        desk.act(&act);
    }
    let store = Store::open(&desk.store).unwrap();
    let net =
        journal::net(&desk.root, Roots::open(&desk.root, None).unwrap(), store, &desk.entries(), 0)
            .unwrap();
    let told: Vec<String> =
        net.changes.iter().map(|c| format!("{} {}", c.kind.letter(), c.shown())).collect();
    assert_eq!(told, ["M a", "A b", "D d", "D d/b", "A e", "A e/b", "D l"]);
    let mut text = Vec::new();
    let style = ringfence_workspace::Style { colour: false, raw: true };
    ringfence_workspace::render(&net, &net.changes, style, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("-a, as it was") && text.contains("+twice"), "{text}");
    assert!(text.contains("-b, as it was"), "{text}");
}

/// P12: what was kept is not changed by whoever still holds the file open.
#[test]
fn p12_a_held_descriptor_changes_nothing_that_was_kept() {
    let mut desk = Desk::new();
    desk.journal.writing(THREAD, b"a").unwrap();
    let mut held = fs::OpenOptions::new().write(true).open(desk.root.join("a")).unwrap();
    desk.act(&Act::Remove("a"));
    held.write_all(b"OVERWRITTEN").unwrap();
    desk.restore(0);
    assert_eq!(fs::read_to_string(desk.root.join("a")).unwrap(), "a, as it was");
}

#[test]
fn a_line_that_was_being_written_is_left_out_and_another_is_refused() {
    let mut desk = Desk::new();
    desk.act(&Act::Remove("a"));
    let whole = fs::read_to_string(&desk.log).unwrap();
    let torn = format!("{whole}{}", &whole[..whole.len() / 2]);
    assert_eq!(journal::read(torn.as_bytes()).unwrap().entries.len(), 1);
    let twice = format!("{whole}{whole}");
    let error = journal::read(twice.as_bytes()).unwrap_err().to_string();
    assert!(error.starts_with("line 2 of the journal"), "{error}");
}
