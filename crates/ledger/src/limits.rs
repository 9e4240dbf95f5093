//! Every limit of the ledger, with units, in one place.

pub use ringfence_model::limits::RECORD_BYTES;

/// Largest integer that canonical JSON may carry, either sign (RFC 8785 section 3.2.2.3).
pub const INTEGER_MAX: u64 = 1 << 53;
/// Deepest nesting of arrays and objects in a record.
pub const DEPTH: usize = 64;
/// Longest line of a ledger in bytes, newline excluded: a record, its subject and its hashes.
pub const LINE_BYTES: usize = RECORD_BYTES + 16 * 1024;
/// Longest text in a field in bytes and longest list in items, tried in turn until the record fits
/// in [`RECORD_BYTES`].
pub const FIELD_STEPS: [(usize, usize); 4] = [(4096, 1024), (1024, 512), (256, 256), (64, 128)];
/// Longest single argument or environment value in bytes before it is cut.
pub const ARGUMENT_BYTES: usize = 1024;
/// Shortest secret that is masked by its value, in bytes: shorter ones are common words.
pub const KNOWN_SECRET_BYTES: usize = 6;
/// Warnings that a verification keeps; later ones are only counted.
pub const WARNINGS: usize = 100;
/// Bytes that a verification reads at once. Memory stays within a small multiple of it.
pub const VERIFY_CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Threads that look at lines during a verification.
pub const VERIFY_WORKERS: usize = 4;
/// Bytes below which a verification starts no further thread.
pub const VERIFY_PIECE_BYTES: usize = 128 * 1024;
/// Times that a write is tried again after a signal interrupted it before the first byte.
pub const INTERRUPTED_WRITES: usize = 16;
/// Distinct questions that a coalescer remembers.
pub const COALESCE_KEYS: usize = 1024;
/// Time in which equal denials are counted into one record, in nanoseconds.
pub const COALESCE_WINDOW_NS: u64 = 1_000_000_000;
