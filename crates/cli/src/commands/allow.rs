//! `ringfence allow`.

use ringfence_model::text::visible;
use ringfence_supervisor::allow::{Done, Effect, Scope, Wish, Written, allow};
use ringfence_supervisor::duration;

use crate::args::AllowArgs;
use crate::text::{Failure, json, line};

/// Remembers a person's answer, or gives it for a time. It never asks anything.
pub fn run(args: AllowArgs) -> Result<u8, Failure> {
    let scope = match (&args.time, args.user) {
        (Some(text), _) => Scope::For(
            duration(text)
                .map_err(|why| Failure::new(2, format!("--for {}: {why}", visible(text))))?,
        ),
        (None, true) => Scope::User,
        (None, false) => Scope::Project,
    };
    let time = args.time.clone();
    let as_json = args.json;
    let hosts = args.hosts.clone();
    let done = allow(&Wish {
        hosts: args.hosts,
        read: args.ro,
        write: args.rw,
        pass: args.env,
        scope,
        run: args.run,
        definition: args.definition,
        dry_run: args.dry_run,
    })?;
    if as_json {
        json(&done)?;
    } else {
        tell(&done, &hosts, time.as_deref())?;
    }
    Ok(u8::from(failed(&done)))
}

/// Whether it is not in force somewhere where it should be.
fn failed(done: &Done) -> bool {
    let refused = done.runs.iter().any(|effect| !effect.in_force && !done.dry_run);
    refused || done.written.as_ref().is_some_and(|written| !written.accepted)
}

fn tell(done: &Done, hosts: &[String], time: Option<&str>) -> Result<(), Failure> {
    if let Some(written) = &done.written {
        remembered(done, written)?;
    }
    for effect in &done.runs {
        in_run(effect, done.dry_run, hosts, time)?;
    }
    for text in &done.from_the_next_run {
        line(&format!(
            "{}: from the next run; a running sandbox cannot be given it",
            visible(text)
        ))?;
    }
    Ok(())
}

fn remembered(done: &Done, written: &Written) -> Result<(), Failure> {
    let file = written.file.display().to_string();
    for row in &written.lines {
        let verb = match (row.was_there, done.dry_run) {
            (true, _) => "is there",
            (false, true) => "would write",
            (false, false) => "wrote",
        };
        line(&format!("{verb}: {}:{}", visible(&file), row.line))?;
        line(&format!("  {}", visible(row.text.trim())))?;
    }
    if !written.accepted {
        line(&format!(
            "not in force: {} was not accepted as it was, and a line more does not change that\n  see what it opens, and accept it: ringfence trust {}",
            visible(&file),
            ringfence_supervisor::shell_word(&file)
        ))?;
    }
    Ok(())
}

fn in_run(
    effect: &Effect,
    dry_run: bool,
    hosts: &[String],
    time: Option<&str>,
) -> Result<(), Failure> {
    let id = &effect.run;
    let time = time.map(|time| format!(" for {time}")).unwrap_or_default();
    let hosts = visible(&hosts.join(", "));
    let notes = effect.notes.iter().map(|note| format!("\n  {}", lines(note))).collect::<String>();
    match (dry_run, effect.in_force) {
        (true, _) => line(&format!("run {id}: would allow {hosts}{time}")),
        (false, true) => line(&format!("run {id}: allows {hosts}{time}, from now on{notes}")),
        (false, false) => line(&format!("run {id}: does not allow {hosts}{notes}")),
    }
}

/// Several lines of a message, each as it is and none with anything that moves the cursor.
fn lines(text: &str) -> String {
    text.lines().map(visible).collect::<Vec<_>>().join("\n  ")
}
