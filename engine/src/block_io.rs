//! How much of single block devices a container may take: weights and rates, by the devices' paths.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A weight or a rate of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceShare {
    /// On the host.
    pub path: PathBuf,
    pub amount: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// 10 to 1000.
    pub weights: Vec<DeviceShare>,
    /// Bytes a second.
    pub read_bps: Vec<DeviceShare>,
    pub write_bps: Vec<DeviceShare>,
    /// Operations a second.
    pub read_iops: Vec<DeviceShare>,
    pub write_iops: Vec<DeviceShare>,
}

/// A block device's numbers, as cgroups name it: `8:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Numbers {
    major: u32,
    minor: u32,
}

impl std::fmt::Display for Numbers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl DeviceShare {
    pub(crate) fn numbers(&self) -> io::Result<Numbers> {
        let wrong = |why: String| {
            let message = format!("stat {}: {why}", self.path.display());
            io::Error::new(io::ErrorKind::InvalidInput, message)
        };
        let found = std::fs::metadata(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => wrong("no such file or directory".to_owned()),
            _ => wrong(error.to_string()),
        })?;
        if !found.file_type().is_block_device() {
            return Err(wrong("not a block device".to_owned()));
        }
        Ok(Numbers { major: libc::major(found.rdev()), minor: libc::minor(found.rdev()) })
    }
}

impl BlockIo {
    fn all(&self) -> impl Iterator<Item = &DeviceShare> {
        let lists =
            [&self.weights, &self.read_bps, &self.write_bps, &self.read_iops, &self.write_iops];
        lists.into_iter().flatten()
    }

    /// Refuses weights out of their range, and what is no device of this host.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.weights.iter().any(|it| !(10..=1000).contains(&it.amount)) {
            return Err("Range of blkio weight is from 10 to 1000".into());
        }
        for share in self.all() {
            share.numbers().map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_is_refused() {
        let check = |path: &str, amount| {
            let weights = vec![DeviceShare { path: path.into(), amount }];
            BlockIo { weights, ..BlockIo::default() }.check().unwrap_err()
        };
        assert_eq!(check("/dev/nosuch", 100), "stat /dev/nosuch: no such file or directory");
        assert_eq!(check("/dev/null", 100), "stat /dev/null: not a block device");
        assert_eq!(check("/dev/null", 9), "Range of blkio weight is from 10 to 1000");
    }
}
