//! Pseudo terminals: their masters stay with who keeps the command, their slaves are the
//! container's own.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::statfs::fstatfs;

nix::ioctl_write_ptr_bad!(set_size, libc::TIOCSWINSZ, libc::winsize);
nix::ioctl_write_ptr_bad!(set_lock, libc::TIOCSPTLCK, libc::c_int);

/// The kernel's number of the filesystem for terminals.
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Where libcontainer sends the master of the terminal that it makes inside the container.
pub struct Console {
    listener: UnixListener,
    path: PathBuf,
}

impl Console {
    /// Binds by way of a descriptor of the directory, for a path may be too long.
    pub fn listen(directory: &Path) -> io::Result<Console> {
        const NAME: &str = "console.sock";
        let opened = File::open(directory)?;
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/{NAME}", opened.as_raw_fd()))?;
        Ok(Console { listener, path: directory.join(NAME) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The master, once the container is made: by then it has been sent.
    pub fn receive(self) -> io::Result<OwnedFd> {
        self.listener.set_nonblocking(true)?;
        let (sender, _) = self.listener.accept()?;
        sender.set_nonblocking(true)?;
        let (_, descriptors) = receive(&sender, &mut [0; 64])?;
        let first = descriptors.into_iter().next();
        first.ok_or_else(|| io::Error::other("no terminal came from the container"))
    }
}

/// Receives a message with the descriptors that come along.
pub fn receive(socket: &impl AsFd, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = nix::cmsg_space!([i32; 3]);
    let mut parts = [IoSliceMut::new(into)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let socket = socket.as_fd().as_raw_fd();
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

/// Sends a message, and descriptors with it.
pub fn send(socket: &impl AsFd, message: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let controls = if numbers.is_empty() { &[][..] } else { &rights[..] };
    let parts = [IoSlice::new(message)];
    let socket = socket.as_fd().as_raw_fd();
    sendmsg::<()>(socket, &parts, controls, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Makes a terminal in the mount namespace at hand: master and slave.
pub fn open() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = libc::O_NOCTTY | libc::O_NOFOLLOW;
    let mut options = File::options();
    let master = options.read(true).write(true).custom_flags(flags).open("/dev/pts/ptmx")?;
    // The container's root may have put anything there.
    if fstatfs(&master)?.filesystem_type().0 != DEVPTS_MAGIC {
        return Err(io::Error::other("/dev/pts is no filesystem of terminals"));
    }
    let master = OwnedFd::from(master);
    // SAFETY: the descriptor is open, the integer valid for the call.
    unsafe { set_lock(master.as_raw_fd(), &0) }?;
    let slave = slave(&master)?;
    Ok((master, slave))
}

/// The other side, in whatever namespace it is.
pub fn slave(master: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: takes two integers; a non-negative result is a new descriptor.
    let slave = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) };
    let slave = Errno::result(slave)?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(slave) })
}

pub fn resize(terminal: &impl AsFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the descriptor is open, the structure valid for the call.
    unsafe { set_size(terminal.as_fd().as_raw_fd(), &size) }?;
    Ok(())
}
