//! The host's devices that a container gets: those that were asked for, or all.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::config::{ContainerConfig, Device, DeviceKind, DeviceNode, DeviceRule};
use crate::protocol::Failure;

/// A device's node, as it is to be made in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub on_host: PathBuf,
    pub path: PathBuf,
    /// `c`, `b` or `p`.
    pub kind: &'static str,
    pub major: u32,
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// None: the container's user.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// Of `rwm`; empty: it may not be used.
    pub access: String,
}

/// What of /dev is not the host's own hardware: every container has its own of these.
const OWN: [&str; 5] = ["pts", "shm", "fd", "mqueue", "console"];
/// Of a node that is nowhere on the host: what the specification of runtimes has.
const MODE: u32 = 0o666;
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
    for told in &config.device_nodes {
        nodes.push(described(told).map_err(|error| {
            let path = told.on_host.display().to_string();
            let message = format!("failed to stat CDI host device {path:?}: {error}");
            Failure { message, exit_code: None }
        })?);
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
        uid: Some(found.uid()),
        gid: Some(found.gid()),
        access: device.access.clone(),
    }))
}

/// A node of which kind and number are said stands for itself; else the host's says what is missing.
fn described(told: &DeviceNode) -> io::Result<Node> {
    let word = |kind: DeviceKind| match kind {
        DeviceKind::Block => "b",
        DeviceKind::Char => "c",
        DeviceKind::Fifo => "p",
    };
    let whole = match told.kind {
        Some(DeviceKind::Fifo) => Some(("p", (0, 0))),
        Some(kind) => told.number.map(|number| (word(kind), number)),
        None => None,
    };
    let found = fs::symlink_metadata(&told.on_host);
    let mode = told.mode.or(found.as_ref().ok().map(|found| found.mode() & 0o777));
    let (kind, (major, minor)) = match whole {
        Some(whole) => whole,
        None => {
            let found = found?;
            let file = found.file_type();
            let kind = match () {
                () if file.is_char_device() => "c",
                () if file.is_block_device() => "b",
                () if file.is_fifo() => "p",
                () => return Err(io::Error::new(ErrorKind::InvalidInput, "not a device node")),
            };
            if let Some(said) = told.kind.map(word).filter(|said| *said != kind) {
                let why = format!("host type mismatch ({said}, {kind})");
                return Err(io::Error::new(ErrorKind::InvalidInput, why));
            }
            let on_host = (libc::major(found.rdev()), libc::minor(found.rdev()));
            (kind, told.number.unwrap_or(on_host))
        }
    };
    Ok(Node {
        on_host: told.on_host.clone(),
        path: told.path.clone(),
        kind,
        major,
        minor,
        mode: mode.unwrap_or(MODE),
        uid: told.uid,
        gid: told.gid,
        access: told.access.clone(),
    })
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
