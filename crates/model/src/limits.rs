//! Every limit of the plain types, with units, in one place.

/// Longest host name, in bytes, without a trailing dot (RFC 1035 section 2.3.4).
pub const HOST_NAME_BYTES: usize = 253;
/// Longest label of a host name, in bytes (RFC 1035 section 2.3.4).
pub const HOST_LABEL_BYTES: usize = 63;
/// Longest sandbox name, in bytes; it becomes a directory and a host name.
pub const SANDBOX_NAME_BYTES: usize = 40;
/// Largest message between gateway and supervisor, in bytes.
pub const LINK_MESSAGE_BYTES: usize = 64 * 1024;
/// Largest single ledger record, in bytes of canonical JSON; longer fields are truncated and marked.
pub const RECORD_BYTES: usize = 256 * 1024;
