//! One row of a table: what it needs, what is done, and what must come of it.

use serde::Deserialize;

/// One everyday command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its name in messages.
    pub id: String,
    /// Programs without which it is skipped; names, or absolute paths. `{tools}` is the place of those that
    /// are installed for these tests.
    #[serde(default)]
    pub needs: Vec<String>,
    /// What is prepared on the host.
    #[serde(default)]
    pub setup: String,
    /// What runs on the host while the row does; it is ended with it.
    #[serde(default)]
    pub beside: String,
    /// What succeeds on the host once `beside` can be used: the control group of what is run inside.
    #[serde(default)]
    pub ready: String,
    /// Flags of the run; `{port}` is the server's, `{free}` one that nobody has on the host.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Where it starts, relative to the project.
    #[serde(default)]
    pub directory: String,
    /// Whether a small HTTP server listens on the host's loopback.
    #[serde(default)]
    pub server: bool,
    /// Whether it needs the Rust toolchain that these tests are built with; `{rust}` is its place.
    #[serde(default)]
    pub rust: bool,
    /// How long it may take, in seconds.
    #[serde(default = "patience")]
    pub patience: u64,
    /// What is run inside.
    pub run: String,
    /// Why it cannot work, in any mode.
    #[serde(default)]
    refused: Option<String>,
    /// Why it cannot work in `pair` and `direct`.
    #[serde(default)]
    refused_in_place: Option<String>,
    /// Why it cannot work in `direct`.
    #[serde(default)]
    refused_direct: Option<String>,
    /// Why it cannot work in `review`.
    #[serde(default)]
    refused_review: Option<String>,
    /// What a refusal's message contains; alternatives with `|`.
    #[serde(default)]
    says: String,
    /// Why something may be denied by the way, although it works.
    #[serde(default)]
    pub denied: String,
    /// What must hold on the host afterwards.
    #[serde(default)]
    after: String,
    /// The same, in `pair` and `direct` alone.
    #[serde(default)]
    after_in_place: String,
}

/// What a row must come to.
#[derive(Clone, Copy, Debug)]
pub enum Expectation<'a> {
    /// It works, and nothing was denied.
    Works,
    /// It fails, clearly, for a documented reason.
    Refused {
        /// The reason.
        why: &'a str,
        /// What its message contains.
        says: &'a str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    row: Vec<Row>,
}

const fn patience() -> u64 {
    60
}

/// The rows of a table's text.
///
/// # Panics
/// If it is not a table, two rows share a name, or a refusal has no message to look for.
#[must_use]
pub fn rows(text: &str) -> Vec<Row> {
    let table: Table = toml::from_str(text).expect("a table of rows");
    for (index, row) in table.row.iter().enumerate() {
        let again = table.row.iter().skip(index + 1).any(|other| other.id == row.id);
        assert!(!again, "two rows are called {}", row.id);
        let reasons =
            [&row.refused, &row.refused_in_place, &row.refused_direct, &row.refused_review];
        let refused = reasons.iter().any(|reason| reason.is_some());
        assert_eq!(refused, !row.says.is_empty(), "{}: a refusal says something", row.id);
    }
    table.row
}

impl Row {
    /// What must come of it in a mode.
    #[must_use]
    pub fn expectation(&self, mode: &str) -> Expectation<'_> {
        let own = match mode {
            "direct" => self.refused_direct.as_ref().or(self.refused_in_place.as_ref()),
            "pair" => self.refused_in_place.as_ref(),
            "review" => self.refused_review.as_ref(),
            _ => None,
        };
        match own.or(self.refused.as_ref()) {
            Some(why) => Expectation::Refused { why, says: &self.says },
            None => Expectation::Works,
        }
    }

    /// What must hold on the host afterwards.
    pub fn after(&self, mode: &str) -> impl Iterator<Item = &str> {
        let direct =
            if mode == "pair" || mode == "direct" { self.after_in_place.as_str() } else { "" };
        [self.after.as_str(), direct].into_iter().filter(|script| !script.is_empty())
    }
}
