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
const PAUSE: Duration = Duration::from_millis(200);
/// How long tasks must stay up where the service does not say (SwarmKit's default of an update's monitor).
const MONITOR: Duration = Duration::from_secs(5);

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
    let client = &session.client;
    let mut converged: Option<Instant> = None;
    let mut rolling_back = false;
    loop {
        let service = client.service(id, false).await?;
        match told(&service, converged.is_some(), rolling_back) {
            Told::Done => return Ok(()),
            Told::Failed(message) => return Err(Failure::new(message)),
            Told::Go { rolling_back: now, message } => {
                rolling_back = now;
                if let Some(message) = message.filter(|message| !message.is_empty()) {
                    display.set("rollback", &message)?;
                }
            }
        }
        let monitor = service
            .spec
            .update_config
            .as_ref()
            .filter(|config| config.monitor_ns > 0)
            .map_or(MONITOR, |config| Duration::from_nanos(config.monitor_ns.unsigned_abs()));
        if converged.is_some_and(|since| since.elapsed() >= monitor) {
            display.set("verify", &format!("Service {id} converged"))?;
            if let Some(status) = service.update_status.filter(|_| rolling_back)
                && status.state == "rollback_completed"
            {
                display.set("rollback", &status.message)?;
            }
            return Ok(());
        }
        let mut filters = Filters::default();
        filters.add("service", &service.id);
        filters.add("_up-to-date", "true");
        let tasks = client.tasks(&filters).await?;
        let nodes = client.nodes(&Filters::default()).await?;
        let alive = nodes.into_iter().filter(|n| n.status.state != "down").map(|n| n.id).collect();
        let tally = tally::count(&service, &tasks, &alive, rolling_back)?;
        for (name, text) in &tally.lines {
            display.set(name, text)?;
        }
        if tally.complete && tally.job {
            display.set("job complete", "")?;
            return Ok(());
        }
        if tally.complete {
            let since = *converged.get_or_insert_with(Instant::now);
            let left = monitor.saturating_sub(since.elapsed()).as_secs() + 1;
            display.set(
                "verify",
                &format!("Waiting {left} seconds to verify that tasks are stable..."),
            )?;
        } else if converged.take().is_some() {
            display.set("verify", "Detected task failure")?;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
