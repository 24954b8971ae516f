//! What goes on beside the calls that are measured: tasks that change, and writes.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use skep_manager::Manager;
use skep_manager::control::Request;
use skep_state::Event;
use skep_types::{Service, ServiceId};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use super::shape::moves;

/// One service is updated this often. Each of its 200 tasks is asked to stop, reported to have
/// stopped, made anew, placed, let go and reported to run: well over a thousand changes.
const BEAT: Duration = Duration::from_secs(1);
/// Between two writes that are timed.
const WRITE_INTERVAL: Duration = Duration::from_millis(10);

/// Times, in milliseconds.
#[derive(Default)]
pub struct Latencies(Vec<f64>);

impl Latencies {
    pub fn add(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    /// The time that this share of all took at most.
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(place.max(1) - 1).copied().unwrap_or(f64::NAN)
    }
}

/// Services that are updated in turn, and what changes by that.
pub struct Churn {
    changed: Arc<AtomicU64>,
    began: Instant,
    updating: JoinHandle<Result<()>>,
    counting: JoinHandle<Result<()>>,
}

impl Churn {
    pub fn begin(manager: Arc<Manager>) -> Self {
        let changed = Arc::new(AtomicU64::new(0));
        let counting = tokio::spawn(count(Arc::clone(&manager), Arc::clone(&changed)));
        let updating = tokio::spawn(update(manager));
        Self { changed, began: Instant::now(), updating, counting }
    }

    /// Changes of tasks so far, and in what time.
    pub fn so_far(&self) -> (u64, Duration) {
        (self.changed.load(Ordering::Relaxed), self.began.elapsed())
    }

    /// # Errors
    /// It had ended before, with this.
    pub async fn end(self) -> Result<(u64, Duration)> {
        let so_far = self.so_far();
        for task in [self.updating, self.counting] {
            task.abort();
            match task.await {
                Ok(ended) => ended?,
                Err(error) if error.is_cancelled() => {}
                Err(error) => return Err(error).context("the load ended badly"),
            }
        }
        Ok(so_far)
    }
}

async fn count(manager: Arc<Manager>, changed: Arc<AtomicU64>) -> Result<()> {
    let mut changes = manager.changes();
    loop {
        match changes.recv().await {
            Ok(events) => {
                let tasks = events.iter().filter(|event| matches!(event, Event::Task(_)));
                changed.fetch_add(tasks.count() as u64, Ordering::Relaxed);
            }
            Err(RecvError::Lagged(missed)) => {
                return Err(anyhow!("{missed} entries were not counted"));
            }
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn update(manager: Arc<Manager>) -> Result<()> {
    let view = manager.view();
    let moving = view.services().iter().filter(|service| moves(service));
    let moving: Vec<ServiceId> = moving.map(|service| service.id).collect();
    drop(view);
    let mut beat = tokio::time::interval(BEAT);
    for id in moving.iter().cycle() {
        beat.tick().await;
        let view = manager.view();
        let service = view.services().get(*id).context("a service is gone")?;
        let request = again(service);
        let taken = manager.execute(request).await;
        taken.map_err(|error| anyhow!("an update was not taken: {}", error.message))?;
    }
    Ok(())
}

/// An update that makes every task anew.
fn again(service: &Service) -> Request {
    let mut spec = (*service.spec).clone();
    spec.task.force_update += 1;
    Request::UpdateService { id: service.id, revision: service.meta.revision, spec }
}

/// Writes one after the other, each timed until it was applied.
pub struct Writes {
    times: Arc<Mutex<Latencies>>,
    writing: JoinHandle<()>,
}

impl Writes {
    pub fn begin(manager: Arc<Manager>) -> Self {
        let times = Arc::new(Mutex::new(Latencies::default()));
        let into = Arc::clone(&times);
        let writing = tokio::spawn(async move {
            loop {
                let began = Instant::now();
                let written = manager.furnish(Vec::new()).await;
                // One that was not taken counts with the time until that was known.
                if let Err(error) = written {
                    eprintln!("a write was not taken: {}", error.message);
                }
                into.lock().expect("no holder panics").add(began.elapsed());
                tokio::time::sleep(WRITE_INTERVAL).await;
            }
        });
        Self { times, writing }
    }

    /// The times since the last call.
    pub fn take(&self) -> Latencies {
        std::mem::take(&mut *self.times.lock().expect("no holder panics"))
    }

    pub async fn end(self) {
        self.writing.abort();
        // It was told to end, and nothing else ends it.
        let _ = self.writing.await;
    }
}
