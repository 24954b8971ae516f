//! `skep service rebalance`: spreads services anew and moves no task that need not be.

use std::collections::BTreeMap;

use clap::Args;
use skep_docker_api::json::ServiceRebalanceResponse;

use crate::commands::Session;
use crate::commands::progress::{self, WaitArgs};
use crate::commands::tasks::Names;
use crate::failure::{Failure, Outcome};
use crate::output::line;

#[derive(Debug, Args)]
pub struct RebalanceArgs {
    /// Tell what would move, and move nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[arg(required = true, hide = true, value_name = "SERVICE")]
    services: Vec<String>,
}

pub async fn run(session: &Session, args: RebalanceArgs) -> Outcome {
    let mut failures = Vec::new();
    let mut moving = Vec::new();
    for name in &args.services {
        match one(session, name, args.dry_run).await {
            Ok(id) => moving.extend(id.map(|id| (name, id))),
            Err(failure) => failures.push(Failure::new(format!("{name}: {failure}"))),
        }
    }
    for (name, id) in moving {
        if let Err(failure) = progress::wait(session, &id, &args.wait).await {
            failures.push(Failure::new(format!("{name}: {failure}")));
        }
    }
    Failure::join(failures)
}

/// Gives the service's id if tasks of it move.
async fn one(session: &Session, name: &str, dry_run: bool) -> Outcome<Option<String>> {
    let id = session.client.service(name, false).await?.id;
    let answer = session.client.service_rebalance(&id, dry_run).await?;
    let mut nodes = Names::new(&session.client, true);
    let mut hosts = BTreeMap::new();
    if dry_run {
        for node in answer.moves.iter().flat_map(|it| [&it.from, &it.to]) {
            if !hosts.contains_key(node) {
                hosts.insert(node.clone(), nodes.node(node).await);
            }
        }
    }
    for said in lines(name, &answer, dry_run, &hosts) {
        line(said)?;
    }
    Ok((!dry_run && !answer.moves.is_empty()).then_some(id))
}

fn lines(
    name: &str,
    answer: &ServiceRebalanceResponse,
    dry_run: bool,
    hosts: &BTreeMap<String, String>,
) -> Vec<String> {
    let (moves, of) = (answer.moves.len(), answer.tasks);
    if moves == 0 {
        return vec![format!("{name}: no task is to move")];
    }
    let verb = if dry_run { "would move" } else { "move" };
    let mut lines = vec![format!("{name}: {moves} of {of} tasks {verb}")];
    if dry_run {
        let host = |id: &String| hosts.get(id).unwrap_or(id).clone();
        lines.extend(
            answer
                .moves
                .iter()
                .map(|it| format!("  {name}.{}: {} -> {}", it.slot, host(&it.from), host(&it.to))),
        );
    }
    if answer.left > 0 {
        lines.push(format!("  {} more are to move: rebalance again after that", answer.left));
    }
    lines
}
