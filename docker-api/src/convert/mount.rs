//! Mounts of a container.

use skep_types::container::Propagation;
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
    let bind = mount.bind_options.clone().unwrap_or_default();
    if kind != MountKind::Bind && bind != json::BindOptions::default() {
        return Err(foreign("BindOptions"));
    }
    let propagation = check_bind(&mount.target, &bind)?;
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
        propagation,
        non_recursive: bind.non_recursive,
        read_only_non_recursive: bind.read_only_non_recursive,
        volume_labels: volume.labels,
        volume_driver: volume.driver_config.map(|driver| (driver.name, driver.options)),
        volume_nocopy: volume.no_copy,
        tmpfs_size_bytes: tmpfs.size_bytes,
        tmpfs_mode,
    })
}

fn check_bind(target: &str, options: &json::BindOptions) -> Answer<Propagation> {
    for (asked, what) in [
        (options.create_mountpoint, "CreateMountpoint"),
        (options.read_only_force_recursive, "ReadOnlyForceRecursive"),
    ] {
        if asked {
            return Err(unsupported(format!("mount {target}: {what}")));
        }
    }
    let word = &options.propagation;
    Propagation::from_word(word)
        .ok_or_else(|| ApiError::invalid(format!("invalid MountPropagation: {word:?}")))
}

pub(super) fn to_api(mount: &Mount) -> json::Mount {
    let kind = match mount.kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
    };
    let default = mount.propagation == Propagation::default();
    let bind = json::BindOptions {
        propagation: if default { String::new() } else { mount.propagation.word().to_owned() },
        non_recursive: mount.non_recursive,
        read_only_non_recursive: mount.read_only_non_recursive,
        ..Default::default()
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
        bind_options: (bind != json::BindOptions::default()).then_some(bind),
        volume_options: (volume != json::VolumeOptions::default()).then_some(volume),
        tmpfs_options: (tmpfs != json::TmpfsOptions::default()).then_some(tmpfs),
        ..json::Mount::default()
    }
}
