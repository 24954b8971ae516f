//! The host's devices that a container gets: those that were asked for, or all.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::config::{ContainerConfig, Device, DeviceRule};
use crate::protocol::Failure;

/// A device's node, as it is to be made in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub on_host: PathBuf,
    pub path: PathBuf,
    /// `c` or `b`.
    pub kind: &'static str,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of `rwm`.
    pub access: String,
}

/// What of /dev is not the host's own hardware: every container has its own of these.
const OWN: [&str; 5] = ["pts", "shm", "fd", "mqueue", "console"];
/// Trees of devices are shallow (`/dev/snd/by-path`).
const DEPTH_MAX: u32 = 8;

/// All devices of a container, with Docker's words where one is none.
pub fn gather(config: &ContainerConfig) -> Result<Vec<Node>, Failure> {
    let mut nodes = Vec::new();
    if config.privileged {
        let all =
            Device { on_host: "/dev".into(), in_container: "/dev".into(), access: "rwm".into() };
        walk(&all.on_host, &all, DEPTH_MAX, &mut nodes);
    }
    for device in &config.devices {
        let failed = |error: io::Error| {
            let path = device.on_host.display();
            let message = format!(
                "error gathering device information while adding custom device \"{path}\": {error}"
            );
            Failure { message, exit_code: None }
        };
        let before = nodes.len();
        // A link's name may be the stable one (`/dev/disk/by-id`).
        let real = fs::canonicalize(&device.on_host).map_err(failed)?;
        let device = Device { on_host: real.clone(), ..device.clone() };
        match node(&real, &device) {
            Ok(Some(found)) => nodes.push(found),
            Ok(None) => walk(&real, &device, DEPTH_MAX, &mut nodes),
            Err(error) => return Err(failed(error)),
        }
        if nodes.len() == before {
            return Err(failed(io::Error::other("not a device node")));
        }
    }
    // The last of two at one place is the one that was asked for.
    let mut last: Vec<Node> = Vec::new();
    for node in nodes.into_iter().rev() {
        if last.iter().all(|known| known.path != node.path) {
            last.push(node);
        }
    }
    last.reverse();
    Ok(last)
}

/// Whether the container may use TUN devices.
pub fn allow_tun(config: &ContainerConfig, nodes: &[Node]) -> bool {
    let tun = |node: &Node| (node.kind, node.major, node.minor) == ("c", 10, 200);
    let rule = |rule: &String| {
        DeviceRule::parse(rule).is_some_and(|rule| {
            rule.kind != 'b'
                && rule.major.is_none_or(|major| major == 10)
                && rule.minor.is_none_or(|minor| minor == 200)
        })
    };
    config.privileged || nodes.iter().any(tun) || config.device_rules.iter().any(rule)
}

/// None for a directory. An error for what is no device.
fn node(real: &Path, device: &Device) -> io::Result<Option<Node>> {
    let found = fs::symlink_metadata(real)?;
    let kind = found.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => "c",
        (_, true) => "b",
        _ => return Err(io::Error::new(ErrorKind::InvalidInput, "not a device node")),
    };
    let below = real.strip_prefix(&device.on_host).unwrap_or(Path::new(""));
    Ok(Some(Node {
        on_host: real.to_owned(),
        path: match below.as_os_str().is_empty() {
            true => device.in_container.clone(),
            false => device.in_container.join(below),
        },
        kind,
        major: libc::major(found.rdev()),
        minor: libc::minor(found.rdev()),
        mode: found.mode() & 0o777,
        uid: found.uid(),
        gid: found.gid(),
        access: device.access.clone(),
    }))
}

/// All devices below a directory. Links are not followed; what is no device, or goes away while
/// this looks, is passed over.
fn walk(directory: &Path, device: &Device, depth: u32, nodes: &mut Vec<Node>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if directory == Path::new("/dev") && OWN.iter().any(|own| name == *own) {
            continue;
        }
        match node(&path, device) {
            Ok(Some(found)) => nodes.push(found),
            Ok(None) if depth > 0 => walk(&path, device, depth - 1, nodes),
            Ok(None) | Err(_) => {}
        }
    }
}
