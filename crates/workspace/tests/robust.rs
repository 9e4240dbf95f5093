//! Removal of hostile trees, `kill -9` in the middle, and random work through a real overlay.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A failed set-up may panic.

mod common;

use common::{Fixture, os};
use proptest::prelude::*;
use ringfence_workspace::{discard, remove_tree};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

#[test]
fn f30_any_tree_can_be_removed_and_nothing_outside_is() {
    let f = Fixture::new("true");
    std::fs::write(f.at("outside/precious"), "p").unwrap();
    for name in [&b"a\nb"[..], b"-rf", b"\xff", b".removed-0", b".removed-1"] {
        std::fs::write(f.at("upper").join(os(name)), "x").unwrap();
    }
    symlink(f.at("outside"), f.at("upper/link")).unwrap();
    // Far beyond PATH_MAX.
    f.shell("upper", "i=0; while [ $i -lt 1000 ]; do mkdir dddddddddd; cd -P dddddddddd; echo x >f; i=$((i+1)); done");
    f.shell("upper", "mkdir -p closed/in; echo x >closed/in/x; chmod 000 closed/in closed; mkdir ro; echo x >ro/x; chmod 555 ro; mkfifo p");
    f.shell("work", "mkdir work; chmod 000 work");
    discard(&f.at("upper"), &f.at("work")).unwrap();
    assert!(!f.at("upper").exists() && !f.at("work").exists());
    assert_eq!(f.tree("outside").len(), 1);
    discard(&f.at("upper"), &f.at("work")).unwrap();

    symlink(f.at("outside"), f.at("link")).unwrap();
    remove_tree(&f.at("link")).unwrap();
    assert_eq!(f.tree("outside").len(), 1, "a link is removed, not what it leads to");
}

#[test]
fn f30_a_real_overlay_leaves_nothing_behind_after_discard() {
    let f = Fixture::new("mkdir d; echo x >d/x");
    if f.overlay("rm -r d; mkdir d; echo y >d/y; mkdir -p c; chmod 000 c") {
        discard(&f.at("upper"), &f.at("work")).unwrap();
        assert!(!f.at("upper").exists() && !f.at("work").exists());
    }
}

const FILES: usize = 60;
const CHILD: &str = "RINGFENCE_TEST_APPLY_IN";

#[test]
fn f29_killed_at_any_point_each_file_is_the_old_or_the_new_one() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let dir = std::path::PathBuf::from(dir);
        let options = ringfence_workspace::ApplyOptions {
            selection: ringfence_workspace::Selection::All,
            host_executed: Vec::new(),
            mounted: false,
        };
        let now = std::time::SystemTime::now();
        let layer = ringfence_workspace::Layer::open(&dir.join("upper"), &dir.join("lower"), now);
        println!("ready");
        layer.unwrap().apply(&options).unwrap();
        return;
    }
    let old = "o".repeat(100_000);
    let new = "n".repeat(150_000);
    let mut torn = 0;
    for round in 0..12u32 {
        let f = Fixture::new("true");
        for file in 0..FILES {
            std::fs::write(f.at(&format!("lower/{file}")), &old).unwrap();
            std::fs::write(f.at(&format!("upper/{file}")), &new).unwrap();
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "f29_killed_at_any_point_each_file_is_the_old_or_the_new_one",
                "--exact",
                "--nocapture",
            ])
            .env(CHILD, f.tmp.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Wait until some files have landed, another number each round, then kill.
        let landed = || {
            let changed =
                |n: &usize| std::fs::metadata(f.at(&format!("lower/{n}"))).unwrap().len() > 100_000;
            (0..FILES).filter(changed).count()
        };
        while landed() < round as usize * 4 && child.try_wait().unwrap().is_none() {}
        child.kill().unwrap();
        child.wait().unwrap();
        for file in 0..FILES {
            let content = std::fs::read_to_string(f.at(&format!("lower/{file}"))).unwrap();
            assert!(content == old || content == new, "file {file} in round {round}");
        }
        torn += usize::from((1..FILES).contains(&landed()));
        // And it can be done again.
        assert!(f.apply(&[]).failed.is_empty());
    }
    assert!(torn > 0, "no round was killed in the middle");
}

/// One step of work, on a small set of names so that they meet.
fn step() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "c", "c/a"]);
    (0..9u8, name.clone(), name, 0..4u32).prop_map(|(what, x, y, n)| match what {
        0 => format!("echo {n} >{x}"),
        1 => format!("echo {n} >>{x}"),
        2 => format!("rm -rf {x}"),
        3 => format!("mkdir {x}"),
        4 => format!("mv {x} {y}"),
        5 => format!("chmod {} {x}", [700, 755, 750, 711][n as usize]),
        6 => format!("ln -sn a {x}"),
        7 => format!("cp -r {x} {y}"),
        _ => format!("rm -rf {x}; mkdir {x}; echo {n} >{x}/new"),
    })
}

/// Runs work through a layer and applies it, and runs it directly; both must come to the same.
fn same_either_way(before: &[String], work: &[String]) -> Result<(), TestCaseError> {
    let join = |steps: &[String]| {
        steps
            .iter()
            .map(|s| format!("{{ {s}; }} 2>/dev/null || true"))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let (project, script) = (format!("true; {}", join(before)), join(work));
    let f = Fixture::new(&project);
    if f.overlay(&script) {
        let direct = Fixture::new(&project);
        direct.shell("lower", &script);
        let report = f.apply(&[]);
        prop_assert!(report.is_complete(), "{before:?} {work:?}: {report:?}");
        prop_assert_eq!(f.tree("lower"), direct.tree("lower"), "{:?} {:?}", before, work);
        prop_assert!(f.listed().is_empty() && f.tree("upper").is_empty());
    }
    Ok(())
}

/// PB9: cases that once went wrong.
#[test]
fn pb9_a_renamed_file_whose_old_name_is_taken_again_is_no_conflict() {
    let steps = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for work in [["mv b d", "mkdir b"], ["mv b d", "echo new >b"], ["mv b d", "ln -sn a b"]] {
        same_either_way(&steps(&["echo 0 >b"]), &steps(&work)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pb9_random_work_through_a_layer_and_apply_equals_the_work_itself(
        before in prop::collection::vec(step(), 0..8), work in prop::collection::vec(step(), 1..14)
    ) {
        same_either_way(&before, &work)?;
    }
}
