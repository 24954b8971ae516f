//! A container's user namespace: which one it is, and what its root has to reach.
//!
//! libcontainer is given one to join and does not make it, for then it would leave the container's
//! cgroups to systemd. A network namespace made for the container brings its user namespace along;
//! who joins another container's namespaces joins its user namespace.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::PosixRlimit;
use nix::errno::Errno;
use skep_idmap::{IdMaps, Owner};

use super::devices::Node;
use super::user::Identity;
use super::{netns, trees};
use crate::config::{ContainerConfig, MountSource, Namespace, NetworkNamespace, Rootfs};

/// The namespaces that libcontainer is to join, by their places.
#[derive(Default)]
pub struct Joined {
    /// None: the host's.
    pub network: Option<PathBuf>,
    /// None: the host's.
    pub user: Option<PathBuf>,
    /// Those of another container, where they are not joined by way of its process.
    pub pid: Option<PathBuf>,
    pub ipc: Option<PathBuf>,
}

/// An owner as the host counts.
pub fn outside(ids: &IdMaps, uid: u32, gid: u32) -> io::Result<(u32, u32)> {
    match (ids.uid_outside(uid), ids.gid_outside(gid)) {
        (Some(uid), Some(gid)) => Ok((uid, gid)),
        _ => Err(io::Error::other(format!("{uid}:{gid} is not mapped in the user namespace"))),
    }
}

/// Whether a container of these maps can run as this user, in the words of Docker's runtime.
pub fn check(identity: &Identity, ids: &IdMaps) -> Result<(), String> {
    if ids.uid_outside(identity.uid).is_none() {
        return Err("setup user: cannot set uid to unmapped user in user namespace".to_owned());
    }
    if ids.gid_outside(identity.gid).is_none() {
        return Err("setup user: cannot set gid to unmapped user in user namespace".to_owned());
    }
    match identity.groups.iter().find(|gid| ids.gid_outside(**gid).is_none()) {
        Some(gid) => Err(format!(
            "setup user: cannot set additional group {gid}, which is not mapped in the user namespace"
        )),
        None => Ok(()),
    }
}

/// Finds or makes the network namespace and the user namespace.
pub fn prepare(config: &ContainerConfig, bundle: &Path) -> io::Result<Joined> {
    let place = bundle.join("netns");
    let Some(maps) = &config.id_maps else {
        let network = match &config.network {
            NetworkNamespace::Host => None,
            NetworkNamespace::Join(path) => Some(path.clone()),
            NetworkNamespace::New => {
                netns::make(&place)?;
                Some(place)
            }
        };
        return Ok(Joined { network, ..Joined::default() });
    };
    let (network, user) = match &config.network {
        NetworkNamespace::Host => {
            let text = "cannot share the host's network namespace when user namespaces are enabled";
            return Err(io::Error::other(text));
        }
        NetworkNamespace::Join(path) => {
            let network = OwnedFd::from(File::open(path)?);
            let user = skep_idmap::owner_of(&network)?;
            (network, user)
        }
        NetworkNamespace::New => {
            let made = skep_idmap::make(&Owner::New(maps.clone()))?;
            netns::bring_up(&made.network)?;
            (made.network, made.user)
        }
    };
    if skep_idmap::is_own(&user)? {
        let text = "the network namespace belongs to the host's user namespace";
        return Err(io::Error::other(text));
    }
    let mut joined = Joined::default();
    let wanted = [(&config.pid, "pid", &mut joined.pid), (&config.ipc, "ipc", &mut joined.ipc)];
    for (whose, file, kept) in wanted {
        if let Namespace::Of(pid) = whose {
            // A process that executed nothing in the container (its tiny init) shows its namespaces
            // to the host's root alone.
            let namespace = File::open(format!("/proc/{pid}/ns/{file}"))?;
            let theirs = skep_idmap::owner_of(&namespace)?;
            if inode(&theirs)? != inode(&user)? {
                let text = "containers that share a namespace must share a user namespace";
                return Err(io::Error::other(format!("{text}: {file} of process {pid}")));
            }
            let at = bundle.join(format!("{file}ns"));
            netns::keep(&namespace, &at)?;
            *kept = Some(at);
        }
    }
    // Bound to files of the bundle, for the container's root may not open the way to the others.
    netns::keep(&network, &place)?;
    let user_place = bundle.join("userns");
    netns::keep(&user, &user_place)?;
    Ok(Joined { network: Some(place), user: Some(user_place), ..joined })
}

fn inode(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = File::from(file.try_clone()?).metadata()?;
    Ok((found.dev(), found.ino()))
}

/// Binds all that the container is made from into the bundle, and says so in the configuration: its
/// own root may not have the way to the host's files.
pub fn bring_near(
    config: &ContainerConfig,
    sources: &mut [Option<PathBuf>],
    devices: &mut [Node],
    bundle: &Path,
) -> io::Result<ContainerConfig> {
    let mut config = config.clone();
    let near = |source: &Path, kind: &str, number: usize, recursive: bool| -> io::Result<PathBuf> {
        let at = bundle.join("near").join(kind).join(number.to_string());
        trees::clone_private(source, recursive)?.attach(&at)?;
        Ok(at)
    };
    for (number, (mount, prepared)) in config.mounts.iter().zip(sources).enumerate() {
        if let (MountSource::Bind(source), None) = (&mount.source, &prepared) {
            *prepared = Some(near(source, "mounts", number, !mount.non_recursive)?);
        }
    }
    let files = [&mut config.hosts_path, &mut config.hostname_path, &mut config.resolv_conf_path];
    for (number, file) in files.into_iter().enumerate() {
        if let Some(source) = file {
            *source = near(source, "etc", number, false)?;
        }
    }
    for (number, node) in devices.iter_mut().enumerate() {
        node.on_host = near(&node.on_host, "devices", number, false)?;
    }
    if let Rootfs::Directory(source) = &mut config.rootfs {
        *source = near(source, "root", 0, true)?;
    }
    Ok(config)
}

/// Raises this process's hard limits to those that a process in a user namespace is to set: only the
/// host's root may raise them. Soft ones stay, and so this process is held to nothing.
pub fn raise_limits(wanted: &[PosixRlimit]) -> io::Result<()> {
    for limit in wanted {
        let kind = limit.typ() as libc::__rlimit_resource_t;
        let mut own = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the structure is valid for the call, which writes no more than it.
        Errno::result(unsafe { libc::getrlimit(kind, &raw mut own) })?;
        if limit.hard() > own.rlim_max {
            own.rlim_max = limit.hard();
            // SAFETY: the structure is valid for the call.
            Errno::result(unsafe { libc::setrlimit(kind, &raw const own) })?;
        }
    }
    Ok(())
}
