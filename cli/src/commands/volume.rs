//! `skep volume`: the volumes of a host.

use clap::{Args, Subcommand};
use skep_docker_api::json::{Volume, VolumeCreateRequest};

use super::payload::joined;
use super::{Session, prune};
use crate::failure::{Failure, Outcome};
use crate::output::human::long_size;
use crate::output::list::{Columns, Row, Shape};
use crate::output::{inspect, line, natural};
use crate::values::filter::{self, Filter};
use crate::values::pairs;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create a volume
    #[command(override_usage = "skep volume create [OPTIONS] [VOLUME]")]
    Create(Box<CreateArgs>),
    /// Display detailed information on one or more volumes
    #[command(override_usage = "skep volume inspect [OPTIONS] VOLUME [VOLUME...]")]
    Inspect(InspectArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove unused local volumes
    Prune(prune::AllPruneArgs),
    /// Remove one or more volumes
    #[command(
        visible_alias = "remove",
        override_usage = "skep volume rm [OPTIONS] VOLUME [VOLUME...]"
    )]
    Rm(RmArgs),
    /// Update a volume (cluster volumes only)
    #[command(override_usage = "skep volume update [OPTIONS] [VOLUME]")]
    Update(UpdateArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Specify volume driver name
    #[arg(short, long, value_name = "string", default_value = "local")]
    driver: String,
    /// Set metadata for a volume
    #[arg(long, value_name = "list", value_parser = pairs::label)]
    label: Vec<String>,
    /// Volume name
    #[arg(long, value_name = "string", default_value = "", hide = true)]
    name: String,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[arg(hide = true, value_name = "VOLUME")]
    volume: Option<String>,
}

/// Flags of volumes that CSI plugins make for a whole swarm, which is not to be had here.
#[derive(Debug, Args)]
pub struct ClusterFlags {
    #[arg(long, value_name = "string", hide = true)]
    availability: Option<String>,
    #[arg(long, value_name = "string", hide = true)]
    group: Option<String>,
    #[arg(long, value_name = "bytes", hide = true)]
    limit_bytes: Option<String>,
    #[arg(long, value_name = "bytes", hide = true)]
    required_bytes: Option<String>,
    #[arg(long, value_name = "string", hide = true)]
    scope: Option<String>,
    #[arg(long, value_name = "map", hide = true)]
    secret: Option<String>,
    #[arg(long, value_name = "string", hide = true)]
    sharing: Option<String>,
    #[arg(long, value_name = "list", hide = true)]
    topology_preferred: Option<String>,
    #[arg(long, value_name = "list", hide = true)]
    topology_required: Option<String>,
    #[arg(long = "type", value_name = "string", hide = true)]
    kind: Option<String>,
}

impl ClusterFlags {
    fn refuse(&self) -> Outcome {
        let given = [
            &self.availability,
            &self.group,
            &self.limit_bytes,
            &self.required_bytes,
            &self.scope,
            &self.secret,
            &self.sharing,
            &self.topology_preferred,
            &self.topology_required,
            &self.kind,
        ];
        match given.iter().any(|flag| flag.is_some()) {
            true => Err(Failure::new("cluster volumes are not supported")),
            false => Ok(()),
        }
    }
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, hide = true, value_name = "VOLUME")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Display only cluster volumes, and use cluster volume list formatting
    #[arg(long, hide = true)]
    cluster: bool,
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, hide = true, value_name = "VOLUME")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Cluster Volume availability ("active", "pause", "drain")
    #[arg(long, value_name = "string")]
    availability: Option<String>,
    #[arg(hide = true, value_name = "VOLUME")]
    volume: Option<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("Name", "VOLUME NAME"),
    ("Group", "GROUP"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Availability", "AVAILABILITY"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];
const COLUMNS: Columns = Columns { headers: HEADERS, table: "table {{.Driver}}\t{{.Name}}" };
/// What `system df -v` shows.
pub const USAGE: Columns =
    Columns { headers: HEADERS, table: "table {{.Name}}\t{{.Links}}\t{{.Size}}" };

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Create(args) => create(session, *args).await,
        Command::Inspect(args) => {
            let mut found = Vec::new();
            for name in &args.names {
                let volume = session.client.volume(name).await.map_err(Failure::from);
                found.push(volume.map(|volume| inspect::value(&volume)));
            }
            inspect::show(args.format.as_deref(), found)
        }
        Command::Ls(args) => list(session, args).await,
        Command::Prune(args) => prune::volumes(session, args).await,
        Command::Rm(args) => remove(session, args).await,
        Command::Update(args) => update(session, args).await,
    }
}

async fn create(session: &Session, args: CreateArgs) -> Outcome {
    args.cluster.refuse()?;
    let named = args.volume.unwrap_or_default();
    if !args.name.is_empty() && !named.is_empty() {
        return Err(Failure::new(
            "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
        ));
    }
    let request = VolumeCreateRequest {
        name: if named.is_empty() { args.name } else { named },
        driver: args.driver,
        driver_opts: pairs::map(&args.opt),
        labels: pairs::map(&args.label),
    };
    line(session.client.volume_create(&request).await?.name)
}

async fn update(session: &Session, args: UpdateArgs) -> Outcome {
    let name = args.volume.unwrap_or_default();
    session.client.volume(&name).await?;
    Err(Failure::new("Can only update cluster volumes"))
}

pub fn row(volume: Volume) -> Row {
    let usage = volume.usage_data.as_ref();
    let links = usage.map_or("N/A".into(), |usage| usage.ref_count.to_string());
    let bytes = usage.map_or("N/A".into(), |usage| long_size(usage.size));
    Row::from([
        ("Driver", volume.driver.into()),
        ("Scope", volume.scope.into()),
        ("Mountpoint", volume.mountpoint.into()),
        ("Labels", joined(&volume.labels.unwrap_or_default()).into()),
        ("Links", links.into()),
        ("Size", bytes.into()),
        ("Group", "N/A".into()),
        ("Availability", "N/A".into()),
        ("Status", "N/A".into()),
        ("Name", volume.name.into()),
    ])
}

async fn list(session: &Session, args: LsArgs) -> Outcome {
    if args.cluster {
        return Err(Failure::new("cluster volumes are not supported"));
    }
    let answer = session.client.volumes(&filter::all(&args.filter)).await?;
    let mut volumes = answer.volumes;
    volumes.sort_by(|a, b| natural::compare(&a.name, &b.name));
    let format = args.format.filter(|format| !format.is_empty());
    let format = format.or_else(|| session.config.text("volumesFormat").filter(|_| !args.quiet));
    let format = match (args.quiet, format.as_deref()) {
        (true, None | Some("table")) => Some("{{.Name}}".into()),
        _ => format,
    };
    COLUMNS.show(&Shape { format, quiet: false }, volumes.into_iter().map(row).collect())
}

async fn remove(session: &Session, args: RmArgs) -> Outcome {
    let mut failures = Vec::new();
    for name in args.names {
        match session.client.volume_remove(&name, args.force).await {
            Ok(()) => line(name)?,
            Err(error) => failures.push(error.into()),
        }
    }
    Failure::join(failures)
}
