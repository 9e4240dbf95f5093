//! Limits of the mechanisms, with units, in one place.

/// Most descriptors passed in one message.
pub const PASSED_DESCRIPTORS: usize = 16;
/// Largest message passed with descriptors, in bytes.
pub const PASSED_MESSAGE_BYTES: usize = 64 * 1024;
/// Largest netlink answer read at once, in bytes.
pub const NETLINK_ANSWER_BYTES: usize = 32 * 1024;
