//! Extended attributes by descriptor or by a name below a directory's descriptor.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

/// Marks a directory that hides what lower layers have below it.
pub(crate) const OPAQUE: &CStr = c"trusted.overlay.opaque";

/// Sets an attribute of an open file or directory.
pub(crate) fn set(file: impl AsFd, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed and so open; name and value live through the call, and
    // the length given is the value's.
    let result = unsafe {
        libc::fsetxattr(
            file.as_fd().as_raw_fd(),
            name.as_ptr(),
            value.as_ptr().cast(),
            value.len(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets an attribute of a directory's child, not of what it may point to.
pub(crate) fn set_at(dir: impl AsFd, child: &OsStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    // There is no setxattrat before Linux 6.13. The path leads through our own descriptor, and a
    // single component is not followed.
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(child.as_bytes());
    let path = CString::new(path)?;
    // SAFETY: path, name and value live through the call, and the length given is the value's.
    let result = unsafe {
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether a layer may bring this attribute.
///
/// Those of overlayfs would let an archive redirect or hide what other layers hold; those of a
/// security module mean something on the host alone. The rest is the image's.
pub(crate) fn is_for_layers(name: &str) -> bool {
    let overlay = name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.");
    let module = name.starts_with("security.") && name != "security.capability";
    !overlay && !module && !name.starts_with("system.")
}
