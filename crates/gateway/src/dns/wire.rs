//! The DNS wire format as far as the gateway speaks it (RFC 1035, RFC 6891): one question.
//!
//! Reads hostile bytes: every step is bounded, nothing is indexed, nothing recurses.

use std::fmt::Write as _;

/// Length of a DNS header, in bytes.
pub const HEADER: usize = 12;
/// Longest name on the wire, in bytes (RFC 1035 section 2.3.4).
const NAME_WIRE: usize = 255;
/// Longest label, in bytes.
const LABEL: usize = 63;
/// Compression pointers followed in one name.
const POINTERS: usize = 16;
/// Additional records looked at for an OPT record.
const ADDITIONAL: u16 = 8;

/// Record types that the gateway knows by number.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Alias.
    pub const CNAME: u16 = 5;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// EDNS.
    pub const OPT: u16 = 41;
}

/// The class of the Internet.
pub const CLASS_IN: u16 = 1;

/// Why a message is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It ends too early.
    #[error("the message is cut short")]
    Short,
    /// A name is too long, has a wrong label or a pointer loop.
    #[error("a name in the message is malformed")]
    Name,
    /// Counts or flags do not fit the kind of message.
    #[error("the message has the wrong shape")]
    Shape,
}

/// A place in a message.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// From the message's first byte.
    #[must_use]
    pub fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.at >= self.all.len()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(count).ok_or(WireError::Short)?;
        let bytes = self.all.get(self.at..end).ok_or(WireError::Short)?;
        self.at = end;
        Ok(bytes)
    }

    /// A byte.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn byte(&mut self) -> Result<u8, WireError> {
        self.take(1)?.first().copied().ok_or(WireError::Short)
    }

    /// 16 bits, network order.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn u16(&mut self) -> Result<u16, WireError> {
        let bytes = self.take(2)?.try_into().map_err(|_| WireError::Short)?;
        Ok(u16::from_be_bytes(bytes))
    }

    /// 32 bits, network order.
    ///
    /// # Errors
    /// [`WireError::Short`].
    pub fn u32(&mut self) -> Result<u32, WireError> {
        let bytes = self.take(4)?.try_into().map_err(|_| WireError::Short)?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// A name as text without a trailing dot, bytes that are no host name escaped as `\DDD`
    /// (RFC 4343 section 2.1); the root is the empty text. Compression pointers only with
    /// `pointers`, only backwards.
    ///
    /// # Errors
    /// [`WireError`].
    pub fn name(&mut self, pointers: bool) -> Result<String, WireError> {
        let mut text = String::new();
        let (mut wire, mut jumps) = (1usize, 0usize);
        let mut walk = *self;
        let mut end = None;
        loop {
            let start = walk.at;
            let length = walk.byte()?;
            match length {
                0 => break,
                1..=63 => {
                    let label = walk.take(usize::from(length).min(LABEL))?;
                    wire += label.len() + 1;
                    if wire > NAME_WIRE {
                        return Err(WireError::Name);
                    }
                    push_label(&mut text, label);
                }
                0xc0..=0xff if pointers => {
                    let low = walk.byte()?;
                    let target = (usize::from(length & 0x3f) << 8) | usize::from(low);
                    end = end.or(Some(walk.at));
                    jumps += 1;
                    if target >= start || jumps > POINTERS {
                        return Err(WireError::Name);
                    }
                    walk.at = target;
                }
                _ => return Err(WireError::Name),
            }
        }
        self.at = end.unwrap_or(walk.at);
        Ok(text)
    }
}

fn push_label(text: &mut String, label: &[u8]) {
    if !text.is_empty() {
        text.push('.');
    }
    for byte in label {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*') {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "\\{byte:03}");
        }
    }
}

/// A question from inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// To be repeated.
    pub id: u16,
    /// Operation code; 0 is a plain query.
    pub opcode: u8,
    /// Whether recursion is desired; repeated.
    pub recursion: bool,
    /// The name, escaped where it is no host name, without a trailing dot.
    pub name: String,
    /// The record type.
    pub kind: u16,
    /// The class.
    pub class: u16,
    /// Whether the client speaks EDNS.
    pub edns: bool,
    /// The question's bytes, repeated with the client's own spelling.
    pub question: Vec<u8>,
}

/// What a packet from inside is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A question to be answered.
    Query(Query),
    /// Not a question, but it has an id: answer FORMERR.
    Malformed {
        /// To be repeated.
        id: u16,
    },
    /// Not to be answered at all: an answer itself, or shorter than a header.
    Noise,
}

/// Reads a packet from inside.
#[must_use]
pub fn parse_query(packet: &[u8]) -> Parsed {
    let mut reader = Reader::new(packet);
    let (Ok(id), Ok(flags)) = (reader.u16(), reader.u16()) else {
        return Parsed::Noise;
    };
    if packet.len() < HEADER || flags & 0x8000 != 0 {
        return Parsed::Noise;
    }
    body(reader, id, flags).map_or(Parsed::Malformed { id }, Parsed::Query)
}

fn body(mut reader: Reader<'_>, id: u16, flags: u16) -> Result<Query, WireError> {
    let (questions, answers, authority, additional) =
        (reader.u16()?, reader.u16()?, reader.u16()?, reader.u16()?);
    if questions != 1 || answers != 0 || authority != 0 || additional > ADDITIONAL {
        return Err(WireError::Shape);
    }
    let start = reader;
    let name = reader.name(false)?;
    let (kind, class) = (reader.u16()?, reader.u16()?);
    let question = {
        let mut whole = start;
        whole.take(reader.at - start.at)?.to_vec()
    };
    let mut edns = false;
    for _ in 0..additional {
        let owner = reader.name(false)?;
        let kind = reader.u16()?;
        reader.take(6)?;
        let length = reader.u16()?;
        reader.take(usize::from(length))?;
        if kind == kind::OPT {
            if edns || !owner.is_empty() {
                return Err(WireError::Shape);
            }
            edns = true;
        }
    }
    if !reader.is_at_end() {
        return Err(WireError::Shape);
    }
    let opcode = ((flags >> 11) & 0xf) as u8;
    Ok(Query { id, opcode, recursion: flags & 0x100 != 0, name, kind, class, edns, question })
}

/// A record type's name for people.
#[must_use]
pub fn kind_name(kind: u16) -> String {
    let known = match kind {
        1 => "A",
        2 => "NS",
        5 => "CNAME",
        6 => "SOA",
        10 => "NULL",
        12 => "PTR",
        13 => "HINFO",
        15 => "MX",
        16 => "TXT",
        28 => "AAAA",
        33 => "SRV",
        35 => "NAPTR",
        43 => "DS",
        48 => "DNSKEY",
        64 => "SVCB",
        65 => "HTTPS",
        252 => "AXFR",
        255 => "ANY",
        257 => "CAA",
        other => return format!("TYPE{other}"),
    };
    known.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(name: &[&[u8]], kind: u16) -> Vec<u8> {
        let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend_from_slice(label);
        }
        packet.push(0);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&[0, 1]);
        packet
    }

    fn parsed(packet: &[u8]) -> Query {
        match parse_query(packet) {
            Parsed::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_question_is_read() {
        let got = parsed(&query(&[b"Example", b"com"], kind::A));
        assert_eq!((got.id, got.name.as_str(), got.kind), (0x1234, "Example.com", 1));
        assert!(got.recursion && !got.edns);
        assert_eq!(got.question.len(), 13 + 4);
    }

    #[test]
    fn n07_s10_a_nul_or_a_dot_inside_a_label_stays_visible() {
        let got = parsed(&query(&[b"evil\0", b"allowed", b"com"], kind::A));
        assert_eq!(got.name, "evil\\000.allowed.com");
        let got = parsed(&query(&[b"evil.com", b"allowed"], kind::A));
        assert_eq!(got.name, "evil\\046com.allowed");
        assert!(got.name.parse::<ringfence_model::host::HostName>().is_err());
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let good = query(&[b"a", b"b"], kind::A);
        assert_eq!(parse_query(&good[..11]), Parsed::Noise);
        let mut answer = good.clone();
        answer[2] = 0x81;
        assert_eq!(parse_query(&answer), Parsed::Noise);
        for cut in 12..good.len() {
            assert_eq!(parse_query(&good[..cut]), Parsed::Malformed { id: 0x1234 });
        }
        for (at, value) in [(5usize, 2u8), (5, 0), (7, 1), (9, 1), (11, 1), (12, 0xc0), (12, 0x40)]
        {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(parse_query(&bad), Parsed::Malformed { id: 0x1234 }, "{at}");
        }
        let mut trailing = good;
        trailing.push(0);
        assert_eq!(parse_query(&trailing), Parsed::Malformed { id: 0x1234 });
        let long: Vec<&[u8]> = vec![&[b'x'; 63]; 5];
        assert_eq!(parse_query(&query(&long, 1)), Parsed::Malformed { id: 0x1234 });
    }

    #[test]
    fn a_pointer_loop_ends() {
        let mut packet = query(&[b"a"], 1);
        packet[12] = 0xc0;
        packet[13] = 12;
        let mut reader = Reader::new(&packet);
        reader.take(12).unwrap();
        assert_eq!(reader.name(true), Err(WireError::Name));
    }

    proptest! {
        #[test]
        fn n25_any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse_query(&bytes);
            let _ = crate::dns::reply::parse(&bytes, 1, "a.example", kind::A);
        }

        /// The same question as another implementation reads it.
        #[test]
        fn questions_read_as_hickory_reads_them(
            labels in proptest::collection::vec("[a-z0-9]{1,20}", 1..6), kind in 1u16..300, id: u16,
        ) {
            let labels: Vec<&[u8]> = labels.iter().map(String::as_bytes).collect();
            let mut packet = query(&labels, kind);
            packet[..2].copy_from_slice(&id.to_be_bytes());
            let own = parsed(&packet);
            let other = hickory_proto::op::Message::from_vec(&packet).unwrap();
            prop_assert_eq!(own.id, other.metadata.id);
            let theirs = &other.queries[0];
            prop_assert_eq!(format!("{}.", own.name), theirs.name().to_ascii());
            prop_assert_eq!(own.kind, u16::from(theirs.query_type()));
        }
    }
}
