//! `skep inspect`: whatever goes by a name, whichever kind it is.

use clap::Args;
use skep_docker_api::ClientError;

use super::Session;
use crate::failure::{Failure, Outcome};
use crate::output::inspect::{self, Document};
use crate::output::warn;

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long = "type", value_name = "string", default_value = "", hide_default_value = true)]
    kind: String,
    #[arg(required = true, hide = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

/// In the order in which they are asked; of a swarm's kinds only a manager knows.
const KINDS: [(&str, bool); 9] = [
    ("container", false),
    ("image", false),
    ("network", false),
    ("volume", false),
    ("service", true),
    ("task", true),
    ("node", true),
    ("secret", true),
    ("config", true),
];

async fn one(
    session: &Session,
    kind: &str,
    name: &str,
    size: bool,
) -> Result<Document, ClientError> {
    let client = &session.client;
    Ok(match kind {
        "container" => inspect::value(&client.container(name, size).await?),
        "image" => inspect::value(&client.image(name).await?),
        "network" => inspect::value(&client.network(name).await?),
        "volume" => inspect::value(&client.volume(name).await?),
        "service" => inspect::value(&client.service(name, true).await?),
        "task" => inspect::value(&client.task(name).await?),
        "node" => inspect::value(&client.node(name).await?),
        "secret" => inspect::value(&client.secret(name).await?),
        _ => inspect::value(&client.config(name).await?),
    })
}

/// Another kind may still go by the name.
fn is_elsewhere(error: &ClientError) -> bool {
    let text = error.to_string();
    error.is_not_found()
        || text.contains("not supported")
        || text.contains("invalid reference format")
}

pub async fn run(session: &Session, args: InspectArgs) -> Outcome {
    let known = KINDS.iter().any(|(kind, _)| *kind == args.kind);
    if !args.kind.is_empty() && !known {
        return Err(Failure::new(format!(
            "unknown type: {:?}: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
            args.kind
        )));
    }
    let mut manager = None;
    let mut found = Vec::new();
    for name in &args.names {
        let mut result = Err(Failure::new(format!("Error: No such object: {name}")));
        for (kind, of_swarm) in KINDS {
            if !args.kind.is_empty() && args.kind != kind {
                continue;
            }
            if of_swarm && args.kind.is_empty() {
                let manages = match manager {
                    Some(manages) => manages,
                    None => {
                        session.client.info().await.is_ok_and(|info| info.swarm.control_available)
                    }
                };
                manager = Some(manages);
                if !manages {
                    continue;
                }
            }
            match one(session, kind, name, args.size).await {
                Err(error) if args.kind.is_empty() && is_elsewhere(&error) => continue,
                done => {
                    if args.size && kind != "container" && done.is_ok() {
                        warn(format!("WARNING: --size ignored for {kind}"));
                    }
                    result = done.map_err(Failure::from);
                }
            }
            break;
        }
        found.push(result);
    }
    inspect::show(args.format.as_deref(), found)
}

#[derive(Debug, Args)]
pub struct ContainerInspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, hide = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

pub async fn containers(session: &Session, args: ContainerInspectArgs) -> Outcome {
    let mut found = Vec::new();
    for name in &args.names {
        found.push(one(session, "container", name, args.size).await.map_err(Failure::from));
    }
    inspect::show(args.format.as_deref(), found)
}
