//! Every limit of the authority, with units, in one place.

/// Most prepared policy sets kept; further combinations of rules are put together for each question,
/// which costs some microseconds more and never a pause.
pub const PREPARED_SETS: usize = 8192;
/// Most prepared policies kept; a rule beyond is prepared again when it is needed.
pub const PREPARED_POLICIES: usize = 65_536;
