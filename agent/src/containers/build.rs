//! A container from a task: what the spec says, and the image where the spec says nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use skep_agent_plan::HealthCheck;
use skep_containers::Defaults;
use skep_docker_api::json::DeviceRequest;
use skep_engine::Container;
use skep_engine::ContainerConfig;
use skep_engine::config::{
    Content, Device, File, Mount, MountSource, NetworkNamespace, Resources, Rootfs, Seccomp, Ulimit,
};
use skep_idmap::IdMaps;
use skep_images::{Image, ImageConfig};
use skep_proto::convert::NodeTask;
use skep_template::service::Names;
use skep_types::container::{ContainerSpec, FileTarget};
use skep_types::node::NodeDescription;
use skep_types::privilege::{self, Asked, Gpus};
use skep_types::{Mount as MountSpec, MountKind, Payload, defaults};
use time::OffsetDateTime;

use super::templates::{self, TaskReads};
use super::{IMAGE, Parts, TASK, Volume, etc, failed, health, host_ports, refused};
use crate::executor::{ExecutorError, TaskFiles};

/// Where a container remembers its anonymous volumes, one name after the other.
const ANONYMOUS: &str = "skep.anonymous-volumes";

/// Where a container remembers how long it is given to end, in milliseconds.
const STOP_GRACE: &str = "skep.stop-grace";

/// Docker's place for secrets.
const SECRETS_DIR: &str = "/run/secrets";

/// The volumes that go with a container.
pub fn anonymous_volumes(container: &Container) -> Vec<String> {
    let names = container.config().annotations.get(ANONYMOUS);
    names.map(|names| names.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// How long a container is given to end, whoever ends it.
pub fn stop_grace(container: &Container) -> Duration {
    let kept = container.config().annotations.get(STOP_GRACE).and_then(|ms| ms.parse().ok());
    kept.map_or(defaults::STOP_GRACE_PERIOD, Duration::from_millis)
}

pub async fn create(
    parts: &Parts,
    task: &NodeTask,
    files: &TaskFiles,
    image: &Image,
    id: &str,
) -> Result<(), ExecutorError> {
    let host = (parts.describe)();
    let asked = privileges(&task.spec.container, &host)?;
    let names = templates::names(task, &host);
    let mut spec = task.spec.container.clone();
    names.fill(&mut spec).map_err(refused)?;
    let spec = &spec;
    let rootfs = parts.images.create_rootfs(id, &image.id.to_string()).await.map_err(refused)?;
    let overlay = rootfs.overlay;
    let config = &image.config;
    let mut container = ContainerConfig::new(
        id,
        Rootfs::Overlay {
            lower: overlay.lower.iter().map(|path| overlay.base.join(path)).collect(),
            upper: overlay.base.join(&overlay.upper),
            work: overlay.base.join(&overlay.work),
        },
        command(spec, config),
    );
    let hostname = match spec.hostname.as_str() {
        "" => id.get(..12).unwrap_or(id).to_owned(),
        given => given.to_owned(),
    };
    let own: Vec<IpAddr> = task
        .networks
        .iter()
        .flat_map(|(_, at)| at.addresses.iter().map(|address| address.addr()))
        .collect();
    let attached = parts.networks.attach(task).await?;
    let resolver = skep_overlay_net::dns::server::ADDRESS.into();
    let etc = etc::write(&parts.etc_dir, id, spec, &hostname, &own, Some(resolver))?;
    etc.own(parts.runtime.id_maps().map_or((0, 0), IdMaps::root)).map_err(failed)?;
    let (mounts, anonymous) = mounts(parts, spec, config, id).await?;
    container.env = environment(&config.env, &spec.env);
    container.env.extend(skep_types::generic::environment(&task.generic));
    container.cwd = first(&spec.dir, &config.working_dir);
    container.user = first(&spec.user, &config.user);
    container.groups = spec.groups.clone();
    container.hostname = hostname;
    container.tty = spec.tty;
    container.open_stdin = spec.open_stdin;
    container.oom_score_adj = spec.oom_score_adj;
    let defaults = parts.defaults.get();
    container.init = spec.init.unwrap_or(defaults.init);
    container.read_only = spec.read_only;
    container.mounts = mounts;
    container.files = payloads(spec, files, &names)?;
    container.hosts_path = Some(etc.hosts);
    container.hostname_path = Some(etc.hostname);
    container.resolv_conf_path = Some(etc.resolv_conf);
    container.network = NetworkNamespace::Join(attached.namespace);
    container.id_maps = parts.runtime.id_maps().cloned();
    container.capability_add = spec.capability_add.clone();
    container.capability_drop = spec.capability_drop.clone();
    container.sysctls = spec.sysctls.clone();
    container.ulimits = spec
        .ulimits
        .iter()
        .map(|it| Ulimit { name: it.name.clone(), soft: it.soft, hard: it.hard })
        .collect();
    defaults.apply(&mut container).map_err(refused)?;
    let gpus = asked.gpus.as_ref().map(gpus);
    give(&mut container, asked);
    container.resources = Resources {
        memory_bytes: task.spec.resources.limits.memory_bytes,
        nano_cpus: task.spec.resources.limits.nano_cpus,
        pids: task.spec.resources.limits.pids,
        ..Resources::default()
    };
    container.stop_signal = first(&spec.stop_signal, &config.stop_signal);
    if let Some(driver) = &task.spec.log_driver {
        let chosen = skep_containers::log_driver(&driver.name, &driver.options);
        (container.log_driver, container.log) = chosen.map_err(refused)?;
    }
    container.labels = labels(task, config);
    container.annotations = BTreeMap::from([
        (TASK.to_owned(), task.id.to_string()),
        (IMAGE.to_owned(), spec.image.clone()),
        (ANONYMOUS.to_owned(), anonymous.join(" ")),
    ]);
    let check = HealthCheck::of(spec.health.as_ref(), config.healthcheck.as_ref());
    container.annotations.extend(check.as_ref().map(health::annotation));
    container.annotations.extend(host_ports::annotation(&attached.host_ports));
    if let Some(grace) = spec.stop_grace_period {
        container.annotations.insert(STOP_GRACE.to_owned(), grace.as_millis().to_string());
    }
    let container = with_devices(&defaults, gpus, container).await?;
    parts.runtime.create(container).await.map(drop).map_err(refused)
}

/// What drivers of devices are asked for, as Docker's command asks them.
fn gpus(asked: &Gpus) -> DeviceRequest {
    let (count, ids) = match asked {
        Gpus::All => (-1, None),
        Gpus::First(count) => (i64::from(*count), None),
        Gpus::Named(ids) => (0, Some(ids.clone())),
    };
    let capabilities = Some(vec![vec!["gpu".to_owned()]]);
    DeviceRequest { count, device_ids: ids, capabilities, ..DeviceRequest::default() }
}

/// The host's descriptions of devices are read where that may take its time.
async fn with_devices(
    defaults: &Arc<Defaults>,
    request: Option<DeviceRequest>,
    mut container: ContainerConfig,
) -> Result<ContainerConfig, ExecutorError> {
    let Some(request) = request else { return Ok(container) };
    let defaults = Arc::clone(defaults);
    let given = tokio::task::spawn_blocking(move || {
        defaults.cdi.give(&[request], &mut container).map_err(refused)?;
        Ok(container)
    });
    given.await.map_err(failed)?
}

/// What the task asks for, if this node's operator allows it. The managers send no task that it does
/// not; that a node does not have to take their word for it is the point of it.
fn privileges(spec: &ContainerSpec, host: &NodeDescription) -> Result<Asked, ExecutorError> {
    let asked = privilege::of(&spec.labels).map_err(refused)?;
    let allowed = privilege::allowed(&host.engine_labels);
    match asked.needs().into_iter().find(|need| !allowed.contains(need)) {
        None => Ok(asked),
        Some(need) => Err(refused(format!(
            "this node does not allow {need}: see allow-service-privileges in its daemon.json"
        ))),
    }
}

fn give(container: &mut ContainerConfig, asked: Asked) {
    let device = |it: privilege::Device| Device {
        on_host: it.on_host.into(),
        in_container: it.in_container.into(),
        access: it.access,
    };
    container.devices = asked.devices.into_iter().map(device).collect();
    container.privileged = asked.privileged;
    // As in Docker: who has every privilege is not filtered by what the daemon says of others.
    if asked.privileged {
        container.seccomp = Seccomp::Default;
    }
}

fn first(given: &str, image: &str) -> String {
    if given.is_empty() { image.to_owned() } else { given.to_owned() }
}

/// Docker's rule: a command of the spec's replaces the image's entrypoint and its arguments.
fn command(spec: &ContainerSpec, image: &ImageConfig) -> Vec<String> {
    let entrypoint = if spec.command.is_empty() { &image.entrypoint } else { &spec.command };
    let args = match (spec.args.is_empty(), spec.command.is_empty()) {
        (false, _) => &spec.args[..],
        (true, true) => &image.cmd[..],
        (true, false) => &[],
    };
    entrypoint.iter().chain(args).cloned().collect()
}

/// The image's, with the spec's on top; a name alone takes the image's away.
fn environment(image: &[String], spec: &[String]) -> Vec<String> {
    fn name(entry: &str) -> &str {
        entry.split_once('=').map_or(entry, |(name, _)| name)
    }
    let kept = image.iter().filter(|it| !spec.iter().any(|new| name(new) == name(it)));
    kept.chain(spec.iter().filter(|it| it.contains('='))).cloned().collect()
}

fn labels(task: &NodeTask, image: &ImageConfig) -> BTreeMap<String, String> {
    let mut labels = image.labels.clone();
    labels.extend(task.spec.container.labels.clone());
    // As Docker's agent names a task's container; what the spec says of these counts for nothing.
    let ours = [
        ("com.docker.swarm.node.id", task.node_id.to_string()),
        ("com.docker.swarm.service.id", task.service_id.to_string()),
        ("com.docker.swarm.service.name", task.service_name.clone()),
        ("com.docker.swarm.task", String::new()),
        ("com.docker.swarm.task.id", task.id.to_string()),
        ("com.docker.swarm.task.name", task.annotations.name.clone()),
    ];
    labels.extend(ours.map(|(key, value)| (key.to_owned(), value)));
    labels
}

fn payloads(
    spec: &ContainerSpec,
    files: &TaskFiles,
    names: &Names,
) -> Result<Vec<File>, ExecutorError> {
    let reads = TaskReads { spec, files };
    let content = |kind: &str, name: &str, data: &Payload, template: bool| {
        if !template {
            return Ok(Content::new(data.0.to_vec()));
        }
        let filled = names.fill_payload(kind, name, &data.0, &reads);
        filled.map(|text| Content::new(text.into_bytes())).map_err(refused)
    };
    let mut made = Vec::new();
    for reference in &spec.secrets {
        let name = &reference.secret_name;
        let secret = files.secrets.get(&reference.secret_id).map(|secret| &secret.spec);
        let secret =
            secret.ok_or_else(|| failed(format!("secret {name} has not reached this node")))?;
        let content = content("secret", name, &secret.data, secret.template)?;
        made.push(file(&reference.target, SECRETS_DIR, content)?);
    }
    for reference in &spec.configs {
        let name = &reference.config_name;
        let config = files.configs.get(&reference.config_id).map(|config| &config.spec);
        let config =
            config.ok_or_else(|| failed(format!("config {name} has not reached this node")))?;
        let content = content("config", name, &config.data, config.template)?;
        made.push(file(&reference.target, "/", content)?);
    }
    Ok(made)
}

fn file(target: &FileTarget, relative_to: &str, content: Content) -> Result<File, ExecutorError> {
    let number = |text: &str, what: &str| match text {
        "" => Ok(0),
        text => text.parse::<u32>().map_err(|_| refused(format!("invalid {what} {text:?}"))),
    };
    Ok(File {
        // An absolute name stays as it is.
        target: Path::new(relative_to).join(&target.name),
        uid: number(&target.uid, "uid")?,
        gid: number(&target.gid, "gid")?,
        mode: target.mode,
        content,
    })
}

/// Mounts of the spec, and an anonymous volume for each of the image's that it does not cover.
async fn mounts(
    parts: &Parts,
    spec: &ContainerSpec,
    image: &ImageConfig,
    container: &str,
) -> Result<(Vec<Mount>, Vec<String>), ExecutorError> {
    let (mut made, mut anonymous) = (Vec::new(), Vec::new());
    for mount in &spec.mounts {
        let source = match mount.kind {
            MountKind::Bind => MountSource::Bind(PathBuf::from(&mount.source)),
            MountKind::Tmpfs => MountSource::Tmpfs {
                size_bytes: u64::try_from(mount.tmpfs_size_bytes).unwrap_or(0),
                mode: mount.tmpfs_mode,
                options: Vec::new(),
            },
            MountKind::Volume => {
                MountSource::Bind(volume(parts, mount, container, &mut anonymous).await?)
            }
        };
        made.push(Mount {
            propagation: mount.propagation.word().to_owned(),
            non_recursive: mount.non_recursive,
            read_only_non_recursive: mount.read_only_non_recursive,
            ..Mount::new(&mount.target, source, mount.read_only)
        });
    }
    let files = spec.secrets.iter().map(|it| &it.target.name);
    let files: Vec<&String> = files.chain(spec.configs.iter().map(|it| &it.target.name)).collect();
    for target in &image.volumes {
        let covered =
            spec.mounts.iter().any(|mount| mount.target == *target) || files.contains(&target);
        if !covered {
            let mount = MountSpec {
                kind: MountKind::Volume,
                target: target.clone(),
                ..MountSpec::default()
            };
            let path = volume(parts, &mount, container, &mut anonymous).await?;
            made.push(Mount::new(target, MountSource::Bind(path), false));
        }
    }
    Ok((made, anonymous))
}

/// The directory of a mount's volume, made and filled where it is new.
async fn volume(
    parts: &Parts,
    mount: &MountSpec,
    container: &str,
    anonymous: &mut Vec<String>,
) -> Result<PathBuf, ExecutorError> {
    if let Some((driver, options)) = &mount.volume_driver {
        if !matches!(driver.as_str(), "" | "local") {
            return Err(refused(format!("volume driver {driver:?} is not supported: use local")));
        }
        if let Some(option) = options.keys().next() {
            return Err(refused(format!("volume option {option:?} is not supported yet")));
        }
    }
    let name = match mount.source.as_str() {
        "" => {
            // The same for every attempt at this container, so that none is left behind.
            let name = format!("{}{:02}", &container[..62], anonymous.len());
            anonymous.push(name.clone());
            name
        }
        name => name.to_owned(),
    };
    let path = parts.volumes.ensure(Volume {
        name: name.clone(),
        labels: mount.volume_labels.clone(),
        anonymous: mount.source.is_empty(),
        created_at: OffsetDateTime::now_utc(),
    });
    let path = path.await.map_err(refused)?;
    let empty = std::fs::read_dir(&path).map_err(failed)?.next().is_none();
    if empty && !mount.volume_nocopy {
        let root = parts.images.open_rootfs(container).await.map_err(failed)?;
        if let Some(inside) = within(root.path(), &mount.target) {
            parts.volumes.fill(&name, &inside).await.map_err(failed)?;
        }
    }
    Ok(path)
}

/// A directory of the root file system, if links do not lead out of it.
fn within(root: &Path, target: &str) -> Option<PathBuf> {
    let path = root.join(target.trim_start_matches('/')).canonicalize().ok()?;
    path.starts_with(root.canonicalize().ok()?).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_specs_command_replaces_entrypoint_and_arguments() {
        let image = ImageConfig {
            entrypoint: strings(&["/entry"]),
            cmd: strings(&["serve"]),
            ..ImageConfig::default()
        };
        let check = |command_: &[&str], args: &[&str], expected: &[&str]| {
            let spec = ContainerSpec {
                command: strings(command_),
                args: strings(args),
                ..ContainerSpec::default()
            };
            assert_eq!(command(&spec, &image), strings(expected));
        };
        check(&[], &[], &["/entry", "serve"]);
        check(&[], &["-v"], &["/entry", "-v"]);
        check(&["/other"], &[], &["/other"]);
        check(&["/other"], &["-v"], &["/other", "-v"]);
    }

    #[test]
    fn what_the_operator_does_not_allow_is_refused_here_too() {
        let spec = |labels: &[(&str, &str)]| ContainerSpec {
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            ..ContainerSpec::default()
        };
        let host = |words: &str| NodeDescription {
            engine_labels: BTreeMap::from([(privilege::ALLOWED.to_owned(), words.to_owned())]),
            ..NodeDescription::default()
        };
        let both = spec(&[(privilege::PRIVILEGED, "true"), (privilege::DEVICES, "/dev/fuse:r")]);
        for (words, why) in [
            ("", "this node does not allow devices in tasks"),
            ("privileged", "this node does not allow devices in tasks"),
            ("devices", "this node does not allow privileged tasks"),
        ] {
            let error = privileges(&both, &host(words)).unwrap_err().to_string();
            assert!(error.starts_with(why), "{words}: {error}");
        }
        let asked = privileges(&both, &host("devices,privileged")).unwrap();
        let rootfs = Rootfs::Overlay { lower: vec![], upper: "/u".into(), work: "/w".into() };
        let mut container = ContainerConfig::new("id", rootfs, strings(&["true"]));
        container.seccomp = Seccomp::Profile("{}".to_owned());
        give(&mut container, asked);
        assert!(container.privileged && container.seccomp == Seccomp::Default);
        let device = &container.devices[0];
        assert_eq!(device.in_container, Path::new("/dev/fuse"));
        assert_eq!(device.access, "r");
        assert_eq!(privileges(&spec(&[]), &host("")).unwrap(), Asked::default());
    }

    #[test]
    fn a_specs_environment_goes_over_the_images() {
        let image = strings(&["PATH=/bin", "A=1", "B=2"]);
        let spec = strings(&["A=3", "B", "C=4"]);
        assert_eq!(environment(&image, &spec), strings(&["PATH=/bin", "A=3", "C=4"]));
    }
}
