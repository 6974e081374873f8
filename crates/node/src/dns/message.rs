//! DNS messages: reading questions from whatever arrives, and writing answers. Bounded and total: no bytes make it
//! panic or loop. Knows nothing of who answers what.

use std::fmt;
use std::net::Ipv4Addr;

/// Record types we know (RFC 1035, 3596, 2782, 6891).
pub(crate) mod kind {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const OPT: u16 = 41;
    pub const ANY: u16 = 255;
}

const HEADER: usize = 12;
const CLASS_IN: u16 = 1;
/// What a resolver takes over UDP unless it says more (RFC 1035).
const PLAIN_UDP_BYTES: u16 = 512;
/// What we take and send over UDP at most: fits every link without fragments (DNS flag day 2020).
pub(crate) const MOST_UDP_BYTES: u16 = 1232;

/// Response codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rcode {
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// A name as lower-case labels, outermost last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name(Vec<Vec<u8>>);

impl Name {
    /// A name from text; empty labels and a final dot are left out.
    pub fn from_text(text: &str) -> Self {
        let labels = text.split('.').filter(|label| !label.is_empty());
        Self(
            labels
                .map(|label| label.to_ascii_lowercase().into_bytes())
                .collect(),
        )
    }

    /// The text, if every label is printable and free of dots.
    pub fn to_text(&self) -> Option<String> {
        let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'.';
        let labels: Option<Vec<&str>> = self
            .0
            .iter()
            .map(|label| {
                label
                    .iter()
                    .all(is_plain)
                    .then(|| std::str::from_utf8(label).ok())?
            })
            .collect();
        labels.map(|labels| labels.join("."))
    }

    pub fn labels(&self) -> &[Vec<u8>] {
        &self.0
    }

    fn write(&self, out: &mut Vec<u8>) {
        for label in &self.0 {
            out.push(u8::try_from(label.len()).unwrap_or(0));
            out.extend_from_slice(label);
        }
        out.push(0);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text().unwrap_or_else(|| "(unprintable)".into()))
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub id: u16,
    pub name: Name,
    pub kind: u16,
    is_recursion_desired: bool,
    /// The bytes of the question, with the letters' case as asked.
    question: Vec<u8>,
    /// What the asker takes over UDP; `None` without EDNS.
    edns: Option<u16>,
}

/// What some bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    Query(Query),
    /// A message that can only be answered with a code.
    Bad {
        id: u16,
        rcode: Rcode,
    },
    /// Nothing to answer: too short, or an answer itself.
    Noise,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A name without pointers, as in questions.
    fn plain_name(&mut self) -> Option<Name> {
        const MOST_BYTES: usize = 255;
        let start = self.at;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*self.take(1)?.first()?);
            if length == 0 {
                return Some(Name(labels));
            }
            if length > 63 {
                return None;
            }
            labels.push(self.take(length)?.to_ascii_lowercase());
            if self.at - start >= MOST_BYTES {
                return None;
            }
        }
    }

    /// Passes over a name that may end in a pointer.
    fn skip_name(&mut self) -> Option<()> {
        loop {
            let length = usize::from(*self.take(1)?.first()?);
            match length {
                0 => return Some(()),
                1..=63 => self.take(length)?,
                // A pointer is two bytes and ends the name.
                0xc0..=0xff => {
                    self.take(1)?;
                    return Some(());
                }
                _ => return None,
            };
        }
    }

    /// Passes over a record; for the EDNS one, says what its asker takes over UDP.
    fn record(&mut self) -> Option<Option<u16>> {
        let is_root = self.bytes.get(self.at) == Some(&0);
        self.skip_name()?;
        let (record_kind, class) = (self.number()?, self.number()?);
        self.take(4)?;
        let length = self.number()?;
        self.take(usize::from(length))?;
        Some((record_kind == kind::OPT && is_root).then_some(class))
    }
}

/// Reads a message.
pub(crate) fn parse(bytes: &[u8]) -> Parsed {
    let mut reader = Reader { bytes, at: 0 };
    let header: Option<Vec<u16>> = (0..HEADER / 2).map(|_| reader.number()).collect();
    let Some(&[id, flags, questions, answers, authorities, additionals]) = header.as_deref() else {
        return Parsed::Noise;
    };
    if flags & 0x8000 != 0 {
        return Parsed::Noise;
    }
    if flags & 0x7800 != 0 {
        return Parsed::Bad {
            id,
            rcode: Rcode::NotImplemented,
        };
    }
    let malformed = Parsed::Bad {
        id,
        rcode: Rcode::FormatError,
    };
    if questions != 1 {
        return malformed;
    }
    let question = (|| Some((reader.plain_name()?, reader.number()?, reader.number()?)))();
    let Some((name, record_kind, class)) = question else {
        return malformed;
    };
    let question = bytes[HEADER..reader.at].to_vec();
    let mut edns = None;
    let records = u32::from(answers) + u32::from(authorities) + u32::from(additionals);
    for _ in 0..records {
        match reader.record() {
            Some(found) => edns = edns.or(found),
            None => return malformed,
        }
    }
    if class != CLASS_IN {
        return Parsed::Bad {
            id,
            rcode: Rcode::Refused,
        };
    }
    Parsed::Query(Query {
        id,
        name,
        kind: record_kind,
        is_recursion_desired: flags & 0x0100 != 0,
        question,
        edns,
    })
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    A(Ipv4Addr),
    Cname(Name),
    Ptr(Name),
    Ns(Name),
    Srv {
        port: u16,
        target: Name,
    },
    /// Who is in charge of a zone, sent with "there is none" so that it may be remembered for a while.
    Soa {
        zone: Name,
    },
}

impl Data {
    fn kind(&self) -> u16 {
        match self {
            Self::A(_) => kind::A,
            Self::Cname(_) => kind::CNAME,
            Self::Ptr(_) => kind::PTR,
            Self::Ns(_) => kind::NS,
            Self::Srv { .. } => kind::SRV,
            Self::Soa { .. } => kind::SOA,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let number = |out: &mut Vec<u8>, value: u16| out.extend_from_slice(&value.to_be_bytes());
        match self {
            Self::A(address) => out.extend_from_slice(&address.octets()),
            Self::Cname(name) | Self::Ptr(name) | Self::Ns(name) => name.write(out),
            Self::Srv { port, target } => {
                number(out, 0);
                number(out, 100);
                number(out, *port);
                target.write(out);
            }
            Self::Soa { zone } => {
                Name::from_text("ns.dns").with_zone(zone).write(out);
                Name::from_text("hostmaster").with_zone(zone).write(out);
                // Serial, refresh, retry, expire, and how long "there is none" holds.
                for value in [1_u32, 7200, 1800, 86_400, TTL_SECONDS] {
                    out.extend_from_slice(&value.to_be_bytes());
                }
            }
        }
    }
}

impl Name {
    fn with_zone(mut self, zone: &Self) -> Self {
        self.0.extend(zone.0.iter().cloned());
        self
    }
}

/// Pods come and go: nothing is to be remembered for longer.
pub(crate) const TTL_SECONDS: u32 = 5;

/// A record of an answer; the owner `None` is the name asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub owner: Option<Name>,
    pub data: Data,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub rcode: Rcode,
    pub is_authoritative: bool,
    pub answers: Vec<Record>,
    pub authorities: Vec<Record>,
    pub additionals: Vec<Record>,
}

impl Answer {
    /// An answer that is only a code.
    pub fn code(rcode: Rcode) -> Self {
        Self {
            rcode,
            is_authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }
}

/// How an answer travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Query {
    fn most_bytes(&self, transport: Transport) -> usize {
        usize::from(match transport {
            Transport::Tcp => u16::MAX,
            Transport::Udp => self.edns.map_or(PLAIN_UDP_BYTES, |size| {
                size.clamp(PLAIN_UDP_BYTES, MOST_UDP_BYTES)
            }),
        })
    }

    /// Writes an answer to this question. One that is too long for the transport says so and is empty: the asker
    /// comes again by TCP.
    pub fn answer(&self, answer: &Answer, transport: Transport) -> Vec<u8> {
        let whole = self.write(answer, false);
        if whole.len() <= self.most_bytes(transport) {
            return whole;
        }
        // Additional records are a courtesy.
        let short = self.write(
            &Answer {
                additionals: Vec::new(),
                ..answer.clone()
            },
            false,
        );
        if short.len() <= self.most_bytes(transport) {
            return short;
        }
        let empty = Answer {
            rcode: answer.rcode,
            is_authoritative: answer.is_authoritative,
            ..Answer::code(Rcode::NoError)
        };
        self.write(&empty, true)
    }

    fn write(&self, answer: &Answer, is_cut: bool) -> Vec<u8> {
        const ANSWER: u16 = 0x8000;
        const RECURSION_AVAILABLE: u16 = 0x0080;
        let mut flags = ANSWER | RECURSION_AVAILABLE | answer.rcode as u16;
        for (is_set, flag) in [
            (answer.is_authoritative, 0x0400),
            (is_cut, 0x0200),
            (self.is_recursion_desired, 0x0100),
        ] {
            if is_set {
                flags |= flag;
            }
        }
        let count = |records: &[Record]| u16::try_from(records.len()).unwrap_or(u16::MAX);
        let edns = u16::from(self.edns.is_some());
        let mut out = Vec::with_capacity(512);
        for number in [
            self.id,
            flags,
            1,
            count(&answer.answers),
            count(&answer.authorities),
            count(&answer.additionals) + edns,
        ] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&self.question);
        for record in answer
            .answers
            .iter()
            .chain(&answer.authorities)
            .chain(&answer.additionals)
        {
            write_record(&mut out, record);
        }
        if self.edns.is_some() {
            out.push(0);
            out.extend_from_slice(&kind::OPT.to_be_bytes());
            out.extend_from_slice(&MOST_UDP_BYTES.to_be_bytes());
            out.extend_from_slice(&[0; 6]);
        }
        out
    }
}

fn write_record(out: &mut Vec<u8>, record: &Record) {
    const POINTER_TO_QUESTION: [u8; 2] = [0xc0, HEADER as u8];
    match &record.owner {
        None => out.extend_from_slice(&POINTER_TO_QUESTION),
        Some(owner) => owner.write(out),
    }
    out.extend_from_slice(&record.data.kind().to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out.extend_from_slice(&TTL_SECONDS.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0, 0]);
    record.data.write(out);
    let length = u16::try_from(out.len() - length_at - 2).unwrap_or(u16::MAX);
    out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
}

/// The answer to a message that is no question: a code under its number.
pub(crate) fn bad(id: u16, rcode: Rcode) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out[0..2].copy_from_slice(&id.to_be_bytes());
    out[2..4].copy_from_slice(&(0x8000 | rcode as u16).to_be_bytes());
    out
}

/// A question as a resolver would send it, for tests.
#[cfg(test)]
pub(crate) fn question(name: &str, record_kind: u16) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    Name::from_text(name).write(&mut out);
    out.extend_from_slice(&record_kind.to_be_bytes());
    out.extend_from_slice(&CLASS_IN.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn query(bytes: &[u8]) -> Query {
        match parse(bytes) {
            Parsed::Query(query) => query,
            other => panic!("{other:?}"),
        }
    }

    fn addresses(count: u8) -> Answer {
        let record = |last| Record {
            owner: None,
            data: Data::A(Ipv4Addr::new(10, 1, 0, last)),
        };
        Answer {
            answers: (0..count).map(record).collect(),
            ..Answer::code(Rcode::NoError)
        }
    }

    fn with_edns(mut bytes: Vec<u8>, size: u16) -> Vec<u8> {
        bytes[11] = 1;
        bytes.extend_from_slice(&[0, 0, 41]);
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes
    }

    #[test]
    fn a_question_is_read_in_lower_case_and_answered_as_asked() {
        let mut bytes = question("web.default.svc", kind::A);
        bytes[13] = b'W';
        let query = query(&bytes);
        assert_eq!(query.name.to_string(), "web.default.svc");
        let answer = query.answer(&addresses(1), Transport::Udp);
        assert_eq!(answer[..2], [0x12, 0x34]);
        assert_eq!(answer[13], b'W');
        assert_eq!(answer[answer.len() - 4..], [10, 1, 0, 0]);
    }

    #[test]
    fn a_long_answer_is_cut_over_udp_and_whole_over_tcp() {
        let plain = question("web", kind::A);
        let cut = query(&plain).answer(&addresses(100), Transport::Udp);
        assert_eq!((cut[2] & 2, cut[7]), (2, 0));
        let whole = query(&plain).answer(&addresses(100), Transport::Tcp);
        assert_eq!((whole[2] & 2, whole[7]), (0, 100));
        let larger = query(&with_edns(plain, 4096)).answer(&addresses(60), Transport::Udp);
        assert_eq!((larger[2] & 2, larger[7], larger[11]), (0, 60, 1));
    }

    #[test]
    fn what_is_no_question_gets_a_code_or_nothing() {
        let mut answer = question("web", kind::A);
        answer[2] |= 0x80;
        assert_eq!(parse(&answer), Parsed::Noise);
        assert_eq!(parse(&[1, 2, 3]), Parsed::Noise);
        let mut notify = question("web", kind::A);
        notify[2] |= 0x20;
        assert_eq!(
            parse(&notify),
            Parsed::Bad {
                id: 0x1234,
                rcode: Rcode::NotImplemented
            }
        );
        let mut two = question("web", kind::A);
        two[5] = 2;
        assert_eq!(
            parse(&two),
            Parsed::Bad {
                id: 0x1234,
                rcode: Rcode::FormatError
            }
        );
        let mut pointer = question("web", kind::A);
        pointer[12] = 0xc0;
        assert_eq!(
            parse(&pointer),
            Parsed::Bad {
                id: 0x1234,
                rcode: Rcode::FormatError
            }
        );
        let mut chaos = question("web", kind::A);
        let last = chaos.len() - 1;
        chaos[last] = 3;
        assert_eq!(
            parse(&chaos),
            Parsed::Bad {
                id: 0x1234,
                rcode: Rcode::Refused
            }
        );
    }

    #[test]
    fn a_name_longer_than_a_name_can_be_is_malformed() {
        let long = vec!["a".repeat(63); 5].join(".");
        let bytes = question(&long, kind::A);
        assert_eq!(
            parse(&bytes),
            Parsed::Bad {
                id: 0x1234,
                rcode: Rcode::FormatError
            }
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_or_answering_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Parsed::Query(query) = parse(&bytes) {
                let answer = query.answer(&addresses(40), Transport::Udp);
                prop_assert!(answer.len() <= 1232);
            }
        }

        #[test]
        fn damaged_questions_do_not_either(
            at in prop::collection::vec((0_usize..60, any::<u8>()), 0..8),
            cut in 0_usize..60,
        ) {
            let mut bytes = with_edns(question("a.web.default.svc.cluster.local", kind::SRV), 1232);
            for (index, value) in at {
                let length = bytes.len();
                bytes[index % length] = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Parsed::Query(query) = parse(&bytes) {
                let answer = query.answer(&addresses(3), Transport::Udp);
                prop_assert_eq!(&answer[..2], &bytes[..2]);
            }
        }
    }
}
