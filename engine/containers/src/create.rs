//! Makes containers: all is checked, then remembered; no process runs yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use skep_docker_api::ApiError;
use skep_docker_api::json::{ContainerCreateRequest, ContainerCreateResponse, Map};
use time::OffsetDateTime;

use crate::containers::{Containers, Result, blocking, images};
use crate::entry::Entry;
use crate::mounts::{self, Source};
use crate::record::{Phase, Record, State};
use crate::volumes::Volume;
use crate::{etc, events, merge, names, network, spec};

/// Docker's label of a volume whose name was made up.
const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

pub(crate) fn random_id() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

impl Containers {
    /// Makes a container; on failure nothing of it is left.
    pub async fn create(
        &self,
        name: Option<&str>,
        request: ContainerCreateRequest,
    ) -> Result<ContainerCreateResponse> {
        let given = name.filter(|it| !it.is_empty()).map(names::check).transpose()?;
        let record = self.plan(request).await?;
        let fitted = self.parts.runtime.fit(&mut spec::resources(&record.host_config));
        let warnings = fitted.map_err(crate::containers::runtime)?;
        let id = record.id.clone();
        let name = self.take_name(given, &id)?;
        let made = self.make(Record { name: name.clone(), ..record }).await;
        if made.is_err() {
            self.known().names.remove(&name);
        }
        made?;
        Ok(ContainerCreateResponse { id, warnings })
    }

    /// Everything that can be refused, without a change.
    async fn plan(&self, request: ContainerCreateRequest) -> Result<Record> {
        let ContainerCreateRequest { mut config, host_config: mut host, networking_config } =
            request;
        if config.image.is_empty() {
            return Err(ApiError::invalid("no command specified"));
        }
        let image = match self.parts.images.inspect(&config.image).await {
            Ok(image) => image,
            Err(skep_images::Error::NoSuchImage(given)) => {
                let meant = match given.parse::<skep_images::Reference>() {
                    Ok(reference) => reference.tag_or_latest().familiar(),
                    Err(_) => given,
                };
                return Err(ApiError::not_found(format!("No such image: {meant}")));
            }
            Err(error) => return Err(ApiError::invalid(skep_types::error_chain(&error))),
        };
        let id = random_id();
        merge::check(&config, &host)?;
        merge::image(&mut config, &image.config)?;
        self.parts.defaults.get().fill(&mut host);
        merge::host(&mut host, self.remapped())?;
        if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
            return Err(ApiError::invalid(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                config.working_dir
            )));
        }
        etc::check(host.extra_hosts.as_deref().unwrap_or_default()).map_err(ApiError::invalid)?;
        if !config.stop_signal.is_empty() {
            spec::signal(&config.stop_signal)?;
        }
        let mut others = Vec::new();
        for word in host.volumes_from.iter().flatten() {
            let (container, mode) = mounts::from_word(word)?;
            others.push((self.other(container)?.with(|it| it.mounts.clone()), mode));
        }
        let from: Vec<_> =
            others.iter().map(|(mounts, mode)| mounts::From { mounts, mode }).collect();
        let mut planned = mounts::plan(&config, &host, &from)?;
        for mount in &mut planned {
            match &mut mount.source {
                Source::Volume { name, .. } if name.is_empty() => *name = random_id(),
                Source::Bind { path, create: false } if !Path::new(path).exists() => {
                    return Err(ApiError::invalid(format!(
                        "invalid mount config for type \"bind\": bind source path does not exist: {path}"
                    )));
                }
                _ => {}
            }
        }
        self.resolve_modes(&mut host)?;
        let networks = network::wished(&host, &config, networking_config.unwrap_or_default())?;
        for (network, settings) in &networks {
            let checked = self.parts.networks.check(network, settings).await;
            checked.map_err(ApiError::from).map_err(of_the_request)?;
        }
        if config.hostname.is_empty() {
            config.hostname = match host.network_mode.as_str() {
                "host" => network::host_name(),
                _ => id[..12].to_owned(),
            };
        }
        let record = Record {
            id,
            name: String::new(),
            created: OffsetDateTime::now_utc(),
            image: image.id.to_string(),
            config,
            host_config: host,
            networks,
            mounts: planned,
            state: State::default(),
        };
        spec::check(&record, self.parts.defaults.get())?;
        Ok(record)
    }

    fn take_name(&self, given: Option<String>, id: &str) -> Result<String> {
        let mut known = self.known();
        let name = given.unwrap_or_else(|| names::make_up(|it| known.names.contains_key(it)));
        if let Some(owner) = known.names.get(&name) {
            return Err(taken(&name, owner));
        }
        known.names.insert(name.clone(), id.to_owned());
        Ok(name)
    }

    async fn make(&self, record: Record) -> Result<()> {
        let id = record.id.clone();
        self.records.begin(&id)?;
        let made = async {
            // Both wait for the disk, which takes them in one.
            let (records, one) = (self.records.clone(), record.clone());
            let (rootfs, prepared) = tokio::join!(
                self.parts.images.create_rootfs(&id, &record.image),
                blocking(move || records.prepare(&one, true)),
            );
            rootfs.map_err(images)?;
            prepared?;
            self.make_volumes(&record).await?;
            let (records, id) = (self.records.clone(), id.clone());
            blocking(move || records.settle(&id, true)).await
        };
        if let Err(error) = made.await {
            self.unmake(&record).await;
            return Err(error);
        }
        let entry = Arc::new(Entry::new(record));
        self.known().entries.insert(id, Arc::clone(&entry));
        entry.with(|record| events::tell(&self.parts.events, record, "create", &[]));
        Ok(())
    }

    async fn unmake(&self, record: &Record) {
        let volumes: Vec<&str> =
            record.mounts.iter().filter_map(mounts::Mount::anonymous).collect();
        self.take_away(&record.id, &volumes).await;
    }

    /// What was made of a container that is none, with these volumes where no other has them.
    pub(crate) async fn take_away(&self, id: &str, volumes: &[&str]) {
        let mut left = Vec::new();
        if let Err(error) = self.parts.images.remove_rootfs(id).await {
            left.push(error.to_string());
        }
        for name in volumes {
            if !self.users_of(name).is_empty() {
                continue;
            }
            if let Err(error) = self.parts.volumes.remove(name).await {
                left.push(error.to_string());
            }
        }
        if left.is_empty()
            && let Err(error) = self.records.remove(id)
        {
            left.push(error.to_string());
        }
        if !left.is_empty() {
            let left = left.join("; ");
            tracing::warn!(container = id, left, "what a failed creation left is not gone");
        }
    }

    /// Makes the volumes that are not there, and fills the empty ones from the image.
    async fn make_volumes(&self, record: &Record) -> Result<()> {
        let system = |error: crate::VolumeError| match &error {
            crate::VolumeError::Name(_) => ApiError::invalid(error.to_string()),
            _ => ApiError::system(skep_types::error_chain(&error)),
        };
        for mount in &record.mounts {
            let Source::Volume { name, labels, no_copy, anonymous, .. } = &mount.source else {
                continue;
            };
            let mut labels = labels.clone();
            if *anonymous {
                labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
            }
            let volume = Volume {
                name: name.clone(),
                labels,
                anonymous: *anonymous,
                created_at: OffsetDateTime::now_utc(),
            };
            let is_new = self.parts.volumes.inspect(name).is_err();
            let path = self.parts.volumes.ensure(volume).await.map_err(system)?;
            if is_new {
                let attributes = Map::from([("driver".to_owned(), "local".to_owned())]);
                self.parts.events.publish("volume", "create", name, attributes);
            }
            let read = std::fs::read_dir(&path);
            let read = read.map_err(|error| {
                ApiError::system(format!("failed to read {}: {error}", path.display()))
            });
            if *no_copy || read?.next().is_some() {
                continue;
            }
            let root = self.parts.images.open_rootfs(&record.id).await.map_err(images)?;
            if let Some(inside) = within(root.path(), &mount.target) {
                self.parts.volumes.fill(name, &inside).await.map_err(system)?;
            }
        }
        Ok(())
    }

    /// Another container that is named in a request.
    fn other(&self, given: &str) -> Result<Arc<Entry>> {
        self.find(given).map_err(of_the_request)
    }

    /// `container:NAME` to the id that it means now.
    fn resolve_modes(&self, host: &mut skep_docker_api::json::HostConfig) -> Result<()> {
        for mode in [&mut host.network_mode, &mut host.ipc_mode, &mut host.pid_mode] {
            if let Some(other) = mode.strip_prefix("container:") {
                *mode = format!("container:{}", self.other(other)?.id);
            }
        }
        let modes = [
            (&host.pid_mode, &["", "host"][..], "PID"),
            (&host.ipc_mode, &["private", "shareable", "host", "none"][..], "IPC"),
            (&host.uts_mode, &["", "host"][..], "UTS"),
            (&host.cgroupns_mode, &["private", "host"][..], "cgroup namespace"),
        ];
        for (mode, known, what) in modes {
            if !known.contains(&mode.as_str()) && !mode.starts_with("container:") {
                return Err(ApiError::invalid(format!("invalid {what} mode: {mode}")));
            }
        }
        Ok(())
    }

    /// Gives a container another name.
    pub async fn rename(&self, given: &str, new: &str) -> Result<()> {
        let entry = self.find(given)?;
        if new.is_empty() {
            return Err(ApiError::invalid("Neither old nor new names may be empty"));
        }
        let new = names::check(new)?;
        let _change = entry.change.lock().await;
        let old = entry.with(|record| record.name.clone());
        if old == new {
            return Err(ApiError::invalid(
                "Renaming a container with the same name as its current name",
            ));
        }
        {
            let mut known = self.known();
            if let Some(owner) = known.names.get(&new) {
                return Err(taken(&new, owner));
            }
            known.names.insert(new.clone(), entry.id.clone());
        }
        entry.alter(|record| record.name.clone_from(&new));
        if let Err(error) = self.save(&entry, true).await {
            entry.alter(|record| record.name = old);
            self.known().names.remove(&new);
            return Err(error);
        }
        self.known().names.remove(&old);
        self.parts.networks.rename(&entry.id, &new).await.map_err(ApiError::from)?;
        let more = [("oldName", format!("/{old}"))];
        entry.with(|record| events::tell(&self.parts.events, record, "rename", &more));
        Ok(())
    }

    /// Changes limits and the restart policy.
    pub async fn update(
        &self,
        given: &str,
        request: &skep_docker_api::json::ContainerUpdateRequest,
    ) -> Result<()> {
        let entry = self.find(given)?;
        let _change = entry.change.lock().await;
        let mut next = entry.record();
        if next.host_config.auto_remove
            && !matches!(request.restart_policy.name.as_str(), "" | "no")
        {
            return Err(ApiError::invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        let both = next.host_config.memory_swap;
        if both > 0 && request.memory > both && request.memory_swap == 0 {
            return Err(ApiError::conflict(
                "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time",
            ));
        }
        spec::update(&mut next.host_config, request);
        merge::host(&mut next.host_config, self.remapped())?;
        spec::check(&next, self.parts.defaults.get())?;
        if next.state.phase == Phase::Running {
            let run = self.run_of(&entry).await?;
            let limits = spec::resources(&next.host_config);
            run.update(&limits).await.map_err(crate::containers::runtime)?;
        }
        let old = entry.alter(|it| std::mem::replace(&mut it.host_config, next.host_config));
        if let Err(error) = self.save(&entry, true).await {
            entry.alter(|it| it.host_config = old);
            return Err(error);
        }
        entry.with(|record| events::tell(&self.parts.events, record, "update", &[]));
        Ok(())
    }
}

/// What is named in a request and not there is a fault of the request: clients take "not found" to be
/// said of the image, and pull it.
fn of_the_request(error: ApiError) -> ApiError {
    match error.kind {
        skep_docker_api::Kind::NotFound => ApiError::invalid(error.message),
        _ => error,
    }
}

fn taken(name: &str, owner: &str) -> ApiError {
    ApiError::conflict(format!(
        "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". You have to remove (or rename) that container to be able to reuse that name."
    ))
}

/// A directory of the root file system, if links do not lead out of it.
fn within(root: &Path, target: &str) -> Option<PathBuf> {
    let path = root.join(target.trim_start_matches('/')).canonicalize().ok()?;
    path.starts_with(root.canonicalize().ok()?).then_some(path)
}
