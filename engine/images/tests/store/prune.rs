//! Removing all that nobody needs.

use std::collections::BTreeSet;

use skep_images::{Digest, ImportOptions, PruneScope, Removed, Store};
use time::OffsetDateTime;

use crate::archives::archive;
use crate::{eventually, privileged};

async fn import(store: &Store, name: Option<&str>, content: &str, label: &str) -> Digest {
    let name = name.map(|name| name.parse().unwrap());
    let mut options = ImportOptions::new(name, OffsetDateTime::UNIX_EPOCH);
    options.changes = vec![format!("LABEL keep={label}")];
    store.import(archive(&[("file", content)]).as_slice(), options).await.unwrap()
}

fn deleted(removed: &[Removed], id: Digest) -> bool {
    removed.contains(&Removed::Deleted(id))
}

#[tokio::test]
async fn what_is_wanted_gone_goes_and_what_is_used_stays() {
    if !privileged("unpacking owners") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    let dangling = import(&store, None, "1", "no").await;
    // It shares its layer with an image that stays for now.
    let sharing = import(&store, None, "shared", "no").await;
    let kept = import(&store, None, "333", "yes").await;
    let tagged = import(&store, Some("tagged"), "shared", "yes").await;
    store.tag("tagged", &"other/name".parse().unwrap()).await.unwrap();
    let used = import(&store, Some("used"), "55555", "no").await;
    let stood_on = import(&store, None, "666666", "no").await;
    store.create_rootfs("c", &stood_on.to_string()).await.unwrap();
    assert_eq!(store.layers_bytes().await.unwrap(), 1 + 6 + 3 + 5 + 6);

    let without_label =
        |image: &skep_images::Image| image.config.labels.get("keep").is_some_and(|v| v == "no");
    let in_use = BTreeSet::from([used]);
    let pruned = store.prune(PruneScope::Dangling, in_use.clone(), without_label).await.unwrap();
    assert_eq!(pruned.bytes, 1);
    assert!(deleted(&pruned.removed, dangling) && deleted(&pruned.removed, sharing));
    assert_eq!(pruned.removed.len(), 3, "two images and a layer: {:?}", pruned.removed);

    let pruned = store.prune(PruneScope::Unused, in_use, |_| true).await.unwrap();
    assert_eq!(pruned.bytes, 6 + 3);
    assert!(deleted(&pruned.removed, kept) && deleted(&pruned.removed, tagged));
    let names = pruned.removed.iter().filter(|it| matches!(it, Removed::Untagged(_)));
    assert_eq!(names.count(), 2);
    let left: BTreeSet<Digest> =
        store.list().await.unwrap().into_iter().map(|image| image.id).collect();
    assert_eq!(left, BTreeSet::from([used, stood_on]));
    store.mount_rootfs("c").await.unwrap();
    store.remove_rootfs("c").await.unwrap();

    let pruned = store.prune(PruneScope::Unused, BTreeSet::new(), |_| true).await.unwrap();
    assert_eq!(pruned.bytes, 5 + 6);
    let layers = root.path().join("layers");
    eventually("all is gone", || std::fs::read_dir(&layers).unwrap().count() == 0).await;
    let pruned = store.prune(PruneScope::Unused, BTreeSet::new(), |_| true).await.unwrap();
    assert!(pruned.removed.is_empty());
}
