//! The settings of a repository that the agent may write while the file itself is held: what
//! `git push -u`, `git checkout --track` and `git branch -d` need.
//!
//! Judged are settings, never text: of the agent's text nothing reaches the file. What it changed is
//! written into the text that is there, in one way only.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::{Item, Setting, items, parse, render};
use crate::limits::GIT_VALUE_BYTES;

/// What a value must be.
#[derive(Clone, Copy)]
enum Rule {
    /// A word of a fixed vocabulary, a number or a truth value.
    Word,
    /// A name of a person.
    Text,
    /// A remote that the repository has, or itself.
    Remote,
    /// A full reference.
    Reference,
}

/// Which settings: data, one row each. No row may run a program, name one, or say where anything is
/// sent; `*` stands for one subsection, or at the end for any rest.
const WRITABLE: &[(&str, Rule)] = &[
    ("branch.*.remote", Rule::Remote),
    ("branch.*.pushremote", Rule::Remote),
    ("branch.*.merge", Rule::Reference),
    ("branch.*.rebase", Rule::Word),
    ("user.name", Rule::Text),
    ("user.email", Rule::Text),
    ("advice.*", Rule::Word),
    ("core.filemode", Rule::Word),
    ("fetch.prune", Rule::Word),
    ("merge.conflictstyle", Rule::Word),
    ("pull.ff", Rule::Word),
    ("pull.rebase", Rule::Word),
    ("push.autosetupremote", Rule::Word),
    ("rebase.autosquash", Rule::Word),
    ("rebase.autostash", Rule::Word),
    ("rebase.updaterefs", Rule::Word),
    ("rerere.enabled", Rule::Word),
];

/// What a setting is called.
type Name = (String, Option<String>, String);
/// The values of all settings, in order under each name.
type Values = BTreeMap<Name, Vec<Option<String>>>;

/// What an agent changed in a repository's settings, judged.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// The file's new text; `None`: nothing is changed.
    pub text: Option<String>,
    /// The names of the settings that are changed.
    pub names: Vec<String>,
}

/// Why it is not written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// One of the two texts is no settings file.
    #[error("it is not understood")]
    Syntax,
    /// These settings, or these values of theirs, are a person's to write.
    #[error("{} may name a program or a place, which only a person sets", .0.join(", "))]
    Settings(Vec<String>),
}

/// The text `old` with what `new` changes in it.
///
/// # Errors
/// [`Refused`]: all of it, or nothing.
pub fn write(old: &str, new: &str) -> Result<Written, Refused> {
    let before = items(old).map_err(|_| Refused::Syntax)?;
    let settings = |items: &[Item]| values(items.iter().filter_map(|item| item.setting.clone()));
    let (was, now) = (settings(&before), values(parsed(new)?.into_iter()));
    let changed: BTreeSet<&Name> =
        was.keys().chain(now.keys()).filter(|name| was.get(*name) != now.get(*name)).collect();
    let refused: Vec<String> = changed
        .iter()
        .filter(|name| !writable(name, now.get(**name).map_or(&[], Vec::as_slice), &was))
        .map(|name| shown(name))
        .collect();
    if !refused.is_empty() {
        return Err(Refused::Settings(refused));
    }
    if changed.is_empty() {
        return Ok(Written { text: None, names: Vec::new() });
    }
    let text = edited(old, &before, &changed, &now);
    // What is written means exactly what was judged.
    if values(parsed(&text)?.into_iter()) != now {
        return Err(Refused::Syntax);
    }
    Ok(Written { text: Some(text), names: changed.iter().map(|name| shown(name)).collect() })
}

fn parsed(text: &str) -> Result<Vec<Setting>, Refused> {
    parse(text).map_err(|_| Refused::Syntax)
}

fn name_of(setting: &Setting) -> Name {
    (setting.section.clone(), setting.subsection.clone(), setting.key.clone())
}

fn values(settings: impl Iterator<Item = Setting>) -> Values {
    let mut values = Values::new();
    for setting in settings {
        values.entry(name_of(&setting)).or_default().push(setting.value);
    }
    values
}

fn shown((section, subsection, key): &Name) -> String {
    let value = None;
    let setting = Setting {
        section: section.clone(),
        subsection: subsection.clone(),
        key: key.clone(),
        value,
    };
    ringfence_model::text::visible_bytes(setting.name().as_bytes())
}

fn writable(name: &Name, values: &[Option<String>], was: &Values) -> bool {
    let (section, subsection, key) = name;
    let plain = subsection.as_deref().is_none_or(|sub| !sub.is_empty() && is_text(sub));
    let row = WRITABLE.iter().find(|(row, _)| {
        let mut parts = row.split('.');
        match (parts.next(), parts.next(), parts.next(), subsection) {
            (Some(one), Some("*"), Some(last), Some(_)) => one == section && last == key,
            (Some(one), Some("*"), None, None) => one == section,
            (Some(one), Some(last), None, None) => one == section && last == key,
            _ => false,
        }
    });
    let fits = |value: &Option<String>, rule| match value {
        None => matches!(rule, Rule::Word),
        Some(value) => follows(value, rule, was),
    };
    plain && row.is_some_and(|(_, rule)| values.iter().all(|value| fits(value, *rule)))
}

fn follows(value: &str, rule: Rule, was: &Values) -> bool {
    let known = || (String::from("remote"), Some(value.to_owned()), String::from("url"));
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    value.len() <= GIT_VALUE_BYTES
        && match rule {
            Rule::Word => value.bytes().all(word),
            Rule::Text => is_text(value),
            Rule::Remote => value == "." || was.contains_key(&known()),
            Rule::Reference => value.starts_with("refs/") && is_text(value),
        }
}

/// Nothing that moves a terminal or hides itself.
fn is_text(value: &str) -> bool {
    ringfence_model::text::visible_bytes(value.as_bytes()) == value
}

/// The old text without the changed settings, and their new values behind it.
fn edited(old: &str, before: &[Item], changed: &BTreeSet<&Name>, now: &Values) -> String {
    let gone = |item: &Item| {
        item.setting.as_ref().is_some_and(|setting| changed.contains(&name_of(setting)))
    };
    let mut text = String::new();
    let mut kept = 0;
    for (at, item) in before.iter().enumerate() {
        let own = before.get(at + 1..).unwrap_or_default();
        let end = own.iter().position(|item| item.setting.is_none()).unwrap_or(own.len());
        let own = own.get(..end).unwrap_or_default();
        let empties = item.setting.is_none() && !own.is_empty() && own.iter().all(gone);
        if gone(item) || empties {
            let before = old.get(kept..item.span.start).unwrap_or_default();
            text.push_str(before.trim_end_matches([' ', '\t']));
            kept = item.span.end;
        }
    }
    text.push_str(old.get(kept..).unwrap_or_default());
    let text = without_blank_lines_at_the_end(&text);
    let mut fresh = Vec::new();
    for name in changed {
        let (section, subsection, key) = *name;
        fresh.extend(now.get(*name).into_iter().flatten().map(|value| Setting {
            section: section.clone(),
            subsection: subsection.clone(),
            key: key.clone(),
            value: value.clone(),
        }));
    }
    text + &render(&fresh)
}

fn without_blank_lines_at_the_end(text: &str) -> String {
    let text = text.trim_end_matches(['\n', ' ', '\t']);
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# mine\n[core]\n\tbare = false ; a comment\n[remote \"origin\"]\n\turl = https://host.test/x\n\
        [branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n";

    fn written(new: &str) -> String {
        write(OLD, new).unwrap().text.unwrap()
    }

    #[test]
    fn a_branch_gets_and_loses_its_upstream() {
        let topic = "[branch \"topic\"]\n\tremote = origin\n\tmerge = refs/heads/topic\n";
        let text = written(&format!("{OLD}{topic}"));
        assert!(text.starts_with("# mine\n[core]\n\tbare = false ; a comment\n"), "{text}");
        assert!(text.contains("[branch \"topic\"]\n\tmerge = \"refs/heads/topic\"\n"), "{text}");
        let again = write(&text, OLD).unwrap();
        assert_eq!(again.text.unwrap(), OLD);
        assert_eq!(again.names, ["branch.topic.merge", "branch.topic.remote"]);
        let main_gone = OLD.split("[branch").next().unwrap();
        assert_eq!(written(main_gone), main_gone);
        assert_eq!(write(OLD, OLD).unwrap().text, None);
    }

    /// F10: of a text only the settings count, and of those only harmless ones.
    #[test]
    fn f10_nothing_that_runs_or_sends_is_written() {
        for bad in [
            "[core]\n\thooksPath = x\n",
            "[core]\n\tfsmonitor = x\n",
            "[core \"x\"]\n\tfilemode = true\n",
            "[include]\n\tpath = x\n",
            "[includeIf \"gitdir:/\"]\n\tpath = x\n",
            "[alias]\n\tst = !sh\n",
            "[remote \"evil\"]\n\turl = https://evil.test/x\n",
            "[remote \"origin\"]\n\turl = https://evil.test/x\n",
            "[remote \"origin\"]\n\tpushurl = https://evil.test/x\n",
            "[url \"https://evil.test/\"]\n\tinsteadOf = https://host.test/\n",
            "[branch \"topic\"]\n\tremote = https://evil.test/x\n",
            "[branch \"topic\"]\n\tremote = ext::sh -c x\n",
            "[branch \"topic\"]\n\tremote = evil\n",
            "[branch \"topic\"]\n\tmerge = ../x\n",
            "[branch \"topic\"]\n\tmergeOptions = -s x\n",
            "[branch]\n\tremote = origin\n",
            "[branch \"a\\nb\"]\n\tremote = \n",
            "[user]\n\tname = \"\u{1b}]0;x\u{7}\"\n",
            "[push]\n\tdefault = upstream\n",
            "[pull]\n\trebase = \"a b\"\n",
            "[extensions]\n\tworktreeConfig = true\n",
            "[filter \"f\"]\n\tclean = x\n",
        ] {
            let refused = write(OLD, &format!("{OLD}{bad}"));
            assert!(matches!(refused, Err(Refused::Settings(_))), "{bad}: {refused:?}");
        }
        let names = ["core.bare", "remote.origin.url"].map(str::to_owned).to_vec();
        assert_eq!(write(OLD, ""), Err(Refused::Settings(names)));
        assert_eq!(write(OLD, "]"), Err(Refused::Syntax));
        // The names of a text that is not the agent's: it may hold anything.
        let hooks = format!("{OLD}[core]\n\thooksPath = .husky/_\n");
        assert_eq!(write(&hooks, &hooks).unwrap().text, None);
    }

    mod against_git {
        use std::process::Command;

        use proptest::prelude::*;

        use super::super::*;
        use super::OLD;

        /// Pieces of settings files, whole and broken.
        const PIECES: &[&str] = &[
            "[core]\n",
            "[core \"x\"]\n",
            "[branch \"topic\"]\n",
            "[branch \"a b\"]",
            "[branch.old]\n",
            "[push]",
            "[include]\n",
            "[includeIf \"gitdir:/\"]\n",
            "[remote \"origin\"]\n",
            "[alias]\n",
            "[user]\n",
            "[",
            "]",
            "\"",
            "\\",
            "\\\n",
            "\n",
            "\t",
            " ",
            "#",
            ";",
            "=",
            ".",
            "\u{feff}",
            "\0",
            "\u{b}",
            "é",
            "remote = origin\n",
            "remote = .\n",
            "merge = refs/heads/x\n",
            "merge = \"refs/heads/a\\\"b\"\n",
            "default = simple\n",
            "default = simple ; hooksPath = x\n",
            "hooksPath = x\n",
            "fsmonitor = x\n",
            "name = A \\\n[core]\n",
            "name = \"A\n",
            "path = x\n",
            "url = https://x.test/\n",
            "filemode\n",
            "filemode = \"fa\"lse\n",
            "editor = x",
            "rebase = true\n",
            "key-1 = v\n",
            "1 = v\n",
        ];

        /// What git itself reads in a text; `None` where it refuses it.
        fn git(text: &str) -> Option<Vec<(String, String)>> {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            let mut command = Command::new("git");
            command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").args([
                "config",
                "-z",
                "--list",
                "--no-includes",
                "-f",
            ]);
            let out = command.arg(file.path()).output().unwrap();
            let entries = String::from_utf8(out.stdout).ok().filter(|_| out.status.success())?;
            let entry = |entry: &str| {
                let (name, value) = entry.split_once('\n').unwrap_or((entry, ""));
                (name.to_owned(), value.to_owned())
            };
            Some(entries.split_terminator('\0').map(entry).collect())
        }

        fn is_harmless(name: &str) -> bool {
            WRITABLE.iter().any(|(row, _)| match row.split_once('*') {
                Some((start, end)) => name.starts_with(start) && name.ends_with(end),
                None => name == *row,
            })
        }

        proptest! {
            #![proptest_config(ProptestConfig {
                cases: 96,
                failure_persistence: None,
                ..ProptestConfig::default()
            })]

            /// F10: however odd the agent's text, git reads nothing new in what is written but harmless
            /// settings, and everything else as it was.
            #[test]
            fn f10_git_reads_nothing_else(
                pieces in prop::collection::vec(prop::sample::select(PIECES), 0..12),
                behind in any::<bool>(),
            ) {
                let odd: String = pieces.concat();
                let new = if behind { format!("{OLD}{odd}") } else { format!("{odd}\n{OLD}") };
                let Ok(Written { text: Some(text), .. }) = write(OLD, &new) else { return Ok(()) };
                let (was, now) = (git(OLD).unwrap(), git(&text));
                prop_assert!(now.is_some(), "git refuses {text:?}");
                let other = |list: &[(String, String)]| -> Vec<(String, String)> {
                    list.iter().filter(|(name, _)| !is_harmless(name)).cloned().collect()
                };
                prop_assert_eq!(other(&now.unwrap()), other(&was), "{:?} became {:?}", new, text);
            }
        }
    }
}
