//! Waiting until a stack's services run as asked.

use std::time::{Duration, Instant};

use crate::commands::Session;
use crate::commands::progress::{self, PAUSE, WaitArgs, Watch};
use crate::failure::{Failure, Outcome};
use crate::output::display::Display;
use crate::output::line;

/// One service after another, each shown as `service create` shows it (Docker's way).
pub async fn each(session: &Session, ids: &[String], quiet: bool) -> Outcome {
    let wait = WaitArgs { detach: false, quiet };
    let mut failures = Vec::new();
    for id in ids {
        if let Err(failure) = progress::wait(session, id, &wait).await {
            failures.push(Failure::new(format!("{id}: {failure}")));
        }
    }
    Failure::join(failures)
}

/// All services at once, a line for each. A service that was rolled back does not run as asked.
pub async fn until_converged(
    session: &Session,
    ids: &[String],
    quiet: bool,
    most: Option<Duration>,
) -> Outcome {
    let mut services = Vec::with_capacity(ids.len());
    for id in ids {
        let name = session.client.service(id, false).await?.spec.name;
        services.push(Waited { name, watch: Watch::new(id), end: None, last: String::new() });
    }
    let mut display = Display::new(quiet);
    let until = most.map(|most| Instant::now() + most);
    tokio::select! {
        done = watch(session, &mut services, &mut display, until) => done,
        _ = tokio::signal::ctrl_c() => {
            line("Operation continuing in background.")?;
            Err(Failure::new("stopped waiting before the stack ran as asked"))
        }
    }
}

struct Waited {
    name: String,
    watch: Watch,
    /// What came of it.
    end: Option<Outcome>,
    /// What was shown last.
    last: String,
}

impl Waited {
    /// Looks once, and shows what is worth a line.
    async fn look(&mut self, session: &Session, display: &mut Display) -> Outcome {
        let Self { name, watch, last, .. } = self;
        let looked = watch
            .look(session, &mut |what, text| {
                // The lines of single tasks are `stack ps`'s.
                let line = match what {
                    "overall progress" | "job progress" | "rollback" => text.to_owned(),
                    "verify" if text.ends_with("converged") => "converged".to_owned(),
                    "verify" => text.to_owned(),
                    "job complete" => what.to_owned(),
                    _ => return Ok(()),
                };
                display.set(name, &line)?;
                *last = line;
                Ok(())
            })
            .await;
        self.end = match looked {
            Ok(false) => None,
            Ok(true) => Some(match self.watch.rolled_back() {
                Some(message) => Err(Failure::new(message)),
                None => Ok(()),
            }),
            Err(failure) => {
                display.set(&self.name, &failure.message)?;
                Some(Err(failure))
            }
        };
        Ok(())
    }
}

async fn watch(
    session: &Session,
    services: &mut [Waited],
    display: &mut Display,
    until: Option<Instant>,
) -> Outcome {
    loop {
        for service in services.iter_mut().filter(|service| service.end.is_none()) {
            service.look(session, display).await?;
        }
        let late = until.is_some_and(|until| Instant::now() >= until);
        if late || services.iter().all(|service| service.end.is_some()) {
            return verdict(services);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn verdict(services: &mut [Waited]) -> Outcome {
    let failures = services.iter_mut().filter_map(|service| {
        let Waited { name, end, last, .. } = service;
        match end.take() {
            Some(Ok(())) => None,
            Some(Err(failure)) => Some(Failure::new(format!("service {name}: {failure}"))),
            None => Some(Failure::new(format!("service {name} did not converge in time: {last}"))),
        }
    });
    Failure::join(failures.collect())
}
