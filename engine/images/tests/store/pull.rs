//! Pulling from a real registry.

use std::sync::{Arc, Mutex};

use serde_json::json;
use skep_images::{
    Auth, Digest, Error, Platform, Progress, PullOptions, PushOptions, Reference, RegistryConfig,
    Reporter, Step, Store, check_login, resolve,
};

use crate::archives::{archive, gzip, zstd};
use crate::registry::{CutOnce, Door, Fault, Image, PASSWORD, Registry, USER};
use crate::{eventually, privileged, tree};

fn layer(name: &str) -> (Vec<u8>, Vec<u8>) {
    let plain = archive(&[(name, name)]);
    let packed = gzip(&plain);
    (plain, packed)
}

fn image(architecture: &'static str, names: &[&str]) -> Image<'static> {
    Image { architecture, layers: names.iter().map(|name| layer(name)).collect() }
}

fn at(registry: &Registry, rest: &str) -> Reference {
    format!("127.0.0.1:{}/{rest}", registry.port).parse().unwrap()
}

/// An address of this host that is not trusted without being told.
fn distrusted(registry: &Registry, rest: &str) -> Reference {
    format!("0.0.0.0:{}/{rest}", registry.port).parse().unwrap()
}

fn host() -> String {
    Platform::host().architecture
}

/// A root directory, its store and a registry; None, where they cannot be had.
async fn setting(door: Door) -> Option<(tempfile::TempDir, Store, Registry)> {
    if !privileged("unpacking owners") {
        return None;
    }
    let registry = Registry::start(door)?;
    let root = tempfile::tempdir().unwrap();
    let store = Store::open(root.path()).await.unwrap();
    Some((root, store, registry))
}

#[tokio::test]
async fn an_image_comes_with_all_its_layers_and_only_once() {
    let Some((root, store, registry)) = setting(Door::Http).await else { return };
    let names = ["a", "b", "c", "d", "e"];
    let mut wanted = image("amd64", &names);
    // However it is called, a layer is packed as its bytes say.
    wanted.layers[4].1 = zstd(&wanted.layers[4].0);
    let digest = registry.put_image("org/app", "v1", &wanted);
    let steps = Arc::new(Mutex::new(Vec::<Progress>::new()));
    let told = steps.clone();
    let options = PullOptions {
        progress: Reporter::new(move |step| told.lock().unwrap().push(step)),
        ..PullOptions::default()
    };
    let reference = at(&registry, "org/app:v1");
    let pulled = store.pull(&reference, &options).await.unwrap();
    assert_eq!((pulled.digest, pulled.newer), (digest, true));

    let found = store.inspect(&reference.familiar()).await.unwrap();
    assert_eq!((found.id, found.digest), (pulled.id, digest));
    assert_eq!(found.repo_tags(), [reference.familiar()]);
    assert_eq!(found.repo_digests(), [reference.with_digest(digest).familiar()]);
    assert_eq!(found.config.cmd, ["/bin/sh"]);
    assert_eq!(found.size, 5);
    let steps_of = |digest: Digest| -> Vec<Step> {
        let all = steps.lock().unwrap();
        all.iter().filter(|step| step.layer == digest).map(|step| step.step).collect()
    };
    let packed = Digest::of(&wanted.layers[0].1);
    let total = wanted.layers[0].1.len() as u64;
    assert_eq!(
        steps_of(packed),
        [
            Step::Waiting,
            Step::Downloading { bytes: total, total },
            Step::DownloadComplete,
            Step::Extracting,
            Step::Complete
        ]
    );
    store.create_rootfs("c", &reference.familiar()).await.unwrap();
    let merged = store.mount_rootfs("c").await.unwrap();
    for name in names {
        assert_eq!(std::fs::read_to_string(merged.join(name)).unwrap(), name);
    }
    store.remove_rootfs("c").await.unwrap();

    let before = tree(root.path());
    steps.lock().unwrap().clear();
    assert!(!store.pull(&reference, &options).await.unwrap().newer);
    assert_eq!(steps_of(packed), [Step::Waiting, Step::AlreadyExists]);
    eventually("nothing is added", || tree(root.path()) == before).await;
}

#[tokio::test]
async fn an_index_gives_the_platform_asked_for() {
    let Some((_root, store, registry)) = setting(Door::Http).await else { return };
    let put = |architecture: &'static str| {
        let digest = registry.put_image("multi", architecture, &image(architecture, &["x"]));
        let bytes = std::fs::read(registry.blob_file(digest)).unwrap();
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest.to_string(), "size": bytes.len(),
            "platform": {"os": "linux", "architecture": architecture},
        })
    };
    let (amd64, s390x) = (put("amd64"), put("s390x"));
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [s390x, amd64],
    });
    let digest = registry.put_manifest("multi", "latest", &index);
    let reference = at(&registry, "multi");
    let mut options =
        PullOptions { platform: Some("linux/s390x".parse().unwrap()), ..PullOptions::default() };
    let pulled = store.pull(&reference, &options).await.unwrap();
    assert_eq!(pulled.digest, digest);
    let found = store.inspect(&pulled.id.to_string()).await.unwrap();
    assert_eq!(found.platform.architecture, "s390x");
    assert_eq!(found.digest.to_string(), s390x["digest"].as_str().unwrap());
    // The index's digest is a name for it, and can be pulled by.
    let by_digest = reference.with_digest(digest);
    assert_eq!(store.inspect(&by_digest.familiar()).await.unwrap().id, found.id);
    assert_eq!(store.pull(&by_digest, &options).await.unwrap().id, found.id);

    options.platform = Some("linux/arm/v7".parse().unwrap());
    assert_eq!(
        store.pull(&reference, &options).await.unwrap_err().to_string(),
        "no matching manifest for linux/arm/v7 in the manifest list entries"
    );
    let single = at(&registry, "multi:amd64");
    assert_eq!(
        store.pull(&single, &options).await.unwrap_err().to_string(),
        format!(
            "image with reference {single} was found but does not match the specified platform: \
             wanted linux/arm/v7, actual: linux/amd64"
        )
    );
    if matches!(host().as_str(), "amd64" | "s390x") {
        let default = store.pull(&reference, &PullOptions::default()).await.unwrap();
        let found = store.inspect(&default.id.to_string()).await.unwrap();
        assert_eq!(found.platform.architecture, host());
    }
}

#[tokio::test]
async fn resolving_pulls_nothing() {
    let Some((root, _store, registry)) = setting(Door::Http).await else { return };
    let digest = registry.put_image("app", "latest", &image("amd64", &["x"]));
    let before = tree(root.path());
    let resolved = resolve(&at(&registry, "app"), &PullOptions::default()).await.unwrap();
    assert_eq!(resolved.digest, digest);
    let platforms: Vec<String> = resolved.platforms.iter().map(Platform::to_string).collect();
    assert_eq!(platforms, ["linux/amd64"]);
    assert_eq!(tree(root.path()), before);
}

#[tokio::test]
async fn refusals_are_dockers() {
    let Some((_root, store, registry)) = setting(Door::Http).await else { return };
    registry.put_image("app", "latest", &image("amd64", &["x"]));
    let error = async |rest: &str| {
        store.pull(&at(&registry, rest), &PullOptions::default()).await.unwrap_err().to_string()
    };
    let here = format!("127.0.0.1:{}", registry.port);
    assert_eq!(
        error("app:none").await,
        format!("manifest for {here}/app:none not found: manifest unknown: manifest unknown")
    );
    let absent = format!("none@{}", Digest::of(b"x"));
    assert!(error(&absent).await.contains("not found: manifest unknown"));
    let gone: Reference = "127.0.0.1:1/app".parse().unwrap();
    let unreached = store.pull(&gone, &PullOptions::default()).await.unwrap_err();
    let text = unreached.to_string();
    assert!(text.starts_with("failed to reach registry 127.0.0.1:1: "), "{text}");
    assert!(text.contains("refused"), "{text}");
    assert!(store.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn content_that_is_not_what_it_says_is_refused_and_leaves_nothing() {
    let Some((root, store, registry)) = setting(Door::Http).await else { return };
    let before = tree(root.path());
    let good = image("amd64", &["one", "two", "three", "four"]);
    registry.put_image("bad-blob", "latest", &good);
    // The registry's own files decay.
    let victim = registry.blob_file(Digest::of(&good.layers[2].1));
    let mut bytes = std::fs::read(&victim).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&victim, bytes).unwrap();
    let options = PullOptions::default();
    let error = store.pull(&at(&registry, "bad-blob"), &options).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");

    // The configuration promises another content than the layer has.
    let mut lying = image("amd64", &["honest"]);
    lying.layers[0].1 = gzip(&archive(&[("lie", "")]));
    registry.put_image("bad-layer", "latest", &lying);
    let error = store.pull(&at(&registry, "bad-layer"), &options).await.unwrap_err();
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");

    let escape = archive(&[("fine", ""), ("../../../escape", "x")]);
    let packed = gzip(&escape);
    let hostile = Image { architecture: "amd64", layers: vec![layer("base"), (escape, packed)] };
    registry.put_image("hostile", "latest", &hostile);
    let error = store.pull(&at(&registry, "hostile"), &options).await.unwrap_err();
    assert!(matches!(error, Error::Entry { .. }), "{error:?}");

    let many = Image { architecture: "amd64", layers: vec![layer("same"); 126] };
    registry.put_image("many", "latest", &many);
    let error = store.pull(&at(&registry, "many"), &options).await.unwrap_err();
    assert_eq!(error.to_string(), "max depth exceeded");

    eventually("nothing is left", || tree(root.path()) == before).await;
    assert!(!root.path().parent().unwrap().join("escape").exists());
}

#[tokio::test]
async fn a_pull_that_is_dropped_leaves_nothing() {
    let Some((root, store, registry)) = setting(Door::Http).await else { return };
    let before = tree(root.path());
    registry.put_image("app", "latest", &image("amd64", &["a", "b", "c", "d", "e", "f"]));
    let (sender, stopped) = tokio::sync::oneshot::channel();
    let sender = Mutex::new(Some(sender));
    let options = PullOptions {
        progress: Reporter::new(move |progress| {
            if progress.step == Step::Extracting
                && let Some(sender) = sender.lock().unwrap().take()
            {
                let _ = sender.send(());
            }
        }),
        ..PullOptions::default()
    };
    let reference = at(&registry, "app");
    tokio::select! {
        biased;
        _ = stopped => {}
        result = store.pull(&reference, &options) => panic!("not stopped: {result:?}"),
    }
    eventually("nothing is left", || tree(root.path()) == before).await;
    let options = PullOptions::default();
    assert!(store.pull(&reference, &options).await.unwrap().newer);
}

#[tokio::test]
async fn many_at_once_share_what_they_have_in_common() {
    let Some((root, store, registry)) = setting(Door::Http).await else { return };
    let mut references = Vec::new();
    for number in 0..6 {
        let own = format!("own-{number}");
        let name = format!("app{number}");
        registry.put_image(&name, "latest", &image("amd64", &["base", "common", &own]));
        references.push(at(&registry, &name));
    }
    let options = PullOptions::default();
    let pulls = references.iter().map(|reference| store.pull(reference, &options));
    for result in futures::future::join_all(pulls).await {
        result.unwrap();
    }
    assert_eq!(std::fs::read_dir(root.path().join("layers")).unwrap().count(), 2 + 6);
    assert_eq!(store.list().await.unwrap().len(), 6);
}

#[tokio::test]
async fn passwords_are_asked_for_and_checked() {
    let Some((_root, store, plain)) = setting(Door::Http).await else { return };
    plain.put_image("secret", "latest", &image("amd64", &["x"]));
    let Some(registry) = plain.other_door(Door::Password) else { return };
    let reference = at(&registry, "secret");
    let with = |password: &str| PullOptions {
        auth: Some(Auth::Basic { username: USER.to_owned(), password: password.to_owned() }),
        ..PullOptions::default()
    };
    for options in [PullOptions::default(), with("wrong")] {
        let error = store.pull(&reference, &options).await.unwrap_err().to_string();
        let expected = format!(
            "pull access denied for {}, repository does not exist or may require 'docker login': \
             unauthorized",
            reference.familiar_name()
        );
        assert!(error.starts_with(&expected), "{error}");
        assert!(!error.contains("wrong"), "{error}");
    }
    store.pull(&reference, &with(PASSWORD)).await.unwrap();
}

#[tokio::test]
async fn only_a_registry_that_is_trusted_is_believed() {
    let Some((_root, store, plain)) = setting(Door::Http).await else { return };
    plain.put_image("app", "latest", &image("amd64", &["x"]));
    let Some(tls) = plain.other_door(Door::Tls) else { return };
    let by_tls = distrusted(&tls, "app");
    let unknown = store.pull(&by_tls, &PullOptions::default()).await.unwrap_err();
    assert!(matches!(unknown, Error::Unreachable { .. }), "{unknown:?}");
    assert!(unknown.to_string().contains("certificate"), "{unknown}");

    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(by_tls.domain());
    std::fs::create_dir_all(&own).unwrap();
    std::fs::copy(&tls.authority, own.join("ca.crt")).unwrap();
    let trusting = PullOptions {
        registries: RegistryConfig {
            ca_dir: Some(dir.path().to_owned()),
            ..RegistryConfig::default()
        },
        ..PullOptions::default()
    };
    let pulled = store.pull(&by_tls, &trusting).await;
    std::fs::write(own.join("client.cert"), "").unwrap();
    let client = store.pull(&by_tls, &trusting).await.unwrap_err().to_string();
    assert!(pulled.unwrap().newer);
    assert!(client.contains("client certificates for registries are not supported"), "{client}");

    // An authority's own certificate says what is wrong with it.
    let Some(own) = plain.other_door(Door::OwnAuthority) else { return };
    let by_own = distrusted(&own, "app");
    let place = dir.path().join(by_own.domain());
    std::fs::create_dir_all(&place).unwrap();
    std::fs::copy(&own.authority, place.join("ca.crt")).unwrap();
    let told = store.pull(&by_own, &trusting).await.unwrap_err().to_string();
    assert!(told.contains("its certificate is an authority's"), "{told}");

    let by_http = distrusted(&plain, "app");
    let refused = store.pull(&by_http, &PullOptions::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused:?}");
    for reference in [by_tls, by_http] {
        let insecure = PullOptions {
            registries: RegistryConfig {
                insecure: vec![reference.domain().to_owned()],
                ..RegistryConfig::default()
            },
            ..PullOptions::default()
        };
        store.pull(&reference, &insecure).await.unwrap();
    }
}

/// Pulls through a connection that is cut once; says from where the blob was asked for each time.
async fn offsets_of_a_broken_download(fault: Fault) -> Option<Vec<Option<u64>>> {
    let (_root, store, registry) = setting(Door::Http).await?;
    // Content that does not compress, so that it does not come in one piece.
    let noise: String = (0..20_000u32)
        .map(|number| char::from(b'!' + (number.wrapping_mul(2_654_435_761) >> 25) as u8 % 90))
        .collect();
    let plain = archive(&[("noise", &noise)]);
    let packed = plain.clone();
    let blob = Digest::of(&packed);
    registry.put_image(
        "app",
        "latest",
        &Image { architecture: "amd64", layers: vec![(plain, packed)] },
    );
    let cut = CutOnce::before(&registry, blob, 4_000, fault);
    let reference: Reference = format!("127.0.0.1:{}/app", cut.port).parse().unwrap();
    let retried = Arc::new(Mutex::new(0));
    let count = retried.clone();
    let options = PullOptions {
        progress: Reporter::new(move |progress| {
            if matches!(progress.step, Step::Retrying { .. }) {
                *count.lock().unwrap() += 1;
            }
        }),
        ..PullOptions::default()
    };
    store.pull(&reference, &options).await.unwrap();
    assert_eq!(store.inspect(&reference.familiar()).await.unwrap().size, 20_000);
    let offsets = cut.offsets.lock().unwrap().clone();
    assert_eq!(*retried.lock().unwrap() + 1, offsets.len());
    Some(offsets)
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let Some(offsets) = offsets_of_a_broken_download(Fault::Nothing).await else { return };
    let [None, Some(offset)] = offsets[..] else { panic!("asked from {offsets:?}") };
    assert!(offset > 0 && offset < 4_000, "as much as came, without its head: {offset}");
}

#[tokio::test]
async fn a_registry_that_only_gives_the_whole_gives_the_whole() {
    let Some(offsets) = offsets_of_a_broken_download(Fault::NoRanges).await else { return };
    assert!(matches!(offsets[..], [None, Some(_)]), "asked from {offsets:?}");
}

#[tokio::test]
async fn a_download_whose_beginning_was_garbled_is_begun_anew() {
    let Some(offsets) = offsets_of_a_broken_download(Fault::Garbled).await else { return };
    assert!(matches!(offsets[..], [None, Some(_), None]), "asked from {offsets:?}");
}

#[tokio::test]
async fn what_is_pushed_is_pulled_as_it_was() {
    let Some((_root, store, plain)) = setting(Door::Http).await else { return };
    let Some(registry) = plain.other_door(Door::Password) else { return };
    plain.put_image("app", "latest", &image("amd64", &["base", "own"]));
    let source = at(&plain, "app");
    let digest = store.pull(&source, &PullOptions::default()).await.unwrap().digest;
    let target = at(&registry, "copies/app:v2");
    store.tag(&source.familiar(), &target).await.unwrap();

    let auth = Auth::Basic { username: USER.to_owned(), password: PASSWORD.to_owned() };
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = steps.clone();
    let options = PushOptions {
        auth: Some(auth.clone()),
        progress: Reporter::new(move |progress| told.lock().unwrap().push(progress.step)),
        ..PushOptions::default()
    };
    let refused = store.push(&target, &PushOptions::default()).await.unwrap_err().to_string();
    assert!(refused.contains("unauthorized"), "{refused}");
    let count = |step: Step| steps.lock().unwrap().iter().filter(|told| **told == step).count();
    assert_eq!(store.push(&target, &options).await.unwrap().digest, digest);
    assert_eq!((count(Step::Pushed), count(Step::LayerExists)), (2, 0));
    assert_eq!(store.push(&target, &options).await.unwrap().digest, digest);
    assert_eq!((count(Step::Pushed), count(Step::LayerExists)), (2, 2));

    let other_root = tempfile::tempdir().unwrap();
    let other = Store::open(other_root.path()).await.unwrap();
    let options = PullOptions { auth: Some(auth), ..PullOptions::default() };
    assert_eq!(other.pull(&target, &options).await.unwrap().digest, digest);
    let error = async |rest: &str| {
        let reference = at(&registry, rest);
        store.push(&reference, &PushOptions::default()).await.unwrap_err().to_string()
    };
    let here = format!("127.0.0.1:{}", registry.port);
    assert_eq!(error("copies/app:v3").await, format!("tag does not exist: {here}/copies/app:v3"));
    assert_eq!(
        error("none").await,
        format!("An image does not exist locally with the tag: {here}/none")
    );
}

#[tokio::test]
async fn a_login_is_judged_by_its_registry() {
    let Some((_root, _store, plain)) = setting(Door::Http).await else { return };
    let Some(registry) = plain.other_door(Door::Password) else { return };
    let ask = async |port: u16, password: &str| {
        let auth = Auth::Basic { username: USER.to_owned(), password: password.to_owned() };
        check_login(&format!("127.0.0.1:{port}"), &RegistryConfig::default(), &auth).await
    };
    ask(registry.port, PASSWORD).await.unwrap();
    let refused = ask(registry.port, "close sesame").await.unwrap_err();
    assert!(matches!(refused, Error::Login(_)), "{refused}");
    // One that asks nobody takes all.
    ask(plain.port, "close sesame").await.unwrap();
}
