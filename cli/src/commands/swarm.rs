//! `skep swarm`: make, join, leave and set up the cluster.

use clap::{Args, Subcommand};
use skep_docker_api::json::{
    RotateTokens, SwarmInitRequest, SwarmJoinRequest, SwarmSpec, SwarmUnlockRequest,
};

use super::Session;
use crate::failure::{Failure, Outcome};
use crate::output::line;
use crate::values::{address, duration};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Display the root CA
    Ca,
    /// Initialize a swarm
    Init(Box<InitArgs>),
    /// Join a swarm as a node and/or manager
    #[command(override_usage = "skep swarm join [OPTIONS] HOST:PORT")]
    Join(JoinArgs),
    /// Manage join tokens
    #[command(override_usage = "skep swarm join-token [OPTIONS] (worker|manager)")]
    JoinToken(JoinTokenArgs),
    /// Leave the swarm
    Leave {
        /// Force this node to leave the swarm, ignoring warnings
        #[arg(short, long)]
        force: bool,
    },
    /// Unlock swarm
    Unlock,
    /// Manage the unlock key
    UnlockKey(UnlockKeyArgs),
    /// Update the swarm
    Update(UpdateArgs),
}

/// Settings of the whole swarm; what is not said stays as it is.
#[derive(Debug, Args)]
pub struct SpecArgs {
    /// Validity period for node certificates (ns|us|ms|s|m|h) (default 2160h0m0s)
    #[arg(long, value_name = "duration", value_parser = duration::parse, allow_hyphen_values = true)]
    cert_expiry: Option<i64>,
    /// Dispatcher heartbeat period (ns|us|ms|s|m|h) (default 5s)
    #[arg(long, value_name = "duration", value_parser = duration::parse, allow_hyphen_values = true)]
    dispatcher_heartbeat: Option<i64>,
    /// Number of additional Raft snapshots to retain
    #[arg(long, value_name = "uint")]
    max_snapshots: Option<u64>,
    /// Number of log entries between Raft snapshots (default 10000)
    #[arg(long, value_name = "uint")]
    snapshot_interval: Option<u64>,
    /// Task history retention limit (default 5)
    #[arg(long, value_name = "int", allow_hyphen_values = true)]
    task_history_limit: Option<i64>,
}

impl SpecArgs {
    fn apply(&self, spec: &mut SwarmSpec) {
        if let Some(nanos) = self.cert_expiry {
            spec.ca_config.node_cert_expiry_ns = nanos;
        }
        if let Some(nanos) = self.dispatcher_heartbeat {
            spec.dispatcher.heartbeat_period_ns = nanos;
        }
        if self.max_snapshots.is_some() {
            spec.raft.keep_old_snapshots = self.max_snapshots;
        }
        if let Some(entries) = self.snapshot_interval {
            spec.raft.snapshot_interval = entries;
        }
        if self.task_history_limit.is_some() {
            spec.orchestration.task_history_retention_limit = self.task_history_limit;
        }
    }

    fn is_empty(&self) -> bool {
        self.cert_expiry.is_none()
            && self.dispatcher_heartbeat.is_none()
            && self.max_snapshots.is_none()
            && self.snapshot_interval.is_none()
            && self.task_history_limit.is_none()
    }
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// Advertised address (format: "<ip|interface>[:port]")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    advertise_addr: String,
    /// Enable manager autolocking (requiring an unlock key to start a stopped manager)
    #[arg(long)]
    autolock: bool,
    /// Availability of the node ("active", "pause", "drain") (default "active")
    #[arg(long, value_name = "string")]
    availability: Option<String>,
    /// Address or interface to use for data path traffic (format: "<ip|interface>")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    data_path_addr: String,
    /// Port number to use for data path traffic (1024 - 49151). If no value is set or is set to 0, the default port (4789) is used.
    #[arg(long, value_name = "uint32", default_value_t = 0, hide_default_value = true)]
    data_path_port: u32,
    /// default address pool in CIDR format
    #[arg(long, value_name = "ipNetSlice", value_parser = address::pool, value_delimiter = ',')]
    default_addr_pool: Vec<String>,
    /// default address pool subnet mask length (default 24)
    #[arg(long, value_name = "uint32", default_value_t = 24, hide_default_value = true)]
    default_addr_pool_mask_length: u32,
    /// Force create a new cluster from current state
    #[arg(long)]
    force_new_cluster: bool,
    /// Listen address (format: "<ip|interface>[:port]") (default 0.0.0.0:2377)
    #[arg(long, value_name = "node-addr", default_value = LISTEN, hide_default_value = true, value_parser = address::listen)]
    listen_addr: String,
    #[command(flatten)]
    spec: SpecArgs,
}

/// Where managers listen unless told otherwise (Docker's value).
const LISTEN: &str = "0.0.0.0:2377";

#[derive(Debug, Args)]
pub struct JoinArgs {
    /// Advertised address (format: "<ip|interface>[:port]")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    advertise_addr: String,
    /// Availability of the node ("active", "pause", "drain") (default "active")
    #[arg(long, value_name = "string")]
    availability: Option<String>,
    /// Address or interface to use for data path traffic (format: "<ip|interface>")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    data_path_addr: String,
    /// Listen address (format: "<ip|interface>[:port]") (default 0.0.0.0:2377)
    #[arg(long, value_name = "node-addr", default_value = LISTEN, hide_default_value = true, value_parser = address::listen)]
    listen_addr: String,
    /// Token for entry into the swarm
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    token: String,
    #[arg(value_name = "HOST:PORT", hide = true)]
    remote: String,
}

#[derive(Debug, Args)]
pub struct JoinTokenArgs {
    /// Only display token
    #[arg(short, long)]
    quiet: bool,
    /// Rotate join token
    #[arg(long)]
    rotate: bool,
    #[arg(value_name = "ROLE", hide = true)]
    role: String,
}

#[derive(Debug, Args)]
pub struct UnlockKeyArgs {
    /// Only display token
    #[arg(short, long)]
    quiet: bool,
    /// Rotate unlock key
    #[arg(long)]
    rotate: bool,
}

#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Change manager autolocking setting (true|false)
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "bool")]
    autolock: Option<bool>,
    #[command(flatten)]
    spec: SpecArgs,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Worker,
    Manager,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        }
    }
}

pub async fn run(session: &Session, command: Command) -> Outcome {
    match command {
        Command::Ca => {
            let swarm = session.client.swarm_inspect().await?;
            match swarm.tls_info.trust_root.trim() {
                "" => Err(Failure::new("no CA information available")),
                root => line(root),
            }
        }
        Command::Init(args) => init(session, *args).await,
        Command::Join(args) => join(session, args).await,
        Command::JoinToken(args) => join_token(session, args).await,
        Command::Leave { force } => {
            session.client.swarm_leave(force).await?;
            line("Node left the swarm.")
        }
        Command::Unlock => unlock(session).await,
        Command::UnlockKey(args) => unlock_key(session, args).await,
        Command::Update(args) => update(session, args).await,
    }
}

fn availability(asked: Option<String>) -> Outcome<String> {
    let Some(asked) = asked else { return Ok(String::new()) };
    match asked.to_lowercase().as_str() {
        known @ ("active" | "pause" | "drain") => Ok(known.into()),
        _ => Err(Failure::new(format!(
            "invalid availability {asked:?}, only active, pause and drain are supported"
        ))),
    }
}

async fn init(session: &Session, args: InitArgs) -> Outcome {
    let mut spec = SwarmSpec::default();
    args.spec.apply(&mut spec);
    spec.encryption_config.auto_lock_managers = args.autolock;
    let request = SwarmInitRequest {
        listen_addr: args.listen_addr,
        advertise_addr: args.advertise_addr,
        data_path_addr: args.data_path_addr,
        data_path_port: args.data_path_port,
        force_new_cluster: args.force_new_cluster,
        spec,
        auto_lock_managers: args.autolock,
        availability: availability(args.availability)?,
        default_addr_pool: args.default_addr_pool,
        subnet_size: args.default_addr_pool_mask_length,
    };
    let node = session.client.swarm_init(&request).await.map_err(|error| {
        let mut failure = Failure::from(error);
        let choice = ["could not choose an IP address", "could not find the system's IP address"];
        if choice.iter().any(|words| failure.message.contains(words))
            && !failure.message.contains("--advertise-addr")
        {
            failure.message.push_str(" - specify one with --advertise-addr");
        }
        failure
    })?;
    line(format!("Swarm initialized: current node ({node}) is now a manager.\n"))?;
    show_join(session, &node, Role::Worker).await?;
    line(
        "To add a manager to this swarm, run 'skep swarm join-token manager' and follow the instructions.",
    )?;
    if args.autolock { show_key(session).await } else { Ok(()) }
}

async fn join(session: &Session, args: JoinArgs) -> Outcome {
    let request = SwarmJoinRequest {
        listen_addr: args.listen_addr,
        advertise_addr: args.advertise_addr,
        data_path_addr: args.data_path_addr,
        remote_addrs: vec![args.remote],
        join_token: args.token,
        availability: availability(args.availability)?,
    };
    session.client.swarm_join(&request).await?;
    let role = match session.client.info().await?.swarm.control_available {
        true => Role::Manager,
        false => Role::Worker,
    };
    line(format!("This node joined a swarm as a {}.", role.name()))
}

async fn join_token(session: &Session, args: JoinTokenArgs) -> Outcome {
    let role = match args.role.as_str() {
        "worker" => Role::Worker,
        "manager" => Role::Manager,
        other => return Err(Failure::new(format!("unknown role {other}"))),
    };
    let client = &session.client;
    if args.rotate {
        let swarm = client.swarm_inspect().await?;
        let rotate = RotateTokens {
            worker: role == Role::Worker,
            manager: role == Role::Manager,
            manager_unlock_key: false,
        };
        client.swarm_update(swarm.version.index, &swarm.spec, rotate).await?;
        if !args.quiet {
            line(format!("Successfully rotated {} join token.\n", role.name()))?;
        }
    }
    if args.quiet {
        let tokens = client.swarm_inspect().await?.join_tokens;
        return line(if role == Role::Worker { tokens.worker } else { tokens.manager });
    }
    let node = client.info().await?.swarm.node_id;
    show_join(session, &node, role).await
}

/// The command that brings another host in.
async fn show_join(session: &Session, node: &str, role: Role) -> Outcome {
    let node = session.client.node(node).await?;
    let tokens = session.client.swarm_inspect().await?.join_tokens;
    let token = if role == Role::Worker { tokens.worker } else { tokens.manager };
    let Some(manager) = node.manager_status else { return Ok(()) };
    line(format!(
        "To add a {} to this swarm, run the following command:\n\n    skep swarm join --token {token} {}\n",
        role.name(),
        manager.addr
    ))
}

async fn update(session: &Session, args: UpdateArgs) -> Outcome {
    if args.autolock.is_none() && args.spec.is_empty() {
        return Err(Failure::new(
            "nothing to update: name a setting, see 'skep swarm update --help'",
        ));
    }
    let swarm = session.client.swarm_inspect().await?;
    let mut spec = swarm.spec;
    let locked = spec.encryption_config.auto_lock_managers;
    args.spec.apply(&mut spec);
    if let Some(autolock) = args.autolock {
        spec.encryption_config.auto_lock_managers = autolock;
    }
    session.client.swarm_update(swarm.version.index, &spec, RotateTokens::default()).await?;
    line("Swarm updated.")?;
    if spec.encryption_config.auto_lock_managers && !locked {
        show_key(session).await
    } else {
        Ok(())
    }
}

/// The key that a manager asks for after it has been stopped.
async fn show_key(session: &Session) -> Outcome {
    match key(session).await?.as_str() {
        "" => Ok(()),
        key => line(format!(
            "To unlock a swarm manager after it restarts, run the `skep swarm unlock`\ncommand and provide the following key:\n\n    {key}\n\nRemember to store this key in a password manager, since without it you\nwill not be able to restart the manager."
        )),
    }
}

async fn key(session: &Session) -> Outcome<String> {
    let answer = session.client.swarm_unlock_key().await.map_err(|error| {
        Failure::new(format!("could not fetch unlock key: {}", Failure::from(error)))
    })?;
    Ok(answer.unlock_key)
}

async fn unlock_key(session: &Session, args: UnlockKeyArgs) -> Outcome {
    let client = &session.client;
    if args.rotate {
        let swarm = client.swarm_inspect().await?;
        if !swarm.spec.encryption_config.auto_lock_managers {
            return Err(Failure::new("cannot rotate because autolock is not turned on"));
        }
        let rotate = RotateTokens { manager_unlock_key: true, ..Default::default() };
        client.swarm_update(swarm.version.index, &swarm.spec, rotate).await?;
        if !args.quiet {
            line("Successfully rotated manager unlock key.\n")?;
        }
    }
    if args.quiet {
        return match key(session).await?.as_str() {
            "" => Err(Failure::new("no unlock key is set")),
            key => line(key),
        };
    }
    match key(session).await?.as_str() {
        "" => Err(Failure::new("no unlock key is set")),
        _ => show_key(session).await,
    }
}

async fn unlock(session: &Session) -> Outcome {
    let info = session.client.info().await?;
    match info.swarm.local_node_state.as_str() {
        "inactive" | "" => return Err(Failure::new("Error: This node is not part of a swarm")),
        "locked" => {}
        _ => return Err(Failure::new("Error: swarm is not locked")),
    }
    let unlock_key = crate::terminal::hidden("Please enter unlock key: ")?;
    Ok(session.client.swarm_unlock(&SwarmUnlockRequest { unlock_key }).await?)
}
