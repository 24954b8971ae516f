//! The daemon's engine behind the API: a real image store and real volumes in a directory of the test's own,
//! asked through the trait and by the real docker command line.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use skep_agent::containers::{Containers, Networks, Parts};
use skep_bridge::{HostNetworks, HostNetworksConfig};
use skep_containers::Volumes;
use skep_docker_api::json::*;
use skep_docker_api::{Backend, ByteStream, Events, Filters, Kind, Server, router};
use skep_engine::{Runtime, RuntimeConfig};
use skep_images::Store;
use skep_node::backend::{BackendParts, DaemonBackend};
use skep_node::config::Config;
use skep_node::config_file::Source;
use skep_node::reload::Live;
use skep_node::swarm::{Means, Swarm};
use skep_overlay_kernel::Namespace;
use skep_types::node::NodeDescription;
use tempfile::TempDir;

async fn backend(dir: &Path) -> DaemonBackend {
    let flags = serde_json::json!({
        "data-root": dir.join("data"),
        "exec-root": dir.join("run"),
        "hosts": [format!("unix://{}", dir.join("skep.sock").display())],
        "cgroup-parent": format!("/skep-test-{}", std::process::id()),
    });
    let flags = flags.as_object().unwrap().clone();
    let config = Config::read(Source { flags, file: dir.join("none"), named: false }).unwrap();
    let live = Live::new(config.settings.clone());
    let root = &config.data_root;
    let mut runtime = RuntimeConfig::new(
        root.join("containers"),
        config.exec_root.join("containers"),
        config.cgroup_parent.clone(),
    );
    // No container is made here; the test's own program would be a large copy.
    runtime.shim_exe = "/bin/true".into();
    let names = skep_node::names::server(&config).unwrap();
    let parts = Parts {
        runtime: Runtime::open(runtime).await.unwrap(),
        images: Store::open(root.join("images")).await.unwrap(),
        volumes: Volumes::new(root.join("volumes")),
        registries: live.registries.clone(),
        defaults: live.containers.clone(),
        etc_dir: root.join("etc"),
        networks: Networks::new(root.join("net"), names.clone()),
        describe: Arc::new(NodeDescription::default),
    };
    let engine = Containers::open(parts).await.unwrap();
    let events = Events::new();
    let means = Means {
        executor: Arc::clone(&engine) as _,
        events: events.clone(),
        describe: Arc::new(NodeDescription::default),
        metrics: Default::default(),
    };
    let swarm = Swarm::open(root, means).await.unwrap();
    let networks = HostNetworks::open(HostNetworksConfig {
        state_dir: root.join("bridge"),
        run_dir: config.exec_root.join("bridge"),
        host: Namespace::current().unwrap(),
        resolv_conf: None,
        options: config.networks.clone(),
        names,
    });
    let networks = Arc::new(networks.await.unwrap());
    let containers = skep_containers::Containers::open(skep_containers::Parts {
        runtime: engine.runtime().clone(),
        images: engine.images().clone(),
        volumes: engine.volumes().clone(),
        networks: Arc::clone(&networks),
        events,
        defaults: live.containers.clone(),
        dir: config.data_root.join("by-hand"),
    });
    let containers = containers.await.unwrap();
    let swarm = Arc::new(swarm);
    DaemonBackend::new(BackendParts { config, live, swarm, engine, networks, containers })
}

/// A root file system with busybox alone.
fn busybox_tar(dir: &Path) -> Vec<u8> {
    let root = dir.join("busybox");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::fs::hard_link(root.join("bin/busybox"), root.join("bin/sh")).unwrap();
    let packed = Command::new("tar").arg("-C").arg(&root).args(["-cf", "-", "."]).output().unwrap();
    assert!(packed.status.success());
    packed.stdout
}

fn stream(bytes: Vec<u8>) -> ByteStream {
    futures::stream::iter([Ok(bytes.into())]).boxed()
}

async fn import(backend: &DaemonBackend, tar: Vec<u8>, name: &str) -> String {
    let request = ImportRequest {
        reference: name.to_owned(),
        message: "Imported from -".to_owned(),
        changes: vec![r#"CMD ["/bin/sh"]"#.to_owned(), "LABEL tier=base".to_owned()],
        ..Default::default()
    };
    let lines = backend.image_import(request, stream(tar)).await.unwrap();
    let lines: Vec<Progress> = lines.try_collect().await.unwrap();
    lines.last().unwrap().status.clone()
}

fn filters(text: &str) -> Filters {
    Filters::parse(text).unwrap()
}

#[tokio::test]
async fn images_are_imported_named_shown_and_removed() {
    let dir = TempDir::new().unwrap();
    let backend = backend(dir.path()).await;
    let id = import(&backend, busybox_tar(dir.path()), "busybox:1").await;
    assert!(id.starts_with("sha256:"), "{id}");

    let listed = backend.images(Filters::default()).await.unwrap();
    assert_eq!((listed.len(), &listed[0].id), (1, &id));
    assert_eq!(listed[0].repo_tags, ["busybox:1"]);
    assert!(listed[0].size > 100_000 && listed[0].labels["tier"] == "base");
    let tag = TagRequest { repo: "team/base".into(), tag: String::new() };
    backend.image_tag("busybox:1", tag).await.unwrap();
    let of = |text| backend.images(filters(text));
    assert_eq!(of(r#"{"reference":["team/*"]}"#).await.unwrap().len(), 1);
    assert_eq!(of(r#"{"reference":["other"]}"#).await.unwrap().len(), 0);
    assert_eq!(of(r#"{"dangling":["true"]}"#).await.unwrap().len(), 0);
    assert_eq!(backend.info().await.unwrap().images, 1);

    let shown = backend.image("team/base").await.unwrap();
    assert_eq!(
        (&shown.id, shown.os.as_str(), shown.comment.as_str()),
        (&id, "linux", "Imported from -")
    );
    assert_eq!(shown.config.unwrap().cmd, ["/bin/sh"]);
    assert_eq!(shown.root_fs.layers.len(), 1);

    let error = backend.image("nothing").await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::NotFound, "No such image: nothing:latest")
    );
    let error = backend.image_remove(&id, ImageRemoveOptions::default()).await.unwrap_err();
    assert_eq!(error.kind, Kind::Conflict);
    assert!(error.message.contains("image is referenced in multiple repositories"), "{error}");
    let removed = backend.image_remove("team/base", Default::default()).await.unwrap();
    assert_eq!((removed.len(), removed[0].untagged.as_str()), (1, "team/base:latest"));
    let removed = backend.image_remove("busybox:1", Default::default()).await.unwrap();
    assert_eq!(removed[0].untagged, "busybox:1");
    assert!(removed.iter().any(|item| item.deleted == id), "{removed:?}");
    assert!(backend.images(Filters::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_image_saved_is_loaded_again() {
    let dir = TempDir::new().unwrap();
    let backend = backend(dir.path()).await;
    let id = import(&backend, busybox_tar(dir.path()), "busybox:1").await;
    let saved = backend.image_save(vec!["busybox:1".into()]).await.unwrap();
    let pieces: Vec<bytes::Bytes> = saved.try_collect().await.unwrap();
    backend.image_remove("busybox:1", Default::default()).await.unwrap();
    let loaded = backend.image_load(true, stream(pieces.concat())).await.unwrap();
    let lines: Vec<Progress> = loaded.try_collect().await.unwrap();
    assert_eq!(lines[0].stream, "Loaded image: busybox:1\n");
    assert_eq!(backend.image("busybox:1").await.unwrap().id, id);
    let error = backend.image_save(vec!["nothing".into()]).await.err().unwrap();
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    let error = backend.image_load(true, stream(b"no archive".to_vec())).await.err().unwrap();
    assert_eq!(error.kind, Kind::InvalidParameter, "{error}");
}

#[tokio::test]
async fn what_cannot_be_pulled_answers_with_its_status() {
    let dir = TempDir::new().unwrap();
    let backend = backend(dir.path()).await;
    // Nobody listens at port 1.
    for (reference, kind) in [
        ("127.0.0.1:1/team/app:1", Kind::System),
        ("Team/App:1", Kind::InvalidParameter),
        ("team/app", Kind::NotImplemented),
    ] {
        let request = PullRequest { reference: reference.into(), ..Default::default() };
        assert_eq!(backend.image_pull(request).await.err().unwrap().kind, kind, "{reference}");
    }
    let error = backend.distribution("127.0.0.1:1/team/app:1", None).await.unwrap_err();
    assert!(error.message.contains("127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn volumes_are_made_shown_and_removed() {
    let dir = TempDir::new().unwrap();
    let backend = backend(dir.path()).await;
    let request = VolumeCreateRequest {
        name: "data".into(),
        labels: [("tier".to_owned(), "db".to_owned())].into(),
        ..Default::default()
    };
    let made = backend.volume_create(request.clone()).await.unwrap();
    assert!(Path::new(&made.mountpoint).is_dir());
    assert_eq!(backend.volume_create(request).await.unwrap(), made);
    let unnamed = backend.volume_create(VolumeCreateRequest::default()).await.unwrap();
    assert_eq!(unnamed.name.len(), 64);
    let listed = backend.volumes(filters(r#"{"label":["tier=db"]}"#)).await.unwrap();
    assert_eq!(listed.volumes, [made]);
    let driver = VolumeCreateRequest { driver: "nfs".into(), ..Default::default() };
    assert_eq!(backend.volume_create(driver).await.unwrap_err().kind, Kind::NotFound);
    let name = VolumeCreateRequest { name: "a/b".into(), ..Default::default() };
    assert_eq!(backend.volume_create(name).await.unwrap_err().kind, Kind::InvalidParameter);
    backend.volume_remove("data", false).await.unwrap();
    let error = backend.volume_remove("data", false).await.unwrap_err();
    assert_eq!(error.message, "get data: no such volume");
    backend.volume_remove("data", true).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docker_command_line_is_understood() {
    if Command::new("docker").arg("--version").output().is_err() {
        eprintln!("SKIP: no docker command line on this machine");
        return;
    }
    let dir = TempDir::new().unwrap();
    let tar = dir.path().join("busybox.tar");
    std::fs::write(&tar, busybox_tar(dir.path())).unwrap();
    let backend = Arc::new(backend(dir.path()).await);
    let socket = dir.path().join("docker.sock");
    let server = Server::bind(&socket, None).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(router(backend), async move { drop(stopped.await) }));
    let (tar, config) = (tar.display().to_string(), dir.path().display().to_string());
    let run = async |line: &str| -> Output {
        let mut command = tokio::process::Command::new("docker");
        command.arg("-H").arg(format!("unix://{}", socket.display())).args(line.split(' '));
        command.env("DOCKER_CONFIG", &config).kill_on_drop(true).output().await.unwrap()
    };
    let good = async |line: &str| -> String {
        let output = run(line).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "docker {line}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let bad = async |line: &str| -> String {
        let output = run(line).await;
        assert_eq!(output.status.code(), Some(1), "docker {line}");
        String::from_utf8(output.stderr).unwrap()
    };

    let id = good(&format!("import {tar} app:1")).await;
    assert_eq!(good("images --format {{.Repository}}:{{.Tag}}").await, "app:1");
    assert_eq!(good("images -q --no-trunc").await, id);
    assert_eq!(good("image inspect --format {{.Id}} app:1").await, id);
    good("tag app:1 app:2").await;
    let saved = format!("{config}/saved.tar");
    good(&format!("save -o {saved} app:2")).await;
    assert_eq!(good("rmi app:1").await, "Untagged: app:1");
    let gone = good("rmi app:2").await;
    assert!(gone.contains("Untagged: app:2") && gone.contains(&format!("Deleted: {id}")), "{gone}");
    assert_eq!(good(&format!("load -i {saved}")).await, "Loaded image: app:2");
    let error = bad("rmi other").await;
    assert!(error.contains("No such image: other:latest"), "{error}");
    bad("pull 127.0.0.1:1/app:1").await;

    assert_eq!(good("volume create data").await, "data");
    assert_eq!(good("volume ls -q").await, "data");
    assert_eq!(good("volume inspect --format {{.Driver}} data").await, "local");
    assert_eq!(good("volume rm data").await, "data");
    assert!(bad("volume rm data").await.contains("get data: no such volume"));

    assert_eq!(good("ps -a -q").await, "");
    assert!(bad("inspect --type container nobody").await.contains("No such container: nobody"));
    assert_eq!(good("info --format {{.Containers}}/{{.Images}}").await, "0/1");
    drop(stop);
    served.await.unwrap();
}

/// `KIND ACTION` of what is told now.
async fn told(backend: &DaemonBackend) -> Vec<String> {
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
    let until = Some(skep_types::Timestamp(i64::try_from(now).unwrap()));
    let past = backend.events(EventOptions { until, ..Default::default() }).await.unwrap();
    let past: Vec<Event> = past.try_collect().await.unwrap();
    past.into_iter().map(|event| format!("{} {}", event.kind, event.action)).collect()
}

#[tokio::test]
async fn what_nobody_uses_is_pruned_and_told() {
    let dir = TempDir::new().unwrap();
    let backend = backend(dir.path()).await;
    let tar = busybox_tar(dir.path());
    let id = import(&backend, tar.clone(), "busybox:1").await;
    // The same name for another image: the first is dangling then.
    let request = ImportRequest { reference: "busybox:1".into(), ..Default::default() };
    let lines = backend.image_import(request, stream(tar)).await.unwrap();
    lines.try_collect::<Vec<_>>().await.unwrap();

    let steps = backend.image_history("busybox:1").await.unwrap();
    assert_eq!(steps.len(), 1);
    assert_eq!(steps[0].tags.as_deref(), Some(&["busybox:1".to_owned()][..]));
    assert!(steps[0].size > 100_000, "{steps:?}");

    let usage = backend.disk_usage(vec!["image".into(), "volume".into()]).await.unwrap();
    let images = usage.images.unwrap();
    assert_eq!(
        (images.len(), usage.volumes.map(|it| it.len()), usage.containers),
        (2, Some(0), None)
    );
    // Both are of one layer.
    assert_eq!((usage.layers_size, images[0].shared_size), (images[0].size, images[0].size));
    assert!(images.iter().all(|image| image.containers == 0));
    let error = backend.disk_usage(vec!["tea".into()]).await.unwrap_err();
    assert_eq!(error.message, "unknown object type: tea");

    let pruned = backend.images_prune(filters(r#"{"label":["tier=web"]}"#)).await.unwrap();
    assert_eq!(pruned, ImagesPruneResponse::default());
    let pruned = backend.images_prune(Filters::default()).await.unwrap();
    let gone = pruned.images_deleted.unwrap();
    assert!(gone.iter().any(|item| item.deleted == id), "{gone:?}");
    // The other image still has the layer.
    assert_eq!(pruned.space_reclaimed, 0);
    let pruned = backend.images_prune(filters(r#"{"dangling":["false"]}"#)).await.unwrap();
    assert!(pruned.space_reclaimed > 100_000, "{pruned:?}");
    assert_eq!(backend.images(Filters::default()).await.unwrap().len(), 0);

    let unnamed = backend.volume_create(VolumeCreateRequest::default()).await.unwrap();
    std::fs::write(Path::new(&unnamed.mountpoint).join("file"), [0; 1000]).unwrap();
    let named = VolumeCreateRequest { name: "data".into(), ..Default::default() };
    backend.volume_create(named.clone()).await.unwrap();
    backend.volume_create(named).await.unwrap();
    let usage = backend.disk_usage(vec!["volume".into()]).await.unwrap();
    let sizes = usage.volumes.unwrap().into_iter().map(|it| it.usage_data.unwrap());
    let mut sizes: Vec<(i64, i64)> = sizes.map(|it| (it.size, it.ref_count)).collect();
    sizes.sort_unstable();
    assert_eq!((usage.images, sizes), (None, vec![(0, 0), (1000, 0)]));
    let pruned = backend.volumes_prune(Filters::default()).await.unwrap();
    assert_eq!((pruned.volumes_deleted, pruned.space_reclaimed), (Some(vec![unnamed.name]), 1000));
    let error = backend.volumes_prune(filters(r#"{"until":["1h"]}"#)).await.unwrap_err();
    assert_eq!(error.message, "invalid filter 'until'");
    let pruned = backend.volumes_prune(filters(r#"{"all":["true"]}"#)).await.unwrap();
    assert_eq!(pruned.volumes_deleted, Some(vec!["data".to_owned()]));

    assert_eq!(
        told(&backend).await,
        [
            "image tag",
            "image import",
            "image tag",
            "image import",
            "image prune",
            "image delete",
            "image prune",
            "image untag",
            "image delete",
            "image prune",
            "volume create",
            "volume create",
            "volume destroy",
            "volume prune",
            "volume destroy",
            "volume prune",
        ]
    );
}

#[tokio::test]
async fn a_login_that_nobody_can_judge_is_refused() {
    let dir = TempDir::new().unwrap();
    let backend = backend(dir.path()).await;
    for (server, user, kind) in [
        ("127.0.0.1:1", "ali", Kind::System),
        ("127.0.0.1:1", "", Kind::Unauthorized),
        ("registry", "ali", Kind::InvalidParameter),
    ] {
        let auth = RegistryAuth {
            username: user.into(),
            password: "x".into(),
            server_address: server.into(),
            ..Default::default()
        };
        let error = backend.auth(auth).await.unwrap_err();
        assert_eq!(error.kind, kind, "{server} {user}: {error}");
    }
}
