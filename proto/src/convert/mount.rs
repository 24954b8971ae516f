//! Mounts, and secrets and configs as files.

use skep_types::container::{ConfigReference, FileTarget, Propagation, SecretReference};
use skep_types::{Mount, MountKind};

use super::error::{At, ConvertError};
use super::field::{WireEnum, absent, enumeration, id, wire_enum};
use super::meta::driver;
use crate::swarmkit;
use crate::swarmkit::mount::{BindOptions, Consistency, TmpfsOptions, VolumeOptions};
use crate::swarmkit::{config_reference, secret_reference};

wire_enum!(MountKind = swarmkit::mount::Type { Bind = Bind, Volume = Volume, Tmpfs = Tmpfs });
wire_enum!(Propagation = swarmkit::mount::bind_options::Propagation {
    RecursivePrivate = Rprivate,
    Private = Private,
    RecursiveShared = Rshared,
    Shared = Shared,
    RecursiveSlave = Rslave,
    Slave = Slave,
});

impl From<&Mount> for swarmkit::Mount {
    fn from(mount: &Mount) -> Self {
        let volume = VolumeOptions {
            nocopy: mount.volume_nocopy,
            labels: mount.volume_labels.clone(),
            driver_config: mount
                .volume_driver
                .as_ref()
                .map(|(name, options)| driver(name, options)),
            subpath: String::new(),
        };
        let bind = BindOptions {
            propagation: mount.propagation.number(),
            nonrecursive: mount.non_recursive,
            createmountpoint: false,
            readonlynonrecursive: mount.read_only_non_recursive,
            readonlyforcerecursive: false,
        };
        let tmpfs = TmpfsOptions {
            size_bytes: mount.tmpfs_size_bytes,
            mode: mount.tmpfs_mode,
            options: String::new(),
        };
        Self {
            r#type: mount.kind.number(),
            source: mount.source.clone(),
            target: mount.target.clone(),
            readonly: mount.read_only,
            bind_options: (bind != BindOptions::default()).then_some(bind),
            volume_options: (volume != VolumeOptions::default()).then_some(volume),
            tmpfs_options: (tmpfs != TmpfsOptions::default()).then_some(tmpfs),
            consistency: Consistency::Default as i32,
        }
    }
}

impl TryFrom<swarmkit::Mount> for Mount {
    type Error = ConvertError;

    /// Consistency is for hosts that share files with a virtual machine; Linux ignores it.
    fn try_from(message: swarmkit::Mount) -> Result<Self, ConvertError> {
        let bind = message.bind_options.unwrap_or_default();
        absent(!bind.createmountpoint, "making a mount's source", "bind_options.createmountpoint")?;
        let forced = bind.readonlyforcerecursive;
        absent(!forced, "a mount that is read-only below", "bind_options.readonlyforcerecursive")?;
        let volume = message.volume_options.unwrap_or_default();
        absent(volume.subpath.is_empty(), "a volume's subpath", "volume_options.subpath")?;
        let tmpfs = message.tmpfs_options.unwrap_or_default();
        absent(tmpfs.options.is_empty(), "a tmpfs mount's option", "tmpfs_options.options")?;
        Ok(Self {
            kind: enumeration(message.r#type, "type")?,
            source: message.source,
            target: message.target,
            read_only: message.readonly,
            propagation: enumeration(bind.propagation, "bind_options.propagation")?,
            non_recursive: bind.nonrecursive,
            read_only_non_recursive: bind.readonlynonrecursive,
            volume_labels: volume.labels,
            volume_driver: volume.driver_config.map(|driver| (driver.name, driver.options)),
            volume_nocopy: volume.nocopy,
            tmpfs_size_bytes: tmpfs.size_bytes,
            tmpfs_mode: tmpfs.mode,
        })
    }
}

impl From<&FileTarget> for swarmkit::FileTarget {
    fn from(file: &FileTarget) -> Self {
        Self {
            name: file.name.clone(),
            uid: file.uid.clone(),
            gid: file.gid.clone(),
            mode: file.mode,
        }
    }
}

impl From<swarmkit::FileTarget> for FileTarget {
    fn from(message: swarmkit::FileTarget) -> Self {
        Self { name: message.name, uid: message.uid, gid: message.gid, mode: message.mode }
    }
}

impl From<&SecretReference> for swarmkit::SecretReference {
    fn from(reference: &SecretReference) -> Self {
        Self {
            secret_id: reference.secret_id.to_string(),
            secret_name: reference.secret_name.clone(),
            target: Some(secret_reference::Target::File((&reference.target).into())),
        }
    }
}

impl TryFrom<swarmkit::SecretReference> for SecretReference {
    type Error = ConvertError;

    fn try_from(message: swarmkit::SecretReference) -> Result<Self, ConvertError> {
        let Some(secret_reference::Target::File(file)) = message.target else {
            return Err(ConvertError::missing()).at("target");
        };
        Ok(Self {
            secret_id: id(&message.secret_id, "secret_id")?,
            secret_name: message.secret_name,
            target: file.into(),
        })
    }
}

impl From<&ConfigReference> for swarmkit::ConfigReference {
    fn from(reference: &ConfigReference) -> Self {
        Self {
            config_id: reference.config_id.to_string(),
            config_name: reference.config_name.clone(),
            target: Some(config_reference::Target::File((&reference.target).into())),
        }
    }
}

impl TryFrom<swarmkit::ConfigReference> for ConfigReference {
    type Error = ConvertError;

    fn try_from(message: swarmkit::ConfigReference) -> Result<Self, ConvertError> {
        let file = match message.target {
            Some(config_reference::Target::File(file)) => Ok(file),
            Some(config_reference::Target::Runtime(_)) => {
                Err(ConvertError::unsupported("a config for the engine itself"))
            }
            None => Err(ConvertError::missing()),
        };
        Ok(Self {
            config_id: id(&message.config_id, "config_id")?,
            config_name: message.config_name,
            target: file.at("target")?.into(),
        })
    }
}
