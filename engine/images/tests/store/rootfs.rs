//! Root filesystems: layers below, changes above, mounted for real.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use skep_images::{Error, ImportOptions, OverlaySpec, Store, is_mounted, mount_overlay, unmount};
use time::OffsetDateTime;

use crate::archives::archive;
use crate::{privileged, reopen};

pub async fn store_with(root: &Path, files: &[(&str, &str)]) -> Store {
    let store = Store::open(root).await.unwrap();
    let options = ImportOptions::new(Some("base".parse().unwrap()), OffsetDateTime::UNIX_EPOCH);
    store.import(archive(files).as_slice(), options).await.unwrap();
    store
}

/// Unmounts when a test ends, however it ends.
pub struct Mounted(pub std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.0);
    }
}

#[tokio::test]
async fn containers_share_layers_and_keep_their_changes() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), &[("./", ""), ("etc/conf", "image")]).await;
    let a = store.create_rootfs("a", "base").await.unwrap();
    store.create_rootfs("b", "base").await.unwrap();
    let (at_a, at_b) =
        (store.mount_rootfs("a").await.unwrap(), store.mount_rootfs("b").await.unwrap());
    let _guards = (Mounted(at_a.clone()), Mounted(at_b.clone()));
    assert_eq!(at_a, a.merged);
    std::fs::write(at_a.join("etc/conf"), "changed").unwrap();
    assert_eq!(std::fs::read(at_b.join("etc/conf")).unwrap(), b"image");
    assert_eq!(at_a.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    // Mounting again is no second mount.
    store.mount_rootfs("a").await.unwrap();
    store.unmount_rootfs("a").await.unwrap();
    assert!(!is_mounted(&at_a).unwrap());
    store.unmount_rootfs("a").await.unwrap();

    drop(store);
    let store = reopen(root.path()).await;
    assert_eq!(store.rootfs("a").await.unwrap(), a);
    store.mount_rootfs("a").await.unwrap();
    assert_eq!(std::fs::read(at_a.join("etc/conf")).unwrap(), b"changed");
    assert!(matches!(store.create_rootfs("a", "base").await, Err(Error::RootfsExists(_))));

    let users: Vec<String> =
        store.rootfs_users().await.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(users.len(), 2, "{users:?}");
    for container in ["a", "b", "never"] {
        store.remove_rootfs(container).await.unwrap();
    }
    assert!(!is_mounted(root.path()).unwrap());
    assert!(matches!(store.rootfs("a").await, Err(Error::NoSuchRootfs(_))));
    assert_eq!(std::fs::read_dir(root.path().join("rootfs")).unwrap().count(), 0);
}

#[tokio::test]
async fn names_that_would_lead_elsewhere_are_refused() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), &[("a", "")]).await;
    for bad in ["", "..", "../a", "a/b", "a,b", "a:b", ".hidden"] {
        let error = store.create_rootfs(bad, "base").await.unwrap_err().to_string();
        assert!(error.contains("invalid container id"), "{bad}: {error}");
        assert!(store.remove_rootfs(bad).await.is_err(), "{bad}");
    }
    let error = store.create_rootfs("a", "absent").await.unwrap_err().to_string();
    assert_eq!(error, "No such image: absent");
}

/// As many layers as an image may have, with links as long as the store makes them.
#[test]
fn as_many_layers_as_are_allowed_can_be_mounted() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let dir = root.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        name.into()
    };
    let id = "c".repeat(64);
    let mut lower = Vec::new();
    for layer in 0..skep_images::LAYERS_MAX {
        let name = format!("l/{layer:0>26}");
        std::fs::create_dir_all(root.path().join(&name)).unwrap();
        std::fs::write(root.path().join(&name).join(layer.to_string()), "").unwrap();
        lower.push(name.into());
    }
    let mut spec = OverlaySpec {
        base: root.path().to_owned(),
        lower,
        upper: make(&format!("rootfs/{id}/diff")),
        work: make(&format!("rootfs/{id}/work")),
    };
    let target = root.path().join("merged");
    std::fs::create_dir(&target).unwrap();
    let here = std::env::current_dir().unwrap();
    mount_overlay(&spec, &target).unwrap();
    let _guard = Mounted(target.clone());
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), skep_images::LAYERS_MAX);
    assert_eq!(std::env::current_dir().unwrap(), here, "nobody else's directory moved");

    spec.lower.extend(spec.lower.clone());
    assert_eq!(spec.options().unwrap_err().to_string(), "max depth exceeded");
}
