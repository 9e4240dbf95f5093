//! Taking back: whatever a program did through its calls, the tree is as it was.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use ringfence_workspace::journal::{self, Journal, Restored, Store};
use rustix::fs::{CWD, Mode, RenameFlags};

/// The program's only thread.
const THREAD: u32 = 1;

/// A tree, its journal, and the moves of a program that has all its calls looked at.
struct Desk {
    _base: tempfile::TempDir,
    root: PathBuf,
    store: PathBuf,
    log: PathBuf,
    journal: Journal,
}

impl Desk {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let (root, store, log) = (at("root"), at("store"), at("journal.jsonl"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&store).unwrap();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("a"), "a, as it was").unwrap();
        fs::write(root.join("d/b"), "b, as it was").unwrap();
        symlink("a", root.join("l")).unwrap();
        let journal = open(&root, &store, &log);
        Self { _base: base, root, store, log, journal }
    }

    fn entries(&self) -> Vec<journal::Entry> {
        log(&self.log).entries
    }

    fn restore(&mut self, since: u64) -> Restored {
        let entries = self.entries();
        journal::restore(&mut self.journal, &entries, since).unwrap()
    }

    fn act(&mut self, act: &Act) {
        let at = |path: &str| self.root.join(path);
        let journal = &mut self.journal;
        // A call whose parent directory is not there fails before it changes anything.
        match act {
            Act::Write(path, text) => {
                let _ = journal.writing(THREAD, path.as_bytes());
                let _ = fs::write(at(path), text);
            }
            Act::Append(path, text) => {
                let _ = journal.writing(THREAD, path.as_bytes());
                let file = fs::OpenOptions::new().append(true).create(true).open(at(path));
                let _ = file.map(|mut file| file.write_all(text.as_bytes()));
            }
            Act::Remove(path) => {
                let _ = journal.removing(THREAD, path.as_bytes());
                let _ = fs::remove_file(at(path)).or_else(|_| fs::remove_dir(at(path)));
            }
            Act::Rename(from, to) => {
                let _ = journal.moving(THREAD, from.as_bytes(), to.as_bytes(), false);
                let _ = fs::rename(at(from), at(to));
            }
            Act::Exchange(one, other) => {
                let _ = journal.moving(THREAD, one.as_bytes(), other.as_bytes(), true);
                let _ =
                    rustix::fs::renameat_with(CWD, at(one), CWD, at(other), RenameFlags::EXCHANGE);
            }
            Act::MakeDir(path) => {
                let _ = journal.making(THREAD, path.as_bytes());
                let _ = fs::create_dir(at(path));
            }
            Act::Symlink(path, target) => {
                let _ = journal.making(THREAD, path.as_bytes());
                let _ = symlink(target, at(path));
            }
            Act::Link(from, to) => {
                let _ = journal.linking(THREAD, to.as_bytes());
                let _ = fs::hard_link(at(from), at(to));
            }
            Act::Mode(path, mode) => {
                // Of a file with several names, the bits go back under the name that changed them.
                let one_name = |meta: fs::Metadata| meta.is_dir() || meta.nlink() == 1;
                let Ok(meta) = fs::symlink_metadata(at(path)) else { return };
                // An ordinary user must still be able to enter a directory.
                let mode = if meta.is_dir() { mode | 0o100 } else { *mode };
                if !meta.is_symlink() && one_name(meta) {
                    let _ = journal.mode(THREAD, path.as_bytes());
                    let _ = fs::set_permissions(at(path), fs::Permissions::from_mode(mode));
                }
            }
        }
    }
}

fn open(root: &Path, store: &Path, log: &Path) -> Journal {
    let file = fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
    let held = vec![b"held".to_vec()];
    Journal::new(root, Store::open(store).unwrap(), file, &self::log(log), held).unwrap()
}

fn log(path: &Path) -> journal::Log {
    journal::read(std::io::BufReader::new(fs::File::open(path).unwrap())).unwrap()
}

#[derive(Clone, Debug)]
enum Act {
    Write(&'static str, String),
    Append(&'static str, String),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    Exchange(&'static str, &'static str),
    MakeDir(&'static str),
    Symlink(&'static str, &'static str),
    Link(&'static str, &'static str),
    Mode(&'static str, u32),
}

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

/// Every name with its kind, mode and content; which names are one file does not count.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                todo.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), (meta.mode(), content));
        }
    }
    all
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
        let net = journal::net(&desk.root, Store::open(&desk.store).unwrap(), &desk.entries(), 0);
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
    let net = journal::net(&desk.root, store, &desk.entries(), 0).unwrap();
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

/// FH3: a journal whose writer died in a line is gone on with, and nothing is lost.
#[test]
fn fh3_a_torn_journal_is_gone_on_with() {
    let mut desk = Desk::new();
    let start = snapshot(&desk.root);
    desk.act(&Act::Remove("a"));
    let mut torn = fs::OpenOptions::new().append(true).open(&desk.log).unwrap();
    torn.write_all(br#"{"number":2,"act":"bef"#).unwrap();
    // What was kept for that line is there already.
    fs::write(desk.store.join("2"), "of the torn line").unwrap();
    desk.journal = open(&desk.root, &desk.store, &desk.log);
    desk.act(&Act::Write("d/b", "changed".to_owned()));
    assert_eq!(desk.entries().len(), 2);
    let done = desk.restore(0);
    assert!(done.left.is_empty(), "{done:?}");
    assert_eq!(snapshot(&desk.root), start);
}

/// FH3: without a place for its entry a change is refused, with the error of the disk.
#[test]
fn fh3_without_room_for_the_journal_nothing_changes() {
    let desk = Desk::new();
    let acts: [fn(&mut Journal) -> std::io::Result<()>; 6] = [
        |journal| journal.writing(THREAD, b"a"),
        |journal| journal.making(THREAD, b"new").map(drop),
        |journal| journal.removing(THREAD, b"d/b"),
        |journal| journal.moving(THREAD, b"a", b"d/a", false),
        |journal| journal.mode(THREAD, b"a"),
        |journal| journal.mark("m", 1).map(drop),
    ];
    for (number, act) in acts.into_iter().enumerate() {
        let full = fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
        let store = Store::open(&desk.store).unwrap();
        let empty = journal::read(&b""[..]).unwrap();
        let mut journal = Journal::new(&desk.root, store, full, &empty, Vec::new()).unwrap();
        let refused = act(&mut journal).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull, "{number}");
        // Behind a part of a line that cannot be cut off nothing is written either.
        assert!(act(&mut journal).is_err(), "{number}");
    }
}

/// P12: a file that is given the number of one that was kept is another file.
#[test]
fn p12_a_reused_inode_is_kept_for_itself() {
    let mut desk = Desk::new();
    desk.act(&Act::Write("a", "changed".to_owned()));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let first = inode(&desk.root.join("a"));
    // The person replaces it; which number a file gets is the file system's.
    let mut spare = Vec::new();
    for number in 0..500 {
        fs::remove_file(desk.root.join("a")).unwrap();
        fs::write(desk.root.join("a"), "the person's").unwrap();
        if inode(&desk.root.join("a")) == first {
            break;
        }
        let away = desk.root.join(format!("spare-{number}"));
        fs::rename(desk.root.join("a"), &away).unwrap();
        fs::write(desk.root.join("a"), "the person's").unwrap();
        spare.push(away);
    }
    let before = desk.entries().len();
    desk.act(&Act::Write("a", "changed again".to_owned()));
    assert_eq!(desk.entries().len(), before + 1, "the person's file was not kept");
    let kept = fs::read_to_string(desk.store.join(desk.entries()[before].number.to_string()));
    assert_eq!(kept.unwrap(), "the person's");
}

/// F10: what is held is neither written down nor put back.
#[test]
fn f10_a_held_path_is_left_alone() {
    let mut desk = Desk::new();
    fs::create_dir(desk.root.join("held")).unwrap();
    fs::write(desk.root.join("held/hook"), "the person's").unwrap();
    for path in ["held", "held/hook", "held/new"] {
        desk.journal.writing(THREAD, path.as_bytes()).unwrap();
        desk.journal.removing(THREAD, path.as_bytes()).unwrap();
        desk.journal.mode(THREAD, path.as_bytes()).unwrap();
        desk.journal.moving(THREAD, path.as_bytes(), b"x", false).unwrap();
        desk.journal.moving(THREAD, b"a", path.as_bytes(), false).unwrap();
    }
    assert!(desk.entries().is_empty(), "{:?}", desk.entries());
    // A path that is held since: what was kept of it stays where it is.
    let mut open_before = journal_holding(&desk, Vec::new());
    open_before.removing(THREAD, b"held/hook").unwrap();
    fs::remove_file(desk.root.join("held/hook")).unwrap();
    let entries = desk.entries();
    let mut held_now = journal_holding(&desk, vec![b"held".to_vec()]);
    let done = journal::restore(&mut held_now, &entries, 0).unwrap();
    assert_eq!((done.restored, done.left.len()), (0, 1), "{done:?}");
    assert!(!desk.root.join("held/hook").exists());
}

fn journal_holding(desk: &Desk, held: Vec<Vec<u8>>) -> Journal {
    let file = fs::OpenOptions::new().append(true).open(&desk.log).unwrap();
    Journal::new(&desk.root, Store::open(&desk.store).unwrap(), file, &log(&desk.log), held)
        .unwrap()
}

/// S04: a call that failed is about nothing: what a person makes or moves there since stays.
#[test]
fn s04_a_call_that_failed_is_not_taken_back() {
    let mut desk = Desk::new();
    desk.journal.making(THREAD, b"new").unwrap();
    desk.journal.removing(THREAD, b"d").unwrap();
    desk.journal.moving(THREAD, b"a", b"d/b", false).unwrap();
    desk.journal.mode(THREAD, b"l").unwrap();
    desk.journal.settle_left(|_| true).unwrap();
    assert!(desk.entries().is_empty(), "{:?}", desk.entries());
    fs::write(desk.root.join("new"), "the person's").unwrap();
    fs::rename(desk.root.join("a"), desk.root.join("d/b")).unwrap();
    let done = desk.restore(0);
    assert_eq!(done, Restored::default());
    assert_eq!(fs::read_to_string(desk.root.join("d/b")).unwrap(), "a, as it was");
}

/// What was made since the last moment costs nothing when it goes again.
#[test]
fn what_no_moment_holds_is_not_kept() {
    let mut desk = Desk::new();
    for number in 0..50 {
        desk.act(&Act::Write("b", format!("{number}")));
        desk.act(&Act::Write("b", "again".to_owned()));
        desk.act(&Act::Rename("b", "e"));
        desk.act(&Act::Remove("e"));
    }
    desk.journal.making(THREAD, b"pipe").unwrap();
    let pipe = (desk.root.join("pipe"), rustix::fs::FileType::Fifo);
    rustix::fs::mknodat(CWD, &pipe.0, pipe.1, Mode::RUSR, 0).unwrap();
    desk.act(&Act::Remove("pipe"));
    assert_eq!(fs::read_dir(&desk.store).unwrap().count(), 0);
    desk.act(&Act::Write("b", "at the moment".to_owned()));
    let mark = desk.journal.mark("moment", 1).unwrap();
    desk.act(&Act::Remove("b"));
    let done = desk.restore(mark);
    assert!(done.left.is_empty(), "{done:?}");
    assert_eq!(fs::read_to_string(desk.root.join("b")).unwrap(), "at the moment");
    assert_eq!(desk.restore(0).left, []);
}

/// S04: a file that its owner may not read loses its name and is given it back.
#[test]
fn s04_an_unreadable_file_is_given_its_name_back() {
    let mut desk = Desk::new();
    fs::set_permissions(desk.root.join("a"), fs::Permissions::from_mode(0o200)).unwrap();
    desk.act(&Act::Remove("a"));
    desk.act(&Act::Remove("d/b"));
    let done = desk.restore(0);
    assert!(done.left.is_empty(), "{done:?}");
    assert_eq!(fs::metadata(desk.root.join("a")).unwrap().mode() & 0o777, 0o200);
}

/// S04: a person's save right after the agent's is not taken for the failure of the agent's.
#[test]
fn s04_what_was_replaced_stays_kept_when_a_person_saves_over_it() {
    let mut desk = Desk::new();
    desk.act(&Act::Write("b", "the agent's".to_owned()));
    desk.act(&Act::Rename("b", "a"));
    let person = desk.root.join("person");
    fs::write(&person, "the person's").unwrap();
    fs::rename(&person, desk.root.join("a")).unwrap();
    desk.journal.settle_left(|_| true).unwrap();
    desk.restore(0);
    assert_eq!(fs::read_to_string(desk.root.join("a")).unwrap(), "a, as it was");
}

/// S04: a call that is going on when a moment is named and then fails is about nothing all the same.
#[test]
fn s04_a_call_that_fails_over_a_moment_is_not_taken_back() {
    let mut desk = Desk::new();
    desk.journal.moving(THREAD, b"d", b"a", false).unwrap();
    desk.journal.mark("moment", 1).unwrap();
    desk.journal.settle_left(|_| true).unwrap();
    fs::rename(desk.root.join("a"), desk.root.join("mine")).unwrap();
    let done = desk.restore(0);
    assert_eq!(done, Restored::default());
    assert!(desk.root.join("mine").exists());
}

/// S04: what was being made when a moment was named may be in it: it is kept when it goes.
#[test]
fn s04_what_is_made_over_a_moment_is_kept() {
    let mut desk = Desk::new();
    desk.journal.writing(THREAD, b"new").unwrap();
    fs::write(desk.root.join("new"), "at the moment").unwrap();
    let mark = desk.journal.mark("moment", 1).unwrap();
    desk.journal.settle_left(|_| true).unwrap();
    desk.act(&Act::Remove("new"));
    let done = desk.restore(mark);
    assert!(done.left.is_empty(), "{done:?}");
    assert_eq!(fs::read_to_string(desk.root.join("new")).unwrap(), "at the moment");
}

/// P12: what a person puts at a name at which the agent could make nothing is kept when the agent
/// removes it.
#[test]
fn p12_a_persons_file_is_not_taken_for_one_that_the_agent_made() {
    let later = |root: &Path| {
        std::thread::sleep(Duration::from_millis(150));
        fs::write(root.join("new"), "the person's").unwrap();
    };
    let moved = |root: &Path| fs::rename(root.join("a"), root.join("new")).unwrap();
    for person in [&later as &dyn Fn(&Path), &moved] {
        let mut desk = Desk::new();
        // Files of one tick of the clock are of one age.
        std::thread::sleep(Duration::from_millis(50));
        desk.journal.writing(THREAD, b"new").unwrap();
        person(&desk.root);
        desk.journal.settle_left(|_| true).unwrap();
        desk.act(&Act::Remove("new"));
        assert_eq!(fs::read_dir(&desk.store).unwrap().count(), 1, "{:?}", desk.entries());
    }
}

/// S04: a move whose source another thread is making at the same time keeps what it replaces.
#[test]
fn s04_a_move_of_what_is_being_made_is_taken_back() {
    let mut desk = Desk::new();
    let start = snapshot(&desk.root);
    desk.journal.writing(THREAD, b"new").unwrap();
    desk.journal.moving(THREAD + 1, b"new", b"a", false).unwrap();
    fs::write(desk.root.join("new"), "new").unwrap();
    fs::rename(desk.root.join("new"), desk.root.join("a")).unwrap();
    desk.journal.settle_left(|_| true).unwrap();
    let done = desk.restore(0);
    assert!(done.left.is_empty(), "{done:?}");
    assert_eq!(snapshot(&desk.root), start);
}

/// S04: permission bits go back to what had them, and not to what a person put in its place.
#[test]
fn s04_the_bits_of_another_file_stay() {
    let mut desk = Desk::new();
    fs::set_permissions(desk.root.join("a"), fs::Permissions::from_mode(0o666)).unwrap();
    desk.act(&Act::Mode("a", 0o600));
    fs::write(desk.root.join("mine"), "secret").unwrap();
    fs::set_permissions(desk.root.join("mine"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(desk.root.join("mine"), desk.root.join("a")).unwrap();
    let done = desk.restore(0);
    assert_eq!(done.left.len(), 1, "{done:?}");
    assert_eq!(fs::metadata(desk.root.join("a")).unwrap().mode() & 0o777, 0o600);
}

/// S04: a file that is open over a moment is kept whatever its bits say, and an unreadable one does
/// not keep the rest from being taken back.
#[test]
fn s04_a_file_that_is_open_over_a_moment_needs_no_bits() {
    for bits in [0o400, 0o200] {
        let mut desk = Desk::new();
        desk.act(&Act::Append("a", ", begun".to_owned()));
        let mut held = fs::OpenOptions::new().append(true).open(desk.root.join("a")).unwrap();
        desk.act(&Act::Mode("a", bits));
        let mark = desk.journal.mark("moment", 1).unwrap();
        desk.journal.open_over_a_moment(b"a").unwrap();
        held.write_all(b" and ended").unwrap();
        desk.act(&Act::Remove("d/b"));
        let done = desk.restore(mark);
        let path = desk.root.join("a");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, bits);
        assert!(desk.root.join("d/b").exists(), "{done:?}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let kept = bits == 0o400 || rustix::process::geteuid().is_root();
        assert_eq!(done.left.is_empty(), kept, "{done:?}");
        let now = if kept { "a, as it was, begun" } else { "a, as it was, begun and ended" };
        assert_eq!(fs::read_to_string(&path).unwrap(), now);
    }
}
