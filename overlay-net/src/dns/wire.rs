//! Messages as they are on the wire, as far as they must be known to be passed on: what other
//! servers say is given to clients as it came, with the client's own number and letters, and less
//! time to live. Pure.
//!
//! **Invariant:** nothing is read beyond a message's end, whatever it says of itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::answer::{PLAIN_BYTES, Transport, UDP_BYTES_MAX, size};

const HEADER_BYTES: usize = 12;
const OPT: u16 = 41;
const SOA: u16 = 6;

const RESPONSE: u8 = 0x80;
const TRUNCATED: u8 = 0x02;
const RECURSION_DESIRED: u8 = 0x01;
const OPERATION: u8 = 0x78;
/// Of the fourth byte.
const CHECKING_DISABLED: u8 = 0x10;
const AUTHENTIC: u8 = 0x20;
const CODE: u8 = 0x0f;
/// Of OPT's flags.
const DNSSEC_OK: u16 = 0x8000;

/// Response codes (RFC 1035).
pub const NO_ERROR: u8 = 0;
pub const NO_SUCH_NAME: u8 = 3;

/// What makes two questions the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which namespace the servers are asked from.
    pub place: u64,
    pub servers: Arc<[SocketAddr]>,
    /// Labels in lower case, kind and class.
    asked: Vec<u8>,
    /// The bits of the header that change the answer.
    bits: [u8; 2],
    /// Whether there is EDNS, and whether DNSSEC is understood.
    edns: Option<bool>,
}

/// A client's question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    id: [u8; 2],
    /// As the client wrote it.
    asked: Vec<u8>,
    bits: [u8; 2],
    edns: Option<bool>,
    /// How much the client takes by UDP.
    size: u16,
}

impl Question {
    /// None if it is none.
    pub fn read(message: &[u8]) -> Option<Self> {
        let header = message.first_chunk::<HEADER_BYTES>()?;
        if header[2] & (RESPONSE | OPERATION) != 0 || count(message, 0)? != 1 {
            return None;
        }
        let end = question_end(message)?;
        let (mut edns, mut size) = (None, PLAIN_BYTES);
        records(message, end, |_, record| {
            if record.kind == OPT {
                edns = Some(record.ttl as u16 & DNSSEC_OK != 0);
                size = record.class;
            }
        })?;
        Some(Self {
            id: [header[0], header[1]],
            asked: message[HEADER_BYTES..end].to_vec(),
            bits: [header[2] & RECURSION_DESIRED, header[3] & (CHECKING_DISABLED | AUTHENTIC)],
            edns,
            size,
        })
    }

    /// How long an answer may be.
    pub fn bytes_max(&self, transport: Transport) -> usize {
        size(self.size, transport)
    }

    pub fn key(&self, place: u64, servers: Arc<[SocketAddr]>) -> Key {
        let asked = self.asked.to_ascii_lowercase();
        Key { place, servers, asked, bits: self.bits, edns: self.edns }
    }

    /// The answer to this very question, of so many bytes at most. `answer` is one to an equal
    /// question, and this old.
    pub fn answered(&self, answer: &[u8], age: Duration, bytes_max: usize) -> Option<Vec<u8>> {
        let end = question_end(answer)?;
        // Equal but for the case of letters.
        if end != HEADER_BYTES + self.asked.len() {
            return None;
        }
        let mut message = answer.to_vec();
        message[..2].copy_from_slice(&self.id);
        message[HEADER_BYTES..end].copy_from_slice(&self.asked);
        let age = u32::try_from(age.as_secs()).unwrap_or(u32::MAX);
        let mut lives = Vec::new();
        records(answer, end, |at, record| {
            if record.kind != OPT {
                lives.push((at, record.ttl.saturating_sub(age)));
            }
        })?;
        for (at, ttl) in lives {
            message[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
        if message.len() > bytes_max {
            message.truncate(end);
            message[2] |= TRUNCATED;
            message[6..HEADER_BYTES].fill(0);
            if self.edns.is_some() {
                message.extend_from_slice(&opt(self.edns == Some(true)));
                message[11] = 1;
            }
        }
        Some(message)
    }
}

impl Key {
    /// The question as other servers are asked it.
    pub fn message(&self, id: [u8; 2]) -> Vec<u8> {
        let additional = u8::from(self.edns.is_some());
        let [id0, id1] = id;
        let [bits0, bits1] = self.bits;
        let mut message = vec![id0, id1, bits0, bits1, 0, 1, 0, 0, 0, 0, 0, additional];
        message.extend_from_slice(&self.asked);
        if let Some(dnssec) = self.edns {
            message.extend_from_slice(&opt(dnssec));
        }
        message
    }

    /// What a message says to the question that was asked under this number; None if it is none of
    /// that, whoever sent it.
    pub fn reply(&self, id: [u8; 2], message: &[u8]) -> Option<Reply> {
        let header = message.first_chunk::<HEADER_BYTES>()?;
        if header[..2] != id || header[2] & RESPONSE == 0 || header[2] & OPERATION != 0 {
            return None;
        }
        let code = header[3] & CODE;
        // A server that does not understand a question need not repeat it.
        if count(message, 0)? == 0 && code != NO_ERROR {
            return Some(Reply { code, truncated: false, whole: false, lives: None });
        }
        let end = question_end(message)?;
        if count(message, 0)? != 1 || !message[HEADER_BYTES..end].eq_ignore_ascii_case(&self.asked)
        {
            return None;
        }
        let truncated = header[2] & TRUNCATED != 0;
        let mut least: Option<u32> = None;
        let mut negative = None;
        let (answers, authorities) = (count(message, 1)?, count(message, 2)?);
        let mut number = 0;
        let whole = records(message, end, |_, record| {
            if record.kind != OPT {
                least = Some(least.map_or(record.ttl, |it| it.min(record.ttl)));
            }
            let of_authority = number >= answers && number < answers + authorities;
            if record.kind == SOA && of_authority {
                negative = record.data.last_chunk::<4>().map(|it| u32::from_be_bytes(*it));
            }
            number += 1;
        });
        let lives = match code {
            NO_ERROR if answers > 0 => least,
            // RFC 2308: the SOA's own, and what it says of names that are not.
            NO_ERROR | NO_SUCH_NAME => negative.and_then(|it| Some(it.min(least?))),
            _ => None,
        };
        let lives = lives.filter(|_| !truncated && whole.is_some());
        let lives = lives.map(|it| Duration::from_secs(it.into()));
        Some(Reply { code, truncated, whole: whole.is_some() || truncated, lives })
    }
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    pub code: u8,
    pub truncated: bool,
    /// All that it says it has is there.
    pub whole: bool,
    /// How long it may be kept; None: not at all.
    pub lives: Option<Duration>,
}

fn opt(dnssec: bool) -> [u8; 11] {
    let [size0, size1] = UDP_BYTES_MAX.to_be_bytes();
    let [flag0, flag1] = if dnssec { DNSSEC_OK } else { 0 }.to_be_bytes();
    let [kind0, kind1] = OPT.to_be_bytes();
    [0, kind0, kind1, size0, size1, 0, 0, flag0, flag1, 0, 0]
}

struct Record<'a> {
    kind: u16,
    class: u16,
    ttl: u32,
    data: &'a [u8],
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*bytes))
}

/// How many entries a section says it has: questions, answers, authorities, the rest.
fn count(message: &[u8], section: usize) -> Option<usize> {
    number(message, 4 + 2 * section).map(usize::from)
}

/// Where a name ends.
fn name_end(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 1),
            pointer if pointer >= 0xc0 => return (at + 2 <= message.len()).then_some(at + 2),
            label if label < 0x40 => at += 1 + label,
            _ => return None,
        }
    }
}

/// Where the one question ends. Its name is the first of the message, so that it points nowhere.
fn question_end(message: &[u8]) -> Option<usize> {
    let mut at = HEADER_BYTES;
    loop {
        match usize::from(*message.get(at)?) {
            0 => break,
            label if label < 0x40 => at += 1 + label,
            _ => return None,
        }
    }
    // The name's end, kind and class.
    (at + 5 <= message.len()).then_some(at + 5)
}

/// Visits each record after the question, with the place of its time to live. None if the message
/// ends before its last one.
fn records<'a>(
    message: &'a [u8],
    mut at: usize,
    mut visit: impl FnMut(usize, Record<'a>),
) -> Option<()> {
    let all = count(message, 1)? + count(message, 2)? + count(message, 3)?;
    for _ in 0..all {
        let fixed = name_end(message, at)?;
        let kind = number(message, fixed)?;
        let class = number(message, fixed + 2)?;
        let ttl = u32::from_be_bytes(*message.get(fixed + 4..)?.first_chunk::<4>()?);
        let length = usize::from(number(message, fixed + 8)?);
        let data = message.get(fixed + 10..fixed + 10 + length)?;
        visit(fixed + 4, Record { kind, class, ttl, data });
        at = fixed + 10 + length;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, SOA as Soa};
    use hickory_proto::rr::{Name, RData, Record as Rr, RecordType};
    use proptest::prelude::*;

    use super::*;

    const ID: [u8; 2] = [0xab, 0xcd];

    fn asked(name: &str, edns: bool) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
        if edns {
            let mut edns = hickory_proto::op::Edns::new();
            edns.set_max_payload(4096).set_dnssec_ok(true);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    }

    fn key(question: &[u8]) -> Key {
        let servers = Arc::new(["192.0.2.1:53".parse().unwrap()]);
        Question::read(question).unwrap().key(1, servers)
    }

    fn answer(name: &str, code: ResponseCode, ttls: &[u32], soa: Option<(u32, u32)>) -> Message {
        let mut message = Message::error_msg(u16::from_be_bytes(ID), OpCode::Query, code);
        let name = Name::from_ascii(name).unwrap();
        message.add_query(Query::query(name.clone(), RecordType::A));
        for (last, ttl) in ttls.iter().enumerate() {
            let data = RData::A(A([10, 0, 0, last as u8].into()));
            message.add_answer(Rr::from_rdata(name.clone(), *ttl, data));
        }
        if let Some((ttl, least)) = soa {
            let of = Name::from_ascii("example.org.").unwrap();
            let data = RData::SOA(Soa::new(of.clone(), of.clone(), 1, 2, 3, 4, least));
            message.authorities.push(Rr::from_rdata(of, ttl, data));
        }
        message
    }

    fn check(message: &[u8], expected: Expect) {
        let reply = key(&asked("www.example.org.", false)).reply(ID, message);
        expected.assert_eq(&reply.map_or("none".to_owned(), |it| {
            let lives = it.lives.map(|it| it.as_secs());
            let Reply { code, truncated, whole, .. } = it;
            format!("code {code}, truncated {truncated}, whole {whole}, lives {lives:?}")
        }));
    }

    #[test]
    fn what_an_answer_is_worth() {
        use ResponseCode::{NXDomain, NoError, ServFail};
        let name = "WWW.example.org.";
        let of = |code, ttls: &[u32], soa| answer(name, code, ttls, soa).to_vec().unwrap();
        let good = of(NoError, &[300, 60], None);
        check(&good, expect!["code 0, truncated false, whole true, lives Some(60)"]);
        let none = of(NoError, &[], Some((900, 30)));
        check(&none, expect!["code 0, truncated false, whole true, lives Some(30)"]);
        let unknown = of(NXDomain, &[], Some((20, 30)));
        check(&unknown, expect!["code 3, truncated false, whole true, lives Some(20)"]);
        check(&of(NXDomain, &[], None), expect!["code 3, truncated false, whole true, lives None"]);
        let failed = of(ServFail, &[60], Some((20, 30)));
        check(&failed, expect!["code 2, truncated false, whole true, lives None"]);
        let mut truncated = good.clone();
        truncated[2] |= TRUNCATED;
        check(&truncated, expect!["code 0, truncated true, whole true, lives None"]);
        check(&good[..good.len() - 1], expect!["code 0, truncated false, whole false, lives None"]);
        let refused = Message::error_msg(0xabcd, OpCode::Query, ResponseCode::FormErr);
        let refused = refused.to_vec().unwrap();
        check(&refused, expect!["code 1, truncated false, whole false, lives None"]);
        // What is no answer to the question.
        let mut other = good.clone();
        other[0] ^= 1;
        check(&other, expect!["none"]);
        let elsewhere = answer("www.example.net.", NoError, &[60], None).to_vec().unwrap();
        check(&elsewhere, expect!["none"]);
        check(&asked(name, false), expect!["none"]);
    }

    #[test]
    fn an_answer_is_given_as_it_came_with_the_clients_own_letters() {
        let question = Question::read(&asked("wWw.ExAmple.org.", true)).unwrap();
        let came = answer("www.example.org.", ResponseCode::NoError, &[300, 60], Some((50, 1)));
        let came = came.to_vec().unwrap();
        let age = Duration::from_secs(55);
        let given = Message::from_vec(&question.answered(&came, age, 512).unwrap()).unwrap();
        assert_eq!(given.metadata.id, 7);
        assert_eq!(given.queries[0].name().to_ascii(), "wWw.ExAmple.org.");
        let ttls: Vec<u32> = given.answers.iter().map(|it| it.ttl).collect();
        assert_eq!((ttls, given.authorities[0].ttl), (vec![245, 5], 0));
        // Too long: the client comes again by TCP.
        let short = Message::from_vec(&question.answered(&came, age, 60).unwrap()).unwrap();
        assert!(short.metadata.truncation && short.answers.is_empty() && short.edns.is_some());
    }

    #[test]
    fn what_changes_an_answer_makes_another_question() {
        let plain = key(&asked("www.example.org.", false));
        assert_eq!(plain, key(&asked("WWW.example.ORG.", false)));
        assert_ne!(plain, key(&asked("www.example.org.", true)));
        let mut checking = asked("www.example.org.", false);
        checking[3] |= CHECKING_DISABLED;
        assert_ne!(plain, key(&checking));
        let sent = Message::from_vec(&key(&asked("www.example.org.", true)).message(ID)).unwrap();
        assert_eq!((sent.metadata.id, sent.metadata.recursion_desired), (0xabcd, true));
        assert!(
            sent.edns.is_some_and(|it| it.flags().dnssec_ok && it.max_payload() == UDP_BYTES_MAX)
        );
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            tail in 0..200_usize,
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
            age in any::<u32>(),
            most in 0..600_usize,
        ) {
            let asked = asked("www.example.org.", true);
            let mut came =
                answer("www.example.org.", ResponseCode::NoError, &[3, 4], Some((5, 6))).to_vec().unwrap();
            for (at, value) in flips {
                let at = at.index(came.len());
                came[at] = value;
            }
            came.truncate(came.len().saturating_sub(tail).max(1));
            let key = key(&asked);
            for message in [&bytes, &came] {
                let _ = Question::read(message);
                let _ = key.reply(ID, message);
                let question = Question::read(&asked).unwrap();
                let given = question.answered(message, Duration::from_secs(age.into()), most);
                // A question itself always comes back.
                prop_assert!(given.is_none_or(|it| it.len() <= most.max(asked.len())));
            }
        }
    }
}
