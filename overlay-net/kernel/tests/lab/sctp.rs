//! As much of SCTP (RFC 9260) as a first packet and its answer, on raw sockets: a kernel that follows
//! its connections need not speak it itself.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrIn, bind, recvfrom, sendto, setsockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use skep_overlay_kernel::Namespace;

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
/// The cookie of an answer.
const STATE_COOKIE: u16 = 7;
const HEADER_BYTES: usize = 12;
/// What a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(3);

/// A raw socket for SCTP, or one that waits as long as it takes.
fn raw(patience: Option<Duration>) -> OwnedFd {
    // By number: nix names no protocol for raw sockets.
    // SAFETY: a plain system call; what it gives is owned from here on.
    let socket = unsafe {
        let fd = libc::socket(
            AddressFamily::Inet as i32,
            SockType::Raw as i32 | SockFlag::SOCK_CLOEXEC.bits(),
            libc::IPPROTO_SCTP,
        );
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        std::os::fd::FromRawFd::from_raw_fd(fd)
    };
    if let Some(patience) = patience {
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(patience.as_secs() as i64)).unwrap();
    }
    socket
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
        })
    })
}

/// A packet of one chunk with a tag of its own: both sides say 1.
fn packet(from: u16, to: u16, kind: u8, parameters: &[u8]) -> Vec<u8> {
    let verification = u32::from(kind == INIT_ACK);
    let mut packet = Vec::new();
    packet.extend_from_slice(&from.to_be_bytes());
    packet.extend_from_slice(&to.to_be_bytes());
    packet.extend_from_slice(&verification.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(&[kind, 0]);
    packet.extend_from_slice(&(20 + parameters.len() as u16).to_be_bytes());
    // Tag, window, streams out and in, first number.
    packet.extend_from_slice(&1u32.to_be_bytes());
    packet.extend_from_slice(&65_536u32.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 1]);
    packet.extend_from_slice(&1u32.to_be_bytes());
    packet.extend_from_slice(parameters);
    let sum = crc32c(&packet);
    packet[8..12].copy_from_slice(&sum.to_le_bytes());
    packet
}

/// Ports and the chunk of what came, behind the header of IPv4.
fn read(bytes: &[u8]) -> Option<(u16, u16, &[u8])> {
    let packet = bytes.get(usize::from(bytes.first()? & 0xf) * 4..)?;
    let port = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    Some((port(0)?, port(2)?, packet.get(HEADER_BYTES..)?))
}

/// Answers each first packet with its name, from its own address: a raw socket has no port by which
/// it could be chosen. It ends with the test's process.
pub async fn serve(place: &Namespace, at: &str, name: u8) {
    let at: SocketAddrV4 = at.parse().unwrap();
    let port = at.port();
    let serving = place.run(move || {
        let socket = raw(None);
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(*at.ip(), 0))).unwrap();
        socket
    });
    let socket = serving.await.unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, Some(peer))) = recvfrom::<SockaddrIn>(socket.as_raw_fd(), &mut buffer)
        {
            let Some((from, to, chunk)) = read(&buffer[..length]) else { continue };
            if to != port || chunk.first() != Some(&INIT) {
                continue;
            }
            let mut cookie = STATE_COOKIE.to_be_bytes().to_vec();
            cookie.extend_from_slice(&[0, 8, name, 0, 0, 0]);
            let answer = packet(port, from, INIT_ACK, &cookie);
            let _ = sendto(socket.as_raw_fd(), &answer, &peer, MsgFlags::empty());
        }
    });
}

/// Which server answers a first packet.
pub async fn ask(place: &Namespace, from: u16, at: &str, port: u16) -> Result<u8, ErrorKind> {
    let address: Ipv4Addr = at.parse().unwrap();
    let socket = place.run(|| raw(Some(ANSWER))).await.unwrap();
    let to = SockaddrIn::from(SocketAddrV4::new(address, 0));
    let first = packet(from, port, INIT, &[]);
    sendto(socket.as_raw_fd(), &first, &to, MsgFlags::empty()).unwrap();
    let deadline = Instant::now() + ANSWER;
    let mut buffer = [0; 2048];
    while Instant::now() < deadline {
        let (length, peer) = recvfrom::<SockaddrIn>(socket.as_raw_fd(), &mut buffer)
            .map_err(|errno| std::io::Error::from(errno).kind())?;
        let Some((of, to, chunk)) = read(&buffer[..length]) else { continue };
        let same = peer.is_some_and(|peer| peer.ip() == address) && (of, to) == (port, from);
        if same && chunk.first() == Some(&INIT_ACK) {
            return Ok(chunk[24]);
        }
    }
    Err(ErrorKind::WouldBlock)
}
