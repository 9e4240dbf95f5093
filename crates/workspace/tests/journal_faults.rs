//! What goes wrong around a journal: torn files, full disks, failed calls, and a person beside the agent.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod desk;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use desk::{Act, Desk, THREAD, log, open, snapshot};
use ringfence_workspace::journal::{self, Journal, Restored, Roots, Store};
use rustix::fs::{CWD, Mode};

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
        let mut journal =
            Journal::new(Roots::open(&desk.root, None).unwrap(), store, full, &empty, Vec::new())
                .unwrap();
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
    Journal::new(
        Roots::open(&desk.root, None).unwrap(),
        Store::open(&desk.store).unwrap(),
        file,
        &log(&desk.log),
        held,
    )
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

/// A repository that lies elsewhere is part of it, with paths of its own.
#[test]
fn a_repository_elsewhere_is_taken_back_too() {
    let desk = Desk::new();
    let repository = desk.root.parent().unwrap().join("repository");
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "one").unwrap();
    let before = snapshot(&repository);
    let roots = || Roots::open(&desk.root, Some(&repository)).unwrap();
    let file = || fs::OpenOptions::new().append(true).open(&desk.log).unwrap();
    let store = || Store::open(&desk.store).unwrap();
    let held = vec![b"//repository/config".to_vec()];
    let mut journal = Journal::new(roots(), store(), file(), &log(&desk.log), held).unwrap();
    journal.writing(THREAD, b"//repository/refs/main").unwrap();
    fs::write(repository.join("refs/main"), "two").unwrap();
    journal.making(THREAD, b"//repository/hooks").unwrap();
    fs::create_dir(repository.join("hooks")).unwrap();
    fs::write(repository.join("hooks/x"), "").unwrap();
    journal.writing(THREAD, b"//repository/config").unwrap();
    journal.moving(THREAD, b"//repository/refs", b"//repository/r", false).unwrap();
    fs::rename(repository.join("refs"), repository.join("r")).unwrap();
    journal.settle_left(|_| true).unwrap();
    let net = journal::net(&desk.root, roots(), store(), &desk.entries(), 0).unwrap();
    let told: Vec<String> =
        net.changes.iter().map(|c| format!("{} {}", c.kind.letter(), c.shown())).collect();
    assert!(told.contains(&"A //repository/hooks".to_owned()), "{told:?}");
    let hook = net.changes.iter().find(|change| change.path.ends_with(b"hooks/x")).unwrap();
    assert!(matches!(hook.class, ringfence_workspace::Class::HostExecuted(_)), "{hook:?}");
    fs::remove_file(repository.join("hooks/x")).unwrap();
    let done = journal::restore(&mut journal, &desk.entries(), 0).unwrap();
    assert!(done.left.is_empty(), "{done:?}");
    assert_eq!(snapshot(&repository), before);
    // Without it, its paths lead nowhere.
    let mut without = open(&desk.root, &desk.store, &desk.log);
    without.writing(THREAD, b"//repository/refs/main").unwrap();
}
