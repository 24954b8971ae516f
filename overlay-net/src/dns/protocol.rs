//! What the daemon and the process that answers names say to each other: frames on a Unix socket,
//! one reply to each request. Descriptors of namespaces come along with the frames that name them.
//!
//! A process that hands on to its successor writes down the same words that a daemon would say.
//!
//! Daemon and process may be of different builds, so fields are only ever added.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use prost::Message;
use skep_types::service::Protocol;
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::names::Place;
use super::zone::{Change, Head, Id, Member, Port, Service, Told};

/// The largest frame: a part of a network has [`PART`] entries, and one with all the names that
/// Docker lets a task have takes some kilobytes.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Entries in one part of what is told of a network: between two parts questions are answered.
pub const PART: usize = 256;
/// Descriptors that have come and belong to frames that have not.
const DESCRIPTORS_MAX: usize = 8;
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(oneof = "Ask", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub ask: Option<Ask>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// With a descriptor of the host's namespace.
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(message, tag = "2")]
    Zone(ZoneWord),
    /// A network that is not to be known any more.
    #[prost(string, tag = "3")]
    Forget(String),
    /// With a descriptor of the asker's namespace.
    #[prost(message, tag = "4")]
    Open(Open),
    #[prost(string, tag = "5")]
    Close(String),
    /// With a descriptor of the program that is to go on.
    #[prost(message, tag = "6")]
    Replace(Replace),
    #[prost(message, tag = "7")]
    Quit(Quit),
}

#[derive(Clone, PartialEq, Message)]
pub struct Hello {}

#[derive(Clone, PartialEq, Message)]
pub struct Replace {}

#[derive(Clone, PartialEq, Message)]
pub struct Quit {}

/// A part of what is told of a network. It holds when the last part has come.
#[derive(Clone, PartialEq, Message)]
pub struct ZoneWord {
    #[prost(string, tag = "1")]
    pub zone: String,
    /// The generation that this follows; 0: of nothing.
    #[prost(uint64, tag = "2")]
    pub applies_to: u64,
    #[prost(uint64, tag = "3")]
    pub generation: u64,
    /// More of the same generation comes.
    #[prost(bool, tag = "4")]
    pub goes_on: bool,
    #[prost(message, optional, tag = "5")]
    pub head: Option<HeadWord>,
    #[prost(message, repeated, tag = "6")]
    pub members: Vec<MemberWord>,
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub members_gone: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "8")]
    pub services: Vec<ServiceWord>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub services_gone: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HeadWord {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub subnets: Vec<String>,
    #[prost(bool, tag = "3")]
    pub nameless: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct MemberWord {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, repeated, tag = "2")]
    pub names: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub addresses: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub service: Option<Vec<u8>>,
    #[prost(bool, tag = "5")]
    pub serving: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ServiceWord {
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, repeated, tag = "3")]
    pub aliases: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub vips: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "5")]
    pub ports: Vec<PortWord>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PortWord {
    #[prost(string, tag = "1")]
    pub name: String,
    /// As IP numbers it.
    #[prost(uint32, tag = "2")]
    pub protocol: u32,
    #[prost(uint32, tag = "3")]
    pub number: u32,
}

/// An asker, to be served from now on, or otherwise than before.
#[derive(Clone, PartialEq, Message)]
pub struct Open {
    #[prost(string, tag = "1")]
    pub asker: String,
    /// The port follows from it while it is free.
    #[prost(bytes = "vec", tag = "2")]
    pub seed: Vec<u8>,
    /// The port that rules lead to: this one or none.
    #[prost(uint32, optional, tag = "3")]
    pub port: Option<u32>,
    #[prost(message, repeated, tag = "4")]
    pub places: Vec<PlaceWord>,
    /// None: who has no way to the outside does not get there by names either.
    #[prost(message, optional, tag = "5")]
    pub forward: Option<ForwardWord>,
    /// Of who hands on: numbers of its descriptors.
    #[prost(message, optional, tag = "6")]
    pub sockets: Option<Sockets>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sockets {
    #[prost(int32, tag = "1")]
    pub udp: i32,
    #[prost(int32, tag = "2")]
    pub tcp: i32,
    #[prost(int32, tag = "3")]
    pub place: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct PlaceWord {
    #[prost(string, tag = "1")]
    pub zone: String,
    /// Alias and name, one after the other.
    #[prost(string, repeated, tag = "2")]
    pub links: Vec<String>,
}

/// Who is asked for what is not known here.
#[derive(Clone, PartialEq, Message)]
pub struct ForwardWord {
    /// The host's servers, by their file.
    #[prost(string, tag = "1")]
    pub file: String,
    /// Where there are some: these, from the asker's own namespace.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub servers: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    #[prost(oneof = "Say", tags = "1, 2, 3, 4, 5")]
    pub say: Option<Say>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Say {
    #[prost(message, tag = "1")]
    Held(Held),
    #[prost(message, tag = "2")]
    Done(Done),
    #[prost(uint32, tag = "3")]
    Opened(u32),
    #[prost(message, tag = "4")]
    Failed(Failed),
    /// A change does not follow what is known: the whole is to be told.
    #[prost(message, tag = "5")]
    Stale(Stale),
}

/// What a process has.
#[derive(Clone, PartialEq, Message)]
pub struct Held {
    /// Which program it is.
    #[prost(string, tag = "1")]
    pub build: String,
    #[prost(string, repeated, tag = "2")]
    pub askers: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub zones: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Done {}

#[derive(Clone, PartialEq, Message)]
pub struct Stale {}

#[derive(Clone, PartialEq, Message)]
pub struct Failed {
    #[prost(string, tag = "1")]
    pub message: String,
    /// The kernel's, where it is known.
    #[prost(int32, optional, tag = "2")]
    pub errno: Option<i32>,
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        match failed.errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(failed.message),
        }
    }
}

impl From<&io::Error> for Failed {
    fn from(error: &io::Error) -> Self {
        Self { message: error.to_string(), errno: error.raw_os_error() }
    }
}

pub fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed word: {what}"))
}

pub fn bytes_of(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub fn address(bytes: &[u8]) -> io::Result<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(v4.into());
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| malformed("an address"))?;
    Ok(v6.into())
}

fn id(bytes: &[u8]) -> io::Result<Id> {
    bytes.try_into().map(Id::from_be_bytes).map_err(|_| malformed("an id"))
}

fn addresses(all: &[Vec<u8>]) -> io::Result<Vec<IpAddr>> {
    all.iter().map(|bytes| address(bytes)).collect()
}

impl ZoneWord {
    /// A whole network in parts.
    pub fn whole(zone: &str, generation: u64, told: &Told) -> Vec<Self> {
        let change = Change {
            head: Some(told.head.clone()),
            members: told.members.clone(),
            services: told.services.clone(),
            ..Change::default()
        };
        Self::parts(zone, 0, generation, change)
    }

    /// A change in parts, at least one.
    pub fn parts(zone: &str, applies_to: u64, generation: u64, change: Change) -> Vec<Self> {
        let empty = || Self { zone: zone.to_owned(), applies_to, generation, ..Self::default() };
        let head = change.head.map(|head| HeadWord {
            name: head.name,
            subnets: head.subnets.iter().map(ToString::to_string).collect(),
            nameless: head.nameless,
        });
        let gone = |ids: Vec<Id>| ids.into_iter().map(|id| id.to_be_bytes().to_vec()).collect();
        let mut parts = vec![Self {
            head,
            members_gone: gone(change.members_gone.into_iter().collect()),
            services_gone: gone(change.services_gone.into_iter().collect()),
            ..empty()
        }];
        let services: Vec<ServiceWord> = change.services.into_iter().map(service_word).collect();
        parts.extend(services.chunks(PART).map(|some| Self { services: some.to_vec(), ..empty() }));
        let members: Vec<MemberWord> = change.members.into_iter().map(member_word).collect();
        parts.extend(members.chunks(PART).map(|some| Self { members: some.to_vec(), ..empty() }));
        let last = parts.len() - 1;
        for part in &mut parts[..last] {
            part.goes_on = true;
        }
        parts
    }

    pub fn change(self) -> io::Result<Change> {
        let mut change = Change::default();
        if let Some(head) = self.head {
            let subnets = head.subnets.iter().map(|it| it.parse());
            let subnets = subnets.collect::<Result<_, _>>().map_err(|_| malformed("a subnet"))?;
            change.head = Some(Head { name: head.name, subnets, nameless: head.nameless });
        }
        for it in self.members {
            let service = it.service.as_deref().map(id).transpose()?;
            let (names, addresses) = (it.names, addresses(&it.addresses)?);
            let member = Member { names, addresses, service, serving: it.serving };
            change.members.insert(id(&it.id)?, member);
        }
        for it in self.services {
            let vips = addresses(&it.vips)?;
            let ports = it.ports.into_iter().map(port).collect::<io::Result<_>>()?;
            let service = Service { name: it.name, aliases: it.aliases, vips, ports };
            change.services.insert(id(&it.id)?, service);
        }
        for gone in &self.members_gone {
            change.members_gone.insert(id(gone)?);
        }
        for gone in &self.services_gone {
            change.services_gone.insert(id(gone)?);
        }
        Ok(change)
    }
}

fn member_word((id, member): (Id, Member)) -> MemberWord {
    MemberWord {
        id: id.to_be_bytes().to_vec(),
        names: member.names,
        addresses: member.addresses.into_iter().map(bytes_of).collect(),
        service: member.service.map(|it| it.to_be_bytes().to_vec()),
        serving: member.serving,
    }
}

fn service_word((id, service): (Id, Service)) -> ServiceWord {
    ServiceWord {
        id: id.to_be_bytes().to_vec(),
        name: service.name,
        aliases: service.aliases,
        vips: service.vips.into_iter().map(bytes_of).collect(),
        ports: service.ports.into_iter().map(port_word).collect(),
    }
}

const TCP: u32 = 6;
const UDP: u32 = 17;
const SCTP: u32 = 132;

fn port_word(port: Port) -> PortWord {
    let protocol = match port.protocol {
        Protocol::Tcp => TCP,
        Protocol::Udp => UDP,
        Protocol::Sctp => SCTP,
    };
    PortWord { name: port.name, protocol, number: port.number.into() }
}

fn port(word: PortWord) -> io::Result<Port> {
    let protocol = match word.protocol {
        TCP => Protocol::Tcp,
        UDP => Protocol::Udp,
        SCTP => Protocol::Sctp,
        _ => return Err(malformed("a protocol")),
    };
    let number = u16::try_from(word.number).map_err(|_| malformed("a port"))?;
    Ok(Port { name: word.name, protocol, number })
}

impl From<&Place> for PlaceWord {
    fn from(place: &Place) -> Self {
        let links = place.links.iter().flat_map(|(alias, name)| [alias.clone(), name.clone()]);
        Self { zone: place.zone.clone(), links: links.collect() }
    }
}

impl From<PlaceWord> for Place {
    fn from(word: PlaceWord) -> Self {
        let links = word.links.chunks_exact(2).map(|it| (it[0].clone(), it[1].clone()));
        Self { zone: word.zone, links: links.collect() }
    }
}

/// A frame: its length, then itself.
pub fn frame(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut bytes = Vec::with_capacity(4 + body.len());
    bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&body);
    bytes
}

/// Takes the first frame off; None while it is not whole.
pub fn unframe<T: Message + Default>(bytes: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(malformed("a frame that is too long"));
    }
    let Some(body) = bytes.get(4..4 + length) else { return Ok(None) };
    let message = T::decode(body).map_err(|error| malformed(&error.to_string()))?;
    bytes.drain(..4 + length);
    Ok(Some(message))
}

/// One end of a conversation.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    received: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), descriptors: VecDeque::new() }
    }

    /// The descriptor that came with the frame that was received last.
    pub fn descriptor(&mut self) -> io::Result<OwnedFd> {
        self.descriptors.pop_front().ok_or_else(|| malformed("no descriptor came along"))
    }

    pub async fn send(
        &self,
        message: &impl Message,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let bytes = frame(message);
        let mut rest = &bytes[..];
        let mut along = descriptor.map(|it| [it.as_raw_fd()]);
        while !rest.is_empty() {
            let sent = self.stream.async_io(Interest::WRITABLE, || {
                let rights = along.as_ref().map(|it| [ControlMessage::ScmRights(it)]);
                let controls = rights.as_ref().map_or(&[][..], |it| &it[..]);
                let parts = [IoSlice::new(rest)];
                let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
                Ok(sendmsg::<()>(self.stream.as_raw_fd(), &parts, controls, flags, None)?)
            });
            let sent = sent.await?;
            // It has gone with the first byte.
            along = None;
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// The next frame; None when the other end has closed.
    pub async fn receive<T: Message + Default>(&mut self) -> io::Result<Option<T>> {
        loop {
            if let Some(message) = unframe(&mut self.received)? {
                return Ok(Some(message));
            }
            let mut chunk = vec![0; CHUNK_BYTES];
            let stream = &self.stream;
            let (length, came) = stream
                .async_io(Interest::READABLE, || read_some(stream.as_raw_fd(), &mut chunk))
                .await?;
            if length == 0 {
                return Ok(None);
            }
            self.received.extend_from_slice(&chunk[..length]);
            self.descriptors.extend(came);
            if self.descriptors.len() > DESCRIPTORS_MAX {
                return Err(malformed("more descriptors than frames"));
            }
        }
    }
}

fn read_some(socket: i32, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([i32; DESCRIPTORS_MAX]);
    let mut parts = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket, &mut parts, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just given us these descriptors and nobody else has them.
            descriptors.extend(numbers.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
        }
    }
    Ok((message.bytes, descriptors))
}
