//! Takes containers away, with what is theirs alone.

use std::sync::Arc;

use skep_docker_api::ApiError;
use skep_docker_api::json::RemoveOptions;
use skep_engine::Signal;

use crate::containers::{Containers, Result, images, runtime};
use crate::entry::Entry;
use crate::events;
use crate::mounts::Mount;
use crate::record::{Phase, Record};

/// How often a forced removal ends a container: somebody, the daemon at its start too, may start it
/// again before it is taken away.
const ENDS_MAX: u32 = 5;

impl Containers {
    pub async fn remove(&self, given: &str, options: RemoveOptions) -> Result<()> {
        if options.link {
            return self.remove_link(given).await;
        }
        let entry = self.find(given)?;
        // Cleared below, by us.
        let _spared = entry.spare();
        let mut ends_left = if options.force { ENDS_MAX } else { 0 };
        loop {
            if entry.with(Record::is_alive) {
                if ends_left == 0 {
                    return Err(self.runs(&entry).await);
                }
                ends_left -= 1;
                self.end(&entry).await?;
            }
            match self.clear(&entry, options.volumes).await {
                Err(_) if options.force && entry.with(Record::is_alive) => {}
                done => return done,
            }
        }
    }

    async fn runs(&self, entry: &Entry) -> ApiError {
        let paused = match self.parts.runtime.get(&entry.id).await {
            Ok(run) => run.state().await.is_ok_and(|it| it.status == skep_engine::Status::Paused),
            Err(_) => false,
        };
        let (name, phase) = entry.with(|it| (it.name.clone(), it.state.phase));
        let why = match phase {
            Phase::Restarting => {
                "container is restarting: stop the container before removing or force remove"
            }
            _ if paused => "container is paused and must be unpaused first",
            _ => "container is running: stop the container before removing or force remove",
        };
        ApiError::conflict(format!("cannot remove container \"/{name}\": {why}"))
    }

    /// Kills it and waits until that is noted.
    async fn end(&self, entry: &Arc<Entry>) -> Result<()> {
        let mut seen = entry.seen.subscribe();
        {
            let _change = entry.change.lock().await;
            entry.alter(|it| {
                it.state.stopped_by_hand = true;
                if it.state.phase == Phase::Restarting {
                    it.state.phase = Phase::Exited;
                }
            });
            if entry.with(|it| it.state.phase == Phase::Exited) {
                entry.halt.notify_waiters();
                entry.seen.send_modify(|seen| seen.alive = false);
            } else if let Ok(run) = self.parts.runtime.get(&entry.id).await {
                match run.kill(Signal::KILL).await {
                    Ok(()) | Err(skep_engine::Error::NotRunning(_)) => {}
                    Err(error) => return Err(runtime(error)),
                }
            }
        }
        let gone = seen.wait_for(|seen| !seen.alive);
        match tokio::time::timeout(skep_engine::defaults::KILL_TIMEOUT, gone).await {
            Ok(_) => Ok(()),
            Err(_) => {
                let name = entry.with(|it| it.name.clone());
                Err(ApiError::system(format!(
                    "cannot remove container \"/{name}\": could not kill container: tried to kill container, but did not receive an exit event"
                )))
            }
        }
    }

    /// Removes all of a container that does not run. A removal that is cut short goes on when the
    /// daemon starts again.
    pub(crate) async fn clear(&self, entry: &Arc<Entry>, volumes: bool) -> Result<()> {
        let _change = entry.change.lock().await;
        if entry.seen.borrow().removed {
            return Ok(());
        }
        if entry.with(Record::is_alive) {
            return Err(self.runs(entry).await);
        }
        entry.alter(|it| {
            it.state.phase = Phase::Removing;
            it.state.removes_volumes = volumes;
        });
        self.save(entry, false).await?;
        let record = entry.record();
        self.parts.networks.close_sandbox(&record.id).await.map_err(ApiError::from)?;
        if let Ok(run) = self.parts.runtime.get(&record.id).await {
            run.delete().await.map_err(runtime)?;
        }
        self.parts.images.remove_rootfs(&record.id).await.map_err(images)?;
        if volumes {
            for name in record.mounts.iter().filter_map(Mount::anonymous) {
                // Taken over by another container: the last one takes it away.
                if self.users_of(name).iter().any(|id| *id != record.id) {
                    continue;
                }
                self.parts
                    .volumes
                    .remove(name)
                    .await
                    .map_err(|error| ApiError::system(skep_types::error_chain(&error)))?;
                self.parts.events.publish("volume", "destroy", name, Default::default());
            }
        }
        self.records.remove(&record.id)?;
        {
            let mut known = self.known();
            known.entries.remove(&record.id);
            known.names.remove(&record.name);
        }
        drop(entry.take_pending());
        entry.seen.send_modify(|seen| {
            seen.alive = false;
            seen.removed = true;
        });
        events::tell(&self.parts.events, &record, "destroy", &[]);
        Ok(())
    }

    /// The containers that use a volume.
    pub(crate) fn users_of(&self, volume: &str) -> Vec<String> {
        let uses = |record: &Record| record.volumes().any(|name| name == volume);
        self.records().into_iter().filter(uses).map(|record| record.id).collect()
    }

    /// Removes those that do not run and that `wanted` picks; their ids.
    pub async fn prune(&self, wanted: impl Fn(&Record) -> bool) -> Vec<String> {
        let mut pruned = Vec::new();
        for entry in self.all() {
            if entry.with(|record| record.is_alive() || !wanted(record)) {
                continue;
            }
            match self.clear(&entry, false).await {
                Ok(()) => pruned.push(entry.id.clone()),
                Err(error) => tracing::warn!(container = entry.id, %error, "not pruned"),
            }
        }
        pruned
    }
}
