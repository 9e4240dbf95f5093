//! What a question from inside is answered with: a synthetic address, or nothing.
//!
//! A denied name gets an address too, so that the client reaches the gateway at once and is told
//! no there. Nothing here asks anybody.

use std::net::IpAddr;

use ringfence_model::host::HostName;

use super::wire::{CLASS_IN, Query, kind};
use crate::limits::{ANSWER_BYTES, ANSWER_TTL};
use crate::names::{Names, v4, v6};

/// Response codes (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Answered, perhaps with nothing.
    NoError = 0,
    /// The question could not be read.
    Malformed = 1,
    /// The table is full.
    ServerFailure = 2,
    /// Not a plain query.
    NotImplemented = 4,
    /// Not a class of the Internet.
    Refused = 5,
}

/// An answer before it is put into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The code.
    pub code: Code,
    /// The address, if there is one.
    pub address: Option<IpAddr>,
}

const NOTHING: Answer = Answer { code: Code::NoError, address: None };

/// Decides the answer, binding the name where it gets an address.
pub fn answer(query: &Query, names: &mut Names) -> Answer {
    if query.opcode != 0 {
        return Answer { code: Code::NotImplemented, address: None };
    }
    if query.class != CLASS_IN {
        return Answer { code: Code::Refused, address: None };
    }
    if query.kind != kind::A && query.kind != kind::AAAA {
        return NOTHING;
    }
    let Ok(name) = query.name.parse::<HostName>() else {
        return NOTHING;
    };
    if !name.as_str().contains('.') || name.as_str().ends_with(".localhost") {
        return NOTHING;
    }
    match names.bind(&name) {
        None => Answer { code: Code::ServerFailure, address: None },
        Some(index) if query.kind == kind::A => {
            Answer { code: Code::NoError, address: Some(v4(index).into()) }
        }
        Some(index) => Answer { code: Code::NoError, address: Some(v6(index).into()) },
    }
}

/// The answer as a packet.
#[must_use]
pub fn packet(query: &Query, answer: Answer) -> Vec<u8> {
    let mut out = Vec::with_capacity(query.question.len() + 64);
    let flags = 0x8000
        | (u16::from(query.opcode) << 11)
        | (u16::from(query.recursion) << 8)
        | 0x0080
        | answer.code as u16;
    let counts = [1, u16::from(answer.address.is_some()), 0, u16::from(query.edns)];
    for word in [query.id, flags].iter().chain(&counts) {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&query.question);
    if let Some(address) = answer.address {
        // 0xc00c: the name of the question.
        out.extend_from_slice(&[0xc0, 0x0c]);
        out.extend_from_slice(&query.kind.to_be_bytes());
        out.extend_from_slice(&CLASS_IN.to_be_bytes());
        out.extend_from_slice(&ANSWER_TTL.to_be_bytes());
        match address {
            IpAddr::V4(ip) => {
                out.extend_from_slice(&4u16.to_be_bytes());
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.extend_from_slice(&16u16.to_be_bytes());
                out.extend_from_slice(&ip.octets());
            }
        }
    }
    if query.edns {
        out.push(0);
        out.extend_from_slice(&kind::OPT.to_be_bytes());
        out.extend_from_slice(&(ANSWER_BYTES as u16).to_be_bytes());
        out.extend_from_slice(&[0; 6]);
    }
    out
}

/// The answer to something that is no question.
#[must_use]
pub fn malformed(id: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend_from_slice(&(0x8000u16 | Code::Malformed as u16).to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Message;

    fn ask(name: &str, kind: u16) -> Query {
        let mut question = Vec::new();
        for label in name.split('.') {
            question.push(u8::try_from(label.len()).unwrap());
            question.extend_from_slice(label.as_bytes());
        }
        question.push(0);
        question.extend_from_slice(&kind.to_be_bytes());
        question.extend_from_slice(&1u16.to_be_bytes());
        let name = name.to_owned();
        Query { id: 7, opcode: 0, recursion: true, name, kind, class: 1, edns: true, question }
    }

    #[test]
    fn n05_s18_only_addresses_of_dotted_names_are_answered() {
        let mut names = Names::default();
        for (name, kind) in [
            ("a.example", 16),
            ("a.example", 5),
            ("a.example", 255),
            ("a.example", 65),
            ("localhost", 1),
            ("x.localhost", 1),
            ("wpad", 1),
            ("10.0.0.1", 1),
            ("a.0x7f", 1),
            ("a\\000.example", 1),
            ("1.1.18.198.in-addr.arpa", 12),
            ("-a.example", 28),
        ] {
            assert_eq!(answer(&ask(name, kind), &mut names), NOTHING, "{name} {kind}");
        }
        let given = answer(&ask("Host.Ringfence", 1), &mut names);
        assert_eq!(given.address, Some("198.18.1.0".parse().unwrap()));
        assert_eq!(
            answer(&ask("host.ringfence", 28), &mut names).address,
            Some("fd52:6966:656e::1:0".parse().unwrap())
        );
    }

    #[test]
    fn answers_read_as_hickory_reads_them() {
        let mut names = Names::default();
        for kind in [1, 28, 16] {
            let query = ask("a.example", kind);
            let given = answer(&query, &mut names);
            let message = Message::from_vec(&packet(&query, given)).unwrap();
            assert_eq!(message.metadata.id, 7);
            assert_eq!(message.queries.len(), 1);
            assert_eq!(message.answers.len(), usize::from(kind != 16));
            let address = message.answers.first().and_then(|r| r.data.ip_addr());
            assert_eq!(address, given.address);
            assert!(message.edns.is_some());
        }
    }

    #[test]
    fn other_classes_and_operations_are_refused() {
        let mut names = Names::default();
        let chaos = Query { class: 3, ..ask("version.bind", 16) };
        assert_eq!(answer(&chaos, &mut names).code, Code::Refused);
        let update = Query { opcode: 5, ..ask("a.example", 1) };
        assert_eq!(answer(&update, &mut names).code, Code::NotImplemented);
    }
}
