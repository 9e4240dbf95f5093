//! rtnetlink(7): the loopback device, and local routes that make every address local ("AnyIP").

use std::io;

use super::message::{Batch, open};

/// Index of `lo` in every new network namespace.
const LOOPBACK: u32 = 1;
const ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

/// Switches `lo` on.
///
/// # Errors
/// What the kernel answers.
pub fn loopback_up() -> io::Result<()> {
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    let mut info = vec![0u8; 4];
    info.extend_from_slice(&LOOPBACK.to_ne_bytes());
    info.extend_from_slice(&up);
    info.extend_from_slice(&up);
    let mut batch = Batch::default();
    batch.begin(libc::RTM_NEWLINK, ACK).fixed(&info).end();
    batch.talk(&open(None)?)
}

/// Makes every IPv4 (or IPv6) address local to this namespace.
///
/// # Errors
/// What the kernel answers (`EOPNOTSUPP` or `EINVAL` where IPv6 is switched off).
pub fn capture_routes(ipv6: bool) -> io::Result<()> {
    const TABLE_LOCAL: u8 = 255;
    const PROTOCOL_STATIC: u8 = 4;
    const SCOPE_HOST: u8 = 254;
    const TYPE_LOCAL: u8 = 2;
    const ATTRIBUTE_OUTPUT: u16 = 4;
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    let scope = if ipv6 { 0 } else { SCOPE_HOST };
    let fixed = [family, 0, 0, 0, TABLE_LOCAL, PROTOCOL_STATIC, scope, TYPE_LOCAL, 0, 0, 0, 0];
    let mut batch = Batch::default();
    batch
        .begin(libc::RTM_NEWROUTE, ACK | CREATE)
        .fixed(&fixed)
        .attribute(ATTRIBUTE_OUTPUT, &LOOPBACK.to_ne_bytes())
        .end();
    batch.talk(&open(None)?)
}
