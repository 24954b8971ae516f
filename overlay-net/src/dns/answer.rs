//! From a question's bytes to an answer's, as far as it can be told here. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR, SRV};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use skep_types::service::Protocol;

use super::names::View;
use super::zone::{Target, Wanted};

/// How long an answer may be kept: an update is to reach every client within this.
pub const TTL_SECONDS: u32 = 5;
/// A UDP answer to a client that names no size (RFC 1035).
pub(super) const PLAIN_BYTES: u16 = 512;
/// The largest UDP answer, whatever the client names: larger ones break into fragments.
pub(super) const UDP_BYTES_MAX: u16 = 1232;
/// A record without its data: a pointer to its name, and ten bytes of its kind.
const RECORD_BYTES: usize = 12;
/// What a message has besides its records: header, question, EDNS.
const FRAME_BYTES_MAX: usize = 12 + 259 + 11;

/// What is to be done with a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Answer(Vec<u8>),
    /// Not ours to know: the host's resolvers are asked.
    Forward,
    /// No answer can be made: not even the header was readable.
    Drop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
}

/// What is known when a question is asked.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    pub names: &'a View<'a>,
    /// Whether all networks of the asker are known. Until they are, a name of one label that is
    /// not found may still be a service's: nobody else is asked, and the client comes again.
    pub complete: bool,
    /// Rotates the addresses of a name, so that clients that take the first one spread.
    pub turn: usize,
}

/// Answers a question.
pub fn answer(known: Known<'_>, question: &[u8], transport: Transport) -> Outcome {
    let Known { names, complete, turn } = known;
    let Ok(query) = Message::from_vec(question) else {
        return match question.first_chunk::<2>() {
            Some(id) => refuse_id(u16::from_be_bytes(*id), ResponseCode::FormErr),
            None => Outcome::Drop,
        };
    };
    if query.metadata.message_type != MessageType::Query {
        return Outcome::Drop;
    }
    let [asked] = query.queries.as_slice() else {
        return encode(&failure(&query, ResponseCode::FormErr), transport, &query);
    };
    if query.metadata.op_code != OpCode::Query {
        return encode(&failure(&query, ResponseCode::NotImp), transport, &query);
    }
    if asked.query_class() != DNSClass::IN {
        return Outcome::Forward;
    }
    let name = asked.name();
    let (kind, room) = (asked.query_type(), size_for(&query, transport));
    let wanted = Wanted { most: most(name, kind, room, transport), turn };
    let (text, mut more) = (text(name), Vec::new());
    let found = if kind == RecordType::PTR {
        pointers(names, name)
    } else if let Some((port, protocol, service)) = port_of(&text) {
        match names.targets(service, port, protocol, wanted) {
            None => Found::Elsewhere,
            Some(None) => Found::Nowhere,
            Some(Some(targets)) => {
                let (records, addresses) = services(name, kind, &targets, room);
                more = addresses;
                Found::Here(records)
            }
        }
    } else {
        forward_or(names.addresses(&text, wanted), |addresses| {
            let once: BTreeSet<IpAddr> = addresses.into_iter().collect();
            let mut addresses: Vec<IpAddr> = once.into_iter().collect();
            if !addresses.is_empty() {
                let by = turn % addresses.len();
                addresses.rotate_left(by);
            }
            addresses.into_iter().filter_map(|it| record(name, kind, it)).collect()
        })
    };
    match found {
        Found::Elsewhere if !complete && name.num_labels() <= 1 => {
            encode(&failure(&query, ResponseCode::ServFail), transport, &query)
        }
        Found::Elsewhere => Outcome::Forward,
        Found::Nowhere => encode(&failure(&query, ResponseCode::NXDomain), transport, &query),
        Found::Here(records) => {
            let mut response = failure(&query, ResponseCode::NoError);
            response.metadata.authoritative = true;
            response.add_answers(records);
            response.additionals = more;
            encode(&response, transport, &query)
        }
    }
}

/// The answer that tells a client that nobody could be asked.
pub fn server_failure(question: &[u8]) -> Outcome {
    match Message::from_vec(question) {
        Ok(query) => encode(&failure(&query, ResponseCode::ServFail), Transport::Tcp, &query),
        Err(_) => Outcome::Drop,
    }
}

enum Found {
    Here(Vec<Record>),
    /// Ours to know, and there is no such name.
    Nowhere,
    Elsewhere,
}

fn forward_or<T>(found: Option<T>, records: impl FnOnce(T) -> Vec<Record>) -> Found {
    found.map_or(Found::Elsewhere, |it| Found::Here(records(it)))
}

fn pointers(names: &View<'_>, name: &Name) -> Found {
    let Some(address) = address_of(&text(name)) else { return Found::Elsewhere };
    let target = names.name_of(address).and_then(|it| Name::from_ascii(it + ".").ok());
    match target {
        Some(target) => {
            let data = RData::PTR(PTR(target));
            Found::Here(vec![Record::from_rdata(name.clone(), TTL_SECONDS, data)])
        }
        None if names.is_inside(address) => Found::Nowhere,
        None => Found::Elsewhere,
    }
}

/// How many tasks an answer has room for. A datagram has one more than it can hold, so that its client
/// comes by TCP, where as many are told as there is room for, even if no name in it is shortened.
fn most(name: &Name, kind: RecordType, room: usize, transport: Transport) -> usize {
    let owner = match transport {
        Transport::Udp => RECORD_BYTES,
        Transport::Tcp => RECORD_BYTES + name.len(),
    };
    let each = match kind {
        RecordType::AAAA => owner + 16,
        RecordType::ANY => 2 * owner + 4 + 16,
        _ => owner + 4,
    };
    match transport {
        Transport::Udp => room / each + 1,
        Transport::Tcp => (room - FRAME_BYTES_MAX) / each,
    }
}

/// `_http._tcp.web`: port, protocol and service.
fn port_of(name: &str) -> Option<(&str, Protocol, &str)> {
    let (port, rest) = name.strip_prefix('_')?.split_once('.')?;
    let (protocol, service) = rest.strip_prefix('_')?.split_once('.')?;
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    Some((port, protocol, service))
}

/// A record for each task (RFC 2782), all alike, and the tasks' addresses: as many as the longest
/// message has room for. Where a datagram has none for them, its client comes by TCP.
fn services(
    name: &Name,
    kind: RecordType,
    targets: &[Target<'_>],
    room: usize,
) -> (Vec<Record>, Vec<Record>) {
    let (mut records, mut addresses, mut bytes) = (Vec::new(), Vec::new(), FRAME_BYTES_MAX);
    if !matches!(kind, RecordType::SRV | RecordType::ANY) {
        return (records, addresses);
    }
    let room_by_tcp = usize::from(u16::MAX);
    for target in targets {
        let Ok(task) = Name::from_ascii(format!("{}.", target.name)) else { continue };
        let at = target.addresses.iter().filter_map(|it| record(&task, RecordType::ANY, *it));
        let at: Vec<Record> = at.collect();
        // The task's name is written out (RFC 2782), and counted as if it were each time.
        let name_bytes = target.name.len() + 2;
        bytes += RECORD_BYTES + 6 + name_bytes + at.len() * (RECORD_BYTES + name_bytes + 16);
        if bytes > room_by_tcp {
            break;
        }
        addresses.extend(at);
        let data = RData::SRV(SRV::new(0, 0, target.port, task));
        records.push(Record::from_rdata(name.clone(), TTL_SECONDS, data));
        // It is too long for a datagram by now, whatever was saved.
        if bytes > 3 * room {
            break;
        }
    }
    (records, addresses)
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` stands for.
fn address_of(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(labels) = name.strip_suffix(".in-addr.arpa") {
        let mut octets = [0; 4];
        let mut labels = labels.split('.');
        for octet in octets.iter_mut().rev() {
            *octet = labels.next()?.parse().ok()?;
        }
        return labels.next().is_none().then(|| octets.into());
    }
    let labels = name.strip_suffix(".ip6.arpa")?;
    let mut bits: u128 = 0;
    let mut count = 0;
    for label in labels.split('.').collect::<Vec<_>>().into_iter().rev() {
        if label.len() != 1 || count == 32 {
            return None;
        }
        bits = bits << 4 | u128::from(u8::from_str_radix(label, 16).ok()?);
        count += 1;
    }
    (count == 32).then(|| IpAddr::from(bits.to_be_bytes()))
}

/// A name as text, without its last dot. Its labels are compared with names that hold no dots.
fn text(name: &Name) -> String {
    let labels = name.iter().map(|label| String::from_utf8_lossy(label).into_owned());
    labels.collect::<Vec<_>>().join(".")
}

fn record(name: &Name, wanted: RecordType, address: IpAddr) -> Option<Record> {
    let data = match (wanted, address) {
        (RecordType::A, IpAddr::V4(v4)) => RData::A(A(v4)),
        (RecordType::AAAA, IpAddr::V6(v6)) => RData::AAAA(AAAA(v6)),
        (RecordType::ANY, IpAddr::V4(v4)) => RData::A(A(v4)),
        (RecordType::ANY, IpAddr::V6(v6)) => RData::AAAA(AAAA(v6)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), TTL_SECONDS, data))
}

fn failure(query: &Message, code: ResponseCode) -> Message {
    let mut response = Message::error_msg(query.metadata.id, query.metadata.op_code, code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(query.queries.iter().cloned());
    if let Some(edns) = &query.edns {
        let mut ours = hickory_proto::op::Edns::new();
        ours.set_max_payload(UDP_BYTES_MAX).set_version(0);
        ours.set_dnssec_ok(edns.flags().dnssec_ok);
        response.set_edns(ours);
    }
    response
}

fn refuse_id(id: u16, code: ResponseCode) -> Outcome {
    match Message::error_msg(id, OpCode::Query, code).to_vec() {
        Ok(bytes) => Outcome::Answer(bytes),
        Err(_) => Outcome::Drop,
    }
}

/// How long an answer may be to a client that takes so much by UDP.
pub(super) fn size(by_udp: u16, transport: Transport) -> usize {
    match transport {
        Transport::Udp => usize::from(by_udp.clamp(PLAIN_BYTES, UDP_BYTES_MAX)),
        Transport::Tcp => usize::from(u16::MAX),
    }
}

fn size_for(query: &Message, transport: Transport) -> usize {
    size(query.edns.as_ref().map_or(PLAIN_BYTES, hickory_proto::op::Edns::max_payload), transport)
}

/// Too large for UDP: the client is told to come again by TCP.
fn encode(response: &Message, transport: Transport, query: &Message) -> Outcome {
    let limit = size_for(query, transport);
    let bytes = match response.to_vec() {
        Ok(bytes) if bytes.len() > limit => response.truncate().to_vec(),
        other => other,
    };
    bytes.map_or(Outcome::Drop, Outcome::Answer)
}
