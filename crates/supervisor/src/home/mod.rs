//! A home that feels like home: what of the user's own comes inside, and what never does.
//!
//! Everything here is read outside, as data, and written anew for the sandbox: no file of the user's
//! is mounted, no program of theirs is started, and nothing that an agent wrote is followed.

pub mod agents;
mod bring;
pub mod entries;
pub mod git;
pub mod logins;
mod place;
mod settings;

use std::path::{Path, PathBuf};

use ringfence_model::boundary::Tier;
use ringfence_policy::Compiled;

use self::agents::Agent;
use self::entries::Entry;
use self::place::{Host, Private};
use crate::paths::Paths;
use crate::rundir::RunDir;
use crate::trust::{Answer, TrustError, Trusted};

pub use self::bring::Copied;

/// Why the home cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// A file of it cannot be written.
    #[error("cannot prepare the agent's home {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kept login cannot be used.
    #[error(transparent)]
    Login(#[from] logins::LoginError),
}

/// The agent whose profile is in use, if it has something in a home. Tier landlock has no network for
/// it, and cannot show copies where it looks for them.
#[must_use]
pub fn agent(compiled: &Compiled) -> Option<&'static Agent> {
    let compiled = Some(compiled).filter(|compiled| compiled.tier.value == Tier::Process)?;
    compiled.profile.as_ref().and_then(|profile| agents::of(&profile.value))
}

/// Whether the run is given the agent's kept login: a named sandbox keeps its own.
#[must_use]
pub fn keeps_login(compiled: &Compiled) -> bool {
    compiled.name.is_none() && agent(compiled).is_some_and(|agent| !agent.logins.is_empty())
}

/// The value of a variable that the policy passes inside.
fn passed(compiled: &Compiled, name: &str) -> Option<String> {
    if let Some(set) = compiled.set.get(name) {
        return Some(set.value.clone());
    }
    let named = compiled.pass.iter().any(|rule| rule.name == name);
    named.then(|| std::env::var(name).ok()).flatten()
}

/// Settles which hooks and servers of the user's come inside: what was accepted as it is now, and
/// what a person accepts now. Without a person they stay out, which is said once for each.
///
/// # Errors
/// The record of answers cannot be used.
pub fn settle(
    paths: &Paths,
    uid: u32,
    compiled: &Compiled,
    ask: &mut dyn FnMut(&Entry) -> Option<bool>,
) -> Result<(Vec<Entry>, Vec<String>), TrustError> {
    let Some(agent) = agent(compiled) else { return Ok((Vec::new(), Vec::new())) };
    let host = Host { home: &paths.home, uid };
    let (entries, mut notes) = entries::collect(agent, &host, &|name| passed(compiled, name));
    let mut accepted = Vec::new();
    if entries.is_empty() {
        return Ok((accepted, notes));
    }
    let mut trusted = Trusted::load(paths)?;
    for entry in entries {
        let known = trusted.answer(&entry.digest);
        let answer = match known {
            Some(settled @ (Answer::Accepted | Answer::Refused)) => settled,
            Some(Answer::Told) | None => match ask(&entry) {
                Some(true) => Answer::Accepted,
                Some(false) => Answer::Refused,
                None => Answer::Told,
            },
        };
        if answer == Answer::Told && known.is_none() {
            notes.push(format!(
                "{} stays out: start the agent in a terminal once to be asked about it",
                entry.title()
            ));
        }
        if known != Some(answer) {
            trusted.remember(paths, &entry.digest, &entry.title(), answer)?;
        }
        if answer == Answer::Accepted {
            accepted.push(entry);
        }
    }
    Ok((accepted, notes))
}

/// What was prepared in and for the private home.
#[derive(Debug, Default)]
pub struct Ready {
    /// Copies that are seen read-only.
    pub copies: Vec<Copied>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Secrets of the kept login, to be masked in the ledger.
    pub secrets: Vec<String>,
}

/// Prepares the private home of one run.
///
/// # Errors
/// [`HomeError`]; what was written lies in the run's directory or its private home.
pub fn prepare(
    paths: &Paths,
    uid: u32,
    compiled: &Compiled,
    run: &RunDir,
    private_home: &Path,
    accepted: &[Entry],
) -> Result<Ready, HomeError> {
    let Some(agent) = agent(compiled) else { return Ok(Ready::default()) };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| HomeError::File { path, source }
    };
    let host = Host { home: &paths.home, uid };
    let store = run.file("brought");
    let mut brought = bring::copy(agent, &host, &store).map_err(failed(&store))?;
    let (mut files, notes) = settings::compose(agent, &host, accepted);
    brought.notes.extend(notes);
    let mut secrets = Vec::new();
    if keeps_login(compiled) {
        secrets = logins::give(agent, run, &paths.state, &mut files)?;
    }
    let home = Private::open(private_home).map_err(failed(private_home))?;
    for (path, (format, members)) in &files {
        let written = settings::text(*format, members)
            .map_err(std::io::Error::other)
            .and_then(|text| home.write_new(Path::new(path), text.as_bytes()));
        // A kept home is the agent's own: what it made of it is no reason to refuse it a start.
        if let Err(error) = written {
            brought.notes.push(format!("~/{path} is not written in the agent's home: {error}"));
        }
    }
    let mut copies = Vec::new();
    for copied in brought.copies {
        match home.make_room(Path::new(copied.target), copied.source.is_dir()) {
            Ok(()) => copies.push(copied),
            Err(error) => brought
                .notes
                .push(format!("~/{} stays out of the agent's home: {error}", copied.target)),
        }
    }
    Ok(Ready { copies, notes: brought.notes, secrets })
}

#[cfg(test)]
mod tests {
    use ringfence_policy::CommandLine;

    use super::*;
    use crate::load::Layers;

    /// S29: an entry is asked about once; the answer holds until a byte of it changes.
    #[test]
    fn s29_an_entry_is_asked_about_once_and_again_when_it_changes() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().canonicalize().unwrap();
        let at = |name: &str| home.join(name);
        let paths = Paths { home: home.clone(), state: at("state"), config: at("config") };
        std::fs::create_dir_all(at("work")).unwrap();
        let layers = Layers::read(&paths, &at("work"), None, crate::clock::now()).unwrap();
        let profile = Some("claude-code".to_owned());
        let command_line = CommandLine { profile, ..CommandLine::default() };
        let compiled = layers.compile(&command_line, false).unwrap();
        let uid = rustix::process::getuid().as_raw();
        let mut asked = 0;
        let mut settle = |text: &str, answer: Option<bool>| {
            std::fs::write(at(".claude.json"), text).unwrap();
            let mut ask = |_: &Entry| {
                asked += 1;
                answer
            };
            let (accepted, notes) = settle(&paths, uid, &compiled, &mut ask).unwrap();
            (accepted.len(), notes.len(), std::mem::take(&mut asked))
        };
        let one = r#"{"mcpServers":{"a":{"command":"x"}}}"#;
        let two = r#"{"mcpServers":{"a":{"command":"y"}}}"#;
        assert_eq!(settle(one, None), (0, 1, 1), "nobody is here: out, with a note");
        assert_eq!(settle(one, None), (0, 0, 1), "the note is not repeated");
        assert_eq!(settle(one, Some(true)), (1, 0, 1));
        assert_eq!(settle(one, Some(false)), (1, 0, 0), "accepted, and not asked again");
        assert_eq!(settle(two, Some(false)), (0, 0, 1), "another command is another question");
        assert_eq!(settle(two, Some(true)), (0, 0, 0), "refused, and not asked again");
        assert_eq!(settle(one, None), (1, 0, 0));
    }
}
