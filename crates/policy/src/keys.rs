//! Every key of a definition, in one table: it refuses unknown keys, builds the JSON schema, and
//! says which keys an organisation's policy may use.

/// The shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The number 1.
    Version,
    /// Text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Whole,
    /// A whole number, or `"none"`.
    Count,
    /// A number, or `"none"`.
    Number,
    /// A size such as `"4G"`, or `"none"`.
    Size,
    /// A duration such as `"30m"`, or `"none"`.
    Duration,
    /// A list of texts.
    Texts,
    /// A list of paths, each a text or a table with `path`.
    Paths,
    /// A list of destinations, each a text or a table with `host`.
    Hosts,
    /// A list of ports.
    Ports,
    /// A table of texts.
    Map,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Section, or nothing at the top.
    pub section: &'static str,
    /// Name within the section.
    pub name: &'static str,
    /// Shape of its value.
    pub shape: Shape,
    /// Whether the organisation's policy may use it: it can only forbid, cap or require.
    pub narrows: bool,
    /// What it does, one line.
    pub help: &'static str,
}

const fn key(
    section: &'static str,
    name: &'static str,
    shape: Shape,
    narrows: bool,
    help: &'static str,
) -> Key {
    Key { section, name, shape, narrows, help }
}

/// Modes of the workspace.
pub const MODES: &[&str] = &["review", "pair", "direct", "read-only"];
/// Modes of exec.
pub const EXEC: &[&str] = &["any", "base"];

/// Tiers.
pub const TIERS: &[&str] = &["process", "landlock"];

/// Every key.
pub const KEYS: &[Key] = &[
    key("", "version", Shape::Version, true, "Version of the definition's format: 1"),
    key("", "name", Shape::Text, false, "Name of the sandbox: its private home is kept under it"),
    key(
        "",
        "profile",
        Shape::Text,
        false,
        "Built-in profile of the agent, such as \"claude-code\"",
    ),
    key(
        "workspace",
        "mode",
        Shape::Choice(MODES),
        true,
        "review: changes wait for `ringfence apply`; pair: they are made at once and can be taken back; direct: they are made at once; read-only: none",
    ),
    key("workspace", "unprotect", Shape::Texts, false, "Protected paths that the agent may change"),
    key("files", "read", Shape::Paths, false, "Host files and directories that are visible"),
    key("files", "write", Shape::Paths, false, "Host files and directories that may be changed"),
    key(
        "files",
        "deny",
        Shape::Texts,
        true,
        "Names hidden in the workspace and in every grant; gitignore-like, without case",
    ),
    key(
        "network",
        "allow",
        Shape::Hosts,
        false,
        "Destinations HOST[:PORT] that may be reached, port 443 if none is written, and bundles such as npm",
    ),
    key(
        "network",
        "deny",
        Shape::Hosts,
        true,
        "Destinations that are refused whatever allows them; every port if none is written",
    ),
    key(
        "network",
        "publish",
        Shape::Ports,
        false,
        "Ports inside that the host's loopback reaches: INSIDE or \"HOST:INSIDE\"",
    ),
    key(
        "network",
        "resolver",
        Shape::Text,
        false,
        "DNS server to ask instead of the host's: ADDRESS:PORT",
    ),
    key("environment", "pass", Shape::Texts, false, "Host variables that are passed in"),
    key("environment", "set", Shape::Map, false, "Variables with fixed values"),
    key(
        "process",
        "exec",
        Shape::Choice(EXEC),
        true,
        "any: every executable file; base: only the read-only base",
    ),
    key(
        "process",
        "tier",
        Shape::Choice(TIERS),
        true,
        "process: namespaces, Landlock, seccomp; landlock: without namespaces, weaker, no network",
    ),
    key("process", "debug", Shape::Boolean, true, "Whether processes inside may trace each other"),
    key("limits", "memory", Shape::Size, true, "Memory of all processes together"),
    key("limits", "processes", Shape::Count, true, "Processes and threads at once"),
    key("limits", "cpu", Shape::Number, true, "Processor cores"),
    key("limits", "open_files", Shape::Count, true, "Open files per process"),
    key("limits", "file_size", Shape::Size, true, "Largest single file"),
    key("limits", "disk", Shape::Size, true, "Growth of workspace layer and home together"),
    key("limits", "tmp", Shape::Size, true, "Size of each in-memory directory"),
    key("limits", "wall", Shape::Duration, true, "Longest run"),
    key(
        "limits",
        "idle",
        Shape::Duration,
        true,
        "Longest time without output, connection or new process",
    ),
    key(
        "require",
        "landlock",
        Shape::Whole,
        true,
        "Least Landlock ABI; below it nothing is started",
    ),
    key("require", "cgroup", Shape::Boolean, true, "Whether limits must be enforced by a cgroup"),
];

/// Every section.
pub const SECTIONS: &[&str] =
    &["workspace", "files", "network", "environment", "process", "limits", "require"];

/// Keys of the table form of a path.
pub const PATH_KEYS: &[&str] = &["path", "for", "expires", "reason"];
/// Keys of the table form of an allowed destination.
pub const HOST_KEYS: &[&str] = &["host", "addresses", "for", "expires", "reason"];
/// Keys of the table form of a denied destination.
pub const DENY_KEYS: &[&str] = &["host", "reason"];

/// The key of a section.
pub fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// Names that may stand in a section, sections themselves among them at the top.
pub fn names(section: &str) -> Vec<&'static str> {
    let own = KEYS.iter().filter(|key| key.section == section);
    let mut names: Vec<_> = own.map(|key| key.name).collect();
    if section.is_empty() {
        names.extend(SECTIONS);
    }
    names
}

/// The known name nearest to an unknown one, if it is near enough to be meant.
pub fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let unknown = unknown.to_lowercase();
    let scored = known.iter().map(|name| (distance(&unknown, name), *name));
    let (score, name) = scored.min_by_key(|(score, _)| *score)?;
    let most = if name.len() <= 4 { 1 } else { 2 };
    // A plural or a longer form of the same word is meant too: `hosts`, `readonly`.
    let contained =
        unknown.len() >= 4 && (unknown.contains(name) || name.contains(unknown.as_str()));
    (score <= most || contained).then_some(name)
}

/// A section that has this name, for a key that stands in the wrong one.
pub fn section_of(name: &str) -> Option<&'static str> {
    let key = KEYS.iter().find(|key| key.name == name)?;
    Some(key.section)
}

/// Edit distance with transpositions of neighbours, on bytes; the inputs are key names.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // A text much longer than any key is far from all of them; do not spend time on it.
    if a.len() > 64 {
        return usize::MAX;
    }
    let width = b.len() + 1;
    let mut table = vec![0usize; (a.len() + 1) * width];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let at = i * width + j;
            table[at] = if i == 0 || j == 0 {
                i + j
            } else {
                let same = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (table[at - width] + 1)
                    .min(table[at - 1] + 1)
                    .min(table[at - width - 1] + same);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(table[at - 2 * width - 2] + 1);
                }
                best
            };
        }
    }
    table.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pb3_near_misses_are_named() {
        assert_eq!(nearest("alow", &names("network")), Some("allow"));
        assert_eq!(nearest("netwrok", &names("")), Some("network"));
        assert_eq!(nearest("zzz", &names("")), None);
        assert_eq!(section_of("allow"), Some("network"));
    }

    #[test]
    fn every_section_has_keys_and_every_key_a_section() {
        for key in KEYS {
            assert!(key.section.is_empty() || SECTIONS.contains(&key.section));
        }
        for section in SECTIONS {
            assert!(KEYS.iter().any(|key| key.section == *section));
        }
    }
}
