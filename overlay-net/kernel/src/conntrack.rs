//! Connection tracking: forgets translated flows whose task no longer serves.
//!
//! The kernel goes on translating a flow that it knows, whatever the rules say since. For TCP that
//! is wanted while a task drains, once the task has answered; a UDP flow has no end, so it moves on
//! at once. A connection that waits for its first answer moves on too: its client asks again within
//! a second, and would ask the same task until it gave up. Spoken by hand, for it takes two messages
//! only.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use skep_overlay_plan::{Balanced, Target};
use skep_types::service::Protocol;

use crate::netlink::flatten;
use crate::nfnetlink::{
    self, BUFFER_BYTES, FAMILY_HEADER_BYTES, NESTED, Socket, find, messages, outcome, put_attribute,
};
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
/// How many flows the reader's namespace has.
const FLOWS: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

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
        nfnetlink::open()?.send(&message(MESSAGE_GET, libc::NLM_F_ACK, libc::AF_INET, &[]))?;
        Ok(Path::new(SCTP_SETTING).exists())
    };
    flatten(host.run(look).await).map_err(KernelError::io("ask which protocols are followed"))
}

fn prune_here(balanced: &[Balanced]) -> io::Result<()> {
    // The list is of the whole machine, whoever asks: a task without flows is not to cost that.
    if std::fs::read_to_string(FLOWS).is_ok_and(|count| count.trim() == "0") {
        return Ok(());
    }
    let socket = nfnetlink::open()?;
    for flow in list(&socket)?.into_iter().filter(|flow| is_stale(flow, balanced)) {
        forget(&socket, &flow)?;
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

fn message(kind: u16, flags: i32, family: i32, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    // One request at a time on a socket of its own.
    nfnetlink::put_message(&mut message, kind, flags, 0, [family as u8, 0, 0, 0], body);
    message
}

/// Of both families. The kernel walks through the flows of all namespaces, one such walk at a time.
fn list(socket: &Socket) -> io::Result<Vec<Flow>> {
    socket.send(&message(MESSAGE_GET, libc::NLM_F_DUMP, libc::AF_UNSPEC, &[]))?;
    let mut flows = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        for (header, body) in messages(socket.receive(&mut buffer)?) {
            match i32::from(header.kind) {
                libc::NLMSG_DONE => return Ok(flows),
                libc::NLMSG_ERROR => outcome(body)?,
                _ => flows.extend(body.get(FAMILY_HEADER_BYTES..).and_then(flow)),
            }
        }
    }
}

fn forget(socket: &Socket, flow: &Flow) -> io::Result<()> {
    let mut body = Vec::with_capacity(4 + flow.original.len());
    put_attribute(&mut body, TUPLE_ORIGINAL | NESTED, &flow.original);
    let family = if flow.destination.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    socket.send(&message(MESSAGE_DELETE, libc::NLM_F_ACK, family, &body))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    for (header, body) in messages(socket.receive(&mut buffer)?) {
        if i32::from(header.kind) == libc::NLMSG_ERROR {
            match outcome(body) {
                // It ended by itself in between.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                other => other?,
            }
        }
    }
    Ok(())
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
