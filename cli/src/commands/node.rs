//! `skep node`: list, show and change the swarm's members.

use clap::{Args, Subcommand};
use skep_docker_api::json::{Node, SwarmInfo, TlsInfo};

use super::{Session, node_show, tasks};
use crate::failure::{Failure, Outcome};
use crate::output::human::capital;
use crate::output::list::{Columns, Row, Shape};
use crate::output::{inspect, line, natural, print};
use crate::values::filter::{self, Filter};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Demote one or more nodes from manager in the swarm
    #[command(override_usage = "skep node demote NODE [NODE...]")]
    Demote(Nodes),
    /// Display detailed information on one or more nodes
    #[command(override_usage = "skep node inspect [OPTIONS] self|NODE [NODE...]")]
    Inspect(InspectArgs),
    /// List nodes in the swarm
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Promote one or more nodes to manager in the swarm
    #[command(override_usage = "skep node promote NODE [NODE...]")]
    Promote(Nodes),
    /// List tasks running on one or more nodes, defaults to current node
    #[command(override_usage = "skep node ps [OPTIONS] [NODE...]")]
    Ps(PsArgs),
    /// Remove one or more nodes from the swarm
    #[command(visible_alias = "remove", override_usage = "skep node rm [OPTIONS] NODE [NODE...]")]
    Rm(RmArgs),
    /// Update a node
    #[command(override_usage = "skep node update [OPTIONS] NODE")]
    Update(UpdateArgs),
}

#[derive(Debug, Args)]
pub struct Nodes {
    #[arg(required = true, hide = true)]
    nodes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Print the information in a human friendly format
    #[arg(long)]
    pretty: bool,
    #[arg(required = true, hide = true)]
    nodes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display IDs
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub struct PsArgs {
    #[command(flatten)]
    tasks: tasks::ListArgs,
    #[arg(hide = true)]
    nodes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Force remove a node from the swarm
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, hide = true)]
    nodes: Vec<String>,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Availability of the node ("active", "pause", "drain")
    #[arg(long, value_name = "string")]
    availability: Option<String>,
    /// Add or update a node label ("key=value")
    #[arg(long, value_name = "list")]
    label_add: Vec<String>,
    /// Remove a node label if exists
    #[arg(long, value_name = "list")]
    label_rm: Vec<String>,
    /// Role of the node ("worker", "manager")
    #[arg(long, value_name = "string")]
    role: Option<String>,
    #[arg(hide = true)]
    node: String,
}

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Demote(args) => set_role(session, args.nodes, "worker").await,
        Command::Inspect(args) => show(session, args).await,
        Command::Ls(args) => list(session, args).await,
        Command::Promote(args) => set_role(session, args.nodes, "manager").await,
        Command::Ps(args) => ps(session, args).await,
        Command::Rm(args) => remove(session, args).await,
        Command::Update(args) => update(session, args).await,
    }
}

/// `self` is this node's id, which only the daemon knows.
async fn reference(session: &Session, name: &str) -> Outcome<String> {
    if name != "self" {
        return Ok(name.into());
    }
    let info = session.client.info().await?;
    if info.swarm.node_id.is_empty() {
        // Whatever a manager says to a question it cannot answer here is the better error.
        session.client.swarm_inspect().await?;
        return Err(Failure::new("node ID not found in /info"));
    }
    Ok(info.swarm.node_id)
}

const COLUMNS: Columns = Columns {
    headers: &[
        ("ID", "ID"),
        ("Self", ""),
        ("Hostname", "HOSTNAME"),
        ("Status", "STATUS"),
        ("Availability", "AVAILABILITY"),
        ("ManagerStatus", "MANAGER STATUS"),
        ("EngineVersion", "ENGINE VERSION"),
        ("TLSStatus", "TLS STATUS"),
    ],
    table: "table {{.ID}} {{if .Self}}*{{else}} {{ end }}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}",
};

fn row(node: Node, swarm: &SwarmInfo) -> Row {
    let manager = match &node.manager_status {
        Some(status) if status.leader => "Leader".into(),
        Some(status) => capital(&status.reachability),
        None => String::new(),
    };
    let unknown = TlsInfo::default();
    let tls = match swarm.cluster.as_ref().map(|cluster| &cluster.tls_info) {
        Some(have) if *have != unknown && node.description.tls_info != unknown => {
            if *have == node.description.tls_info { "Ready" } else { "Needs Rotation" }
        }
        _ => "Unknown",
    };
    Row::from([
        ("Self", (node.id == swarm.node_id).into()),
        ("ID", node.id.into()),
        ("Hostname", node.description.hostname.into()),
        ("Status", capital(&node.status.state).into()),
        ("Availability", capital(&node.spec.availability).into()),
        ("ManagerStatus", manager.into()),
        ("EngineVersion", node.description.engine.engine_version.into()),
        ("TLSStatus", tls.into()),
    ])
}

async fn list(session: &Session, args: LsArgs) -> Outcome {
    let mut nodes = session.client.nodes(&filter::all(&args.filter)).await?;
    let swarm = match nodes.is_empty() || args.quiet {
        true => SwarmInfo::default(),
        false => session.client.info().await?.swarm,
    };
    nodes.sort_by(|a, b| natural::compare(&a.description.hostname, &b.description.hostname));
    let rows = nodes.into_iter().map(|node| row(node, &swarm)).collect();
    COLUMNS.show(&Shape { format: args.format, quiet: args.quiet }, rows)
}

async fn show(session: &Session, args: InspectArgs) -> Outcome {
    let pretty = args.pretty || args.format.as_deref() == Some("pretty");
    let mut found = Vec::new();
    for name in &args.nodes {
        let node = match reference(session, name).await {
            Ok(id) => session.client.node(&id).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        if pretty {
            print(&node_show::pretty(&node?))?;
        } else {
            found.push(node.map(|node| inspect::value(&node)));
        }
    }
    if pretty { Ok(()) } else { inspect::show(args.format.as_deref(), found) }
}

async fn ps(session: &Session, args: PsArgs) -> Outcome {
    let names = if args.nodes.is_empty() { vec!["self".into()] } else { args.nodes };
    let mut failures = Vec::new();
    let mut found = Vec::new();
    for name in names {
        let wanted = async {
            let id = reference(session, &name).await?;
            let node = session.client.node(&id).await?;
            let mut filters = filter::all(&args.tasks.filter);
            filters.add("node", node.id);
            Outcome::Ok(session.client.tasks(&filters).await?)
        };
        match wanted.await {
            Ok(tasks) => found.extend(tasks),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() || !found.is_empty() {
        tasks::show(session, found, &args.tasks).await?;
    }
    Failure::join(failures)
}

async fn remove(session: &Session, args: RmArgs) -> Outcome {
    let mut failures = Vec::new();
    for name in args.nodes {
        match session.client.node_remove(&name, args.force).await {
            Ok(()) => line(name)?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}

async fn set_role(session: &Session, names: Vec<String>, role: &str) -> Outcome {
    for name in names {
        let mut node = session.client.node(&name).await?;
        if node.spec.role == role {
            line(format!("Node {} is already a {role}.", node.id))?;
            continue;
        }
        node.spec.role = role.into();
        session.client.node_update(&node.id, node.version.index, &node.spec).await?;
        line(match role {
            "manager" => format!("Node {name} promoted to a manager in the swarm."),
            _ => format!("Manager {name} demoted in the swarm."),
        })?;
    }
    Ok(())
}

async fn update(session: &Session, args: UpdateArgs) -> Outcome {
    let id = reference(session, &args.node).await?;
    let mut node = session.client.node(&id).await?;
    let spec = &mut node.spec;
    if let Some(role) = args.role {
        spec.role = role;
    }
    if let Some(availability) = args.availability {
        spec.availability = availability;
    }
    spec.labels.extend(crate::values::pairs::map(&args.label_add));
    for key in args.label_rm {
        if spec.labels.remove(&key).is_none() {
            return Err(Failure::new(format!("key {key} doesn't exist in node's labels")));
        }
    }
    session.client.node_update(&node.id, node.version.index, &node.spec).await?;
    line(args.node)
}
