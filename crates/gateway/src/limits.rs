//! Every limit of the gateway, with units, in one place. Nothing here grows with what the agent
//! sends.

use std::time::Duration;

/// Connections of one sandbox that may be open at once, all kinds together.
pub const FLOWS: usize = 4096;
/// Descriptors one connection may need at most: two sockets and two pipes of two ends.
pub const DESCRIPTORS_PER_FLOW: u64 = 6;
/// Descriptors kept free for listeners, the link, the resolver and the runtime.
pub const DESCRIPTORS_RESERVED: u64 = 96;
/// Clear-text request head or first TLS handshake message held for judging, in bytes.
pub const HEAD_BYTES: usize = 64 * 1024;
/// Header fields in one request head.
pub const HEAD_FIELDS: usize = 256;
/// Request line of clear-text HTTP, in bytes.
pub const REQUEST_LINE_BYTES: usize = 32 * 1024;
/// One line of a chunked body's framing (size and extensions, or one trailer), in bytes.
pub const CHUNK_LINE_BYTES: usize = 4096;
/// Wait for the first byte where the client must speak first (ports 80 and 443).
pub const FIRST_BYTE: Duration = Duration::from_secs(30);
/// Wait for a whole head once its first byte has come.
pub const WHOLE_HEAD: Duration = Duration::from_secs(10);
/// How long a denied client on another port may take to speak before it is reset without words.
pub const DENIED_FIRST_BYTE: Duration = Duration::from_millis(250);
/// How long the words of a refusal may take to reach the client.
pub const FAREWELL: Duration = Duration::from_secs(2);
/// Bytes of the client read and dropped after a refusal, so that its words arrive.
pub const FAREWELL_BYTES: usize = 256 * 1024;
/// Wait for the supervisor's answer, a person's approval included; then it is a denial.
pub const DECISION: Duration = Duration::from_secs(300);
/// Wait for the answer about an open connection under a new policy; then it is reset.
pub const REJUDGE: Duration = Duration::from_millis(800);
/// A connection that moves no byte for this long is closed.
pub const IDLE: Duration = Duration::from_secs(2 * 60 * 60);
/// The same, once one side has said its last word.
pub const IDLE_HALF_CLOSED: Duration = Duration::from_secs(10 * 60);
/// How often idleness is looked at.
pub const IDLE_TICK: Duration = Duration::from_secs(60);
/// Destinations of which it is told that a ClientHello hid a second name.
pub const HIDDEN_NAMES: usize = 256;
/// Bytes moved in one go by copying.
pub const COPY_BYTES: usize = 128 * 1024;
/// Bytes after which one direction of a connection moves through a pipe instead of by copying.
pub const SPLICE_AFTER: u64 = 512 * 1024;
/// Size of that pipe, in bytes; the kernel's default is used where the user's quota is spent.
pub const PIPE_BYTES: usize = 1024 * 1024;
/// Rounds of a bulk transfer after which other connections get their turn.
pub const FAIR_ROUNDS: u32 = 8;

/// Names that can have a synthetic address.
pub const NAMES: usize = 65_536;
/// Bytes of all those names together.
pub const NAME_BYTES: usize = 4 * 1024 * 1024;
/// Life of a synthetic answer, in seconds. The binding itself lasts as long as the run.
pub const ANSWER_TTL: u32 = 60;
/// Distinct (name, type) questions remembered as reported.
pub const REPORTED: usize = 65_536;
/// New questions reported to the supervisor per second.
pub const REPORTS_PER_SECOND: u32 = 100;
/// How often unreported questions are counted to the supervisor.
pub const SUPPRESSED_TICK: Duration = Duration::from_secs(5);
/// Largest DNS query accepted, in bytes.
pub const QUERY_BYTES: usize = 4096;
/// DNS connections (TCP) open at once.
pub const DNS_CONNECTIONS: usize = 64;
/// Life of an idle DNS connection.
pub const DNS_IDLE: Duration = Duration::from_secs(10);

/// Answers of the host's resolver kept.
pub const CACHE_NAMES: usize = 4096;
/// Longest time an answer is kept, whatever it says.
pub const CACHE_LONGEST: Duration = Duration::from_secs(300);
/// How long "there is no such name" is kept.
pub const CACHE_NEGATIVE: Duration = Duration::from_secs(5);
/// Addresses of one name and family that are considered.
pub const ADDRESSES: usize = 8;
/// Aliases followed inside one answer.
pub const ALIASES: usize = 16;
/// Largest answer taken over UDP, in bytes (announced by EDNS; DNS flag day 2020).
pub const ANSWER_BYTES: usize = 1232;
/// Largest answer taken over TCP, in bytes.
pub const ANSWER_TCP_BYTES: usize = 16 * 1024;
/// Name servers used (resolv.conf(5), MAXNS).
pub const NAME_SERVERS: usize = 3;
/// Largest resolv.conf or hosts file read, in bytes.
pub const CONFIGURATION_BYTES: u64 = 4 * 1024 * 1024;
/// How often the host's resolver files are checked for change.
pub const CONFIGURATION_TICK: Duration = Duration::from_secs(1);

/// Wait before the next address of a name is tried beside the first (RFC 8305 section 5).
pub const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of a name that are dialled at the same time: with the client's own socket no more
/// descriptors than a connection that stands.
pub const DIALS_AT_ONCE: usize = 4;
/// Longest wait for one connection to be made.
pub const DIAL: Duration = Duration::from_secs(30);
/// Longest wait for an upstream proxy's answer to CONNECT.
pub const PROXY_ANSWER: Duration = Duration::from_secs(30);
/// Largest answer of an upstream proxy to CONNECT, in bytes.
pub const PROXY_HEAD_BYTES: usize = 16 * 1024;
/// Listen sockets taken in one message.
pub const HANDOFF_DESCRIPTORS: usize = 16;
/// Listen sockets taken altogether.
pub const LISTENERS: usize = 1024;
/// Wait for init to hand over a socket for a published connection.
pub const WANT: Duration = Duration::from_secs(5);
/// Pause after `accept` or `recvmsg` failed for want of descriptors or memory.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
