//! Taking back what several threads did whose calls were announced, made and looked at in any order,
//! while a person worked beside them.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use ringfence_workspace::journal::{self, Journal, Roots, Store};
use rustix::fs::{CWD, RenameFlags};

const AGENTS: [&str; 5] = ["a", "b", "c", "d/a", "d/b"];
const PERSONS: [&str; 3] = ["p", "d/p", "d/q"];

#[derive(Clone, Debug)]
enum Call {
    Write(&'static str),
    Make(&'static str),
    MakeDir(&'static str),
    Remove(&'static str),
    Rename(&'static str, &'static str, RenameFlags),
    Link(&'static str, &'static str),
}

#[derive(Clone, Debug)]
enum Step {
    /// A thread says what it is about to do, if it is not at it and nobody changes the same name.
    Announce(usize, Call),
    /// It does.
    Do(usize),
    /// Whoever keeps the journal looks at threads that are over.
    Look(usize),
    /// A person writes or removes a file of their own.
    Person(&'static str, bool),
    /// A moment is named.
    Mark,
}

impl Call {
    fn names(&self) -> Vec<&'static str> {
        match self {
            Self::Write(one) | Self::Make(one) | Self::MakeDir(one) | Self::Remove(one) => {
                vec![one]
            }
            Self::Rename(one, other, _) | Self::Link(one, other) => vec![one, other],
        }
    }

    fn announce(&self, by: u32, journal: &mut Journal) {
        let exchange = |flags: &RenameFlags| flags.contains(RenameFlags::EXCHANGE);
        match self {
            Self::Write(one) => journal.writing(by, one.as_bytes()),
            Self::Make(one) | Self::MakeDir(one) => journal.making(by, one.as_bytes()).map(drop),
            Self::Remove(one) => journal.removing(by, one.as_bytes()),
            Self::Rename(one, other, flags) => {
                journal.moving(by, one.as_bytes(), other.as_bytes(), exchange(flags))
            }
            Self::Link(_, other) => journal.linking(by, other.as_bytes()).map(drop),
        }
        .unwrap();
    }

    /// It may fail, like any call.
    fn make(&self, root: &Path, text: &str) {
        let at = |path: &str| root.join(path);
        let _ = match self {
            Self::Write(one) => fs::write(at(one), text),
            Self::Make(one) => {
                let file = fs::OpenOptions::new().write(true).create_new(true).open(at(one));
                file.and_then(|mut file| file.write_all(text.as_bytes()))
            }
            Self::MakeDir(one) => fs::create_dir(at(one)),
            Self::Remove(one) => fs::remove_file(at(one)).or_else(|_| fs::remove_dir(at(one))),
            Self::Rename(one, other, flags) => {
                rustix::fs::renameat_with(CWD, at(one), CWD, at(other), *flags).map_err(Into::into)
            }
            Self::Link(one, other) => fs::hard_link(at(one), at(other)),
        };
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || prop::sample::select(&AGENTS[..]);
    let flags = prop::sample::select(vec![
        RenameFlags::empty(),
        RenameFlags::empty(),
        RenameFlags::NOREPLACE,
        RenameFlags::EXCHANGE,
    ]);
    let call = prop_oneof![
        name().prop_map(Call::Write),
        name().prop_map(Call::Make),
        name().prop_map(Call::MakeDir),
        name().prop_map(Call::Remove),
        (name(), name(), flags).prop_map(|(one, other, flags)| Call::Rename(one, other, flags)),
        (name(), name()).prop_map(|(one, other)| Call::Link(one, other)),
    ];
    let step = prop_oneof![
        4 => (0..3usize, call).prop_map(|(thread, call)| Step::Announce(thread, call)),
        4 => (0..3usize).prop_map(Step::Do),
        1 => (0..3usize).prop_map(Step::Look),
        1 => (prop::sample::select(&PERSONS[..]), any::<bool>())
            .prop_map(|(name, keep)| Step::Person(name, keep)),
        1 => Just(Step::Mark),
    ];
    prop::collection::vec(step, 1..60)
}

/// The agent's names and the person's, each with what is there.
fn state(root: &Path) -> [BTreeMap<&'static str, Option<Vec<u8>>>; 2] {
    let of = |names: &[&'static str]| {
        let there = |name: &&'static str| {
            let path: PathBuf = root.join(name);
            let is_dir = path.is_dir().then(|| b"a directory".to_vec());
            (*name, is_dir.or_else(|| fs::read(path).ok()))
        };
        names.iter().map(there).collect()
    };
    [of(&AGENTS), of(&PERSONS)]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// S04: each name of the agent's is as it was, each of the person's as they left it.
    #[test]
    fn s04_threads_in_any_order_are_taken_back_and_a_person_is_left_alone(steps in steps()) {
        let base = tempfile::tempdir().unwrap();
        let (root, store) = (base.path().join("root"), base.path().join("store"));
        fs::create_dir_all(root.join("d")).unwrap();
        fs::create_dir(&store).unwrap();
        for name in ["a", "b", "d/a", "p", "d/p"] {
            fs::write(root.join(name), format!("{name}, as it was")).unwrap();
        }
        let log = base.path().join("journal.jsonl");
        let file = fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        let read = || journal::read(std::io::BufReader::new(fs::File::open(&log).unwrap())).unwrap();
        let kept = Store::open(&store).unwrap();
        let mut journal = Journal::new(Roots::open(&root, None).unwrap(), kept, file, &read(), Vec::new()).unwrap();

        let [start, _] = state(&root);
        let mut moments = vec![(0, start)];
        let mut going: [Option<Call>; 3] = [None, None, None];
        for (number, step) in steps.iter().enumerate() {
            let text = format!("step {number}");
            match step {
                Step::Announce(thread, call) => {
                    let mut others = going.iter().flatten().flat_map(Call::names);
                    if going[*thread].is_none() && !others.any(|name| call.names().contains(&name)) {
                        call.announce(*thread as u32 + 1, &mut journal);
                        going[*thread] = Some(call.clone());
                    }
                }
                Step::Do(thread) => {
                    if let Some(call) = going[*thread].take() {
                        call.make(&root, &text);
                    }
                }
                Step::Look(thread) => {
                    let is_over = going[*thread].is_none();
                    journal.settle_left(|by| is_over && by == *thread as u32 + 1).unwrap();
                }
                Step::Person(name, true) => fs::write(root.join(name), &text).unwrap(),
                Step::Person(name, false) => drop(fs::remove_file(root.join(name))),
                // Whoever names one waits for the calls that go on.
                Step::Mark if going.iter().all(Option::is_none) => {
                    let mark = journal.mark(&text, 1).unwrap();
                    let [agents, _] = state(&root);
                    moments.push((mark, agents));
                }
                Step::Mark => {}
            }
        }
        for call in going.iter().flatten() {
            call.make(&root, "at the end");
        }
        journal.settle_left(|_| true).unwrap();
        let [_, persons] = state(&root);
        for (mark, agents) in moments.iter().rev() {
            journal.mark("before", 1).unwrap();
            let done = journal::restore(&mut journal, &read().entries, *mark).unwrap();
            let [agents_now, persons_now] = state(&root);
            prop_assert_eq!(agents, &agents_now, "{:?} {:?}", done, read().entries);
            prop_assert_eq!(&persons, &persons_now);
        }
    }
}
