//! Answers of the host's own name server, and the questions put to it.
//!
//! An answer counts only if it repeats id and question; only addresses at the end of the alias
//! chain that begins at the asked name are taken.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{CLASS_IN, HEADER, Reader, WireError, kind};
use crate::limits::{ADDRESSES, ALIASES, ANSWER_BYTES};

/// What the name server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The addresses (perhaps none) and how long they hold, in seconds.
    Addresses {
        /// In the order given.
        addresses: Vec<IpAddr>,
        /// The shortest time to live on the way.
        ttl: u32,
    },
    /// There is no such name.
    NoName,
    /// It was cut: ask over TCP.
    Truncated,
    /// The server could not or would not answer; the code.
    Failed(u8),
}

/// A question for `name`, which has passed the host grammar.
#[must_use]
pub fn question(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len() + 40);
    for word in [id, 0x0100, 1, 0, 0, 1] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.split('.') {
        out.push(label.len().min(63) as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.push(0);
    out.extend_from_slice(&kind::OPT.to_be_bytes());
    out.extend_from_slice(&(ANSWER_BYTES as u16).to_be_bytes());
    out.extend_from_slice(&[0; 6]);
    out
}

/// Reads an answer; `None` where it belongs to another question.
///
/// # Errors
/// [`WireError`] where it belongs to this question but cannot be read.
pub fn parse(packet: &[u8], id: u16, name: &str, wanted: u16) -> Result<Option<Reply>, WireError> {
    let mut reader = Reader::new(packet);
    if packet.len() < HEADER || reader.u16()? != id {
        return Ok(None);
    }
    let flags = reader.u16()?;
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.take(4)?;
    if flags & 0x8000 == 0 || questions != 1 {
        return Ok(None);
    }
    let asked = reader.name(false)?;
    let (kind, class) = (reader.u16()?, reader.u16()?);
    if !asked.eq_ignore_ascii_case(name) || kind != wanted || class != CLASS_IN {
        return Ok(None);
    }
    if flags & 0x0200 != 0 {
        return Ok(Some(Reply::Truncated));
    }
    match (flags & 0xf) as u8 {
        0 => records(&mut reader, answers, name, wanted).map(Some),
        3 => Ok(Some(Reply::NoName)),
        code => Ok(Some(Reply::Failed(code))),
    }
}

fn records(
    reader: &mut Reader<'_>,
    count: u16,
    name: &str,
    wanted: u16,
) -> Result<Reply, WireError> {
    let mut current = name.to_ascii_lowercase();
    let (mut addresses, mut ttl, mut aliases) = (Vec::new(), u32::MAX, 0);
    // Name servers put the chain in order (RFC 1034 section 3.6.2); another order is not followed.
    for _ in 0..count {
        let owner = reader.name(true)?;
        let (kind, class) = (reader.u16()?, reader.u16()?);
        let life = reader.u32()?;
        let length = usize::from(reader.u16()?);
        let start = *reader;
        let data = reader.take(length)?;
        if class != CLASS_IN || !owner.eq_ignore_ascii_case(&current) {
            continue;
        }
        if kind == kind::CNAME {
            aliases += 1;
            if aliases > ALIASES {
                return Err(WireError::Shape);
            }
            let mut inner = start;
            current = inner.name(true)?.to_ascii_lowercase();
            ttl = ttl.min(life);
        } else if kind == wanted {
            let address = address(kind, data).ok_or(WireError::Shape)?;
            ttl = ttl.min(life);
            if addresses.len() < ADDRESSES {
                addresses.push(address);
            }
        }
    }
    Ok(Reply::Addresses { addresses, ttl })
}

fn address(kind: u16, data: &[u8]) -> Option<IpAddr> {
    if kind == kind::A {
        Some(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into())
    } else {
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(asked: &str) -> Message {
        let mut message = Message::new(9, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(name(asked), RecordType::A));
        message
    }

    fn a(owner: &str, ip: &str) -> Record {
        Record::from_rdata(name(owner), 30, RData::A(rdata::A(ip.parse().unwrap())))
    }

    fn alias(owner: &str, to: &str) -> Record {
        Record::from_rdata(name(owner), 20, RData::CNAME(rdata::CNAME(name(to))))
    }

    fn read(message: &Message) -> Option<Reply> {
        parse(&message.to_vec().unwrap(), 9, "a.example", 1).unwrap()
    }

    #[test]
    fn a_chain_is_followed_and_strangers_are_not_taken() {
        let mut answer = message("a.example.");
        answer.answers = vec![
            a("stranger.example.", "10.0.0.1"),
            alias("A.example.", "b.example."),
            a("a.example.", "10.0.0.2"),
            a("b.example.", "192.0.2.1"),
        ];
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        assert_eq!(read(&answer), Some(Reply::Addresses { addresses, ttl: 20 }));
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        assert_eq!(read(&message("b.example.")), None);
        let mut other = message("a.example.");
        other.metadata.id = 8;
        assert_eq!(read(&other), None);
    }

    #[test]
    fn codes_are_told_apart() {
        let mut answer = message("a.example.");
        answer.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(read(&answer), Some(Reply::NoName));
        answer.metadata.response_code = ResponseCode::ServFail;
        assert_eq!(read(&answer), Some(Reply::Failed(2)));
        answer.metadata.truncation = true;
        assert_eq!(read(&answer), Some(Reply::Truncated));
    }

    #[test]
    fn the_question_reads_as_hickory_reads_it() {
        let message = Message::from_vec(&question(77, "a.example", 28)).unwrap();
        assert_eq!(message.metadata.id, 77);
        assert!(message.metadata.recursion_desired);
        assert_eq!(message.queries[0].name(), &name("a.example."));
        assert_eq!(message.queries[0].query_type(), RecordType::AAAA);
    }
}
