//! A new network namespace with its loopback interface up, bound to a file in the shim's mount
//! namespace so that libcontainer can join it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

nix::ioctl_read_bad!(get_interface_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// The shim itself stays in the namespace it was in.
pub fn make(at: &Path) -> io::Result<()> {
    let own = File::open("/proc/self/ns/net")?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let made = loopback_up().and_then(|()| keep(&File::open("/proc/self/ns/net")?, at));
    setns(&own, CloneFlags::CLONE_NEWNET)?;
    made
}

/// Brings up the loopback interface of another namespace.
pub fn bring_up(network: &impl AsFd) -> io::Result<()> {
    let own = File::open("/proc/self/ns/net")?;
    setns(network.as_fd(), CloneFlags::CLONE_NEWNET)?;
    let up = loopback_up();
    setns(&own, CloneFlags::CLONE_NEWNET)?;
    up
}

/// Binds a namespace of any kind to a file.
pub fn keep(namespace: &impl AsFd, at: &Path) -> io::Result<()> {
    File::create(at)?;
    let source = format!("/proc/self/fd/{}", namespace.as_fd().as_raw_fd());
    mount(Some(source.as_str()), at, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    Ok(())
}

fn loopback_up() -> io::Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: ifreq is plain data; zero is valid for all of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *byte as libc::c_char;
    }
    // SAFETY: the socket is open and the request names an interface, NUL-terminated.
    unsafe { get_interface_flags(socket.as_raw_fd(), &raw mut request) }?;
    // SAFETY: SIOCGIFFLAGS has just filled this member of the union.
    unsafe { request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short };
    // SAFETY: as above, with the flags to set.
    unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}
