//! `skep stack rm`: takes away what bears a stack's label. Volumes stay.

use std::time::Duration;

use clap::Args;
use skep_docker_api::ClientError;
use skep_docker_api::json::Service;

use super::{named, of};
use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::{line, warn};

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Do not wait for stack removal (default true)
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    detach: Option<bool>,
    #[arg(required = true, hide = true, value_name = "STACK")]
    stacks: Vec<String>,
}

/// Between two looks at tasks that are to end.
const PAUSE: Duration = Duration::from_millis(200);

/// Says what is removed; gives whether all was.
struct Removal {
    whole: bool,
}

impl Removal {
    fn begin(&self, kind: &str, name: &str) -> Outcome {
        line(format!("Removing {kind} {name}"))
    }

    fn end(&mut self, kind: &str, id: &str, done: Result<(), ClientError>) {
        if let Err(error) = done {
            warn(format!("Failed to remove {kind} {id}: {}", Failure::from(error)));
            self.whole = false;
        }
    }
}

/// Removes services by name's order; gives whether all went.
pub async fn services(session: &Session, mut services: Vec<Service>) -> Outcome<bool> {
    let mut removal = Removal { whole: true };
    services.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    for service in services {
        removal.begin("service", &service.spec.name)?;
        let done = session.client.service_remove(&service.id).await;
        removal.end("service", &service.id, done);
    }
    Ok(removal.whole)
}

pub async fn run(session: &Session, args: RmArgs) -> Outcome {
    for stack in &args.stacks {
        named(stack)?;
    }
    let mut failures = Vec::new();
    for stack in &args.stacks {
        if !remove(session, stack).await? {
            failures
                .push(Failure::new(format!("failed to remove some resources from stack: {stack}")));
        } else if args.detach == Some(false) {
            wait(session, stack).await?;
        }
    }
    Failure::join(failures)
}

async fn remove(session: &Session, stack: &str) -> Outcome<bool> {
    let client = &session.client;
    let filters = of(stack);
    let found = client.services(&filters, false).await?;
    let networks = client.networks(&filters).await?;
    let secrets = client.secrets(&filters).await?;
    let configs = client.configs(&filters).await?;
    if found.is_empty() && networks.is_empty() && secrets.is_empty() && configs.is_empty() {
        warn(format!("Nothing found in stack: {stack}"));
        return Ok(true);
    }
    let mut removal = Removal { whole: services(session, found).await? };
    for secret in secrets {
        removal.begin("secret", &secret.spec.name)?;
        removal.end("secret", &secret.id, client.secret_remove(&secret.id).await);
    }
    for config in configs {
        removal.begin("config", &config.spec.name)?;
        removal.end("config", &config.id, client.config_remove(&config.id).await);
    }
    for network in networks {
        removal.begin("network", &network.name)?;
        removal.end("network", &network.id, client.network_remove(&network.id).await);
    }
    Ok(removal.whole)
}

/// Until no task of the stack runs. How long that takes is the applications' business, so its end is the user's to set.
async fn wait(session: &Session, stack: &str) -> Outcome {
    loop {
        let tasks = session.client.tasks(&of(stack)).await?;
        let ended = |state: &str| {
            matches!(state, "complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned")
        };
        if tasks.iter().all(|task| ended(&task.status.state)) {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
