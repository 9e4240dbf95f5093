//! System calls that rustix lacks, a BPF assembler, netlink messages: the only crate with unsafe code.
//!
//! Everything here is mechanism. Nothing here knows a policy, a path of ringfence's own or a user.

pub mod bpf;
pub mod fdpass;
pub mod landlock_rules;
pub mod limits;
pub mod mounts;
pub mod netlink;
pub mod original_dst;
pub mod pktinfo;
pub mod probe;
pub mod process;
pub mod seccomp;
