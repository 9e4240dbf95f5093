//! The ledger as `ringfence logs --json` shows it: one record a line.

use serde_json::Value;

/// All records of one run, in order.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The records.
    pub records: Vec<Value>,
}

/// Whether a record's event has this type.
#[must_use]
pub fn of_type(record: &Value, kind: &str) -> bool {
    record["event"]["type"] == kind
}

impl Ledger {
    /// Reads one record per line.
    ///
    /// # Panics
    /// If a line is not JSON.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let records = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("a log line is not JSON ({error}): {line}"))
            })
            .collect();
        Self { records }
    }

    /// The events of one type (`limit`, `end`, `decision`, …).
    #[must_use]
    pub fn events(&self, kind: &str) -> Vec<&Value> {
        self.records
            .iter()
            .filter(|record| of_type(record, kind))
            .map(|record| &record["event"])
            .collect()
    }

    /// The only event of one type.
    ///
    /// # Panics
    /// If there is none, or more than one.
    #[must_use]
    pub fn the(&self, kind: &str) -> &Value {
        let events = self.events(kind);
        assert_eq!(events.len(), 1, "one `{kind}` event expected in {:#?}", self.records);
        events[0]
    }

    /// Whether a limit of this name was recorded as hit.
    #[must_use]
    pub fn names_limit(&self, name: &str) -> bool {
        self.events("limit").iter().any(|event| event["name"] == name)
    }

    /// Decisions that denied, as their JSON text (for searching).
    #[must_use]
    pub fn denials(&self) -> Vec<String> {
        self.events("decision")
            .iter()
            .filter(|event| event["decision"]["verdict"] == "deny")
            .map(|event| event.to_string())
            .collect()
    }
}
