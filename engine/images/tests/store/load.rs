//! Archives of images: written, read back, read as others write them.

use std::path::Path;

use serde_json::{Value, json};
use skep_images::{Digest, Error, ImportOptions, Platform, Store};
use tar::{Builder, EntryType, Header};
use time::OffsetDateTime;

use crate::archives::{archive, gzip};
use crate::{eventually, image_tree, privileged, tree};

async fn open(root: &Path) -> Store {
    Store::open(root).await.unwrap()
}

async fn import(store: &Store, name: &str, bytes: &[u8]) {
    let options = ImportOptions::new(Some(name.parse().unwrap()), OffsetDateTime::UNIX_EPOCH);
    store.import(bytes, options).await.unwrap();
}

async fn saved(store: &Store, names: &[&str]) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut bytes = Vec::new();
    store.save(&names, &mut bytes).await.unwrap();
    bytes
}

fn config(plain: &[&[u8]]) -> String {
    let diff_ids: Vec<String> = plain.iter().map(|layer| Digest::of(layer).to_string()).collect();
    json!({
        "architecture": Platform::host().architecture, "os": "linux",
        "config": {"Cmd": ["/x"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
}

/// Adds a file, or a link if there is a target.
fn add(builder: &mut Builder<Vec<u8>>, name: &str, content: &[u8], link: Option<&str>) {
    let mut header = Header::new_gnu();
    header.set_entry_type(if link.is_some() { EntryType::Symlink } else { EntryType::Regular });
    header.set_size(content.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    if let Some(link) = link {
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    }
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

#[tokio::test]
async fn what_is_saved_is_loaded_as_it_was() {
    if !privileged("unpacking owners") {
        return;
    }
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, other) = (open(here.path()).await, open(there.path()).await);
    import(&store, "app:1", &gzip(&archive(&[("a", "1")]))).await;
    import(&store, "app:2", &archive(&[("b", "2")])).await;
    import(&store, "unsaved", &archive(&[("c", "3")])).await;
    store.tag("app:1", &"quay.io/org/app:x".parse().unwrap()).await.unwrap();

    // A name alone means all its tags.
    let bytes = saved(&store, &["app", "quay.io/org/app:x"]).await;
    assert_eq!(bytes, saved(&store, &["app", "quay.io/org/app:x"]).await);
    let mut loaded = Vec::new();
    for image in other.load(gzip(&bytes).as_slice()).await.unwrap() {
        loaded.extend(image.references.iter().map(skep_images::Reference::familiar));
    }
    loaded.sort();
    assert_eq!(loaded, ["app:1", "app:2", "quay.io/org/app:x"]);
    for name in ["app:1", "app:2", "quay.io/org/app:x"] {
        assert_eq!(other.inspect(name).await.unwrap(), store.inspect(name).await.unwrap());
    }
    assert_eq!(saved(&other, &["app", "quay.io/org/app:x"]).await, bytes);

    // An id brings no name along.
    let id = store.inspect("unsaved").await.unwrap().id;
    let loaded = other.load(saved(&store, &[&id.short()]).await.as_slice()).await.unwrap();
    assert_eq!((loaded[0].id, loaded[0].references.len()), (id, 0));
    let error = store.save(&["none".to_owned()], Vec::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "No such image: none");
}

#[tokio::test]
async fn dockers_old_form_with_links_is_read() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    // The layer between deletes what the one around it brings.
    let base = archive(&[("base", "again"), ("dir/x", "")]);
    let top = archive(&[("top", ""), (".wh.base", ""), ("dir/.wh..wh..opq", ""), ("dir/y", "")]);
    let config = config(&[&base, &top, &base]);
    let mut builder = Builder::new(Vec::new());
    let list = json!([{
        "Config": "conf.json", "RepoTags": ["app:old", "app:older"],
        "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"],
    }]);
    // The list may come before what it names, and a link before its target.
    add(&mut builder, "./manifest.json", list.to_string().as_bytes(), None);
    add(&mut builder, "3/layer.tar", b"", Some("../1/layer.tar"));
    add(&mut builder, "1/layer.tar", &base, None);
    add(&mut builder, "2/layer.tar", &top, None);
    add(&mut builder, "conf.json", config.as_bytes(), None);
    let loaded = store.load(builder.into_inner().unwrap().as_slice()).await.unwrap();
    assert_eq!(loaded[0].id, Digest::of(config.as_bytes()));
    let image = store.inspect("app:older").await.unwrap();
    assert_eq!(image.repo_tags(), ["app:old", "app:older"]);
    assert_eq!(image.layers, [Digest::of(&base), Digest::of(&top), Digest::of(&base)]);
    store.create_rootfs("c", "app:old").await.unwrap();
    let merged = store.mount_rootfs("c").await.unwrap();
    let mut names = image_tree(&merged);
    names.retain(|name| name != "dir");
    store.remove_rootfs("c").await.unwrap();
    assert_eq!(names, ["base", "dir/x", "dir/y", "top"]);
}

/// An OCI image layout; the index names an index, which names the manifest.
fn layout(name: Value) -> (Vec<u8>, Digest) {
    let plain = archive(&[("x", "")]);
    let packed = gzip(&plain);
    let config = config(&[&plain]);
    let mut builder = Builder::new(Vec::new());
    let mut blob = |media_type: &str, bytes: &[u8]| {
        let digest = Digest::of(bytes);
        add(&mut builder, &format!("blobs/sha256/{}", digest.hex()), bytes, None);
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
    });
    let manifest_digest = Digest::of(manifest.to_string().as_bytes());
    let mut entry =
        blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    entry["platform"] = json!({"os": "linux", "architecture": Platform::host().architecture});
    let index = |entries: &[Value]| {
        let media_type = "application/vnd.oci.image.index.v1+json";
        json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).to_string()
    };
    let inner = index(&[entry]);
    let mut outer = blob("application/vnd.oci.image.index.v1+json", inner.as_bytes());
    outer["annotations"] = name;
    add(&mut builder, "index.json", index(&[outer]).as_bytes(), None);
    add(&mut builder, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, None);
    (builder.into_inner().unwrap(), manifest_digest)
}

#[tokio::test]
async fn an_image_layout_is_read() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let full = json!({"io.containerd.image.name": "docker.io/org/app:v1"});
    let (bytes, manifest) = layout(full);
    store.load(bytes.as_slice()).await.unwrap();
    let image = store.inspect("org/app:v1").await.unwrap();
    assert_eq!(image.digest, manifest);
    // A bare tag is no name.
    let (bytes, _) = layout(json!({"org.opencontainers.image.ref.name": "v2"}));
    assert!(store.load(bytes.as_slice()).await.unwrap()[0].references.is_empty());
}

#[tokio::test]
async fn bad_archives_are_refused_and_leave_nothing() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let before = tree(root.path());
    let (good, evil) = (archive(&[("ok", "")]), archive(&[("../../x", "")]));
    let item = |config: &str, layers: &[&str]| json!({"Config": config, "RepoTags": ["a:1"], "Layers": layers});
    let configs = [config(&[&good]), config(&[&evil]), config(&[&good, &good])];
    let build = |list: Value, extra: Option<(&str, &str)>| {
        let mut builder = Builder::new(Vec::new());
        add(&mut builder, "good", &good, None);
        add(&mut builder, "evil", &evil, None);
        for (index, config) in configs.iter().enumerate() {
            add(&mut builder, &format!("c{index}"), config.as_bytes(), None);
        }
        if let Some((name, link)) = extra {
            add(&mut builder, name, b"", Some(link));
        }
        add(&mut builder, "manifest.json", list.to_string().as_bytes(), None);
        builder.into_inner().unwrap()
    };
    let check = async |bytes: Vec<u8>, expected: &str| {
        let error: Error = store.load(bytes.as_slice()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "expected {expected:?}, got {error}");
    };
    let fine = item("c0", &["good"]);
    check(build(json!([]), None), "holds no image").await;
    check(build(json!([item("c9", &["good"])]), None), "c9 is missing").await;
    check(build(json!([item("c0", &["none"])]), None), "none is missing").await;
    check(build(json!([fine, item("c1", &["evil"])]), None), "leads out").await;
    check(build(json!([fine, item("c0", &["evil"])]), None), "does not match its digest").await;
    check(build(json!([item("c2", &["good"])]), None), "don't match image configuration").await;
    check(build(json!([fine]), Some(("up", "../../etc/passwd"))), "leads out").await;
    check(build(json!([item("c0", &["../good"])]), None), "leads out").await;
    check(build(json!([item("c0", &["loop"])]), Some(("loop", "loop"))), "too many links").await;
    check(b"not an archive".repeat(60), "not a tar archive").await;
    check(Vec::new(), "holds no image").await;
    let mut bad_name = fine.clone();
    bad_name["RepoTags"] = json!(["Not A Name"]);
    check(build(json!([bad_name]), None), "invalid reference format").await;
    eventually("nothing is left", || tree(root.path()) == before).await;
    assert!(store.list().await.unwrap().is_empty());
    store.load(build(json!([fine]), None).as_slice()).await.unwrap();
}
