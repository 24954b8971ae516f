//! Each group of commands in a file of its own: its flags, its calls, its words.

pub mod network;
pub mod node;
pub mod node_show;
pub mod payload;
pub mod progress;
pub mod service;
pub mod stack;
pub mod swarm;
pub mod system;
pub mod tasks;

use skep_docker_api::Client;

use crate::args::{Cli, Command, LogLevel};
use crate::failure::Outcome;
use crate::{output, usage};

/// What every command is given.
pub struct Session {
    pub client: Client,
}

/// Said where `--with-registry-auth` is asked for, in the daemon's own words.
pub const REGISTRY_AUTH: &str =
    "registry credentials are not passed on: each node must be able to pull the image by itself";

pub async fn run(cli: Cli) -> Outcome {
    log(cli.log_level);
    let client = match &cli.host {
        Some(host) => Client::connect(host)?,
        None => Client::from_env()?,
    };
    let session = Session { client };
    match cli.command {
        Some(Command::Swarm(command)) => swarm::run(&session, command).await,
        Some(Command::Node(command)) => node::run(&session, command).await,
        Some(Command::Daemon(_)) => unreachable!("main runs the daemon on a runtime of its own"),
        Some(Command::Service(command)) => service::run(&session, command).await,
        Some(Command::Stack(command)) => stack::run(&session, command).await,
        Some(Command::Secret(command)) => payload::secret(&session, command).await,
        Some(Command::Config(command)) => payload::config(&session, command).await,
        Some(Command::Network(command)) => network::run(&session, command).await,
        Some(Command::Info(args)) => system::info(&session, args).await,
        Some(Command::Version(args)) => system::version(&session, args).await,
        Some(Command::Completion { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut usage::grammar(), "skep", &mut script);
            output::print(&String::from_utf8_lossy(&script))
        }
        None => Ok(()),
    }
}

fn log(level: LogLevel) {
    let level = match level {
        LogLevel::Debug => tracing_subscriber::filter::LevelFilter::DEBUG,
        LogLevel::Info => tracing_subscriber::filter::LevelFilter::INFO,
        LogLevel::Warn => tracing_subscriber::filter::LevelFilter::WARN,
        LogLevel::Error => tracing_subscriber::filter::LevelFilter::ERROR,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
}
