//! Watching a service until it runs as asked, as `service create` and its kin do unless told not to.
//!
//! It only reads. Invariant: interrupting it never interrupts the service; and it never asks more often than [`PAUSE`].

mod tally;

use std::time::{Duration, Instant};

use clap::Args;
use skep_docker_api::Filters;
use skep_docker_api::json::Service;

use super::Session;
use crate::failure::{Failure, Outcome};
use crate::output::display::Display;
use crate::output::line;

#[derive(Debug, Clone, Args)]
pub struct WaitArgs {
    /// Exit immediately instead of waiting for the service to converge
    #[arg(short, long)]
    pub detach: bool,
    /// Suppress progress output
    #[arg(short, long)]
    pub quiet: bool,
}

/// Between two looks (Docker's value).
pub const PAUSE: Duration = Duration::from_millis(200);
/// How long tasks must stay up where the service does not say (SwarmKit's default of an update's monitor).
const MONITOR: Duration = Duration::from_secs(5);

/// A job is held for failed when nothing of it went on for so long: SwarmKit's managers, unlike ours,
/// fill such a place again.
const FAILED_FOR_GOOD: Duration = Duration::from_secs(1);

/// What an update's state says about the wait.
enum Told {
    Go { rolling_back: bool, message: Option<String> },
    Done,
    Failed(String),
}

fn told(service: &Service, converged: bool, was_back: bool) -> Told {
    let Some(status) = &service.update_status else {
        return Told::Go { rolling_back: was_back, message: None };
    };
    let go = |rolling_back, message| Told::Go { rolling_back, message };
    match status.state.as_str() {
        "updating" => go(false, None),
        "completed" if !converged => Told::Done,
        "paused" => Told::Failed(format!("service update paused: {}", status.message)),
        "rollback_paused" => Told::Failed(format!("service rollback paused: {}", status.message)),
        "rollback_started" => go(true, (!was_back).then(|| status.message.clone())),
        "rollback_completed" => go(true, None),
        _ => go(was_back, None),
    }
}

pub async fn wait(session: &Session, id: &str, args: &WaitArgs) -> Outcome {
    if args.detach {
        return Ok(());
    }
    let mut display = Display::new(args.quiet);
    let watch = watch(session, id, &mut display);
    tokio::select! {
        done = watch => done,
        _ = tokio::signal::ctrl_c() => {
            if args.quiet {
                return Ok(());
            }
            line("Operation continuing in background.")?;
            line(format!("Use `skep service ps {id}` to check progress."))
        }
    }
}

async fn watch(session: &Session, id: &str, display: &mut Display) -> Outcome {
    let mut watch = Watch::new(id);
    while !watch.look(session, &mut |name, text| display.set(name, text)).await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Where the lines that tell how far a service has come are shown: a name and a text.
pub type Show<'a> = &'a mut dyn FnMut(&str, &str) -> Outcome;

/// One service that is watched until it runs as asked.
pub struct Watch {
    id: String,
    converged: Option<Instant>,
    /// Since when a job seems to have failed for good.
    failed: Option<Instant>,
    rolling_back: bool,
    /// What became of the rollback that ended the update.
    rolled_back: Option<String>,
}

impl Watch {
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            converged: None,
            failed: None,
            rolling_back: false,
            rolled_back: None,
        }
    }

    /// Why the service runs as it did before, where it does.
    pub fn rolled_back(&self) -> Option<&str> {
        self.rolled_back.as_deref()
    }

    /// Looks once; gives whether the service has got where it was to go.
    pub async fn look(&mut self, session: &Session, show: Show<'_>) -> Outcome<bool> {
        let client = &session.client;
        let service = client.service(&self.id, false).await?;
        match told(&service, self.converged.is_some(), self.rolling_back) {
            Told::Done => return Ok(true),
            Told::Failed(message) => return Err(Failure::new(message)),
            Told::Go { rolling_back, message } => {
                self.rolling_back = rolling_back;
                if let Some(message) = message.filter(|message| !message.is_empty()) {
                    show("rollback", &message)?;
                }
            }
        }
        let monitor = service
            .spec
            .update_config
            .as_ref()
            .filter(|config| config.monitor_ns > 0)
            .map_or(MONITOR, |config| Duration::from_nanos(config.monitor_ns.unsigned_abs()));
        if self.converged.is_some_and(|since| since.elapsed() >= monitor) {
            show("verify", &format!("Service {} converged", self.id))?;
            if let Some(status) = service.update_status.filter(|_| self.rolling_back)
                && status.state == "rollback_completed"
            {
                show("rollback", &status.message)?;
                self.rolled_back = Some(status.message);
            }
            return Ok(true);
        }
        let mut filters = Filters::default();
        filters.add("service", &service.id);
        filters.add("_up-to-date", "true");
        let tasks = client.tasks(&filters).await?;
        let nodes = client.nodes(&Filters::default()).await?;
        let alive = nodes.into_iter().filter(|n| n.status.state != "down").map(|n| n.id).collect();
        let tally = tally::count(&service, &tasks, &alive, self.rolling_back)?;
        for (name, text) in &tally.lines {
            show(name, text)?;
        }
        // A manager that begins another task does so within moments.
        match tally.failed {
            None => self.failed = None,
            Some(why) => {
                let since = *self.failed.get_or_insert_with(Instant::now);
                if since.elapsed() >= FAILED_FOR_GOOD {
                    return Err(Failure::new(why));
                }
            }
        }
        if tally.complete && tally.job {
            show("job complete", "")?;
            return Ok(true);
        }
        if tally.complete {
            let since = *self.converged.get_or_insert_with(Instant::now);
            let left = monitor.saturating_sub(since.elapsed()).as_secs() + 1;
            show("verify", &format!("Waiting {left} seconds to verify that tasks are stable..."))?;
        } else if self.converged.take().is_some() {
            show("verify", "Detected task failure")?;
        }
        Ok(false)
    }
}
