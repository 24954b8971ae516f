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
    let path = path_of(dir, child)?;
    // SAFETY: path, name and value live through the call, and the length given is the value's.
    let result = unsafe {
        libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// There is no setxattrat before Linux 6.13. The path leads through our own descriptor, and a
/// single component is not followed.
fn path_of(dir: impl AsFd, child: &OsStr) -> io::Result<CString> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(child.as_bytes());
    Ok(CString::new(path)?)
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

/// What the kernel gives at most: names of one file together, or one value.
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;

/// The names of a child's attributes; of what can hold none, none. Names that are not UTF-8 are
/// passed over: an archive could not name them.
pub(crate) fn list_at(dir: impl AsFd, child: &OsStr) -> io::Result<Vec<String>> {
    let path = path_of(dir, child)?;
    let mut names = vec![0u8; ATTRIBUTE_BYTES_MAX];
    // SAFETY: the path lives through the call, and the buffer is as long as is said.
    let bytes = unsafe { libc::llistxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    let Ok(bytes) = usize::try_from(bytes) else {
        return match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOTSUP) => Ok(Vec::new()),
            error => Err(error),
        };
    };
    let names = names[..bytes].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| Some(std::str::from_utf8(name).ok()?.to_owned())).collect())
}

/// One attribute of a child; None, if it has it no more.
pub(crate) fn get_at(dir: impl AsFd, child: &OsStr, name: &str) -> io::Result<Option<Vec<u8>>> {
    let (path, name) = (path_of(dir, child)?, CString::new(name)?);
    let mut value = vec![0u8; ATTRIBUTE_BYTES_MAX];
    // SAFETY: path and name live through the call, and the buffer is as long as is said.
    let bytes = unsafe {
        libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    match usize::try_from(bytes) {
        Ok(bytes) => {
            value.truncate(bytes);
            Ok(Some(value))
        }
        Err(_) => match io::Error::last_os_error() {
            error if matches!(error.raw_os_error(), Some(libc::ENODATA | libc::ENOTSUP)) => {
                Ok(None)
            }
            error => Err(error),
        },
    }
}
