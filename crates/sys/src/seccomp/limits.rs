//! Every limit of the seccomp modules, with its unit. No other file here may state one.

/// Most bytes of one string read from another process, without its NUL.
pub const REMOTE_STRING_BYTES: usize = 4096;

/// Most arguments of one argv read from another process.
pub const REMOTE_ARGUMENTS: usize = 256;

/// Most bytes of one argv, all arguments together, without the NULs.
pub const REMOTE_ARGV_BYTES: usize = 32 * 1024;

/// Most bytes of one notification or of one answer; the kernel's structs have 80 and 24 today and
/// may grow, a kernel that wants more is refused when the listener is opened.
pub const NOTIFICATION_BYTES: usize = 512;

/// Most bytes read at once from another process: a read that crosses no page either succeeds
/// whole or fails, and no Linux page is smaller.
pub(super) const REMOTE_READ_BYTES: usize = 4096;
