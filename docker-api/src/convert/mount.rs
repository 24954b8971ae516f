//! Mounts of a container.

use skep_types::{Mount, MountKind};

use super::{Answer, unsupported};
use crate::error::ApiError;
use crate::json;

pub(super) fn from_api(mount: &json::Mount) -> Answer<Mount> {
    let kind = match mount.kind.as_str() {
        // Docker's zero value.
        "bind" | "" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        "image" | "cluster" | "npipe" => {
            return Err(unsupported(format!("mount {}: type {}", mount.target, mount.kind)));
        }
        other => return Err(ApiError::invalid(format!("invalid MountType: {other:?}"))),
    };
    // A hint to Docker Desktop's file sharing; on Linux every word means the same and none does anything.
    if !matches!(mount.consistency.as_str(), "" | "default" | "consistent" | "cached" | "delegated")
    {
        let given = &mount.consistency;
        return Err(ApiError::invalid(format!("invalid mount consistency: {given:?}")));
    }
    let foreign = |what: &str| {
        ApiError::invalid(format!(
            "invalid mount config: cannot specify {what} for mount {} of type {}",
            mount.target, mount.kind
        ))
    };
    if let Some(options) = &mount.bind_options {
        if kind != MountKind::Bind && *options != json::BindOptions::default() {
            return Err(foreign("BindOptions"));
        }
        check_bind(&mount.target, options)?;
    }
    let volume = mount.volume_options.clone().unwrap_or_default();
    if kind != MountKind::Volume && volume != json::VolumeOptions::default() {
        return Err(foreign("VolumeOptions"));
    }
    if !volume.subpath.is_empty() {
        return Err(unsupported(format!("mount {}: volume-subpath", mount.target)));
    }
    let tmpfs = mount.tmpfs_options.clone().unwrap_or_default();
    if kind != MountKind::Tmpfs && tmpfs != json::TmpfsOptions::default() {
        return Err(foreign("TmpfsOptions"));
    }
    if !tmpfs.options.is_empty() {
        return Err(unsupported(format!("mount {}: TmpfsOptions.Options", mount.target)));
    }
    if tmpfs.size_bytes < 0 {
        return Err(ApiError::invalid(format!(
            "mount {}: tmpfs-size cannot be negative",
            mount.target
        )));
    }
    let tmpfs_mode = super::references::mode(tmpfs.mode, &mount.target)?;
    if mount.image_options.is_some() {
        return Err(foreign("ImageOptions"));
    }
    Ok(Mount {
        kind,
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        volume_labels: volume.labels,
        volume_driver: volume.driver_config.map(|driver| (driver.name, driver.options)),
        volume_nocopy: volume.no_copy,
        tmpfs_size_bytes: tmpfs.size_bytes,
        tmpfs_mode,
    })
}

fn check_bind(target: &str, options: &json::BindOptions) -> Answer<()> {
    match options.propagation.as_str() {
        "" | "rprivate" => {}
        given @ ("private" | "rshared" | "shared" | "rslave" | "slave") => {
            return Err(unsupported(format!("mount {target}: bind-propagation {given}")));
        }
        other => return Err(ApiError::invalid(format!("invalid MountPropagation: {other:?}"))),
    }
    for (asked, what) in [
        (options.non_recursive, "bind-nonrecursive"),
        (options.create_mountpoint, "CreateMountpoint"),
        (options.read_only_non_recursive, "ReadOnlyNonRecursive"),
        (options.read_only_force_recursive, "ReadOnlyForceRecursive"),
    ] {
        if asked {
            return Err(unsupported(format!("mount {target}: {what}")));
        }
    }
    Ok(())
}

pub(super) fn to_api(mount: &Mount) -> json::Mount {
    let kind = match mount.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
    };
    let volume = json::VolumeOptions {
        no_copy: mount.volume_nocopy,
        labels: mount.volume_labels.clone(),
        subpath: String::new(),
        driver_config: mount
            .volume_driver
            .clone()
            .map(|(name, options)| json::Driver { name, options }),
    };
    let tmpfs = json::TmpfsOptions {
        size_bytes: mount.tmpfs_size_bytes,
        mode: mount.tmpfs_mode,
        options: Vec::new(),
    };
    json::Mount {
        kind: kind.to_owned(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        volume_options: (volume != json::VolumeOptions::default()).then_some(volume),
        tmpfs_options: (tmpfs != json::TmpfsOptions::default()).then_some(tmpfs),
        ..json::Mount::default()
    }
}
