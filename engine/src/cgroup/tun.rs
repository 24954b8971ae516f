//! Takes TUN devices back from a container, which libcontainer gives to all; Docker does not.
//!
//! On version 2 a program of the kernel's decides on each use of a device. Where a cgroup has
//! several, all of them must agree, so this is one more beside libcontainer's.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use super::{Hierarchies, below};

/// TUN devices, as `/proc/devices` and the kernel's list of misc devices have them.
const MAJOR: i32 = 10;
const MINOR: i32 = 200;

// Of the kernel's `linux/bpf.h`.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_DEVCG_DEV_CHAR: i32 = 2;
const BPF_DEVCG_ACC_READ: i32 = 2;
const BPF_DEVCG_ACC_WRITE: i32 = 4;

/// `struct bpf_insn`, with both registers in one byte.
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    value: i32,
}

const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, value }
}

/// Loads a 32-bit field of what r1 points to.
const fn load(to: u8, offset: i16) -> Instruction {
    instruction(0x61, to, 1, offset, 0)
}

/// Goes so many instructions further where a register has another value.
const fn unless(register: u8, value: i32, further: i16) -> Instruction {
    instruction(0x55, register, 0, further, value)
}

/// r1 points to a `struct bpf_cgroup_dev_ctx`: access and type in one number, major, minor.
/// The answer in r0 is 1 for yes. Nodes may be made, as of every device.
const PROGRAM: [Instruction; 15] = [
    load(2, 0),
    instruction(0xbc, 3, 2, 0, 0),      // r3 = r2
    instruction(0x54, 3, 0, 0, 0xffff), // r3 &= 0xffff: the type
    unless(3, BPF_DEVCG_DEV_CHAR, 9),
    instruction(0x74, 2, 0, 0, 16), // r2 >>= 16: the access
    instruction(0x54, 2, 0, 0, BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE),
    instruction(0x15, 2, 0, 6, 0), // none of both: on to the yes
    load(2, 4),
    unless(2, MAJOR, 4),
    load(2, 8),
    unless(2, MINOR, 2),
    instruction(0xb4, 0, 0, 0, 0), // r0 = 0
    instruction(0x95, 0, 0, 0, 0), // exit
    instruction(0xb4, 0, 0, 0, 1), // r0 = 1
    instruction(0x95, 0, 0, 0, 0),
];

/// The start of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instructions: u32,
    program: u64,
    license: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

/// The start of `union bpf_attr` for BPF_PROG_ATTACH.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

impl Hierarchies {
    /// Denies a container the use of TUN devices. libcontainer's own rules are there already.
    pub fn deny_tun(&self, cgroup: &Path) -> io::Result<()> {
        if !self.unified {
            return match self.roots.iter().find(|root| root.ends_with("devices")) {
                Some(root) => {
                    let rule = format!("c {MAJOR}:{MINOR} rw");
                    fs::write(below(root, cgroup).join("devices.deny"), rule)
                }
                None => Ok(()),
            };
        }
        let directory = self.directory("devices", cgroup).ok_or(io::ErrorKind::NotFound)?;
        let cgroup = File::open(directory)?;
        let program = match load_program() {
            // Before Linux 5.11 programs count as locked memory, all of root's together.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                with_locked_memory(load_program)
            }
            loaded => loaded,
        };
        attach(&program?, &cgroup)
    }
}

/// Does something without a bound on locked memory, and sets the bound again: children inherit it.
fn with_locked_memory<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY)?;
    let done = work();
    setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard)?;
    done
}

fn load_program() -> io::Result<OwnedFd> {
    let attributes = Load {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        instructions: PROGRAM.len() as u32,
        program: PROGRAM.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    let made = bpf(BPF_PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// It stays with the cgroup, and goes with it.
fn attach(program: &OwnedFd, cgroup: &File) -> io::Result<()> {
    let attributes = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attributes).map(drop)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes are the start of what the kernel takes for this command, the rest of
    // which it takes to be zero; what they point to lives longer than the call.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    Ok(Errno::result(answer)? as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verifier reads the whole program: each branch ends, and reads what is there.
    #[test]
    fn the_kernel_takes_the_program() {
        match load_program() {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                eprintln!("SKIP the_kernel_takes_the_program: {error}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}
