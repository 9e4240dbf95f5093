//! Built-in profiles: definitions embedded in the binary, read by the same parser as any other; and which
//! of them goes with which program.

use std::path::PathBuf;

/// The profile that lies under every run.
pub const DEFAULT: &str = "default";

/// Name and text of each profile.
const PROFILES: &[(&str, &str)] = &[
    (DEFAULT, include_str!("../profiles/default.toml")),
    ("claude-code", include_str!("../profiles/claude-code.toml")),
    ("codex", include_str!("../profiles/codex.toml")),
    ("opencode", include_str!("../profiles/opencode.toml")),
    ("gemini-cli", include_str!("../profiles/gemini-cli.toml")),
    ("copilot-cli", include_str!("../profiles/copilot-cli.toml")),
    ("aider", include_str!("../profiles/aider.toml")),
    ("service", include_str!("../profiles/service.toml")),
];

/// Profiles of agents that start browsers.
const CODING: &[&str] = &["claude-code", "codex", "opencode", "gemini-cli", "copilot-cli", "aider"];

/// Settings that a program takes from a system-wide file alone: profiles, path below the sandbox's `/etc`,
/// content.
const SETTINGS: &[(&[&str], &str, &str)] = &[
    (&["codex"], "codex/config.toml", include_str!("../profiles/codex.config.toml")),
    (CODING, "chromium.d/ringfence", include_str!("../profiles/chromium.flags")),
];

/// Name of a program, and the profile that goes with it.
const PROGRAMS: &[(&str, &str)] = &[
    ("claude", "claude-code"),
    ("codex", "codex"),
    ("opencode", "opencode"),
    ("gemini", "gemini-cli"),
    ("copilot", "copilot-cli"),
    ("aider", "aider"),
];

/// The profile that goes with the program of a run, where nothing else names one.
///
/// A name alone proves nothing: whoever makes this has found the program where the run will find it, and
/// has seen that no agent could have put it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramProfile {
    /// The profile.
    pub profile: &'static str,
    /// Where the program lies.
    pub program: PathBuf,
}

/// The text of a profile, or `None` if there is none of that name.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    let row = PROFILES.iter().find(|row| row.0 == name)?;
    Some(row.1)
}

/// Names of all profiles.
#[must_use]
pub fn names() -> Vec<&'static str> {
    PROFILES.iter().map(|row| row.0).collect()
}

/// Files that a profile adds to the sandbox's `/etc`: path below it, and content.
pub fn settings(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.iter().filter(move |row| row.0.contains(&name)).map(|row| (row.1, row.2))
}

/// The profile that goes with a program of this name.
#[must_use]
pub fn of_program(name: &str) -> Option<&'static str> {
    let row = PROGRAMS.iter().find(|row| row.0 == name)?;
    Some(row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_has_a_profile_that_exists() {
        for (program, profile) in PROGRAMS {
            assert_eq!(of_program(program), Some(*profile), "{program}");
            assert!(text(profile).is_some_and(|_| *profile != DEFAULT), "{program}");
        }
        assert_eq!(of_program("sh"), None);
    }

    #[test]
    fn settings_belong_to_a_profile_and_stay_below_etc() {
        for (profiles, path, _) in SETTINGS {
            assert!(profiles.iter().all(|profile| text(profile).is_some()), "{profiles:?}");
            assert!(!path.starts_with('/') && !path.contains(".."), "{path}");
        }
    }
}
