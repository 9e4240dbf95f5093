//! What can be wrong with a definition. Every problem names the place, the cause and the fix.

use ringfence_model::provenance::Source;
use std::fmt;

/// All problems found, in the order of their places; never empty in an `Err`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// One problem at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub source: Source,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source.file {
            Some(file) => {
                write!(f, "{}:{}:{}: ", file.display(), self.source.line, self.source.column)?
            }
            None => write!(f, "{}: ", self.source)?,
        }
        write!(f, "{}", self.fault)?;
        let fix = self.fault.fix();
        if fix.is_empty() { Ok(()) } else { write!(f, "\n  fix: {fix}") }
    }
}

/// The cause of a problem. Texts from a file are shown escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file is not TOML.
    #[error("not valid TOML: {0}")]
    Syntax(String),
    /// The file is not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// The file is too large to be a definition.
    #[error("the file has {bytes} bytes; a definition has at most {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The `version` key is missing.
    #[error("the definition has no `version`")]
    NoVersion,
    /// The `version` is not one that this ringfence reads.
    #[error("this ringfence does not read version {0} of definitions")]
    Version(String),
    /// A key that does not exist.
    #[error("unknown key `{}`{}", key.escape_debug(), within(section))]
    UnknownKey {
        /// The key.
        key: String,
        /// The section it stands in; empty at the top.
        section: String,
        /// The nearest key that exists.
        near: Option<String>,
        /// Every key that may stand there.
        known: String,
    },
    /// A value of another type.
    #[error("`{key}` must be {expected}, not {found}")]
    WrongType {
        /// The key.
        key: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value that does not parse.
    #[error("`{}` in `{key}`: {why}", text.escape_debug())]
    Value {
        /// The key.
        key: String,
        /// The text.
        text: String,
        /// The rule it breaks.
        why: String,
    },
    /// A list that is too long.
    #[error("`{key}` has {count} entries; at most {limit} are read")]
    TooMany {
        /// The key.
        key: String,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A grant that opens far more than a task needs.
    #[error("`{}` is too broad: {why}", what.escape_debug())]
    OverBroad {
        /// The grant.
        what: String,
        /// Why.
        why: String,
        /// What to write instead.
        instead: String,
    },
    /// A path that does not exist.
    #[error("`{}` does not exist, so the rule can match nothing", .0.escape_debug())]
    NoSuchPath(String),
    /// A path that cannot be looked at.
    #[error("`{}` cannot be looked at: {cause}", path.escape_debug())]
    Unreadable {
        /// The path.
        path: String,
        /// The kernel's words.
        cause: String,
    },
    /// A rule that can match nothing.
    #[error("`{}` can match nothing: {why}", what.escape_debug())]
    MatchesNothing {
        /// The rule.
        what: String,
        /// Why.
        why: String,
        /// What to write instead.
        instead: String,
    },
    /// A permit that a forbid of the same layer takes back entirely.
    #[error(
        "`{what}` is allowed here, but `{by}` denies all of it ({place}), and a deny always wins"
    )]
    CoveredByDeny {
        /// The permit.
        what: String,
        /// The forbid.
        by: String,
        /// Where the forbid is.
        place: String,
    },
    /// A permit whose end has passed.
    #[error("`{}` has expired", .0.escape_debug())]
    Expired(String),
    /// An `unprotect` of something that is not protected.
    #[error("`{}` is not a protected path", .0.escape_debug())]
    NotProtected(String),
    /// A permit in the organisation's policy.
    #[error(
        "`{0}` opens something, and the organisation's policy may only forbid, cap and require"
    )]
    OrganisationNarrows(String),
    /// A grant of a place where secrets are kept.
    #[error("`{}` holds {why}", path.escape_debug())]
    Sensitive {
        /// The path.
        path: String,
        /// What is kept there.
        why: String,
        /// What to do instead.
        instead: String,
    },
    /// A grant of something that hands out the host.
    #[error("`{}` is {what}: whoever reaches it has the host", path.escape_debug())]
    Handle {
        /// The path.
        path: String,
        /// What it is.
        what: String,
    },
    /// A write grant that holds ringfence's own files.
    #[error("a write grant of `{}` would let the agent change {what}", path.escape_debug())]
    HoldsOwn {
        /// The grant.
        path: String,
        /// What lies in it.
        what: String,
    },
    /// A directory that cannot be a workspace.
    #[error("`{}` cannot be the workspace: {why}", path.escape_debug())]
    Workspace {
        /// The directory.
        path: String,
        /// Why.
        why: String,
    },
    /// A variable that changes what programs load or run.
    #[error("the variable `{}` {why}", name.escape_debug())]
    DangerousVariable {
        /// The name.
        name: String,
        /// What it does.
        why: &'static str,
    },
    /// A profile that does not exist.
    #[error("there is no profile `{}`", name.escape_debug())]
    UnknownProfile {
        /// The name.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// A bundle without hosts on this machine.
    #[error("the bundle `{bundle}` opens nothing here: {why}")]
    NoBundle {
        /// Its name.
        bundle: &'static str,
        /// The tool, and what was looked at.
        why: String,
        /// What helps.
        fix: String,
    },
    /// Two entries that exclude each other.
    #[error("`{}`: {why}", what.escape_debug())]
    Conflict {
        /// The entry.
        what: String,
        /// What it clashes with.
        why: String,
    },
    /// A permit that would change nothing: a forbid of another layer denies all of it.
    #[error("`{}` is denied by {place}, {}", what.escape_debug(), whose(*organisation))]
    Denied {
        /// The permit.
        what: String,
        /// Where the forbid is.
        place: String,
        /// Whether it is the organisation's.
        organisation: bool,
    },
    /// A list that is written empty takes back what other layers permit.
    #[error(
        "`{key}` is written empty, which takes back what other layers permit; with an entry it would not any more"
    )]
    Emptied {
        /// The key.
        key: String,
    },
    /// A text in a form to which nothing can be added without writing it anew.
    #[error("no entry can be added to `{key}` here without rewriting what stands around it")]
    ByHand {
        /// The key.
        key: String,
        /// The entry, as it would be written.
        entry: String,
    },
    /// More grants than one run may hold.
    #[error("{0} grants of this run have not ended yet, and no run holds more")]
    TooManyGrants(usize),
    /// Something in ringfence itself went wrong; nothing is started.
    #[error("internal: {0}")]
    Internal(String),
}

fn within(section: &str) -> String {
    if section.is_empty() { String::new() } else { format!(" in [{section}]") }
}

fn whose(organisation: bool) -> &'static str {
    if organisation {
        "and only the organisation can change that"
    } else {
        "and a deny always wins"
    }
}

impl Fault {
    /// The one edit that would help, or nothing.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Syntax(_) => "correct the line; strings are quoted, lists are in [ ]".into(),
            Self::NotText => "save the file as UTF-8".into(),
            Self::TooLarge { .. } => "shorten it".into(),
            Self::NoVersion | Self::Version(_) => "write `version = 1` as the first line".into(),
            Self::UnknownKey { near, known, .. } => match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are: {known}"),
            },
            Self::WrongType { key, expected, .. } => format!("write `{key}` as {expected}"),
            Self::TooMany { .. } => "use patterns such as `*.example.com`, or fewer entries".into(),
            Self::OverBroad { instead, .. }
            | Self::MatchesNothing { instead, .. }
            | Self::Sensitive { instead, .. } => instead.clone(),
            Self::NoSuchPath(_) => "correct the path, create it, or remove the line".into(),
            Self::Unreadable { .. } => "name a path that you may read yourself".into(),
            Self::CoveredByDeny { .. } => "remove one of the two".into(),
            Self::Expired(_) => "remove the line, or give it a later `expires`".into(),
            Self::NotProtected(_) => {
                format!("the protected paths are: {}", crate::protected::list())
            }
            Self::OrganisationNarrows(key) => {
                format!("move `{key}` to a user's policy.toml, or remove it")
            }
            Self::Handle { .. } => "remove it; there is no setting that opens it".into(),
            Self::HoldsOwn { .. } => "grant a directory that does not hold it".into(),
            Self::Workspace { .. } => "start ringfence in the directory of one project".into(),
            Self::DangerousVariable { name, .. } => {
                format!(
                    "give it a value of its own under [environment]: set = {{ {name} = \"…\" }}"
                )
            }
            Self::UnknownProfile { known, .. } => format!("the profiles are: {known}"),
            Self::NoBundle { fix, .. } => fix.clone(),
            Self::Denied { organisation: false, .. } => "remove the deny if you mean it".into(),
            Self::Emptied { .. } => "write the entry there yourself if you mean it".into(),
            Self::ByHand { key, entry } => format!("write it yourself: {key} = [{entry}]"),
            Self::TooManyGrants(_) => "remember the answer: leave out --for".into(),
            Self::Value { .. }
            | Self::Conflict { .. }
            | Self::Denied { .. }
            | Self::Internal(_) => String::new(),
        }
    }
}
