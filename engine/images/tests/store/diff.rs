//! What a container changed, seen through real overlays.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use skep_images::{ChangeKind, Error, Store};

use crate::privileged;
use crate::rootfs::{Mounted, store_with};

/// As `docker diff` shows it.
async fn diff(store: &Store) -> String {
    let changes = store.changes("c").await.unwrap();
    let letter = |kind| match kind {
        ChangeKind::Modified => 'C',
        ChangeKind::Added => 'A',
        ChangeKind::Deleted => 'D',
    };
    let lines = changes.iter().map(|change| format!("{} {}", letter(change.kind), change.path));
    lines.collect::<Vec<_>>().join("\n")
}

const FILES: &[(&str, &str)] = &[
    ("etc/", ""),
    ("etc/conf", "image"),
    ("etc/other", "image"),
    ("usr/", ""),
    ("usr/lib/", ""),
    ("usr/lib/a", "a"),
    ("usr/lib/b/", ""),
    ("usr/lib/b/c", "c"),
    ("opt/", ""),
    ("opt/tool", "tool"),
    ("srv/", ""),
    ("srv/x", "x"),
    ("link-to-be", ""),
];

#[tokio::test]
async fn changes_are_shown_with_their_parents_as_docker_diff_does() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), FILES).await;
    store.create_rootfs("c", "base").await.unwrap();
    assert_eq!(diff(&store).await, "", "nothing was done yet");
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    assert_eq!(diff(&store).await, "");

    fs::write(at.join("etc/conf"), "changed").unwrap();
    fs::remove_file(at.join("usr/lib/a")).unwrap();
    fs::create_dir_all(at.join("new/dir")).unwrap();
    fs::write(at.join("new/dir/file"), "").unwrap();
    // A directory in the place of one that held more.
    fs::remove_dir_all(at.join("usr/lib/b")).unwrap();
    fs::create_dir(at.join("usr/lib/b")).unwrap();
    fs::write(at.join("usr/lib/b/d"), "").unwrap();
    // A whole directory that is gone, and a file that became a directory.
    fs::remove_dir_all(at.join("srv")).unwrap();
    fs::remove_file(at.join("opt/tool")).unwrap();
    fs::create_dir(at.join("opt/tool")).unwrap();
    fs::write(at.join("opt/tool/in"), "").unwrap();
    fs::remove_file(at.join("link-to-be")).unwrap();
    symlink("/etc", at.join("link-to-be")).unwrap();
    // What came and went again is nothing.
    fs::write(at.join("passing"), "").unwrap();
    fs::remove_file(at.join("passing")).unwrap();
    let expected = "C /etc\nC /etc/conf\nC /link-to-be\nA /new\nA /new/dir\nA /new/dir/file\n\
                    C /opt\nC /opt/tool\nA /opt/tool/in\nD /srv\nC /usr\nC /usr/lib\n\
                    D /usr/lib/a\nC /usr/lib/b\nD /usr/lib/b/c\nA /usr/lib/b/d";
    assert_eq!(diff(&store).await, expected);
    // The same is told when it is not mounted.
    store.unmount_rootfs("c").await.unwrap();
    assert_eq!(diff(&store).await, expected);
    assert!(matches!(store.changes("absent").await, Err(Error::NoSuchRootfs(_))));
}

#[tokio::test]
async fn a_mode_is_a_change_and_a_moved_directory_is_new_in_whole() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), FILES).await;
    store.create_rootfs("c", "base").await.unwrap();
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    fs::set_permissions(at.join("etc"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(diff(&store).await, "C /etc");
    fs::set_permissions(at.join("etc"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(diff(&store).await, "", "it is as it was");
    // The kernel may refuse to move what is not the container's alone; then mv copies.
    if fs::rename(at.join("srv"), at.join("moved")).is_err() {
        fs::create_dir(at.join("moved")).unwrap();
        fs::rename(at.join("srv/x"), at.join("moved/x")).unwrap();
        fs::remove_dir(at.join("srv")).unwrap();
    }
    assert_eq!(diff(&store).await, "A /moved\nA /moved/x\nD /srv");
}

#[tokio::test]
async fn sizes_count_what_was_written_once() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), &[("big", &"x".repeat(1000))]).await;
    store.create_rootfs("c", "base").await.unwrap();
    assert_eq!(store.rootfs_sizes("c").await.unwrap(), (0, 1000));
    assert_eq!(store.layers_bytes().await.unwrap(), 1000);
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    fs::create_dir(at.join("d")).unwrap();
    fs::write(at.join("d/file"), "12345").unwrap();
    fs::hard_link(at.join("d/file"), at.join("d/again")).unwrap();
    assert_eq!(store.rootfs_sizes("c").await.unwrap(), (5, 1005));
    assert_eq!(store.layers_bytes().await.unwrap(), 1000, "a container's files are no layer");
}

#[tokio::test]
async fn places_for_mounts_are_there_and_no_change() {
    if !privileged("mounting") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = store_with(root.path(), &[("etc/", ""), ("etc/hosts", "image")]).await;
    store.create_rootfs("c", "base").await.unwrap();
    let at = store.mount_rootfs("c").await.unwrap();
    let _guard = Mounted(at.clone());
    for dir in ["proc", "sys", "dev/pts", "dev/shm"] {
        // As an engine does it.
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    let there = fs::File::create_new(at.join("etc/resolv.conf")).unwrap_err();
    assert_eq!(there.kind(), std::io::ErrorKind::AlreadyExists);
    assert_eq!(fs::read(at.join("etc/hosts")).unwrap(), b"image", "the image's own counts");
    assert_eq!(diff(&store).await, "");
    // Their content is the container's like any other.
    fs::write(at.join("etc/hostname"), "x").unwrap();
    assert_eq!(diff(&store).await, "C /etc\nC /etc/hostname");
}
