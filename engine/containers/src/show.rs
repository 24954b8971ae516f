//! Containers as lists and inspections show them.

use std::collections::BTreeMap;
use std::path::Path;

use skep_docker_api::json::{
    self, ContainerInspect, ContainerSummary, DriverData, MountPoint, NetworkSettings,
    NetworkSettingsSummary, PortBinding, PortSummary,
};
use skep_engine::Status;
use skep_images::Rootfs;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::containers::{Containers, Result, images, runtime};
use crate::entry::Entry;
use crate::health::{Answer, HealthReport};
use crate::links;
use crate::mounts::{Mount, Source};
use crate::record::{Phase, Record};
use crate::spec;
use crate::uptime::human;

/// Docker's name for overlayfs over layers that are directories.
pub const DRIVER: &str = "overlay2";

/// Go's zero time, which clients read as "never".
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// The line of a list, and what filters look at beside it.
pub struct Shown {
    pub summary: ContainerSummary,
    pub exit_code: Option<i64>,
    pub health: &'static str,
}

fn moment(at: Option<OffsetDateTime>) -> String {
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_else(|| NEVER.to_owned())
}

/// The answers to a health check.
pub fn health_of(report: &HealthReport) -> json::Health {
    let answer = |answer: &Answer| json::HealthcheckResult {
        start: moment(Some(answer.began)),
        end: moment(Some(answer.ended)),
        exit_code: i64::from(answer.exit_code),
        output: answer.output.clone(),
    };
    json::Health {
        status: report.health.status.name().to_owned(),
        failing_streak: report.health.failing_streak,
        log: report.answers.iter().map(answer).collect(),
    }
}

fn word(phase: Phase, paused: bool) -> &'static str {
    match phase {
        Phase::Created => "created",
        Phase::Running if paused => "paused",
        Phase::Running => "running",
        Phase::Restarting => "restarting",
        Phase::Removing => "removing",
        Phase::Exited => "exited",
    }
}

fn status(record: &Record, paused: bool, health: Option<&str>, now: OffsetDateTime) -> String {
    let state = &record.state;
    let up = || format!("Up {}", human(now - state.started_at.unwrap_or(record.created)));
    let ago = || human(now - state.finished_at.unwrap_or(record.created));
    match state.phase {
        Phase::Created => "Created".to_owned(),
        Phase::Running if paused => format!("{} (Paused)", up()),
        Phase::Running => match health {
            Some("starting") => format!("{} (health: starting)", up()),
            Some(word) => format!("{} ({word})", up()),
            None => up(),
        },
        Phase::Restarting => format!("Restarting ({}) {} ago", state.exit_code, ago()),
        Phase::Removing => "Removal In Progress".to_owned(),
        Phase::Exited => format!("Exited ({}) {} ago", state.exit_code, ago()),
    }
}

/// The whole command in one line; words with blanks in quotes.
fn command(words: &[String]) -> String {
    let quoted = |(at, word): (usize, &String)| match word.contains(' ') && at > 0 {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Where a container's files lie, in the words of Docker's storage driver.
pub fn driver_data(rootfs: &Rootfs) -> DriverData {
    let overlay = &rootfs.overlay;
    let place = |path: &Path| overlay.base.join(path).display().to_string();
    let lower: Vec<_> = overlay.lower.iter().map(|layer| place(layer)).collect();
    let data = [
        ("LowerDir", lower.join(":")),
        ("MergedDir", rootfs.merged.display().to_string()),
        ("UpperDir", place(&overlay.upper)),
        ("WorkDir", place(&overlay.work)),
    ];
    let data = data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    DriverData { data: Some(data), name: DRIVER.to_owned() }
}

type Ports = BTreeMap<String, Option<Vec<PortBinding>>>;

fn ports(ports: &Ports) -> Vec<PortSummary> {
    let mut shown = Vec::new();
    for (port, bindings) in ports {
        let (number, kind) = port.split_once('/').unwrap_or((port, "tcp"));
        let private = PortSummary {
            private_port: number.parse().unwrap_or(0),
            kind: kind.to_owned(),
            ..PortSummary::default()
        };
        let bound = bindings.iter().flatten().map(|it| PortSummary {
            ip: it.host_ip.clone(),
            public_port: it.host_port.parse().unwrap_or(0),
            ..private.clone()
        });
        let bound: Vec<_> = bound.collect();
        if bound.is_empty() { shown.push(private) } else { shown.extend(bound) }
    }
    shown
}

impl Containers {
    fn mount_points(&self, mounts: &[Mount]) -> Vec<MountPoint> {
        let point = |mount: &Mount| {
            let shown = MountPoint {
                destination: mount.target.clone(),
                mode: mount.mode.clone(),
                rw: !mount.read_only,
                ..MountPoint::default()
            };
            match &mount.source {
                Source::Bind { path, .. } => MountPoint {
                    kind: "bind".to_owned(),
                    source: path.clone(),
                    propagation: match mount.propagation.as_str() {
                        "" => "rprivate".to_owned(),
                        given => given.to_owned(),
                    },
                    ..shown
                },
                Source::Volume { name, .. } => MountPoint {
                    kind: "volume".to_owned(),
                    name: name.clone(),
                    source: self.parts.volumes.path(name).display().to_string(),
                    driver: "local".to_owned(),
                    mode: match mount.mode.as_str() {
                        "" => "z".to_owned(),
                        given => given.to_owned(),
                    },
                    ..shown
                },
                Source::Tmpfs { .. } => MountPoint { kind: "tmpfs".to_owned(), ..shown },
            }
        };
        mounts.iter().filter(|mount| !mount.hidden).map(point).collect()
    }

    /// Paused or not, its process, and its place on networks.
    async fn live(&self, record: &Record) -> (bool, i64, NetworkSettings) {
        let wished = || NetworkSettings::new(Ports::new(), record.networks.clone());
        if record.state.phase != Phase::Running {
            return (false, 0, wished());
        }
        let (mut paused, mut pid) = (false, 0);
        if let Ok(run) = self.parts.runtime.get(&record.id).await
            && let Ok(state) = run.state().await
        {
            paused = state.status == Status::Paused;
            pid = state.pid.map_or(0, i64::from);
        }
        let settings = match self.parts.networks.sandbox(&record.id).await {
            Some(sandbox) => NetworkSettings {
                sandbox_id: record.id.clone(),
                sandbox_key: sandbox
                    .namespace
                    .map(|path| path.display().to_string())
                    .unwrap_or_default(),
                ..NetworkSettings::new(sandbox.ports, sandbox.networks)
            },
            None => wished(),
        };
        (paused, pid, settings)
    }

    /// All containers, the newest first; with sizes where they are asked for.
    pub async fn list(&self, sizes: bool) -> Result<Vec<Shown>> {
        let now = OffsetDateTime::now_utc();
        let mut entries = self.all();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.with(|it| it.created)));
        let running = entries.iter().filter(|it| it.with(|it| it.state.phase == Phase::Running));
        let running = running.map(|entry| entry.id.clone()).collect();
        let paused = self.parts.runtime.frozen(running).await.map_err(runtime)?;
        let mut places = self.parts.networks.shown().await;
        let mut shown = Vec::new();
        for entry in entries {
            let place = places.remove(&entry.id);
            let mut one = self.summary(&entry, paused.contains(&entry.id), place, now);
            if sizes {
                match self.sizes(&entry.id).await {
                    Ok(sizes) => (one.summary.size_rw, one.summary.size_root_fs) = sizes,
                    // Removed since it was listed.
                    Err(_) if entry.seen.borrow().removed => continue,
                    Err(error) => return Err(error),
                }
            }
            shown.push(one);
        }
        Ok(shown)
    }

    fn summary(
        &self,
        entry: &Entry,
        paused: bool,
        place: Option<skep_bridge::Shown>,
        now: OffsetDateTime,
    ) -> Shown {
        let record = entry.record();
        let is_running = record.state.phase == Phase::Running;
        let report = entry.health().filter(|_| is_running);
        let health = report.as_ref().map(|it| it.health.status.name());
        let (networks, bound) = match place.filter(|_| is_running) {
            Some(place) => (place.networks, place.ports),
            None => (record.networks.clone(), Ports::new()),
        };
        let summary = ContainerSummary {
            names: vec![format!("/{}", record.name)],
            image: record.config.image.clone(),
            image_id: record.image.clone(),
            command: command(&record.command()),
            created: record.created.unix_timestamp(),
            ports: ports(&bound),
            labels: record.config.labels.clone(),
            state: word(record.state.phase, paused).to_owned(),
            status: status(&record, paused, health, now),
            host_config: json::HostConfigSummary {
                network_mode: record.host_config.network_mode.clone(),
            },
            network_settings: NetworkSettingsSummary { networks },
            mounts: self.mount_points(&record.mounts),
            id: record.id.clone(),
            ..ContainerSummary::default()
        };
        let exit_code = (record.state.phase == Phase::Exited).then_some(record.state.exit_code);
        Shown { summary, exit_code, health: health.unwrap_or("none") }
    }

    /// What a container wrote, and all that it sees, in bytes.
    async fn sizes(&self, id: &str) -> Result<(i64, i64)> {
        let (own, all) = self.parts.images.rootfs_sizes(id).await.map_err(images)?;
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok((number(own), number(all)))
    }

    pub async fn inspect(&self, given: &str, sizes: bool) -> Result<ContainerInspect> {
        let entry = self.find(given)?;
        let mut record = entry.record();
        for link in record.host_config.links.iter_mut().flatten() {
            let (other, alias) = links::parts(link);
            let other = other.trim_start_matches('/');
            *link = format!("/{other}:/{}/{alias}", record.name);
        }
        let (paused, pid, network_settings) = self.live(&record).await;
        let etc = self.etc_of(&record);
        let state = &record.state;
        let mut words = record.command().into_iter();
        let alive = record.is_alive();
        let (size_rw, size_root_fs) = match sizes {
            true => {
                let (own, all) = self.sizes(&record.id).await?;
                (Some(own), Some(all))
            }
            false => (None, None),
        };
        let graph_driver = match self.parts.images.rootfs(&record.id).await {
            Ok(rootfs) => driver_data(&rootfs),
            // It is on its way out.
            Err(skep_images::Error::NoSuchRootfs(_)) => {
                DriverData { data: None, name: DRIVER.to_owned() }
            }
            Err(error) => return Err(images(error)),
        };
        let keeps_log =
            matches!(record.host_config.log_config.kind.as_str(), "json-file" | "local");
        Ok(ContainerInspect {
            created: moment(Some(record.created)),
            path: words.next().unwrap_or_default(),
            args: words.collect(),
            state: json::ContainerState {
                status: word(state.phase, paused).to_owned(),
                running: alive,
                paused,
                restarting: state.phase == Phase::Restarting,
                oom_killed: state.oom_killed,
                dead: false,
                pid,
                exit_code: state.exit_code,
                error: state.error.clone(),
                started_at: moment(state.started_at),
                finished_at: moment(state.finished_at),
                health: entry.health().as_deref().map(health_of),
            },
            image: record.image.clone(),
            resolv_conf_path: etc.resolv_conf.display().to_string(),
            hostname_path: etc.hostname.display().to_string(),
            hosts_path: etc.hosts.display().to_string(),
            log_path: match keeps_log {
                true => self.records.log(&record.id).display().to_string(),
                false => String::new(),
            },
            name: format!("/{}", record.name),
            restart_count: state.restart_count,
            driver: DRIVER.to_owned(),
            graph_driver,
            platform: "linux".to_owned(),
            app_armor_profile: spec::apparmor(&record.host_config).unwrap_or_default(),
            size_rw,
            size_root_fs,
            mounts: self.mount_points(&record.mounts),
            network_settings,
            id: record.id,
            host_config: record.host_config,
            config: record.config,
            ..ContainerInspect::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_shown_bound_and_unbound() {
        let binding = PortBinding { host_ip: "0.0.0.0".to_owned(), host_port: "8080".to_owned() };
        let all =
            Ports::from([("80/tcp".to_owned(), Some(vec![binding])), ("53/udp".to_owned(), None)]);
        let shown = ports(&all);
        assert_eq!((shown[0].private_port, shown[0].public_port), (53, 0));
        assert_eq!((shown[1].private_port, shown[1].public_port), (80, 8080));
    }

    #[test]
    fn a_command_is_one_line() {
        let words = ["sh", "-c", "sleep 1"].map(str::to_owned);
        assert_eq!(command(&words), "sh -c 'sleep 1'");
    }
}
