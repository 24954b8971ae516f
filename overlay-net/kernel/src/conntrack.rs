//! Connection tracking: forgets translated flows whose task no longer serves.
//!
//! The kernel goes on translating a flow that it knows, whatever the rules say since. For TCP that
//! is wanted while a task drains, once the task has answered; a UDP flow has no end, so it moves on
//! at once. A connection that waits for its first answer moves on too: its client asks again within
//! a second, and would ask the same task until it gave up. Spoken by hand, for it takes two messages
//! only.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendmsg,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use skep_overlay_plan::{Balanced, Target};
use skep_types::service::Protocol;

use crate::netlink::flatten;
use crate::{HostNs, KernelError, Namespace};

// linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h
const SUBSYSTEM_CONNTRACK: u16 = 1 << 8;
const MESSAGE_GET: u16 = SUBSYSTEM_CONNTRACK | 1;
const MESSAGE_DELETE: u16 = SUBSYSTEM_CONNTRACK | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const TUPLE_ADDRESSES: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const ADDRESS_V4_SOURCE: u16 = 1;
const ADDRESS_V4_DESTINATION: u16 = 2;
const ADDRESS_V6_SOURCE: u16 = 3;
const ADDRESS_V6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const PROTOCOL_DESTINATION_PORT: u16 = 3;
// linux/netfilter/nf_conntrack_common.h: packets have come in both directions.
const STATUS_SEEN_REPLY: u32 = 1 << 1;
/// There where the kernel was built with `CONFIG_NF_CT_PROTO_SCTP`.
const SCTP_SETTING: &str = "/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established";
/// The upper bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;
const MESSAGE_HEADER_BYTES: usize = 16;
const FAMILY_HEADER_BYTES: usize = 4;

/// Netlink sends at most 32 KiB in one message of a dump.
const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers at once; without an answer something is badly wrong.
const ANSWER_TIMEOUT_SECONDS: i64 = 5;

/// A flow as it started and as its replies look.
#[derive(Debug, PartialEq, Eq)]
struct Flow {
    protocol: u8,
    destination: IpAddr,
    destination_port: u16,
    answered_by: IpAddr,
    /// Whether it has answered by now.
    answered: bool,
    /// The original direction as it came, to be handed back.
    original: Vec<u8>,
}

/// Forgets flows to tasks that are no longer behind their target.
pub async fn prune(place: &Namespace, balanced: Vec<Balanced>) -> Result<(), KernelError> {
    let step = format!("forget flows in {place}");
    flatten(place.run(move || prune_here(&balanced)).await).map_err(KernelError::io(step))
}

/// Whether the kernel follows connections of SCTP, without which it cannot translate their ports.
pub async fn follows_sctp(host: &HostNs) -> Result<bool, KernelError> {
    let look = || {
        // A question, however it is answered, has the kernel load what follows connections.
        send(&open()?, MESSAGE_GET, libc::NLM_F_ACK, libc::AF_INET, &[])?;
        Ok(Path::new(SCTP_SETTING).exists())
    };
    flatten(host.run(look).await).map_err(KernelError::io("ask which protocols are followed"))
}

fn prune_here(balanced: &[Balanced]) -> io::Result<()> {
    let socket = open()?;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let stale: Vec<Flow> =
            list(&socket, family)?.into_iter().filter(|flow| is_stale(flow, balanced)).collect();
        for flow in stale {
            forget(&socket, family, &flow)?;
        }
    }
    Ok(())
}

fn is_stale(flow: &Flow, balanced: &[Balanced]) -> bool {
    let moves = flow.protocol == libc::IPPROTO_UDP as u8 || !flow.answered;
    let behind = |it: &Balanced| match it.target {
        Target::Vip(vip) => flow.destination == vip,
        Target::Port(protocol, port) => {
            number(protocol) == flow.protocol
                && port == flow.destination_port
                && flow.answered_by != flow.destination
        }
    };
    balanced.iter().filter(|it| behind(it)).any(|it| {
        let serves = it.serving.contains(&flow.answered_by);
        let drains = it.draining.contains(&flow.answered_by);
        !serves && (moves || !drains) && flow.answered_by != flow.destination
    })
}

fn number(protocol: Protocol) -> u8 {
    let number = match protocol {
        Protocol::Tcp => libc::IPPROTO_TCP,
        Protocol::Udp => libc::IPPROTO_UDP,
        Protocol::Sctp => libc::IPPROTO_SCTP,
    };
    number as u8
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_SECONDS))?;
    Ok(socket)
}

fn send(socket: &OwnedFd, kind: u16, flags: i32, family: i32, body: &[u8]) -> io::Result<()> {
    let length = MESSAGE_HEADER_BYTES + FAMILY_HEADER_BYTES + body.len();
    let mut message = Vec::with_capacity(length);
    message.extend_from_slice(&(length as u32).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    // Sequence and port: one request at a time on a socket of its own.
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[family as u8, 0, 0, 0]);
    message.extend_from_slice(body);
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(&message)],
        &[],
        MsgFlags::empty(),
        Some(&NetlinkAddr::new(0, 0)),
    )?;
    Ok(())
}

fn list(socket: &OwnedFd, family: i32) -> io::Result<Vec<Flow>> {
    send(socket, MESSAGE_GET, libc::NLM_F_DUMP, family, &[])?;
    let mut flows = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        for (kind, body) in messages(&buffer[..length]) {
            match i32::from(kind) {
                libc::NLMSG_DONE => return Ok(flows),
                libc::NLMSG_ERROR => outcome(body)?,
                _ => flows.extend(body.get(FAMILY_HEADER_BYTES..).and_then(flow)),
            }
        }
    }
}

fn forget(socket: &OwnedFd, family: i32, flow: &Flow) -> io::Result<()> {
    // NLA_F_NESTED: attributes in an attribute.
    let kind = TUPLE_ORIGINAL | libc::NLA_F_NESTED as u16;
    let mut body = Vec::with_capacity(4 + flow.original.len());
    body.extend_from_slice(&((4 + flow.original.len()) as u16).to_ne_bytes());
    body.extend_from_slice(&kind.to_ne_bytes());
    body.extend_from_slice(&flow.original);
    send(socket, MESSAGE_DELETE, libc::NLM_F_ACK, family, &body)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
    for (kind, body) in messages(&buffer[..length]) {
        if i32::from(kind) == libc::NLMSG_ERROR {
            match outcome(body) {
                // It ended by itself in between.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The kernel's verdict: zero is success.
fn outcome(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk::<4>().map_or(-libc::EPROTO, |it| i32::from_ne_bytes(*it));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

/// The messages in what was received, each with its type.
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut messages = Vec::new();
    while let Some(header) = bytes.first_chunk::<MESSAGE_HEADER_BYTES>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(body) = bytes.get(MESSAGE_HEADER_BYTES..length) else { break };
        messages.push((kind, body));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// The attributes in a body: type without flags, value.
fn attributes(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut attributes = Vec::new();
    while let Some([a, b, c, d]) = bytes.first_chunk::<4>() {
        let length = u16::from_ne_bytes([*a, *b]) as usize;
        let Some(value) = bytes.get(4..length) else { break };
        attributes.push((u16::from_ne_bytes([*c, *d]) & TYPE_MASK, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    attributes
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).into_iter().find_map(|(it, value)| (it == kind).then_some(value))
}

fn flow(body: &[u8]) -> Option<Flow> {
    let original = find(body, TUPLE_ORIGINAL)?;
    let reply = find(body, TUPLE_REPLY)?;
    let protocol = find(original, TUPLE_PROTOCOL)?;
    let port = find(protocol, PROTOCOL_DESTINATION_PORT)
        .and_then(|it| it.try_into().ok())
        .map_or(0, u16::from_be_bytes);
    Some(Flow {
        protocol: *find(protocol, PROTOCOL_NUMBER)?.first()?,
        destination: address(original, ADDRESS_V4_DESTINATION, ADDRESS_V6_DESTINATION)?,
        destination_port: port,
        answered: find(body, STATUS)
            .and_then(|it| it.try_into().ok())
            .is_some_and(|it| u32::from_be_bytes(it) & STATUS_SEEN_REPLY != 0),
        answered_by: address(reply, ADDRESS_V4_SOURCE, ADDRESS_V6_SOURCE)?,
        original: original.to_vec(),
    })
}

fn address(tuple: &[u8], v4: u16, v6: u16) -> Option<IpAddr> {
    let addresses = find(tuple, TUPLE_ADDRESSES)?;
    if let Some(bytes) = find(addresses, v4) {
        return <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    }
    <[u8; 16]>::try_from(find(addresses, v6)?).ok().map(IpAddr::from)
}
