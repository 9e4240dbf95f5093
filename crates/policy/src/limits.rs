//! Every limit of the policy crate, with units, in one place.

/// Largest definition file, in bytes.
pub const DEFINITION_BYTES: usize = 1024 * 1024;
/// Most entries of a list of destinations.
pub const NETWORK_ENTRIES: usize = 20_000;
/// Most entries of any other list: each may become a mount, or is compared with every path.
pub const LIST_ENTRIES: usize = 1000;
/// Most problems reported at once.
pub const PROBLEMS: usize = 50;
/// Longest path or pattern in a definition, in bytes (Linux `PATH_MAX`).
pub const PATH_BYTES: usize = 4096;
/// Most grants that a run holds at once.
pub const GRANTS: usize = 1000;
/// Longest `reason`, in bytes.
pub const REASON_BYTES: usize = 400;
/// Longest duration of a grant or limit, in milliseconds: ten years.
pub const DURATION_MS: u64 = 10 * 365 * 24 * 3600 * 1000;
/// Shortest IPv4 prefix of an `allow`: a wider range is over-broad.
pub const ALLOW_PREFIX_V4: u8 = 8;
/// Shortest IPv6 prefix of an `allow`: fc00::/7 is the widest range that has one purpose.
pub const ALLOW_PREFIX_V6: u8 = 7;

/// Least `memory`, in bytes: below this no interpreter starts.
pub const MEMORY_FLOOR: u64 = 16 << 20;
/// Least `processes`: init, a shell and one program with a thread.
pub const PROCESSES_FLOOR: u64 = 4;
/// Least `open_files`.
pub const OPEN_FILES_FLOOR: u64 = 64;
/// Least `cpu`, in thousandths of a core.
pub const CPU_MILLI_FLOOR: u64 = 10;
/// Least `tmp`, `disk` and `file_size`, in bytes.
pub const STORAGE_FLOOR: u64 = 1 << 20;
/// Least `wall` and `idle`, in milliseconds.
pub const TIME_FLOOR_MS: u64 = 1000;

/// Default share of the host's memory, in percent: leaves room for the desktop beside it.
pub const MEMORY_PERCENT: u64 = 75;
/// Default number of processes and threads: a parallel build on a large machine stays below it, a
/// fork bomb is stopped long before the kernel's own limit of 32,768.
pub const PROCESSES: u64 = 4096;
/// Default open files per process: enough for file watchers; a higher hard limit makes programs
/// that close every possible descriptor slow.
pub const OPEN_FILES: u64 = 65_536;
/// Default share of the host's memory for each in-memory directory, in percent.
pub const TMP_PERCENT: u64 = 25;
/// Most that `tmp` is by default, in bytes.
pub const TMP_MOST: u64 = 8 << 30;
/// Default growth of workspace layer and home together, in bytes: dependency trees and build
/// output of a large project are 5 to 15 GiB, and a runaway is stopped before most disks are full.
pub const DISK: u64 = 20 << 30;
/// Default least Landlock ABI: the constructed root carries reads, so the first ABI suffices.
pub const LANDLOCK_FLOOR: u32 = 1;
/// Highest Landlock ABI that a definition may require.
pub const LANDLOCK_MOST: u32 = 99;
