//! Twenty-odd things that agents do all day, in one conversation: none may be denied.

use ringfence_contained_tests::needs::has;

use super::{Day, Kind, texts};
use crate::support::tree::{assert_unchanged, snapshot};

/// What a task prints when it has been done, before its name; its command says it in two parts.
const DONE: &str = "TASK-DONE";
/// The script that names the tasks.
const TASKS: &str = include_str!("../../../../scripted-model/scripts/tasks.json");

/// Every task is done, and no denial is recorded but those that the agent's profile is known for.
pub fn twenty(kind: &'static Kind) {
    if !has(kind.profile, &["node", "npm", "cc"]) {
        return;
    }
    let Some(day) = Day::new(kind, "tasks.json", "sink.test:9") else {
        return;
    };
    let fixture = &day.world.fixture;
    let before = snapshot(&fixture.home());
    let outcome = day.contained();
    let said = texts(&day.results());
    assert_eq!(outcome.code, 0, "{outcome:?}\n{said}");
    let names = names();
    assert!(names.len() >= 20, "{names:?}");
    let missing: Vec<&String> =
        names.iter().filter(|name| !said.contains(&format!("{DONE} {name}."))).collect();
    assert!(missing.is_empty(), "{}: not done: {missing:?}\n{said}", kind.profile);
    day.assert_no_false_denial(&[]);
    assert_unchanged(&fixture.home(), &before, "the tasks");
    fixture.verify_ledgers();
}

/// The names of the tasks, as the script gives them to `printf`.
fn names() -> Vec<String> {
    let name =
        |rest: &str| rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
    TASKS.split("DONE ").skip(1).map(name).collect()
}
