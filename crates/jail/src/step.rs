//! One failed step of building a boundary: which, on what, and why.

use serde::{Deserialize, Serialize};
use std::io;

/// What failed inside, in a form that crosses the process border.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("cannot {step} {object}: {cause}")]
pub struct StepError {
    /// What was being done, as a verb phrase.
    pub step: String,
    /// To what.
    pub object: String,
    /// Why it failed, in words.
    pub cause: String,
    /// The error number, 0 where there is none.
    pub errno: i32,
}

impl StepError {
    /// A failed system call.
    pub fn new(step: &str, object: impl std::fmt::Display, error: &io::Error) -> Self {
        Self {
            step: step.to_owned(),
            object: object.to_string(),
            cause: error.to_string(),
            errno: error.raw_os_error().unwrap_or(0),
        }
    }

    /// A failed check.
    pub fn refused(step: &str, object: impl std::fmt::Display, cause: impl Into<String>) -> Self {
        Self { step: step.to_owned(), object: object.to_string(), cause: cause.into(), errno: 0 }
    }
}

impl From<ringfence_sys::landlock_rules::LandlockError> for StepError {
    fn from(error: ringfence_sys::landlock_rules::LandlockError) -> Self {
        Self::refused("apply", "Landlock", error.to_string())
    }
}

/// Adds step and object to a plain error.
pub trait During<T> {
    /// Names what was being done.
    ///
    /// # Errors
    /// The error itself, with its place.
    fn during(self, step: &str, object: impl std::fmt::Display) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: &str, object: impl std::fmt::Display) -> Result<T, StepError> {
        self.map_err(|error| StepError::new(step, object, &error.into()))
    }
}
