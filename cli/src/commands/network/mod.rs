//! `skep network`: networks of the host and of the swarm.

mod doctor;
mod place;

use std::net::IpAddr;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use skep_docker_api::json::{ConfigFrom, Ipam, IpamConfig, Map, Network, NetworkCreateRequest};

use super::payload::joined;
use super::{Session, prune};
use crate::failure::{EXIT_FAILURE, Failure, Outcome};
use crate::output::human::{moment, short_id};
use crate::output::list::{Columns, Row, Shape};
use crate::output::{inspect, line, natural, warn};
use crate::terminal;
use crate::values::filter::{self, Filter};
use crate::values::pairs;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Connect a container to a network
    #[command(override_usage = "skep network connect [OPTIONS] NETWORK CONTAINER")]
    Connect(place::ConnectArgs),
    /// Create a network
    #[command(override_usage = "skep network create [OPTIONS] NETWORK")]
    Create(Box<CreateArgs>),
    /// Disconnect a container from a network
    #[command(override_usage = "skep network disconnect [OPTIONS] NETWORK CONTAINER")]
    Disconnect(place::DisconnectArgs),
    /// Tell what is not as it should be with the networks of the swarm, on every node
    Doctor,
    /// Display detailed information on one or more networks
    #[command(override_usage = "skep network inspect [OPTIONS] NETWORK [NETWORK...]")]
    Inspect(InspectArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Remove all unused networks
    Prune(prune::PruneArgs),
    /// Remove one or more networks
    #[command(visible_alias = "remove", override_usage = "skep network rm NETWORK [NETWORK...]")]
    Rm(RmArgs),
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver
    #[arg(long, value_name = "map")]
    aux_address: Vec<String>,
    /// The network from which to copy the configuration
    #[arg(long, value_name = "string")]
    config_from: Option<String>,
    /// Create a configuration only network
    #[arg(long)]
    config_only: bool,
    /// Driver to manage the Network
    #[arg(short, long, value_name = "string", default_value = "bridge")]
    driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "ipSlice", value_delimiter = ',')]
    gateway: Vec<IpAddr>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "ipNetSlice", value_delimiter = ',')]
    ip_range: Vec<IpNet>,
    /// IP Address Management Driver
    #[arg(long, value_name = "string", default_value = "default")]
    ipam_driver: String,
    /// Set IPAM driver specific options
    #[arg(long, value_name = "map")]
    ipam_opt: Vec<String>,
    /// Enable or disable IPv4 address assignment
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    ipv4: Option<bool>,
    /// Enable or disable IPv6 address assignment
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    ipv6: Option<bool>,
    /// Set metadata on a network
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    /// Control the network's scope
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    scope: String,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "stringSlice", value_delimiter = ',')]
    subnet: Vec<IpNet>,
    #[arg(hide = true, value_name = "NETWORK")]
    name: String,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Verbose output for diagnostics
    #[arg(short, long)]
    verbose: bool,
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, hide = true, value_name = "NETWORK")]
    names: Vec<String>,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Provide filter values (e.g. "driver=overlay")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Do not error if the network does not exist
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, hide = true, value_name = "NETWORK")]
    names: Vec<String>,
}

const COLUMNS: Columns = Columns {
    headers: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    table: "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
};

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Connect(args) => place::connect(session, args).await,
        Command::Create(args) => create(session, *args).await,
        Command::Disconnect(args) => place::disconnect(session, args).await,
        Command::Doctor => doctor::run(session).await,
        Command::Inspect(args) => {
            let mut found = Vec::new();
            for name in &args.names {
                let network = match args.verbose {
                    true => session.client.network_verbose(name).await,
                    false => session.client.network(name).await,
                };
                let network = network.map_err(Failure::from);
                found.push(network.map(|network| inspect::value(&network)));
            }
            inspect::show(args.format.as_deref(), found)
        }
        Command::Ls(args) => list(session, args).await,
        Command::Prune(args) => prune::networks(session, args).await,
        Command::Rm(args) => remove(session, args).await,
    }
}

/// Subnets with the ranges, gateways and addresses that lie in them.
fn ipam(args: &CreateArgs) -> Outcome<Ipam> {
    if args.subnet.len() < args.ip_range.len() || args.subnet.len() < args.gateway.len() {
        return Err(Failure::new("every ip-range or gateway must have a corresponding subnet"));
    }
    for (at, subnet) in args.subnet.iter().enumerate() {
        if args.subnet[..at].iter().any(|other| other.contains(subnet) || subnet.contains(other)) {
            return Err(Failure::new("multiple overlapping subnet configuration is not supported"));
        }
    }
    let mut configs: Vec<IpamConfig> = args
        .subnet
        .iter()
        .map(|subnet| IpamConfig { subnet: subnet.to_string(), ..Default::default() })
        .collect();
    let place = |inside: IpNet| args.subnet.iter().position(|subnet| subnet.contains(&inside));
    for range in &args.ip_range {
        let at = place(*range)
            .ok_or_else(|| Failure::new(format!("no matching subnet for range {range}")))?;
        let config = &mut configs[at];
        if !config.ip_range.is_empty() {
            return Err(Failure::new(format!(
                "cannot configure multiple ranges ({range}, {}) on the same subnet ({})",
                config.ip_range, config.subnet
            )));
        }
        config.ip_range = range.to_string();
    }
    for gateway in &args.gateway {
        let at = place(IpNet::from(*gateway))
            .ok_or_else(|| Failure::new(format!("no matching subnet for gateway {gateway}")))?;
        let config = &mut configs[at];
        if !config.gateway.is_empty() {
            return Err(Failure::new(format!(
                "cannot configure multiple gateways ({gateway}, {}) for the same subnet ({})",
                config.gateway, config.subnet
            )));
        }
        config.gateway = gateway.to_string();
    }
    for (name, address) in pairs::map(&args.aux_address) {
        let none = || Failure::new(format!("no matching subnet for aux-address {address}"));
        let parsed: IpAddr = address.parse().map_err(|_| none())?;
        let at = place(IpNet::from(parsed)).ok_or_else(none)?;
        configs[at].auxiliary_addresses.insert(name, address);
    }
    let options: Map = pairs::map(&args.ipam_opt);
    Ok(Ipam { driver: args.ipam_driver.clone(), options: Some(options), config: configs })
}

async fn create(session: &Session, args: CreateArgs) -> Outcome {
    let request = NetworkCreateRequest {
        ipam: Some(ipam(&args)?),
        name: args.name,
        driver: args.driver,
        scope: args.scope,
        enable_ipv4: args.ipv4,
        enable_ipv6: args.ipv6,
        internal: args.internal,
        attachable: args.attachable,
        ingress: args.ingress,
        config_only: args.config_only,
        config_from: args.config_from.map(|network| ConfigFrom { network }),
        options: pairs::map(&args.opt),
        labels: pairs::map(&args.label),
    };
    let created = session.client.network_create(&request).await?;
    if !created.warning.is_empty() {
        warn(format!("WARNING: {}", created.warning));
    }
    line(created.id)
}

async fn list(session: &Session, args: LsArgs) -> Outcome {
    let mut networks = session.client.networks(&filter::all(&args.filter)).await?;
    networks.sort_by(|a, b| natural::compare(&a.name, &b.name));
    let row = |network: Network| {
        let id = if args.no_trunc { network.id } else { short_id(&network.id) };
        Row::from([
            ("ID", id.into()),
            ("Name", network.name.into()),
            ("Driver", network.driver.into()),
            ("Scope", network.scope.into()),
            ("IPv4", network.enable_ipv4.to_string().into()),
            ("IPv6", network.enable_ipv6.to_string().into()),
            ("Internal", network.internal.to_string().into()),
            ("Labels", joined(&network.labels).into()),
            ("CreatedAt", moment(&network.created).into()),
        ])
    };
    let rows = networks.into_iter().map(row).collect();
    COLUMNS.show(&Shape { format: args.format, quiet: args.quiet }, rows)
}

const INGRESS_WARNING: &str = "WARNING! Before removing the routing-mesh network, make sure all the nodes in your swarm run the same engine version. Otherwise, removal may not be effective and functionality of newly create ingress networks will be impaired.\nAre you sure you want to continue?";

async fn remove(session: &Session, args: RmArgs) -> Outcome {
    let mut failed = false;
    for name in args.names {
        let ingress = session.client.network(&name).await.is_ok_and(|network| network.ingress);
        if ingress && !terminal::confirmed(INGRESS_WARNING)? {
            continue;
        }
        match session.client.network_remove(&name).await {
            Ok(()) => line(name)?,
            Err(error) if args.force && error.is_not_found() => {}
            Err(error) => {
                warn(Failure::from(error).to_string());
                failed = true;
            }
        }
    }
    // Docker's own last line.
    if failed { Err(Failure::with_status(EXIT_FAILURE, "exit status 1")) } else { Ok(()) }
}
