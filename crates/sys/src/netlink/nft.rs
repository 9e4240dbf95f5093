//! One nf_tables batch: every TCP connection and DNS datagram goes to the gateway's listeners.
//!
//! In words of nft(8):
//! ```text
//! table inet ringfence { chain out { type nat hook output priority -100;
//!   ip daddr 127.0.0.0/8 accept; ip6 daddr ::1 accept;
//!   tcp dport 53 redirect to :DNS; udp dport 53 redirect to :DNS;
//!   meta l4proto tcp redirect to :CAPTURE } }
//! ```
//! Constants are those of `linux/netfilter/nf_tables.h`.

use std::io;

use super::message::{Batch, open};

/// Where captured traffic goes: ports on the namespace's own loopback.
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// TCP port of the capture listener.
    pub capture: u16,
    /// TCP and UDP port of the name server.
    pub dns: u16,
}

const TABLE: &str = "ringfence";
const CHAIN: &str = "out";
const SUBSYSTEM: u16 = 10;
const INET: u8 = 1;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
const CREATE: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_CREATE) as u16;
const CREATE_ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_ACK) as u16;
const APPEND: u16 = libc::NLM_F_APPEND as u16;

const HOOK_OUTPUT: u32 = 3;
/// `NF_IP_PRI_NAT_DST`: where destinations are rewritten.
const PRIORITY: i32 = -100;
const REGISTER: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const DNS_PORT: u16 = 53;

/// Loads the rule set into this network namespace.
///
/// # Errors
/// What the kernel answers: `EPROTONOSUPPORT`, `EOPNOTSUPP` or `ENOENT` where nf_tables, its nat
/// chain type or its redirect expression is missing.
pub fn redirect_everything(to: Redirect) -> io::Result<()> {
    let mut batch = Batch::default();
    begin(&mut batch, BATCH_BEGIN, REQUEST, 0, SUBSYSTEM).end();
    begin(&mut batch, NEW_TABLE, CREATE, INET, 0).text(1, TABLE).end();
    begin(&mut batch, NEW_CHAIN, CREATE, INET, 0)
        .text(1, TABLE)
        .text(3, CHAIN)
        .open(4)
        .big32(1, HOOK_OUTPUT)
        .big32(2, PRIORITY.cast_unsigned())
        .close()
        .text(7, "nat")
        .end();

    rule(&mut batch, false, |b| {
        meta_is(b, META_NFPROTO, IPV4);
        payload_is(b, NETWORK_HEADER, 16, &[127]);
        accept(b);
    });
    rule(&mut batch, false, |b| {
        meta_is(b, META_NFPROTO, IPV6);
        payload_is(b, NETWORK_HEADER, 24, &std::net::Ipv6Addr::LOCALHOST.octets());
        accept(b);
    });
    for protocol in [TCP, UDP] {
        rule(&mut batch, false, |b| {
            meta_is(b, META_L4PROTO, protocol);
            payload_is(b, TRANSPORT_HEADER, 2, &DNS_PORT.to_be_bytes());
            redirect(b, to.dns);
        });
    }
    rule(&mut batch, true, |b| {
        meta_is(b, META_L4PROTO, TCP);
        redirect(b, to.capture);
    });
    begin(&mut batch, BATCH_END, REQUEST, 0, SUBSYSTEM).end();
    batch.talk(&open(Some(rustix::net::netlink::NETFILTER))?)
}

/// Begins a message with its `struct nfgenmsg`.
fn begin(batch: &mut Batch, kind: u16, flags: u16, family: u8, resource: u16) -> &mut Batch {
    let [high, low] = resource.to_be_bytes();
    batch.begin(kind, flags).fixed(&[family, 0, high, low])
}

/// One rule; the last one asks for an acknowledgement, which stands for the whole batch.
fn rule(batch: &mut Batch, last: bool, expressions: impl FnOnce(&mut Batch)) {
    let flags = APPEND | if last { CREATE_ACK } else { CREATE };
    begin(batch, NEW_RULE, flags, INET, 0).text(1, TABLE).text(2, CHAIN).open(4);
    expressions(batch);
    batch.close().end();
}

fn expression(batch: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    batch.open(1).text(1, name).open(2);
    data(batch);
    batch.close().close();
}

fn meta_is(batch: &mut Batch, key: u32, value: u8) {
    expression(batch, "meta", |b| {
        b.big32(2, key).big32(1, REGISTER);
    });
    equals(batch, &[value]);
}

fn payload_is(batch: &mut Batch, base: u32, offset: u32, value: &[u8]) {
    let length = u32::try_from(value.len()).unwrap_or(0);
    expression(batch, "payload", |b| {
        b.big32(1, REGISTER).big32(2, base).big32(3, offset).big32(4, length);
    });
    equals(batch, value);
}

fn equals(batch: &mut Batch, value: &[u8]) {
    const EQUAL: u32 = 0;
    expression(batch, "cmp", |b| {
        b.big32(1, REGISTER).big32(2, EQUAL).open(3).attribute(1, value).close();
    });
}

fn accept(batch: &mut Batch) {
    const VERDICT_REGISTER: u32 = 0;
    const NF_ACCEPT: u32 = 1;
    expression(batch, "immediate", |b| {
        b.big32(1, VERDICT_REGISTER).open(2).open(2).big32(1, NF_ACCEPT).close().close();
    });
}

fn redirect(batch: &mut Batch, port: u16) {
    expression(batch, "immediate", |b| {
        b.big32(1, REGISTER).open(2).attribute(1, &port.to_be_bytes()).close();
    });
    expression(batch, "redir", |b| {
        b.big32(1, REGISTER);
    });
}
