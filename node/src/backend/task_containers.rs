//! The containers of this node's tasks, as `/containers` shows them beside those that are made by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use skep_agent::containers::{host_ports_of, image_of, task_of};
use skep_containers::{HealthReport, Shown, Volumes, health_of, uptime};
use skep_docker_api::json::{self, ContainerInspect, ContainerSummary};
use skep_docker_api::{ApiError, Kind};
use skep_engine::config::{ContainerConfig, Mount, MountSource, NetworkNamespace};
use skep_engine::{Container, ContainerState, Status};
use skep_types::service::PortConfig;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::volumes::volume_at;
use super::{Answer, DaemonBackend, engine_error};

/// Where the agent notes a task's name, `service.slot.task`.
const TASK_NAME: &str = "com.docker.swarm.task.name";
/// Go's zero time, which clients read as "never".
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Where a port in host mode answers: on every address of the host.
const EVERYWHERE: &str = "0.0.0.0";

/// What a container is called: its task's name, or else its short id.
pub(super) fn name(config: &ContainerConfig) -> String {
    let task = config.labels.get(TASK_NAME).filter(|name| !name.is_empty());
    let short = || config.id.get(..12).unwrap_or(&config.id);
    format!("/{}", task.map_or_else(short, String::as_str))
}

fn state_word(status: Status) -> &'static str {
    match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Paused => "paused",
        Status::Exited => "exited",
    }
}

/// The whole command in one line; words with blanks in quotes, as Docker has them.
fn command(args: &[String]) -> String {
    let quoted = |(at, word): (usize, &String)| match word.contains(' ') && at > 0 {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    args.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

fn mount(volumes: &Volumes, mount: &Mount) -> json::MountPoint {
    let shown = json::MountPoint {
        destination: mount.target.display().to_string(),
        rw: !mount.read_only,
        ..Default::default()
    };
    let source = match &mount.source {
        MountSource::Tmpfs { .. } => return json::MountPoint { kind: "tmpfs".to_owned(), ..shown },
        MountSource::Bind(source) => source,
    };
    let shown = json::MountPoint { source: source.display().to_string(), ..shown };
    match volume_at(volumes, source) {
        Some(name) => json::MountPoint {
            kind: "volume".to_owned(),
            name,
            driver: "local".to_owned(),
            ..shown
        },
        None => json::MountPoint {
            kind: "bind".to_owned(),
            propagation: "rprivate".to_owned(),
            ..shown
        },
    }
}

fn network_mode(config: &ContainerConfig) -> &'static str {
    match config.network {
        NetworkNamespace::Host => "host",
        NetworkNamespace::New | NetworkNamespace::Join(_) => "default",
    }
}

fn moment(at: Option<OffsetDateTime>) -> String {
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| NEVER.to_owned())
}

/// A container with what was seen of it.
struct Seen<'a> {
    config: &'a ContainerConfig,
    state: &'a ContainerState,
    /// The image's id; empty where its root file system is gone.
    image_id: &'a str,
    volumes: &'a Volumes,
    /// None where there is no health check.
    health: Option<Arc<HealthReport>>,
}

impl Seen<'_> {
    /// Docker's word; of a check that runs.
    fn health_word(&self) -> Option<&'static str> {
        self.health.as_ref().map(|it| it.health.status.name())
    }

    fn image(&self) -> String {
        image_of(self.config).unwrap_or(self.image_id).to_owned()
    }

    fn mounts(&self) -> Vec<json::MountPoint> {
        self.config.mounts.iter().map(|it| mount(self.volumes, it)).collect()
    }

    /// The ports of the host that lead to it: while it runs.
    fn host_ports(&self) -> Vec<PortConfig> {
        match self.state.status {
            Status::Running | Status::Paused => host_ports_of(self.config),
            Status::Created | Status::Exited => Vec::new(),
        }
    }

    fn port_summaries(&self) -> Vec<json::PortSummary> {
        let summary = |port: &PortConfig| json::PortSummary {
            ip: EVERYWHERE.to_owned(),
            private_port: port.target_port,
            public_port: port.published_port,
            kind: port.protocol.word().to_owned(),
        };
        self.host_ports().iter().map(summary).collect()
    }

    fn port_bindings(&self) -> BTreeMap<String, Option<Vec<json::PortBinding>>> {
        let mut bindings: BTreeMap<String, Option<Vec<json::PortBinding>>> = BTreeMap::new();
        for port in self.host_ports() {
            let key = format!("{}/{}", port.target_port, port.protocol.word());
            bindings.entry(key).or_default().get_or_insert_default().push(json::PortBinding {
                host_ip: EVERYWHERE.to_owned(),
                host_port: port.published_port.to_string(),
            });
        }
        bindings
    }

    fn summary(&self, now: OffsetDateTime) -> ContainerSummary {
        ContainerSummary {
            id: self.config.id.clone(),
            names: vec![name(self.config)],
            image: self.image(),
            image_id: self.image_id.to_owned(),
            command: command(&self.config.args),
            created: self.state.created_at.unix_timestamp(),
            labels: self.config.labels.clone(),
            state: state_word(self.state.status).to_owned(),
            status: uptime::status(self.state, self.health_word(), now),
            host_config: json::HostConfigSummary {
                network_mode: network_mode(self.config).to_owned(),
            },
            mounts: self.mounts(),
            ports: self.port_summaries(),
            ..Default::default()
        }
    }

    fn state(&self) -> json::ContainerState {
        let exit = self.state.exit.as_ref();
        json::ContainerState {
            status: state_word(self.state.status).to_owned(),
            running: self.state.status == Status::Running,
            oom_killed: exit.is_some_and(|exit| exit.oom_killed),
            pid: self.state.pid.map_or(0, i64::from),
            exit_code: exit.map_or(0, |exit| i64::from(exit.code)),
            error: exit.and_then(|exit| exit.error.clone()).unwrap_or_default(),
            started_at: moment(self.state.started_at),
            finished_at: moment(exit.map(|exit| exit.finished_at)),
            health: self.health.as_deref().map(health_of),
            ..Default::default()
        }
    }

    fn inspect(&self) -> ContainerInspect {
        let config = self.config;
        let path = |path: &Option<std::path::PathBuf>| {
            path.as_deref().map(|path: &Path| path.display().to_string()).unwrap_or_default()
        };
        let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
        ContainerInspect {
            id: config.id.clone(),
            created: moment(Some(self.state.created_at)),
            path: config.args.first().cloned().unwrap_or_default(),
            args: config.args.iter().skip(1).cloned().collect(),
            state: self.state(),
            image: self.image_id.to_owned(),
            resolv_conf_path: path(&config.resolv_conf_path),
            hostname_path: path(&config.hostname_path),
            hosts_path: path(&config.hosts_path),
            name: name(config),
            driver: skep_containers::DRIVER.to_owned(),
            platform: "linux".to_owned(),
            host_config: json::HostConfig {
                log_config: json::LogConfig { kind: "json-file".to_owned(), ..Default::default() },
                network_mode: network_mode(config).to_owned(),
                restart_policy: json::RestartPolicyName {
                    name: "no".to_owned(),
                    ..Default::default()
                },
                cap_add: some(&config.capability_add),
                cap_drop: some(&config.capability_drop),
                readonly_rootfs: config.read_only,
                memory: config.resources.memory_bytes,
                nano_cpus: config.resources.nano_cpus,
                pids_limit: Some(config.resources.pids).filter(|pids| *pids != 0),
                init: config.init.then_some(true),
                ..Default::default()
            },
            mounts: self.mounts(),
            config: json::ContainerConfig {
                hostname: config.hostname.clone(),
                user: config.user.clone(),
                tty: config.tty,
                env: config.env.clone(),
                // Entrypoint and arguments are one when the container is made.
                cmd: some(&config.args),
                image: self.image(),
                working_dir: config.cwd.clone(),
                labels: config.labels.clone(),
                stop_signal: config.stop_signal.clone(),
                ..Default::default()
            },
            network_settings: json::NetworkSettings {
                ports: self.port_bindings(),
                ..Default::default()
            },
            ..Default::default()
        }
    }
}

/// The one container that `given` means: an id, a name, or the start of an id.
fn find<'a>(containers: &'a [Container], given: &str) -> Answer<&'a Container> {
    let bare = given.trim_start_matches('/');
    let named = |container: &&Container| name(container.config()).trim_start_matches('/') == bare;
    if let Some(found) = containers.iter().find(|container| container.id() == given) {
        return Ok(found);
    }
    if let Some(found) = containers.iter().find(named) {
        return Ok(found);
    }
    let mut starting = containers
        .iter()
        .filter(|container| !given.is_empty() && container.id().starts_with(given));
    match (starting.next(), starting.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(ApiError::new(
            Kind::InvalidParameter,
            format!("multiple IDs found with provided prefix: {given}"),
        )),
        _ => Err(ApiError::not_found(format!("No such container: {given}"))),
    }
}

impl DaemonBackend {
    /// The containers of tasks; those made by hand have another registry.
    pub(super) async fn task_containers(&self) -> Answer<Vec<Container>> {
        let mut all = self.engine.runtime().list().await.map_err(engine_error::runtime)?;
        all.retain(|container| task_of(container).is_some());
        all.sort_by_key(|container| std::cmp::Reverse(container.created_at()));
        Ok(all)
    }

    /// The task's container that `given` means.
    pub(super) async fn task_container(&self, given: &str) -> Answer<Container> {
        find(&self.task_containers().await?, given).cloned()
    }

    /// None for one that is gone since it was listed.
    async fn state_of(&self, container: &Container) -> Answer<Option<ContainerState>> {
        match container.state().await {
            Ok(state) => Ok(Some(state)),
            Err(skep_engine::Error::NoSuchContainer(_)) => Ok(None),
            Err(error) => Err(engine_error::runtime(error)),
        }
    }

    async fn image_id(&self, container: &str) -> Answer<String> {
        match self.engine.images().rootfs(container).await {
            Ok(rootfs) => Ok(rootfs.image.to_string()),
            Err(skep_images::Error::NoSuchRootfs(_)) => Ok(String::new()),
            Err(error) => Err(engine_error::image(error)),
        }
    }

    fn health_of_task(&self, container: &Container) -> Option<Arc<HealthReport>> {
        self.engine.health(task_of(container)?)
    }

    pub(super) async fn list_task_containers(&self, sizes: bool) -> Answer<Vec<Shown>> {
        let now = OffsetDateTime::now_utc();
        let mut shown = Vec::new();
        for container in &self.task_containers().await? {
            let Some(state) = self.state_of(container).await? else { continue };
            let seen = Seen {
                config: container.config(),
                state: &state,
                image_id: &self.image_id(container.id()).await?,
                volumes: self.engine.volumes(),
                health: self.health_of_task(container),
            };
            let mut summary = seen.summary(now);
            if sizes {
                (summary.size_rw, summary.size_root_fs) = self.sizes(container.id()).await?;
            }
            shown.push(Shown {
                summary,
                exit_code: state.exit.as_ref().map(|exit| i64::from(exit.code)),
                health: seen.health_word().unwrap_or("none"),
            });
        }
        Ok(shown)
    }

    async fn sizes(&self, container: &str) -> Answer<(i64, i64)> {
        let sizes = self.engine.images().rootfs_sizes(container).await;
        let (own, all) = sizes.map_err(engine_error::image)?;
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok((number(own), number(all)))
    }

    pub(super) async fn inspect_task_container(
        &self,
        given: &str,
        sizes: bool,
    ) -> Answer<ContainerInspect> {
        let container = self.task_container(given).await?;
        let state = container.state().await.map_err(engine_error::runtime)?;
        let image_id = &self.image_id(container.id()).await?;
        let volumes = self.engine.volumes();
        let (config, health) = (container.config(), self.health_of_task(&container));
        let mut shown = Seen { config, state: &state, image_id, volumes, health }.inspect();
        if sizes {
            let (own, all) = self.sizes(container.id()).await?;
            (shown.size_rw, shown.size_root_fs) = (Some(own), Some(all));
        }
        // One that is being taken away has none any more.
        if let Ok(rootfs) = self.engine.images().rootfs(container.id()).await {
            shown.graph_driver = skep_containers::driver_data(&rootfs);
        }
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use skep_engine::ExitStatus;
    use skep_engine::config::Rootfs;
    use time::Duration;

    use super::*;

    fn config() -> ContainerConfig {
        let words = ["/bin/sh", "-c", "sleep 1"].map(str::to_owned).to_vec();
        let mut config =
            ContainerConfig::new("ab".repeat(32), Rootfs::Directory("/r".into()), words);
        config.labels.insert(TASK_NAME.to_owned(), "web.1.abc".to_owned());
        let bind =
            |source: &str, target: &str| Mount::new(target, MountSource::Bind(source.into()), true);
        config.mounts = vec![bind("/volumes/data/_data", "/data"), bind("/srv", "/srv")];
        config
    }

    #[test]
    fn a_tasks_container_is_shown_as_docker_shows_it() {
        let config = config();
        let start = OffsetDateTime::UNIX_EPOCH;
        let exit = ExitStatus {
            code: 3,
            signal: None,
            oom_killed: true,
            finished_at: start + Duration::seconds(10),
            error: None,
            log_entries_dropped: 0,
        };
        let mut state = ContainerState {
            status: Status::Running,
            pid: Some(7),
            created_at: start,
            started_at: Some(start),
            exit: None,
        };
        let volumes = Volumes::new("/volumes".into());
        fn seen<'a>(
            config: &'a ContainerConfig,
            state: &'a ContainerState,
            volumes: &'a Volumes,
        ) -> Seen<'a> {
            Seen { config, state, image_id: "sha256:1", volumes, health: None }
        }
        let now = start + Duration::seconds(310);
        let shown = seen(&config, &state, &volumes).summary(now);
        assert_eq!(
            (shown.names[0].as_str(), shown.command.as_str()),
            ("/web.1.abc", "/bin/sh -c 'sleep 1'")
        );
        assert_eq!((shown.state.as_str(), shown.status.as_str()), ("running", "Up 5 minutes"));
        let mounts: Vec<_> =
            shown.mounts.iter().map(|it| (it.kind.as_str(), it.name.as_str(), it.rw)).collect();
        assert_eq!(mounts, [("volume", "data", false), ("bind", "", false)]);
        let whole = seen(&config, &state, &volumes).inspect();
        assert_eq!((whole.state.pid, whole.state.finished_at.as_str()), (7, NEVER));
        (state.status, state.exit, state.pid) = (Status::Exited, Some(exit), None);
        assert_eq!(seen(&config, &state, &volumes).summary(now).status, "Exited (3) 5 minutes ago");
        let whole = seen(&config, &state, &volumes).inspect();
        assert!(whole.state.oom_killed && !whole.state.running);
        assert_eq!((whole.path.as_str(), whole.state.exit_code), ("/bin/sh", 3));
    }
}
