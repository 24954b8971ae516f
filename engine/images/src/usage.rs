//! How much room images and containers take on disk.

use std::collections::HashSet;

use nix::sys::stat::SFlag;

use crate::error::{Context, Result};
use crate::store::Store;
use crate::unpack::tree::kind;
use crate::walk::{Next, walk};

impl Store {
    /// Bytes of the files that a container wrote, and bytes of all that it stands on with these: of
    /// `docker ps --size` the size and the virtual size.
    pub async fn rootfs_sizes(&self, container: &str) -> Result<(u64, u64)> {
        let rootfs = self.rootfs(container).await?;
        self.blocking(move |inner| {
            let mut written = 0;
            let mut seen = HashSet::new();
            walk(inner.open_upper(&rootfs)?, &mut |found| {
                let stat = found.stat;
                let counted = kind(stat) == SFlag::S_IFREG
                    && (stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)));
                if counted {
                    written += u64::try_from(stat.st_size).unwrap_or(0);
                }
                Ok(Next::Descend)
            })
            .context(|| format!("measure the files of container {}", rootfs.container))?;
            let layers = inner.layers_of(&rootfs.container)?;
            let image = layers.into_iter().map(|layer| inner.layer_size(layer));
            let image = image.sum::<Result<u64>>()?;
            Ok((written, written + image))
        })
        .await
    }

    /// Bytes of the files of all layers that an image or a container has, each counted once.
    pub async fn layers_bytes(&self) -> Result<u64> {
        self.blocking(|inner| {
            // Under the lock, so that none is removed while it is read.
            let state = inner.state();
            let mut layers = state.index.layers();
            layers.extend(inner.layers_of_containers()?);
            layers.into_iter().map(|layer| inner.layer_size(layer)).sum()
        })
        .await
    }
}
