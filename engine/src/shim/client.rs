//! One connection to the shim's socket: a request that is still coming in, or somebody attached.
//!
//! **Invariant:** nothing here waits. What a client does not take stays in its socket's buffer, and
//! at most one frame of each output beside it: the shim reads no more of an output before that.

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{MsgFlags, sendmsg, setsockopt, sockopt};

use crate::attach::{AttachOptions, frame_head};
use crate::defaults::{ATTACH_BYTES_MAX, CLIENT_TIMEOUT, MESSAGE_BYTES_MAX};
use crate::logs::Stdio;
use crate::protocol::{Reply, Request};

pub struct Client {
    socket: UnixStream,
    state: State,
}

enum State {
    Asking {
        line: Vec<u8>,
        until: Instant,
    },
    Attached(Attachment),
    /// Waits for the container's end, with nothing to say or to hear.
    Waiting,
    Gone,
}

struct Attachment {
    wants: AttachOptions,
    /// What the socket has not taken, the rest of a frame first.
    behind: Vec<u8>,
    /// More may come from it.
    speaks: bool,
    /// The connection is closed at the other side; what it sent may still be there.
    hung_up: bool,
}

/// What came in.
pub enum Heard {
    Nothing,
    /// With what came after it.
    Request(Request, Vec<u8>),
    /// So many bytes of input.
    Input(usize),
    /// The end of the input.
    InputEnd,
}

impl Client {
    pub fn new(socket: UnixStream) -> io::Result<Client> {
        socket.set_nonblocking(true)?;
        let until = Instant::now() + CLIENT_TIMEOUT;
        Ok(Client { socket, state: State::Asking { line: Vec::new(), until } })
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Gone)
    }

    pub fn is_attached(&self) -> bool {
        matches!(self.state, State::Attached(_))
    }

    pub fn wait(&mut self) {
        self.state = State::Waiting;
    }

    pub fn go(&mut self) {
        self.state = State::Gone;
    }

    /// When it must have made its request.
    pub fn until(&self) -> Option<Instant> {
        match self.state {
            State::Asking { until, .. } => Some(until),
            _ => None,
        }
    }

    /// What to watch for, given how much input the container takes.
    pub fn watched(&self, room: usize) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let events = match &self.state {
            State::Asking { .. } => PollFlags::POLLIN,
            State::Attached(attachment) => {
                // A hang-up cannot be masked.
                if attachment.hung_up && room == 0 {
                    return None;
                }
                let mut events = PollFlags::empty();
                events.set(PollFlags::POLLIN, attachment.speaks && room > 0);
                events.set(PollFlags::POLLOUT, !attachment.behind.is_empty());
                events
            }
            // A hang-up is seen without being asked for.
            State::Waiting => PollFlags::empty(),
            State::Gone => return None,
        };
        Some((self.socket.as_fd(), events))
    }

    /// Answers, and is done with it.
    pub fn reply(&mut self, reply: &Reply) {
        self.write_reply(reply);
        self.go();
    }

    pub fn attach(&mut self, wants: AttachOptions) {
        // A larger buffer makes for fewer turns; without it all goes on as well.
        let _ = setsockopt(&self.socket, sockopt::SndBufForce, &ATTACH_BYTES_MAX);
        let attachment = Attachment { wants, behind: Vec::new(), speaks: true, hung_up: false };
        self.state = State::Attached(attachment);
        self.write_reply(&Reply::Done);
    }

    fn write_reply(&mut self, reply: &Reply) {
        let Ok(mut line) = serde_json::to_vec(reply) else { return };
        line.push(b'\n');
        // Nothing was sent before: the socket's buffer takes a line, unless nobody is there.
        let _ = send(&self.socket, &[IoSlice::new(&line)]);
    }

    pub fn wants(&self, stdio: Stdio) -> bool {
        let State::Attached(Attachment { wants, .. }) = &self.state else { return false };
        match stdio {
            Stdio::Stdout => wants.stdout,
            Stdio::Stderr => wants.stderr,
        }
    }

    pub fn wants_input(&self) -> bool {
        matches!(&self.state, State::Attached(attachment) if attachment.wants.stdin)
    }

    /// It has not taken what it got already.
    pub fn is_behind(&self) -> bool {
        matches!(&self.state, State::Attached(attachment) if !attachment.behind.is_empty())
    }

    /// Sends a frame. One that has fallen far behind, which only the container's end lets happen,
    /// is left.
    pub fn send(&mut self, stdio: Stdio, bytes: &[u8]) {
        let State::Attached(attachment) = &mut self.state else { return };
        let head = frame_head(stdio, bytes.len());
        let mut sent = 0;
        if attachment.behind.is_empty() {
            match send(&self.socket, &[IoSlice::new(&head), IoSlice::new(bytes)]) {
                Ok(length) => sent = length,
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(_) => return attachment.close_outputs(),
            }
        } else if attachment.behind.len() > ATTACH_BYTES_MAX {
            return self.go();
        }
        let rest = [&head[sent.min(head.len())..], &bytes[sent.saturating_sub(head.len())..]];
        attachment.behind.extend(rest[0]);
        attachment.behind.extend(rest[1]);
    }

    /// Sends what is left from before.
    pub fn flush(&mut self) {
        let State::Attached(attachment) = &mut self.state else { return };
        while !attachment.behind.is_empty() {
            match send(&self.socket, &[IoSlice::new(&attachment.behind)]) {
                Ok(length) => drop(attachment.behind.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => return attachment.close_outputs(),
            }
        }
        attachment.behind = Vec::new();
    }

    /// Leaves all that is left in the socket, whose buffer outlives this process.
    pub fn flush_all(&mut self) {
        if let State::Attached(attachment) = &self.state {
            // The kernel counts more than the bytes themselves.
            let room = ATTACH_BYTES_MAX + 2 * attachment.behind.len();
            let _ = setsockopt(&self.socket, sockopt::SndBufForce, &room);
        }
        self.flush();
    }

    /// Takes what has come, of input no more than there is room for.
    pub fn hear(&mut self, events: PollFlags, room: usize, buffer: &mut [u8]) -> Heard {
        let hung_up = events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR);
        match &mut self.state {
            State::Asking { line, .. } => {
                let length = match self.socket.read(buffer) {
                    Ok(0) => 0,
                    Ok(length) => length,
                    Err(error) if may_pass(&error) => return Heard::Nothing,
                    Err(_) => 0,
                };
                let before = line.len();
                line.extend(&buffer[..length]);
                let end = line[before..].iter().position(|byte| *byte == b'\n');
                let request = end.map(|end| serde_json::from_slice(&line[..before + end]));
                match (end, request) {
                    (Some(end), Some(Ok(request))) => {
                        Heard::Request(request, line.split_off(before + end + 1))
                    }
                    (None, _) if length > 0 && line.len() < MESSAGE_BYTES_MAX => Heard::Nothing,
                    // What a later daemon may ask for is not known here: closing says so.
                    _ => {
                        self.go();
                        Heard::Nothing
                    }
                }
            }
            State::Attached(attachment) => {
                attachment.hung_up |= hung_up;
                if !attachment.speaks {
                    if attachment.hung_up {
                        self.go();
                    }
                    return Heard::Nothing;
                }
                let length = room.min(buffer.len());
                if length == 0 {
                    return Heard::Nothing;
                }
                match self.socket.read(&mut buffer[..length]) {
                    Err(error) if may_pass(&error) => Heard::Nothing,
                    Ok(length) if length > 0 => Heard::Input(length),
                    Ok(_) | Err(_) => {
                        attachment.speaks = false;
                        Heard::InputEnd
                    }
                }
            }
            State::Waiting => {
                if hung_up {
                    self.go();
                }
                Heard::Nothing
            }
            State::Gone => Heard::Nothing,
        }
    }
}

impl Attachment {
    /// Nobody takes its output; it may still speak.
    fn close_outputs(&mut self) {
        self.wants.stdout = false;
        self.wants.stderr = false;
        self.behind = Vec::new();
    }
}

fn send(socket: &UnixStream, parts: &[IoSlice]) -> nix::Result<usize> {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(socket.as_raw_fd(), parts, &[], flags, None)
}

fn may_pass(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
