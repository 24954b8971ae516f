//! Takes up what the last daemon left, whenever it ended: what runs is watched on, what ended
//! meanwhile is noted, what is to run again is started, and what was not finished is taken away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use skep_docker_api::ApiError;
use skep_engine::{Container, ContainerState, Status};
use time::OffsetDateTime;

use crate::containers::{Containers, Parts, Result, runtime};
use crate::entry::Entry;
use crate::mounts::Mount;
use crate::record::{Phase, Record, Records};
use crate::{links, policy};

/// How long a container that is started again waits for those that it needs (Docker's, for links).
const NEEDED_WITHIN: Duration = Duration::from_secs(5);

impl Containers {
    /// See the module.
    ///
    /// # Errors
    /// The records or the networks cannot be read.
    pub async fn open(parts: Parts) -> Result<Arc<Containers>> {
        let records = Records::open(parts.dir.clone())?;
        let containers =
            Arc::new(Containers { parts, records: records.clone(), known: Mutex::default() });
        let mut running = BTreeMap::new();
        let found = records.read()?;
        for record in found.records {
            let id = record.id.clone();
            if let Ok(run) = containers.parts.runtime.get(&id).await {
                let state = run.state().await.map_err(runtime)?;
                if matches!(state.status, Status::Running | Status::Paused) {
                    running.insert(id.clone(), (run, state));
                }
            }
            let mut known = containers.known();
            known.names.insert(record.name.clone(), id.clone());
            known.entries.insert(id, Arc::new(Entry::new(record)));
        }
        for (id, plan) in found.unfinished {
            let volumes = plan.iter().flat_map(|it| &it.mounts).filter_map(Mount::anonymous);
            containers.take_away(&id, &volumes.collect::<Vec<_>>()).await;
        }
        let ids: BTreeSet<String> = running.keys().cloned().collect();
        containers.parts.networks.restore(&ids).await.map_err(ApiError::from)?;
        let mut again = BTreeMap::new();
        for entry in containers.all() {
            let taken = match running.remove(&entry.id) {
                Some((run, state)) => {
                    containers.take_up_running(&entry, run, &state).await.map(|()| false)
                }
                None => containers.take_up_ended(&entry).await,
            };
            match taken {
                Ok(true) => drop(again.insert(entry.id.clone(), entry)),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(container = entry.id, %error, "a container could not be taken up");
                }
            }
        }
        containers.start_again(again);
        Ok(containers)
    }

    async fn take_up_running(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        run: Container,
        state: &ContainerState,
    ) -> Result<()> {
        let paused_for_commit = entry.with(|it| it.state.paused_for_commit);
        // Whatever goes wrong here, it runs, and its end is to be seen.
        if paused_for_commit
            && state.status == Status::Paused
            && let Err(error) = run.unpause().await
        {
            tracing::warn!(container = entry.id, %error, "a container stays paused after a commit");
        }
        if let Err(error) = self.settle_networks(entry).await {
            tracing::error!(container = entry.id, %error, "a container's networks are not whole");
        }
        let begun = entry.alter(|it| {
            it.state.paused_for_commit = false;
            // It was started, and the daemon ended before it could note it.
            let begun = it.state.phase != Phase::Running;
            if begun {
                it.state.begin(state.started_at.unwrap_or(state.created_at));
            }
            begun
        });
        if begun || paused_for_commit {
            self.save(entry, true).await?;
        }
        entry.seen.send_modify(|seen| seen.alive = true);
        self.watch(entry, run);
        Ok(())
    }

    /// Whether it is to be started again.
    async fn take_up_ended(self: &Arc<Self>, entry: &Arc<Entry>) -> Result<bool> {
        let record = entry.record();
        if record.state.phase == Phase::Removing {
            self.clear(entry, record.state.removes_volumes).await?;
            return Ok(false);
        }
        // It ended while nobody looked, was cut off half-way, or the machine was started anew.
        let left = self.parts.runtime.get(&entry.id).await.ok();
        let seen = match &left {
            Some(run) => Some(run.state().await.map_err(runtime)?),
            None => None,
        };
        if entry.alter(|it| note_end(it, seen.as_ref())) {
            self.save(entry, true).await?;
        }
        if let Some(run) = left {
            run.delete().await.map_err(runtime)?;
        }
        entry.seen.send_modify(|seen| {
            seen.alive = false;
            seen.exit_code = entry.with(|it| it.state.exit_code);
        });
        let record = entry.record();
        if record.host_config.auto_remove && record.state.phase != Phase::Created {
            self.clear(entry, true).await?;
            return Ok(false);
        }
        Ok(policy::at_start(&record.host_config.restart_policy, &record.state))
    }

    /// Those that others need first.
    fn start_again(self: &Arc<Self>, again: BTreeMap<String, Arc<Entry>>) {
        for entry in again.values() {
            let needed: Vec<Arc<Entry>> = needs(&entry.record())
                .filter_map(|given| self.find(given).ok())
                .filter(|it| it.id != entry.id && again.contains_key(&it.id))
                .collect();
            let (containers, entry) = (Arc::clone(self), Arc::clone(entry));
            tokio::spawn(async move {
                for other in needed {
                    let mut seen = other.seen.subscribe();
                    // One that does not come in time is missed by the start itself.
                    let alive = seen.wait_for(|seen| seen.alive);
                    let _ = tokio::time::timeout(NEEDED_WITHIN, alive).await;
                }
                if let Err(error) = containers.start_entry(&entry).await {
                    tracing::warn!(container = entry.id, %error, "failed to start a container again");
                }
            });
        }
    }
}

/// The containers without which one cannot be started.
fn needs(record: &Record) -> impl Iterator<Item = &str> {
    let host = &record.host_config;
    let modes = [&host.network_mode, &host.ipc_mode, &host.pid_mode];
    let shared = modes.into_iter().filter_map(|mode| mode.strip_prefix("container:"));
    let linked = host.links.iter().flatten();
    shared.chain(linked.map(|link| links::parts(link).0))
}

/// Whether something was to be noted of a container that does not run (any more).
fn note_end(record: &mut Record, seen: Option<&ContainerState>) -> bool {
    let state = &mut record.state;
    let exit = seen.and_then(|it| it.exit.as_ref());
    let started = seen.and_then(|it| it.started_at);
    if let (Some(exit), Some(started)) = (exit, started)
        && state.finished_at != Some(exit.finished_at)
    {
        state.begin(started);
        state.end(exit.code.into(), exit.finished_at);
        state.oom_killed = exit.oom_killed;
        state.error = exit.error.clone().unwrap_or_default();
        return true;
    }
    match state.phase {
        // Its last end is noted already.
        Phase::Restarting => state.phase = Phase::Exited,
        Phase::Running => {
            let unknown = skep_engine::defaults::EXIT_CODE_UNKNOWN;
            state.end(unknown.into(), OffsetDateTime::now_utc());
        }
        Phase::Created | Phase::Exited | Phase::Removing => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use skep_engine::ExitStatus;

    use super::*;

    fn moment(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
    }

    fn record(phase: Phase) -> Record {
        let mut record = crate::record::tests::record();
        record.state.phase = phase;
        record
    }

    fn ended(code: i32, started: Option<i64>, finished: i64) -> ContainerState {
        ContainerState {
            status: Status::Exited,
            pid: None,
            created_at: moment(0),
            started_at: started.map(moment),
            exit: Some(ExitStatus {
                code,
                signal: None,
                oom_killed: false,
                finished_at: moment(finished),
                error: None,
                log_entries_dropped: 0,
            }),
        }
    }

    #[test]
    fn an_end_that_nobody_saw_is_noted() {
        let mut running = record(Phase::Running);
        assert!(note_end(&mut running, Some(&ended(3, Some(1), 2))));
        assert_eq!((running.state.phase, running.state.exit_code), (Phase::Exited, 3));
        // It was never told that it was started.
        let mut created = record(Phase::Created);
        assert!(note_end(&mut created, Some(&ended(4, Some(1), 2))));
        assert_eq!(created.state.started_at, Some(moment(1)));
        assert_eq!((created.state.phase, created.state.exit_code), (Phase::Exited, 4));
        // Nor was it.
        let mut created = record(Phase::Created);
        assert!(!note_end(&mut created, Some(&ended(127, None, 2))));
        assert_eq!(created.state.phase, Phase::Created);
    }

    #[test]
    fn an_end_that_is_noted_stays_as_it_is() {
        let mut waiting = record(Phase::Restarting);
        waiting.state.end(5, moment(2));
        waiting.state.phase = Phase::Restarting;
        assert!(note_end(&mut waiting, Some(&ended(5, Some(1), 2))));
        assert_eq!((waiting.state.phase, waiting.state.exit_code), (Phase::Exited, 5));
        assert!(!note_end(&mut waiting, Some(&ended(5, Some(1), 2))));
    }

    #[test]
    fn an_end_without_a_witness_has_no_code() {
        let mut running = record(Phase::Running);
        assert!(note_end(&mut running, None));
        assert_eq!(running.state.exit_code, 255);
    }
}
