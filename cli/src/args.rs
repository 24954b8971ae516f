//! The command line's grammar at its top: global flags and the groups of commands.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::{
    container, context, endpoint, image, inspect, login, manifest, network, node, payload, search,
    service, stack, swarm, system, volume,
};
use crate::daemon::DaemonArgs;

#[derive(Debug, Parser)]
#[command(
    name = "skep",
    about = "A swarm of containers on many hosts",
    override_usage = "skep [OPTIONS] COMMAND [ARG...]",
    disable_version_flag = true,
    disable_help_subcommand = true
)]
pub struct Cli {
    #[command(flatten)]
    pub asked: endpoint::Asked,
    /// Set the logging level ("debug", "info", "warn", "error", "fatal")
    #[arg(short, long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    pub log_level: LogLevel,
    /// Print version information and quit
    #[arg(short, long)]
    pub version: bool,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

fn level(text: &str) -> Result<LogLevel, String> {
    match text {
        "debug" => Ok(LogLevel::Debug),
        "info" => Ok(LogLevel::Info),
        "warn" => Ok(LogLevel::Warn),
        // A command ends at its first fatal error; there is nothing between.
        "error" | "fatal" => Ok(LogLevel::Error),
        _ => Err(format!("unable to parse logging level: {text}")),
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage Swarm
    #[command(subcommand)]
    Swarm(swarm::Command),
    /// Manage Swarm nodes
    #[command(subcommand)]
    Node(node::Command),
    /// Run the daemon
    Daemon(Box<DaemonArgs>),
    /// Manage Swarm services
    #[command(subcommand)]
    Service(service::Command),
    /// Manage Swarm stacks
    #[command(subcommand)]
    Stack(stack::Command),
    /// Manage Swarm secrets
    #[command(subcommand)]
    Secret(payload::SecretCommand),
    /// Manage Swarm configs
    #[command(subcommand)]
    Config(payload::ConfigCommand),
    /// Manage networks
    #[command(subcommand)]
    Network(network::Command),
    /// Manage images
    #[command(subcommand)]
    Image(image::Command),
    /// List images
    #[command(override_usage = "skep images [OPTIONS] [REPOSITORY[:TAG]]")]
    Images(image::list::LsArgs),
    /// Import the contents from a tarball to create a filesystem image
    #[command(override_usage = "skep import [OPTIONS] file|- [REPOSITORY[:TAG]]")]
    Import(image::transfer::ImportArgs),
    /// Load an image from a tar archive or STDIN
    Load(image::transfer::LoadArgs),
    /// Download an image from a registry
    #[command(override_usage = "skep pull [OPTIONS] NAME[:TAG|@DIGEST]")]
    Pull(image::transfer::PullArgs),
    /// Remove one or more images
    #[command(override_usage = "skep rmi [OPTIONS] IMAGE [IMAGE...]")]
    Rmi(image::RmArgs),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    #[command(override_usage = "skep save [OPTIONS] IMAGE [IMAGE...]")]
    Save(image::transfer::SaveArgs),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    #[command(override_usage = "skep tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]")]
    Tag(image::TagArgs),
    /// Manage containers
    #[command(subcommand)]
    Container(Box<container::Command>),
    /// Manage volumes
    #[command(subcommand)]
    Volume(volume::Command),
    /// Manage Docker
    #[command(subcommand)]
    System(system::Command),
    /// Manage contexts
    #[command(subcommand)]
    Context(context::Command),
    /// Create and run a new container from an image
    #[command(
        disable_help_flag = true,
        override_usage = "skep run [OPTIONS] IMAGE [COMMAND] [ARG...]"
    )]
    Run(Box<container::run::RunArgs>),
    /// Create a new container
    #[command(
        disable_help_flag = true,
        override_usage = "skep create [OPTIONS] IMAGE [COMMAND] [ARG...]"
    )]
    Create(Box<container::create::CreateArgs>),
    /// Execute a command in a running container
    #[command(override_usage = "skep exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
    Exec(container::exec::ExecArgs),
    /// List containers
    Ps(container::list::LsArgs),
    /// Attach local standard input, output, and error streams to a running container
    #[command(override_usage = "skep attach [OPTIONS] CONTAINER")]
    Attach(container::attach::AttachArgs),
    /// Create a new image from a container's changes
    #[command(override_usage = "skep commit [OPTIONS] CONTAINER [REPOSITORY[:TAG]]")]
    Commit(container::small::CommitArgs),
    /// Copy files/folders between a container and the local filesystem
    #[command(
        override_usage = "skep cp [OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tskep cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH"
    )]
    Cp(container::copy::CopyArgs),
    /// Inspect changes to files or directories on a container's filesystem
    #[command(override_usage = "skep diff CONTAINER")]
    Diff(container::small::DiffArgs),
    /// Get real time events from the server
    Events(system::events::EventsArgs),
    /// Export a container's filesystem as a tar archive
    #[command(override_usage = "skep export [OPTIONS] CONTAINER")]
    Export(container::small::ExportArgs),
    /// Show the history of an image
    #[command(override_usage = "skep history [OPTIONS] IMAGE")]
    History(image::history::HistoryArgs),
    /// Return low-level information on Docker objects
    #[command(override_usage = "skep inspect [OPTIONS] NAME|ID [NAME|ID...]")]
    Inspect(inspect::InspectArgs),
    /// Kill one or more running containers
    #[command(override_usage = "skep kill [OPTIONS] CONTAINER [CONTAINER...]")]
    Kill(container::life::KillArgs),
    /// Authenticate to a registry
    #[command(override_usage = "skep login [OPTIONS] [SERVER]")]
    Login(login::LoginArgs),
    /// Log out from a registry
    #[command(override_usage = "skep logout [SERVER]")]
    Logout(login::LogoutArgs),
    /// Manage Docker image manifests and manifest lists
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Fetch the logs of a container
    #[command(override_usage = "skep logs [OPTIONS] CONTAINER")]
    Logs(container::small::LogsArgs),
    /// Pause all processes within one or more containers
    #[command(override_usage = "skep pause CONTAINER [CONTAINER...]")]
    Pause(container::life::Names),
    /// List port mappings or a specific mapping for the container
    #[command(override_usage = "skep port CONTAINER [PRIVATE_PORT[/PROTO]]")]
    Port(container::small::PortArgs),
    /// Upload an image to a registry
    #[command(override_usage = "skep push [OPTIONS] NAME[:TAG]")]
    Push(image::transfer::PushArgs),
    /// Rename a container
    #[command(override_usage = "skep rename CONTAINER NEW_NAME")]
    Rename(container::life::RenameArgs),
    /// Restart one or more containers
    #[command(override_usage = "skep restart [OPTIONS] CONTAINER [CONTAINER...]")]
    Restart(container::life::StopArgs),
    /// Remove one or more containers
    #[command(override_usage = "skep rm [OPTIONS] CONTAINER [CONTAINER...]")]
    Rm(container::life::RmArgs),
    /// Search Docker Hub for images
    #[command(override_usage = "skep search [OPTIONS] TERM")]
    Search(search::SearchArgs),
    /// Start one or more stopped containers
    #[command(override_usage = "skep start [OPTIONS] CONTAINER [CONTAINER...]")]
    Start(container::start::StartArgs),
    /// Display a live stream of container(s) resource usage statistics
    #[command(override_usage = "skep stats [OPTIONS] [CONTAINER...]")]
    Stats(container::stats::StatsArgs),
    /// Stop one or more running containers
    #[command(override_usage = "skep stop [OPTIONS] CONTAINER [CONTAINER...]")]
    Stop(container::life::StopArgs),
    /// Display the running processes of a container
    #[command(override_usage = "skep top CONTAINER [ps OPTIONS]")]
    Top(container::small::TopArgs),
    /// Unpause all processes within one or more containers
    #[command(override_usage = "skep unpause CONTAINER [CONTAINER...]")]
    Unpause(container::life::Names),
    /// Update configuration of one or more containers
    #[command(override_usage = "skep update [OPTIONS] CONTAINER [CONTAINER...]")]
    Update(container::update::UpdateArgs),
    /// Block until one or more containers stop, then print their exit codes
    #[command(override_usage = "skep wait CONTAINER [CONTAINER...]")]
    Wait(container::life::Names),
    /// Display system-wide information
    Info(system::InfoArgs),
    /// Show the skep version information
    Version(system::VersionArgs),
    /// Write a script that completes commands in a shell
    Completion {
        /// bash, zsh or fish
        #[arg(value_name = "SHELL", value_parser = shell)]
        shell: Shell,
    },
}

fn shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err("expected bash, zsh or fish".into()),
    }
}
