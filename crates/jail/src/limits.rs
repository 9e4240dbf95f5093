//! Numbers of the process tier, with units, in one place.

/// TCP port of the capture listener on the sandbox's own loopback: below 1024, so that nothing
/// inside can bind it or want it.
pub const CAPTURE_PORT: u16 = 61;
/// TCP and UDP port of the name server on the sandbox's own loopback, reached by redirection.
pub const DNS_PORT: u16 = 62;
/// Waiting connections per capture listener.
pub const CAPTURE_BACKLOG: i32 = 4096;
/// Size of the constructed root's own file system, in bytes: only made files and mount points.
pub const ROOT_BYTES: u64 = 16 * 1024 * 1024;
/// Largest file that is copied into the constructed root, in bytes.
pub const COPY_BYTES: u64 = 1024 * 1024;
/// Most capture listeners where the kernel cannot redirect: one pair per named port.
pub const NAMED_PORTS: usize = 64;
