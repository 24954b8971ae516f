//! Removing names and images, by Docker's rules and in its words.

use skep_images::{Digest, Error, Force, ImageUse, ImportOptions, Store};
use time::OffsetDateTime;

use crate::archives::archive;
use crate::{eventually, privileged, tree};

async fn import(store: &Store, name: &str, content: &str) -> Digest {
    let options = ImportOptions::new(Some(name.parse().unwrap()), OffsetDateTime::UNIX_EPOCH);
    store.import(archive(&[("file", content)]).as_slice(), options).await.unwrap()
}

async fn remove(store: &Store, name: &str) -> Vec<String> {
    let removed = store.remove(name, Force::No, Vec::new()).await.unwrap();
    removed.iter().map(ToString::to_string).collect()
}

fn usage(image: Digest, running: bool) -> Vec<ImageUse> {
    vec![ImageUse { container: "c0ffee".repeat(10), image, running }]
}

#[tokio::test]
async fn the_last_name_takes_the_image_with_it() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    // What stays has a file of its own already, so that only the image's own content goes.
    import(&store, "kept", "kept").await;
    let before = tree(root.path());
    let id = import(&store, "app:1", "x").await;
    let layer = store.inspect("app:1").await.unwrap().layers[0];
    store.tag("app:1", &"app:2".parse().unwrap()).await.unwrap();
    assert_eq!(remove(&store, "app:1").await, ["Untagged: app:1"]);
    assert_eq!(
        remove(&store, "app:2").await,
        ["Untagged: app:2".to_owned(), format!("Deleted: {id}"), format!("Deleted: {layer}")]
    );
    eventually("its content is gone", || tree(root.path()) == before).await;
    let gone = store.remove("app:2", Force::No, Vec::new()).await.unwrap_err();
    assert_eq!(gone.to_string(), "No such image: app:2");
}

#[tokio::test]
async fn a_layer_stays_as_long_as_another_image_has_it() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    import(&store, "one", "x").await;
    let mut options = ImportOptions::new(Some("two".parse().unwrap()), OffsetDateTime::UNIX_EPOCH);
    options.changes = vec!["LABEL two=2".to_owned()];
    store.import(archive(&[("file", "x")]).as_slice(), options).await.unwrap();
    let removed = remove(&store, "one").await;
    assert_eq!(removed.len(), 2, "the layer is not among them: {removed:?}");
    store.create_rootfs("c", "two").await.unwrap();
    store.mount_rootfs("c").await.unwrap();
    store.remove_rootfs("c").await.unwrap();
}

#[tokio::test]
async fn what_a_container_uses_is_refused_or_kept() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    let id = import(&store, "app", "x").await;
    let short = id.short();
    let refused = async |name: &str, force, running| {
        let error = store.remove(name, force, usage(id, running)).await.unwrap_err();
        assert!(matches!(error, Error::Conflict(_)), "{error:?}");
        error.to_string()
    };
    assert_eq!(
        refused("app", Force::No, false).await,
        format!(
            "conflict: unable to remove repository reference \"app\" (must force) - container \
             c0ffeec0ffee is using its referenced image {short}"
        )
    );
    assert_eq!(
        refused(&short, Force::No, false).await,
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by \
             stopped container c0ffeec0ffee"
        )
    );
    assert_eq!(
        refused(&short, Force::Yes, true).await,
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by \
             running container c0ffeec0ffee"
        )
    );
    assert_eq!(store.inspect("app").await.unwrap().repo_tags(), ["app:latest"]);

    // By force the name goes, and the image of a container that runs stays without one.
    let removed = store.remove("app", Force::Yes, usage(id, true)).await.unwrap();
    assert_eq!(removed.len(), 1);
    assert!(store.inspect(&short).await.unwrap().references.is_empty());

    // What a container stands on stays on disk even when its image is deleted.
    store.create_rootfs("c", &short).await.unwrap();
    store.remove(&short, Force::Yes, usage(id, false)).await.unwrap();
    assert!(store.list().await.unwrap().is_empty());
    let merged = store.mount_rootfs("c").await.unwrap();
    assert_eq!(std::fs::read(merged.join("file")).unwrap(), b"x");
    store.remove_rootfs("c").await.unwrap();
    let layers = root.path().join("layers");
    eventually("the layer is gone", || std::fs::read_dir(&layers).unwrap().count() == 0).await;
}

#[tokio::test]
async fn an_id_with_several_names_wants_force() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    let id = import(&store, "app", "x").await;
    store.tag("app", &"other/app".parse().unwrap()).await.unwrap();
    let short = id.short();
    let error = store.remove(&short, Force::No, Vec::new()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is referenced in \
             multiple repositories"
        )
    );
    assert_eq!(store.inspect("app").await.unwrap().references.len(), 2);
    let removed = store.remove(&short, Force::Yes, Vec::new()).await.unwrap();
    assert_eq!(removed.len(), 4, "{removed:?}");
    assert!(store.list().await.unwrap().is_empty());
}
