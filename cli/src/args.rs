//! The command line's grammar at its top: global flags and the groups of commands.

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::{network, node, payload, service, stack, swarm, system};
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
    /// Daemon socket to connect to
    #[arg(short = 'H', long, value_name = "HOST", global = false)]
    pub host: Option<String>,
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
    Daemon(DaemonArgs),
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
