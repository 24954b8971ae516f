//! `/system/df`: what images, containers and volumes take on this host's disk.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use skep_docker_api::json::{
    ContainerListOptions, ContainerSummary, DiskUsage, ImageSummary, Volume, VolumeUsage,
};
use skep_docker_api::{ApiError, Filters};
use skep_images::{Digest, Image};

use super::images::{signed, summary};
use super::{Answer, DaemonBackend, engine_error};

/// Docker's value for what nobody could count.
const NOT_COUNTED: i64 = -1;

/// Bytes of an image's layers that another image has as well.
fn shared_bytes(image: &Image, users: &BTreeMap<Digest, usize>) -> u64 {
    let layers: BTreeMap<_, _> = image.layers.iter().zip(&image.layer_sizes).collect();
    let shared = layers.into_iter().filter(|(id, _)| users.get(id).is_some_and(|it| *it > 1));
    shared.map(|(_, bytes)| bytes).sum()
}

/// Bytes of the files below a directory, each file once however many names it has; none where it cannot be read whole.
pub(super) async fn tree_bytes(root: PathBuf) -> Option<u64> {
    let count = tokio::task::spawn_blocking(move || (count(&root), root)).await;
    match count {
        Ok((Ok(bytes), _)) => Some(bytes),
        Ok((Err(error), root)) => {
            tracing::warn!(path = %root.display(), %error, "failed to count what a directory takes");
            None
        }
        Err(_) => None,
    }
}

fn count(root: &Path) -> std::io::Result<u64> {
    let (mut bytes, mut seen, mut open) = (0, BTreeSet::new(), vec![root.to_owned()]);
    while let Some(dir) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            // Whoever writes there may remove as well.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && dir != root => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            // Of the link, not of what it leads to.
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.nlink() == 1 || seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.len();
            }
        }
    }
    Ok(bytes)
}

impl DaemonBackend {
    pub(super) async fn show_disk_usage(&self, types: Vec<String>) -> Answer<DiskUsage> {
        let known = ["container", "image", "volume", "build-cache"];
        if let Some(other) = types.iter().find(|kind| !known.contains(&kind.as_str())) {
            return Err(ApiError::invalid(format!("unknown object type: {other}")));
        }
        let asked = |kind: &str| types.is_empty() || types.iter().any(|it| it == kind);
        let mut usage = DiskUsage::default();
        if asked("image") {
            let (bytes, images) = self.image_usage().await?;
            (usage.layers_size, usage.images) = (signed(bytes), Some(images));
        }
        if asked("container") {
            usage.containers = Some(self.container_usage().await?);
        }
        if asked("volume") {
            usage.volumes = Some(self.volume_usage().await?);
        }
        Ok(usage)
    }

    async fn image_usage(&self) -> Answer<(u64, Vec<ImageSummary>)> {
        let images = self.engine.images().list().await.map_err(engine_error::image)?;
        let uses = self.image_uses().await?;
        let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
        for image in &images {
            let layers: BTreeSet<Digest> = image.layers.iter().copied().collect();
            layers.into_iter().for_each(|layer| *users.entry(layer).or_default() += 1);
        }
        let show = |image: &Image| {
            let containers = uses.iter().filter(|usage| usage.image == image.id).count();
            ImageSummary {
                shared_size: signed(shared_bytes(image, &users)),
                containers: signed(containers as u64),
                ..summary(image)
            }
        };
        let bytes = self.engine.images().layers_bytes().await.map_err(engine_error::image)?;
        Ok((bytes, images.iter().map(show).collect()))
    }

    async fn container_usage(&self) -> Answer<Vec<ContainerSummary>> {
        let all = ContainerListOptions { all: true, ..Default::default() };
        let mut containers = self.list_containers(all).await?;
        for container in &mut containers {
            match self.engine.images().rootfs_sizes(&container.id).await {
                Ok((written, whole)) => {
                    (container.size_rw, container.size_root_fs) = (signed(written), signed(whole));
                }
                // Removed since it was listed.
                Err(skep_images::Error::NoSuchRootfs(_)) => {}
                Err(error) => return Err(engine_error::image(error)),
            }
        }
        Ok(containers)
    }

    async fn volume_usage(&self) -> Answer<Vec<Volume>> {
        let users = self.volume_users().await?;
        let mut volumes = self.list_volumes(Filters::default()).await?.volumes;
        for volume in &mut volumes {
            let bytes = tree_bytes(PathBuf::from(&volume.mountpoint)).await;
            let count = users.get(&volume.name).map_or(0, Vec::len);
            volume.usage_data = Some(VolumeUsage {
                size: bytes.map_or(NOT_COUNTED, signed),
                ref_count: signed(count as u64),
            });
        }
        Ok(volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_with_two_names_counts_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("a"), [0; 1000]).unwrap();
        std::fs::hard_link(dir.path().join("a"), dir.path().join("sub/b")).unwrap();
        std::fs::write(dir.path().join("sub/c"), [0; 10]).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("l")).unwrap();
        // A link's size is the length of its text.
        assert_eq!(tree_bytes(dir.path().to_owned()).await, Some(1011));
        assert_eq!(tree_bytes(dir.path().join("gone")).await, None);
    }
}
