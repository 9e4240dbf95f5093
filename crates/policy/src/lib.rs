//! From a definition to a compiled policy: strict parsing, layers with provenance, Cedar text,
//! explanations.
//!
//! Nothing here does I/O or reads a clock: callers give the bytes of files, a [`Host`] that turns
//! paths into canonical ones, and the time. Nothing here ever guesses: what is not understood is
//! refused with file, line, column and the fix.
#![forbid(unsafe_code)]

mod bundle;
pub mod cedar;
pub mod command_line;
mod compile;
mod compiled;
mod coverage;
mod definition;
mod deny;
mod document;
mod ends;
pub mod error;
pub mod explain;
mod files;
mod grant;
mod host;
pub mod init;
mod keys;
pub mod limits;
mod merge;
mod narrow;
mod network;
mod profiles;
mod protected;
mod remember;
mod scalars;
mod schema;
mod sensitive;
mod values;
mod variables;

pub use bundle::{Bundle, BundleHost, BundleHosts, NoBundle, Via};
pub use command_line::CommandLine;
pub use compile::{DefinitionText, Inputs, check, compile, names_openings};
pub use compiled::{
    COMPILED_VERSION, Compiled, Effect, FileRule, FloorPlan, LimitKind, Mask, NetRule, PassRule,
    PublishRule, Trust, Widening, WorkspacePlan,
};
pub use deny::{DenyPattern, DenyRule};
pub use ends::Ends;
pub use error::{Fault, Problem, Problems};
pub use explain::{Explanation, Knowing, explain, explain_knowing, shell_word};
pub use grant::{Permit, Permitted};
pub use host::{Facts, Found, FoundKind, Host, Unresolved};
pub use profiles::{
    DEFAULT as DEFAULT_PROFILE, ProgramProfile, names as profile_names,
    of_program as profile_of_program, settings as profile_settings, text as profile_text,
};
pub use protected::{PROTECTED, Protected};
pub use remember::{Key, Place, Remember, Remembered, remember};
pub use schema::schema;
pub use sensitive::{Base, SENSITIVE, Sensitive, is_sensitive};
pub use values::{Sourced, duration, duration_words};
pub use variables::dangerous_variable;

/// SHA-256 of some bytes, as 64 lower-case hex digits.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    use std::fmt::Write as _;
    let mut text = String::with_capacity(64);
    for byte in sha2::Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
