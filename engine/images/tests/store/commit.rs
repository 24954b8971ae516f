//! Images made of what containers wrote.

use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use skep_images::{
    CommitOptions, Error, Force, Image, ImageConfig, PullOptions, PushOptions, Reference, Store,
};
use time::OffsetDateTime;

use crate::registry::{Door, Registry};
use crate::rootfs::{Mounted, store_with};
use crate::{eventually, image_tree, privileged, reopen, tree};

pub fn options(name: Option<&str>) -> CommitOptions {
    CommitOptions {
        reference: name.map(|name| name.parse().unwrap()),
        config: ImageConfig { cmd: vec!["/run".to_owned()], ..ImageConfig::default() },
        author: "somebody".to_owned(),
        comment: "after the change".to_owned(),
        created_by: "/bin/sh".to_owned(),
        created: OffsetDateTime::UNIX_EPOCH,
    }
}

/// `cap_net_raw` permitted and effective, as the kernel keeps it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn names(path: &Path) -> (CString, &'static CStr) {
    (CString::new(path.as_os_str().as_bytes()).unwrap(), c"security.capability")
}

fn set_capability(path: &Path) {
    let (path, name) = names(path);
    let (value, bytes) = (CAPABILITY.as_ptr().cast(), CAPABILITY.len());
    // SAFETY: path, name and value live through the call, and the length given is the value's.
    let result = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value, bytes, 0) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn capability(path: &Path) -> Vec<u8> {
    let (path, name) = names(path);
    let mut value = vec![0u8; 100];
    let buffer = value.as_mut_ptr().cast();
    // SAFETY: path and name live through the call, and the buffer is as long as is said.
    let bytes = unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), buffer, value.len()) };
    value.truncate(usize::try_from(bytes).unwrap_or(0));
    value
}

async fn commit(store: &Store, name: &str) -> Image {
    store.commit("c", options(Some(name))).await.unwrap()
}

#[tokio::test]
async fn a_committed_container_can_be_run_saved_and_loaded_as_any_image() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let files =
        [("./", ""), ("a", "a"), ("d/", ""), ("d/x", "x"), ("e/", ""), ("e/y", "y"), ("f", "f")];
    let store = store_with(root.path(), &files).await;
    let base = store.inspect("base").await.unwrap();
    store.create_rootfs("c", "base").await.unwrap();
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    fs::remove_file(at.join("a")).unwrap();
    fs::remove_dir_all(at.join("d")).unwrap();
    fs::create_dir(at.join("d")).unwrap();
    fs::write(at.join("d/new"), "new").unwrap();
    let long = "n".repeat(200);
    fs::write(at.join("e").join(&long), "long").unwrap();
    std::os::unix::fs::chown(at.join("e").join(&long), Some(3_000_000), Some(7)).unwrap();
    fs::set_permissions(at.join("e").join(&long), fs::Permissions::from_mode(0o4711)).unwrap();
    set_capability(&at.join("f"));
    symlink("../nowhere", at.join("e/link")).unwrap();
    fs::hard_link(at.join("e").join(&long), at.join("e/hard")).unwrap();
    fs::set_permissions(&at, fs::Permissions::from_mode(0o711)).unwrap();

    let image = commit(&store, "made").await;
    assert_eq!(image.repo_tags(), ["made:latest"]);
    assert_eq!(image.config.cmd, ["/run"]);
    assert_eq!((image.layers.len(), image.layers[0]), (2, base.layers[0]));
    assert_eq!((image.author.as_str(), image.platform), ("somebody", base.platform));
    assert_eq!(image.history.len(), base.history.len() + 1);
    let last = image.history.last().unwrap();
    assert_eq!((last.created_by.as_str(), last.empty_layer), ("/bin/sh", false));
    assert_eq!(last.comment, "after the change");

    // Through an archive into another store, where it is run.
    let mut archive = Vec::new();
    store.save(&["made".to_owned()], &mut archive).await.unwrap();
    let other_root = tempfile::tempdir().unwrap();
    let other = Store::open(other_root.path()).await.unwrap();
    other.load(archive.as_slice()).await.unwrap();
    assert_eq!(other.inspect("made").await.unwrap().id, image.id);
    for store in [&store, &other] {
        store.create_rootfs("again", "made").await.unwrap();
        let at = store.mount_rootfs("again").await.unwrap();
        let _guard = Mounted(at.clone());
        let mut expected = vec!["d", "d/new", "e", "e/hard", "e/link", "e/y", "f"];
        let long = format!("e/{long}");
        expected.insert(5, &long);
        assert_eq!(image_tree(&at), expected);
        let meta = fs::metadata(at.join(&long)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o4711, 3_000_000, 7));
        assert_eq!(capability(&at.join("f")), CAPABILITY);
        assert_eq!(meta.ino(), fs::metadata(at.join("e/hard")).unwrap().ino());
        assert_eq!(fs::read_link(at.join("e/link")).unwrap().to_str(), Some("../nowhere"));
        assert_eq!(fs::metadata(&at).unwrap().mode() & 0o7777, 0o711);
        assert!(store.changes("again").await.unwrap().is_empty());
        store.remove_rootfs("again").await.unwrap();
    }
}

#[tokio::test]
async fn a_container_that_changed_nothing_brings_no_layer() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), &[("a", "a")]).await;
    store.create_rootfs("c", "base").await.unwrap();
    let image = store.commit("c", options(None)).await.unwrap();
    assert!(image.references.is_empty());
    assert_eq!(image.layers, store.inspect("base").await.unwrap().layers);
    assert!(image.history.last().unwrap().empty_layer);
    let error = store.commit("absent", options(None)).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchRootfs(_)), "{error:?}");
    let by_digest = format!("x@{}", image.id);
    let error = store.commit("c", options(Some(&by_digest))).await.unwrap_err().to_string();
    assert!(error.contains("cannot commit to digest reference"), "{error}");
}

#[tokio::test]
async fn what_fails_leaves_nothing_and_what_is_made_outlives_its_parent() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), &[("a", "a")]).await;
    store.create_rootfs("c", "base").await.unwrap();
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    // A name that would delete another when it is unpacked.
    fs::write(at.join(".wh.a"), "").unwrap();
    let blobs = root.path().join("blobs");
    let (before, layers) = (tree(&blobs), tree(&root.path().join("layers")));
    let error = store.commit("c", options(Some("made"))).await.unwrap_err();
    let error = skep_types::error_chain(&error);
    assert!(error.contains(".wh.a"), "{error}");
    assert_eq!(tree(&blobs), before);
    assert_eq!(tree(&root.path().join("layers")), layers);
    assert_eq!(fs::read_dir(root.path().join("tmp")).unwrap().count(), 0);

    fs::remove_file(at.join(".wh.a")).unwrap();
    fs::write(at.join("b"), "b").unwrap();
    let image = commit(&store, "made").await;
    store.remove_rootfs("c").await.unwrap();
    store.remove("base", Force::No, Vec::new()).await.unwrap();
    drop(store);
    let store = reopen(root.path()).await;
    assert_eq!(store.inspect("made").await.unwrap(), image);
    store.create_rootfs("c", "made").await.unwrap();
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    assert_eq!(image_tree(&at), ["a", "b"]);
    // An image that is gone cannot be stood on.
    store.remove("made", Force::Yes, Vec::new()).await.unwrap();
    let blobs = root.path().join("blobs/sha256");
    let gone = || fs::read_dir(&blobs).unwrap().count() == 0;
    eventually("the blobs are gone", gone).await;
    let error = store.commit("c", options(None)).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchImage(_)), "{error:?}");
    store.remove_rootfs("c").await.unwrap();
}

#[tokio::test]
async fn a_committed_container_can_be_pushed_and_pulled() {
    if !privileged("mounting") {
        return;
    }
    let Some(registry) = Registry::start(Door::Http) else { return };
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), &[("a", "a")]).await;
    store.create_rootfs("c", "base").await.unwrap();
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    fs::write(at.join("b"), "b").unwrap();
    let name = format!("127.0.0.1:{}/made", registry.port);
    let image = commit(&store, &name).await;
    let reference: Reference = name.parse().unwrap();
    store.push(&reference, &PushOptions::default()).await.unwrap();

    let other_root = tempfile::tempdir().unwrap();
    let other = Store::open(other_root.path()).await.unwrap();
    let pulled = other.pull(&reference, &PullOptions::default()).await.unwrap();
    assert_eq!(pulled.id, image.id);
    other.create_rootfs("c", &name).await.unwrap();
    let at = other.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    assert_eq!(image_tree(&at), ["a", "b"]);
}
