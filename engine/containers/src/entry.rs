//! One container in memory: its record, and who waits for what.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use skep_engine::{AttachOptions, Attached};
use tokio::sync::{Notify, oneshot, watch};

use crate::health::HealthReport;
use crate::record::Record;

/// How many may wait to be attached to a container that does not run yet.
pub const PENDING_MAX: usize = 64;

/// What those who wait for a container's end are told.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// How often it has ended.
    pub ends: u64,
    pub alive: bool,
    pub removed: bool,
    pub exit_code: i64,
}

/// Somebody who is to be attached when it starts.
pub struct Pending {
    pub options: AttachOptions,
    pub ready: oneshot::Sender<Attached>,
}

pub struct Entry {
    pub id: String,
    record: Mutex<Record>,
    /// Held through a change.
    pub change: tokio::sync::Mutex<()>,
    /// Held while the record is written.
    pub saving: tokio::sync::Mutex<()>,
    pub seen: watch::Sender<Seen>,
    /// Ends the pause before a restart.
    pub halt: Notify,
    pending: Mutex<Vec<Pending>>,
    /// Those who go on with it after its end; see [`Entry::spare`].
    spared: AtomicUsize,
    health: Mutex<Option<Arc<HealthReport>>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder leaves it whole at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    pub fn new(record: Record) -> Entry {
        let seen =
            Seen { alive: record.is_alive(), exit_code: record.state.exit_code, ..Seen::default() };
        Entry {
            id: record.id.clone(),
            record: Mutex::new(record),
            change: tokio::sync::Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            seen: watch::Sender::new(seen),
            halt: Notify::new(),
            pending: Mutex::default(),
            spared: AtomicUsize::new(0),
            health: Mutex::default(),
        }
    }

    pub fn record(&self) -> Record {
        held(&self.record).clone()
    }

    pub fn with<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&held(&self.record))
    }

    pub fn alter<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        change(&mut held(&self.record))
    }

    pub fn health(&self) -> Option<Arc<HealthReport>> {
        held(&self.health).clone()
    }

    pub fn set_health(&self, report: Option<HealthReport>) {
        *held(&self.health) = report.map(Arc::new);
    }

    /// As long as the result lives, its end does not remove it, whatever it was made with.
    pub fn spare(&self) -> Spared<'_> {
        self.spared.fetch_add(1, Ordering::Relaxed);
        Spared(self)
    }

    /// Whether its end is to remove it.
    pub fn ends_with_removal(&self) -> bool {
        self.spared.load(Ordering::Relaxed) == 0 && self.with(|it| it.host_config.auto_remove)
    }

    /// False where too many wait already.
    pub fn await_start(&self, one: Pending) -> bool {
        let mut pending = held(&self.pending);
        pending.retain(|it| !it.ready.is_closed());
        if pending.len() == PENDING_MAX {
            return false;
        }
        pending.push(one);
        true
    }

    pub fn take_pending(&self) -> Vec<Pending> {
        std::mem::take(&mut *held(&self.pending))
    }
}

/// See [`Entry::spare`].
pub struct Spared<'a>(&'a Entry);

impl Drop for Spared<'_> {
    fn drop(&mut self) {
        self.0.spared.fetch_sub(1, Ordering::Relaxed);
    }
}
