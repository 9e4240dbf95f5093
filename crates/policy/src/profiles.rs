//! Built-in profiles: definitions embedded in the binary, read by the same parser as any other.

/// The profile that lies under every run.
pub const DEFAULT: &str = "default";

/// Name and text of each profile.
const PROFILES: &[(&str, &str)] = &[
    (DEFAULT, include_str!("../profiles/default.toml")),
    ("claude-code", include_str!("../profiles/claude-code.toml")),
];

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
