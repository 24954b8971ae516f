//! The one place that knows the containers that are made by hand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_bridge::HostNetworks;
use skep_docker_api::json::HostConfig;
use skep_docker_api::{ApiError, Events};
use skep_engine::{Container, Runtime};
use skep_idmap::IdMaps;
use skep_images::Store;
use skep_types::error_chain;

use crate::defaults::{Defaults, Shared};
use crate::entry::Entry;
use crate::merge::Remapped;
use crate::record::{Phase, Record, Records};
use crate::volumes::Volumes;

pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

/// Where the parts are.
pub struct Parts {
    pub runtime: Runtime,
    pub images: Store,
    pub volumes: Volumes,
    pub networks: Arc<HostNetworks>,
    pub events: Events,
    pub defaults: Shared<Defaults>,
    /// One directory for each container below it.
    pub dir: PathBuf,
}

/// See the module. Kept in an [`Arc`], for what it watches goes on by itself.
pub struct Containers {
    pub(crate) parts: Parts,
    pub(crate) records: Records,
    pub(crate) known: Mutex<Known>,
}

#[derive(Default)]
pub(crate) struct Known {
    pub entries: BTreeMap<String, Arc<Entry>>,
    /// To ids. A name is taken before its container is there.
    pub names: BTreeMap<String, String>,
}

pub(crate) fn runtime(error: skep_engine::Error) -> ApiError {
    match error {
        skep_engine::Error::NotRunning(id) => {
            ApiError::conflict(format!("container {id} is not running"))
        }
        skep_engine::Error::Invalid(why) => ApiError::invalid(why),
        skep_engine::Error::Unsupported(why) => {
            ApiError::new(skep_docker_api::Kind::NotImplemented, why)
        }
        error => ApiError::system(error_chain(&error)),
    }
}

/// Runs what waits for the disk outside of the threads that serve calls.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

pub(crate) fn images(error: skep_images::Error) -> ApiError {
    ApiError::system(error_chain(&error))
}

impl Containers {
    pub(crate) fn remapped(&self) -> Remapped {
        match self.parts.runtime.id_maps() {
            Some(_) => Remapped::Yes,
            None => Remapped::No,
        }
    }

    /// The maps of a container's user namespace; None where it is the host's.
    pub(crate) fn id_maps(&self, host: &HostConfig) -> Option<IdMaps> {
        self.parts.runtime.id_maps().filter(|_| host.userns_mode != "host").cloned()
    }

    /// Containers' root as the host counts, who gets what is made for them.
    pub(crate) fn root_outside(&self) -> (u32, u32) {
        self.parts.runtime.id_maps().map_or((0, 0), IdMaps::root)
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        // Each change of it is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.known().entries.values().cloned().collect()
    }

    /// All records as they are now.
    pub fn records(&self) -> Vec<Record> {
        self.all().iter().map(|entry| entry.record()).collect()
    }

    pub fn events(&self) -> &Events {
        &self.parts.events
    }

    /// Where a container's files stand.
    pub fn place(&self, id: &str) -> PathBuf {
        self.records.place(id)
    }

    /// A full id, else a name, else the start of an id that only one has.
    pub(crate) fn find(&self, given: &str) -> Result<Arc<Entry>> {
        let known = self.known();
        if let Some(entry) = known.entries.get(given) {
            return Ok(Arc::clone(entry));
        }
        let bare = given.strip_prefix('/').unwrap_or(given);
        if let Some(entry) = known.names.get(bare).and_then(|id| known.entries.get(id)) {
            return Ok(Arc::clone(entry));
        }
        let mut starting = known
            .entries
            .range(given.to_owned()..)
            .take_while(|(id, _)| !given.is_empty() && id.starts_with(given));
        match (starting.next(), starting.next()) {
            (Some((_, entry)), None) => Ok(Arc::clone(entry)),
            (Some(_), Some(_)) => {
                Err(ApiError::invalid(format!("multiple IDs found with provided prefix: {given}")))
            }
            (None, _) => Err(ApiError::not_found(format!("No such container: {given}"))),
        }
    }

    /// The record of the one container that `given` means.
    pub fn get(&self, given: &str) -> Result<Record> {
        Ok(self.find(given)?.record())
    }

    /// Writes down what is known of a container now; `durable` as in [`Records::put`].
    pub(crate) async fn save(&self, entry: &Entry, durable: bool) -> Result<()> {
        // The record is looked at under the lock: a later one is not written over by an older.
        let _saving = entry.saving.lock().await;
        let (records, record) = (self.records.clone(), entry.record());
        blocking(move || records.put(&record, durable)).await
    }

    /// The run of a container, if it runs.
    pub(crate) async fn run_of(&self, entry: &Entry) -> Result<Container> {
        let name = entry.with(|record| record.id.clone());
        let stopped = || ApiError::conflict(format!("container {name} is not running"));
        if entry.with(|record| record.state.phase == Phase::Restarting) {
            return Err(ApiError::conflict(format!(
                "Container {name} is restarting, wait until the container is running"
            )));
        }
        if entry.with(|record| record.state.phase != Phase::Running) {
            return Err(stopped());
        }
        self.parts.runtime.get(&entry.id).await.map_err(|_| stopped())
    }

    /// The run of the container that `given` means.
    pub async fn running(&self, given: &str) -> Result<Container> {
        let entry = self.find(given)?;
        self.run_of(&entry).await
    }
}
