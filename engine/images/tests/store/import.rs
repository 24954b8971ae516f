//! Importing, listing, naming; and what a kill or a bad archive leaves.

use skep_images::{Digest, Error, ImportOptions, Platform, Reference, Store};
use time::macros::datetime;

use crate::archives::{archive, gzip, zstd};
use crate::{eventually, privileged, reopen, tree};

fn options(name: &str) -> ImportOptions {
    ImportOptions::new(Some(name.parse().unwrap()), datetime!(2024-05-06 07:08:09 UTC))
}

fn reference(name: &str) -> Reference {
    name.parse().unwrap()
}

#[tokio::test]
async fn an_archive_becomes_an_image_that_is_still_there_after_a_restart() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    let plain = archive(&[("bin/", ""), ("bin/sh", "#!"), ("etc/os", "skep")]);
    let mut options = options("base:1");
    options.changes = ["CMD [\"/bin/sh\"]", "ENV A=b", "EXPOSE 80"].map(str::to_owned).to_vec();
    options.message = "Imported from -".to_owned();
    let packed = gzip(&plain);
    let id = store.import(packed.as_slice(), options).await.unwrap();

    let image = store.inspect("base:1").await.unwrap();
    assert_eq!(image.id, id);
    assert_eq!(image.repo_tags(), ["base:1"]);
    assert_eq!(image.config.cmd, ["/bin/sh"]);
    assert_eq!(image.config.env, ["A=b"]);
    assert!(image.config.exposed_ports.contains("80/tcp"));
    assert_eq!(image.layers, [Digest::of(&plain)]);
    assert_eq!(image.size, 6);
    assert_eq!(image.created, Some(datetime!(2024-05-06 07:08:09 UTC)));
    assert_eq!(image.platform, Platform::host());
    assert_eq!(image.history[0].comment, "Imported from -");

    drop(store);
    let store = reopen(root.path()).await;
    assert_eq!(store.list().await.unwrap(), std::slice::from_ref(&image));
    for name in ["base:1", "docker.io/library/base:1", &id.to_string(), &id.hex(), &id.short()] {
        assert_eq!(store.inspect(name).await.unwrap(), image, "{name}");
    }
    for name in ["base", "base:2", "other", "zz"] {
        let error = store.inspect(name).await.unwrap_err();
        assert_eq!(error.to_string(), format!("No such image: {name}"));
    }
}

#[tokio::test]
async fn a_layer_is_unpacked_once_however_it_is_packed() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    let plain = archive(&[("a", "1")]);
    let imports = [("a:1", plain.clone()), ("a:2", gzip(&plain)), ("a:3", zstd(&plain))];
    let imports = imports.map(|(name, bytes)| {
        let store = store.clone();
        async move {
            let mut options = options(name);
            options.changes = vec![format!("LABEL name={name}")];
            store.import(bytes.as_slice(), options).await.unwrap()
        }
    });
    let ids = futures::future::join_all(imports).await;
    assert_eq!(store.list().await.unwrap().len(), 3);
    assert_ne!(ids[0], ids[1]);
    let layers = std::fs::read_dir(root.path().join("layers")).unwrap().count();
    assert_eq!(layers, 1);
}

#[tokio::test]
async fn names_move_and_images_keep_their_ids() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    let one = store.import(archive(&[("a", "1")]).as_slice(), options("a")).await.unwrap();
    let two = store.import(archive(&[("a", "2")]).as_slice(), options("b")).await.unwrap();
    store.tag("a", &reference("c")).await.unwrap();
    store.tag(&two.short(), &reference("a:latest")).await.unwrap();
    assert_eq!(store.inspect("a").await.unwrap().id, two);
    assert_eq!(store.inspect("c").await.unwrap().id, one);
    assert_eq!(store.inspect("c").await.unwrap().repo_tags(), ["c:latest"]);
    let error = store.tag("none", &reference("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "No such image: none");
    let digest = reference("x").with_digest(one);
    let error = store.tag("c", &digest).await.unwrap_err().to_string();
    assert!(error.contains("refusing to create a tag with a digest reference"), "{error}");
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    store.import(archive(&[("a", "1")]).as_slice(), options("a")).await.unwrap();
    let before = tree(root.path());
    let hostile = archive(&[("good", "x"), ("../../escape", "x")]);
    let mut cut = archive(&[("good", "x"), ("more", &"y".repeat(4000))]);
    cut.truncate(2000);
    let mut corrupt = gzip(&archive(&[("a", &"long ".repeat(1000))]));
    let middle = corrupt.len() / 2;
    corrupt.truncate(middle);
    for bytes in [hostile, cut, corrupt, b"BZh91AY&SY".to_vec(), b"no archive".repeat(100)] {
        let error = store.import(bytes.as_slice(), options("bad")).await.unwrap_err();
        assert!(matches!(error, Error::Archive(_) | Error::Entry { .. }), "{error:?}");
    }
    let mut bad = options("bad");
    bad.changes = vec!["RUN rm -rf /".to_owned()];
    let error = store.import([].as_slice(), bad).await.unwrap_err();
    assert!(error.to_string().contains("RUN is not a valid change command"), "{error}");
    eventually("nothing is left", || tree(root.path()) == before).await;
    assert_eq!(store.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_kill_left_is_cleared_and_what_was_whole_stays() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    store.import(archive(&[("a", "1")]).as_slice(), options("a")).await.unwrap();
    let before = tree(root.path());
    drop(store);
    // As a kill would leave them: half a layer, content that no image names yet, a dead link.
    let half = root.path().join("tmp/7/diff/sub");
    let orphan = Digest::of(b"orphan").hex();
    // The lock is free only when the last handle is gone.
    drop(reopen(root.path()).await);
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(root.path().join("blobs/sha256").join(&orphan), "orphan").unwrap();
    std::fs::create_dir_all(root.path().join("layers").join(&orphan).join("diff")).unwrap();
    let store = reopen(root.path()).await;
    assert_eq!(tree(root.path()), before);
    assert_eq!(store.list().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_store_has_one_holder() {
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    let error = Store::open(root.path()).await.unwrap_err().to_string();
    assert!(error.ends_with("is in use by another process"), "{error}");
    drop(store);
    reopen(root.path()).await;
}

#[tokio::test]
async fn a_damaged_index_is_not_taken_for_an_empty_one() {
    let root = tempfile::tempdir().unwrap();
    drop(Store::open(root.path()).await.unwrap());
    let index = root.path().join("index.json");
    for (content, expected) in [
        ("{", "damaged"),
        ("{\"version\":2,\"images\":{},\"references\":{}}", "expected version 1, got 2"),
    ] {
        std::fs::write(&index, content).unwrap();
        let error = Store::open(root.path()).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
