//! The netlink of netfilter (linux/netfilter/nfnetlink.h), spoken by hand: a few messages only.

use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::{ReceiveTimeout, SndBufForce};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendmsg,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// Attributes are in this attribute.
pub const NESTED: u16 = libc::NLA_F_NESTED as u16;
/// The upper bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;
pub const MESSAGE_HEADER_BYTES: usize = 16;
/// Family, version and resource, before the attributes.
pub const FAMILY_HEADER_BYTES: usize = 4;

/// Netlink sends at most 32 KiB in one message of a dump.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// The kernel answers at once; without an answer something is badly wrong.
const ANSWER_TIMEOUT_SECONDS: i64 = 5;
/// What is sent at once at most.
pub const SEND_BYTES_MAX: usize = 1 << 20;

/// To the kernel of the calling thread's namespace, in which it stays.
pub struct Socket(OwnedFd);

pub fn open() -> io::Result<Socket> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_SECONDS))?;
    Ok(Socket(socket))
}

impl Socket {
    /// For more than the kernel takes at once by default (some 200 KiB).
    pub fn expect_large(&self, bytes: usize) -> io::Result<()> {
        // The kernel counts what it keeps beside the bytes, too.
        Ok(setsockopt(&self.0, SndBufForce, &(2 * bytes))?)
    }

    pub fn send(&self, messages: &[u8]) -> io::Result<()> {
        sendmsg(
            self.0.as_raw_fd(),
            &[IoSlice::new(messages)],
            &[],
            MsgFlags::empty(),
            Some(&NetlinkAddr::new(0, 0)),
        )?;
        Ok(())
    }

    pub fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let length = recv(self.0.as_raw_fd(), buffer, MsgFlags::empty())?;
        Ok(&buffer[..length])
    }
}

/// Appends a message. `family` is the header of netfilter's own.
pub fn put_message(
    to: &mut Vec<u8>,
    kind: u16,
    flags: i32,
    sequence: u32,
    family: [u8; FAMILY_HEADER_BYTES],
    body: &[u8],
) {
    let length = MESSAGE_HEADER_BYTES + FAMILY_HEADER_BYTES + body.len();
    to.extend_from_slice(&(length as u32).to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(&((libc::NLM_F_REQUEST | flags) as u16).to_ne_bytes());
    to.extend_from_slice(&sequence.to_ne_bytes());
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&family);
    to.extend_from_slice(body);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Appends an attribute, of 65,531 bytes at most.
pub fn put_attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    to.extend_from_slice(&((4 + value.len()) as u16).to_ne_bytes());
    to.extend_from_slice(&kind.to_ne_bytes());
    to.extend_from_slice(value);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// The kernel's verdict: zero is success.
pub fn outcome(body: &[u8]) -> io::Result<()> {
    let code = body.first_chunk::<4>().map_or(-libc::EPROTO, |it| i32::from_ne_bytes(*it));
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

/// What of a message's header tells answers apart.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub kind: u16,
    pub sequence: u32,
    /// What is listed changed meanwhile.
    pub interrupted: bool,
}

/// The messages in what was received.
pub fn messages(mut bytes: &[u8]) -> Vec<(Header, &[u8])> {
    let mut messages = Vec::new();
    while let Some(header) = bytes.first_chunk::<MESSAGE_HEADER_BYTES>() {
        let word = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = word(0) as usize;
        let Some(body) = bytes.get(MESSAGE_HEADER_BYTES..length) else { break };
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let flags = u16::from_ne_bytes([header[6], header[7]]);
        let interrupted = flags & libc::NLM_F_DUMP_INTR as u16 != 0;
        messages.push((Header { kind, sequence: word(8), interrupted }, body));
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

pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).into_iter().find_map(|(it, value)| (it == kind).then_some(value))
}
