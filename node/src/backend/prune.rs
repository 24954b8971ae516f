//! What nobody uses any more, taken away at once: images, volumes, networks. Containers are pruned where they are kept.
//!
//! Invariant: what is in use when it is looked at stays; what could not be removed is left and said in the log, and the rest goes on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use skep_docker_api::filters::PruneFilter;
use skep_docker_api::json::{
    ImagesPruneResponse, Map, NetworksPruneResponse, VolumesPruneResponse,
};
use skep_docker_api::{ApiError, Filters, Kind};
use skep_images::{Digest, Image, PruneScope, Pruned, Removed};
use skep_manager::control::Request;
use skep_types::Timestamp as Moment;
use time::OffsetDateTime;

use super::disk_usage::tree_bytes;
use super::images::{deleted_item, moment};
use super::volumes::ANONYMOUS_LABEL;
use super::{Answer, DaemonBackend, engine_error};

/// Prunes under way: of each kind one at a time. Containers and networks count as one, as in Docker.
#[derive(Default)]
pub(super) struct Prunes {
    pub containers: tokio::sync::Mutex<()>,
    pub(super) images: tokio::sync::Mutex<()>,
    volumes: tokio::sync::Mutex<()>,
}

/// As long as the result lives, no other of the kind runs.
pub(super) fn alone(kind: &tokio::sync::Mutex<()>) -> Answer<tokio::sync::MutexGuard<'_, ()>> {
    kind.try_lock().map_err(|_| ApiError::conflict("a prune operation is already running"))
}

fn now() -> Moment {
    moment(OffsetDateTime::now_utc())
}

/// Go's words for true and false.
fn truth(name: &str, text: &str) -> Answer<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(ApiError::invalid(format!(
            "invalid filter '{name}': strconv.ParseBool: parsing {text:?}: invalid syntax"
        ))),
    }
}

/// Whether volumes with names of their own are meant too; `filters` then have what is left to be matched.
fn all_volumes(filters: &mut Filters) -> Answer<bool> {
    let asked = filters.0.remove("all").unwrap_or_default();
    let mut values = asked.iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(false),
        (Some(text), None) => truth("all", text),
        (Some(_), Some(_)) => {
            let asked: Vec<&str> = asked.iter().map(String::as_str).collect();
            Err(ApiError::invalid(format!(
                "invalid filter 'all=[{}]': only one value is expected",
                asked.join(" ")
            )))
        }
    }
}

impl DaemonBackend {
    fn tell_prune(&self, kind: &str, reclaimed: u64) {
        let attributes = Map::from([("reclaimed".to_owned(), reclaimed.to_string())]);
        self.events.publish(kind, "prune", "", attributes);
    }

    pub(super) fn tell_images_gone(&self, pruned: &Pruned, labels: &BTreeMap<Digest, Map>) {
        let events = self.image_events();
        // An image's names go before it, and its layers' ids are nobody's labels.
        let mut steps = Vec::new();
        for removed in &pruned.removed {
            steps.push(removed.clone());
            if let Removed::Deleted(id) = removed {
                if let Some(labels) = labels.get(id) {
                    events.tell_removed(*id, labels, &steps);
                }
                steps.clear();
            }
        }
    }

    /// Without `dangling=false`, those that no tag names; with it, all that no container is made from.
    pub(super) async fn prune_images(&self, filters: Filters) -> Answer<ImagesPruneResponse> {
        let filter = PruneFilter::new(&filters, &["dangling", "label", "label!", "until"], now())?;
        let _alone = alone(&self.prunes.images)?;
        let dangling = filters.truth("dangling")?.unwrap_or(true);
        let scope = if dangling { PruneScope::Dangling } else { PruneScope::Unused };
        let store = self.engine.images();
        let before = store.list().await.map_err(engine_error::image)?;
        let labels: BTreeMap<Digest, Map> =
            before.into_iter().map(|image| (image.id, image.config.labels)).collect();
        let used = self.image_uses().await?.into_iter().map(|usage| usage.image).collect();
        let wanted =
            move |image: &Image| filter.matches(&image.config.labels, image.created.map(moment));
        let pruned = store.prune(scope, used, wanted).await.map_err(engine_error::image)?;
        self.tell_images_gone(&pruned, &labels);
        self.tell_prune("image", pruned.bytes);
        let deleted: Vec<_> = pruned.removed.into_iter().map(deleted_item).collect();
        let images_deleted = (!deleted.is_empty()).then_some(deleted);
        Ok(ImagesPruneResponse { images_deleted, space_reclaimed: pruned.bytes })
    }

    /// Those whose names were made up; with `all=true` every one that no container has.
    pub(super) async fn prune_volumes(&self, mut filters: Filters) -> Answer<VolumesPruneResponse> {
        let all = all_volumes(&mut filters)?;
        let filter = PruneFilter::new(&filters, &["label", "label!"], now())?;
        let _alone = alone(&self.prunes.volumes)?;
        let users = self.volume_users().await?;
        let volumes = self.engine.volumes();
        let (mut deleted, mut space_reclaimed) = (Vec::new(), 0);
        for volume in volumes.list().map_err(engine_error::volume)? {
            let meant = all || volume.labels.contains_key(ANONYMOUS_LABEL);
            if !meant || users.contains_key(&volume.name) || !filter.matches(&volume.labels, None) {
                continue;
            }
            let bytes = tree_bytes(volumes.path(&volume.name)).await;
            match self.remove_volume(&volume.name, false).await {
                Ok(()) => {
                    space_reclaimed += bytes.unwrap_or_default();
                    deleted.push(volume.name);
                }
                Err(error) => tracing::warn!(volume = volume.name, %error, "not pruned"),
            }
        }
        self.tell_prune("volume", space_reclaimed);
        Ok(VolumesPruneResponse { volumes_deleted: Some(deleted), space_reclaimed })
    }

    /// Users' networks that nobody is on: the swarm's, where this node manages it, and this host's.
    pub(super) async fn prune_networks(&self, filters: Filters) -> Answer<NetworksPruneResponse> {
        let filter = PruneFilter::new(&filters, &["label", "label!", "until"], now())?;
        let _alone = alone(&self.prunes.containers)?;
        let mut deleted = Vec::new();
        if let Some(view) = self.swarm_view().await? {
            for network in view.networks().iter() {
                let name = &network.spec.annotations.name;
                let labels = &network.spec.annotations.labels;
                // The routing mesh's goes when it is told to.
                if network.spec.ingress || !filter.matches(labels, Some(network.meta.created_at)) {
                    continue;
                }
                match self.execute(Request::RemoveNetwork(network.id)).await {
                    Ok(_) => deleted.push(name.clone()),
                    // One that is in use is refused, which is the rule and no trouble.
                    Err(error) if error.kind == Kind::InvalidParameter => {}
                    Err(error) => tracing::warn!(network = name, %error, "not pruned"),
                }
            }
        }
        let seen = Mutex::new(BTreeMap::new());
        // A network without containers that run may be one that a stopped container starts on.
        let held = self.networks_of_containers().await?;
        let pruned = self.networks.prune(|network| {
            let created = network.created.unix_nanos().and_then(|at| i64::try_from(at).ok());
            let wanted = !held.contains(&network.name)
                && !held.contains(&network.id)
                && filter.matches(&network.labels, created.map(Moment));
            if wanted {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.insert(network.name.clone(), (network.id.clone(), network.driver.clone()));
            }
            wanted
        });
        for name in pruned.await {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((id, driver)) = seen.get(&name) {
                self.tell_network("destroy", id, &name, driver);
            }
            deleted.push(name);
        }
        self.tell_prune("network", 0);
        let networks_deleted = (!deleted.is_empty()).then_some(deleted);
        Ok(NetworksPruneResponse { networks_deleted })
    }
}
