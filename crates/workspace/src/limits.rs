//! Every limit of the workspace code, with units, in one place.

/// Directories that a change may lie in, one inside the other. Two descriptors are held for each.
pub const DEPTH: usize = 200;
/// Changes that one layer may have.
pub const CHANGES: usize = 1_000_000;
/// Entries of a project directory that are looked at for names that differ only in case.
pub const CASE_SCAN_ENTRIES: usize = 20_000;
/// Largest file, in bytes, whose lines are compared for `diff`.
pub const DIFF_FILE_BYTES: u64 = 1024 * 1024;
/// Time, in milliseconds, after which a comparison of lines settles for a longer answer.
pub const DIFF_MILLISECONDS: u64 = 500;
/// Unchanged lines shown around a change.
pub const DIFF_CONTEXT_LINES: usize = 3;
/// Bytes read at once when files are compared or copied.
pub const COPY_BYTES: usize = 128 * 1024;
/// Largest list of extended attribute names, and largest value, in bytes (`xattr(7)`).
pub const XATTR_BYTES: usize = 64 * 1024;
/// Largest `.git/config`, in bytes, that is searched for `core.hooksPath`.
pub const GIT_CONFIG_BYTES: u64 = 256 * 1024;
/// Times that `openat2` is tried again when the tree changed under it (`EAGAIN`).
pub const OPEN_TRIES: usize = 16;
/// Largest file, in bytes, that a `pair` workspace copies before it is written, where the file system
/// cannot share blocks.
pub const KEPT_FILE_BYTES: u64 = 1024 * 1024 * 1024;
/// Temporary names tried in one directory before giving up.
pub const TEMPORARY_NAMES: u32 = 100;
/// Directories that a removal descends before it moves what is deeper to the top.
pub const REMOVE_DEPTH: usize = 64;
/// Directories that counting what a tree takes descends; one descriptor is held for each.
pub const USAGE_DEPTH: usize = 256;
/// Entries that counting what a tree takes looks at.
pub const USAGE_ENTRIES: u64 = 5_000_000;
/// Names that a removal reads at once.
pub const REMOVE_BATCH: usize = 4096;
/// Longest path given to one `openat2`, in bytes (PATH_MAX is 4096).
pub const PATH_STEP_BYTES: usize = 2048;
/// Entries of a project looked at for links in places that the host runs things from.
pub const ALIAS_ENTRIES: usize = 20_000;
/// Directories that this search descends.
pub const ALIAS_DEPTH: usize = 8;
/// Links followed one after the other (path_resolution(7) has 40).
pub const ALIAS_LINKS: usize = 40;
/// Largest journal of a `pair` workspace, in bytes: what would be written behind that does not happen.
pub const JOURNAL_BYTES: u64 = 512 * 1024 * 1024;
/// Calls in a `pair` workspace whose outcome is waited for at once; each holds one descriptor.
pub const PENDING_CALLS: usize = 256;
/// Time, in milliseconds, in which a call of a `pair` workspace makes a file; one that is younger may be
/// somebody else's.
pub const MADE_WITHIN_MS: i64 = 100;
/// Files and paths that a `pair` workspace remembers to have dealt with since the last moment.
pub const KNOWN_THINGS: usize = 2_000_000;
