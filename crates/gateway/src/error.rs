//! Why a gateway process ends with an error. All of these end the run: there is no way past it.

use std::io;

/// What stopped the gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A system call failed while starting.
    #[error("the gateway could not {what}: {source}; run `ringfence doctor`")]
    Start {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// Landlock is missing or refused the rules.
    #[error("the gateway could not confine itself with Landlock: {0}; run `ringfence doctor`")]
    Landlock(#[from] landlock::RulesetError),
    /// The kernel took the Landlock rules but does not enforce them.
    #[error(
        "the kernel accepted the gateway's Landlock rules but does not enforce them; run `ringfence doctor`"
    )]
    LandlockNotEnforced,
    /// The seccomp program could not be built.
    #[error("the gateway's seccomp filter could not be built: {what}; run `ringfence doctor`")]
    Seccomp {
        /// What is wrong.
        what: String,
    },
    /// It was told to become root.
    #[error("the gateway must not keep user or group id 0; give it an unprivileged id")]
    DropToRoot,
    /// A proxy variable of the host cannot be followed.
    #[error("{variable} cannot be used: {why}; unset it or name an http:// proxy")]
    Proxy {
        /// Which variable.
        variable: &'static str,
        /// Why not.
        why: String,
    },
    /// Init's first message is not what was agreed.
    #[error("the sandbox did not hand over its listeners: {what}")]
    Handoff {
        /// What is wrong.
        what: String,
    },
    /// The link to the supervisor failed (its plain end is no error).
    #[error("the link to the supervisor failed: {0}")]
    Link(#[source] io::Error),
}

/// Names the step that failed.
pub(crate) fn starting<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> GatewayError {
    move |error| GatewayError::Start { what, source: error.into() }
}
