//! `/volumes`: this node's local volumes.

use std::collections::BTreeMap;
use std::path::Path;

use skep_containers::{Volume, VolumeError, Volumes};
use skep_docker_api::filters::VolumeFilter;
use skep_docker_api::json::{self, ContainerListOptions};
use skep_docker_api::{ApiError, Filters, Kind};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Answer, DaemonBackend, engine_error};

/// Docker's mark of a volume whose name was made up.
pub(super) const ANONYMOUS_LABEL: &str = "com.docker.volume.anonymous";

/// The volume whose content a directory is.
pub(super) fn volume_at(volumes: &Volumes, directory: &Path) -> Option<String> {
    let name = directory.parent()?.file_name()?.to_str()?;
    (volumes.path(name) == directory).then(|| name.to_owned())
}

/// 64 hexadecimal digits, as Docker makes them up.
fn made_up() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl DaemonBackend {
    fn show_volume(&self, volume: Volume) -> json::Volume {
        json::Volume {
            created_at: volume.created_at.format(&Rfc3339).unwrap_or_default(),
            driver: "local".to_owned(),
            mountpoint: self.engine.volumes().path(&volume.name).display().to_string(),
            labels: Some(volume.labels),
            name: volume.name,
            scope: "local".to_owned(),
            ..Default::default()
        }
    }

    /// The containers, running or not, of each volume that has any.
    pub(super) async fn volume_users(&self) -> Answer<BTreeMap<String, Vec<String>>> {
        let all = ContainerListOptions { all: true, ..Default::default() };
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for container in self.list_containers(all).await? {
            for mount in container.mounts.into_iter().filter(|mount| mount.kind == "volume") {
                users.entry(mount.name).or_default().push(container.id.clone());
            }
        }
        for record in self.containers.records() {
            for name in record.volumes() {
                users.entry(name.to_owned()).or_default().push(record.id.clone());
            }
        }
        // One by hand stands in both.
        for users in users.values_mut() {
            users.sort();
            users.dedup();
        }
        Ok(users)
    }

    fn tell_volume(&self, action: &str, name: &str) {
        let attributes = json::Map::from([("driver".to_owned(), "local".to_owned())]);
        self.events.publish("volume", action, name, attributes);
    }

    pub(super) async fn list_volumes(&self, filters: Filters) -> Answer<json::VolumeList> {
        let filter = VolumeFilter::new(&filters)?;
        let users = self.volume_users().await?;
        let volumes = self.engine.volumes().list().map_err(engine_error::volume)?;
        let volumes = volumes.into_iter().map(|volume| self.show_volume(volume));
        let shown =
            volumes.filter(|volume| filter.matches(volume, users.contains_key(&volume.name)));
        Ok(json::VolumeList { volumes: shown.collect(), warnings: None })
    }

    pub(super) fn inspect_volume(&self, name: &str) -> Answer<json::Volume> {
        let volume = self.engine.volumes().inspect(name).map_err(engine_error::volume)?;
        Ok(self.show_volume(volume))
    }

    /// One that is there already is given back as it is, as Docker does.
    pub(super) async fn create_volume(
        &self,
        request: json::VolumeCreateRequest,
    ) -> Answer<json::Volume> {
        if !matches!(request.driver.as_str(), "" | "local") {
            let driver = &request.driver;
            return Err(ApiError::not_found(format!(
                "error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            )));
        }
        if let Some(option) = request.driver_opts.keys().next() {
            return Err(ApiError::invalid(format!(
                "volume option {option:?} is not supported yet"
            )));
        }
        let mut labels = request.labels;
        let name = match request.name.as_str() {
            "" => {
                labels.insert(ANONYMOUS_LABEL.to_owned(), String::new());
                made_up()
            }
            name => name.to_owned(),
        };
        // `anonymous` is for those that go with their container; this one is its maker's to remove.
        let created_at = OffsetDateTime::now_utc();
        let volume = Volume { name: name.clone(), labels, anonymous: false, created_at };
        let is_new = matches!(self.engine.volumes().inspect(&name), Err(VolumeError::Absent(_)));
        self.engine.volumes().ensure(volume).await.map_err(engine_error::volume)?;
        if is_new {
            self.tell_volume("create", &name);
        }
        self.inspect_volume(&name)
    }

    /// Only a cluster's volumes change, and there are none. The words are Docker's.
    pub(super) async fn update_volume(&self, name: &str) -> Answer<()> {
        match self.swarm_header().await.as_str() {
            "active/manager" => Err(ApiError::not_found(format!("volume {name} not found"))),
            _ => Err(ApiError::new(
                Kind::Unavailable,
                "volume update only valid for cluster volumes, but swarm is unavailable",
            )),
        }
    }

    pub(super) async fn remove_volume(&self, name: &str, force: bool) -> Answer<()> {
        match self.engine.volumes().inspect(name) {
            Ok(_) => {}
            Err(VolumeError::Absent(_)) if force => return Ok(()),
            Err(error) => return Err(engine_error::volume(error)),
        }
        if let Some(users) = self.volume_users().await?.get(name) {
            return Err(ApiError::conflict(format!(
                "remove {name}: volume is in use - [{}]",
                users.join(", ")
            )));
        }
        self.engine.volumes().remove(name).await.map_err(engine_error::volume)?;
        self.tell_volume("destroy", name);
        Ok(())
    }
}
