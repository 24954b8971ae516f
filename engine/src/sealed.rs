//! Memory files that nobody can change any more: the shim's program, and what a shim is told.
//!
//! A container's root may reach the program that started it through /proc (CVE-2019-5736); what it
//! reaches is a sealed copy in memory, one for all shims.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

use crate::defaults::{POLL_INTERVAL, SEAL_TIMEOUT};

/// The shim's program. Executed by way of [`Program::path`].
#[derive(Debug)]
pub struct Program(OwnedFd);

impl Program {
    pub fn copy(from: &Path) -> io::Result<Program> {
        let mut source = File::open(from)?;
        let mut file = match memory_file(c"skep-shim", MFD_EXEC) {
            // Before Linux 6.3 there is no such flag, and every memory file can be executed.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                memory_file(c"skep-shim", 0)?
            }
            made => made?,
        };
        let loaded = loaded_bytes(&mut source)?;
        source.seek(SeekFrom::Start(0))?;
        io::copy(&mut source.take(loaded), &mut file)?;
        Ok(Program(seal(file)?))
    }

    /// A path that a child of this process can execute: the descriptor is closed by the execve,
    /// after the kernel has opened the program.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// How much of a program from its start the kernel needs: its segments, and not what debuggers read,
/// which may be most of the file and would all lie in memory.
fn loaded_bytes(program: &mut File) -> io::Result<u64> {
    // See elf(5): of a 64-bit program, in the machine's own order of bytes.
    const HEADER_BYTES: usize = 64;
    const SEGMENT_BYTES: usize = 56;
    let number = |bytes: &[u8]| {
        bytes.iter().rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
    };
    let mut header = [0; HEADER_BYTES];
    program.read_exact(&mut header)?;
    let (at, each, count) =
        (number(&header[32..40]), number(&header[54..56]), number(&header[56..58]));
    if !header.starts_with(b"\x7fELF\x02\x01") || each != SEGMENT_BYTES as u64 {
        return Ok(program.metadata()?.len());
    }
    program.seek(SeekFrom::Start(at))?;
    let mut segments = vec![0; SEGMENT_BYTES * count as usize];
    program.read_exact(&mut segments)?;
    let end = |segment: &[u8]| number(&segment[8..16]) + number(&segment[32..40]);
    let table = at + segments.len() as u64;
    Ok(segments.chunks(SEGMENT_BYTES).map(end).fold(table, u64::max))
}

/// Bytes to be read from the start by whoever gets the descriptor.
pub fn message(parts: &[&[u8]]) -> io::Result<OwnedFd> {
    let mut file = memory_file(c"skep-launch", 0)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.seek(SeekFrom::Start(0))?;
    seal(file)
}

/// Hosts may make memory files not executable by default (vm.memfd_noexec).
const MFD_EXEC: libc::c_uint = 0x10;

fn memory_file(name: &CStr, extra: libc::c_uint) -> io::Result<File> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING | extra;
    // SAFETY: `name` is NUL-terminated; a non-negative result is a new descriptor.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just given us this descriptor and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn seal(file: File) -> io::Result<OwnedFd> {
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    // While anything else of the kernel's still holds a page that was just written (a batch that
    // waits for its turn), it is busy; that passes.
    let deadline = Instant::now() + SEAL_TIMEOUT;
    loop {
        match fcntl(&file, FcntlArg::F_ADD_SEALS(seals)) {
            Err(Errno::EBUSY) if Instant::now() < deadline => std::thread::sleep(POLL_INTERVAL),
            sealed => {
                sealed?;
                return Ok(file.into());
            }
        }
    }
}
