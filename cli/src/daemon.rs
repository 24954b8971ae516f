//! `skep daemon`: the daemon's own flags, and the runtime that it runs on.

mod engine_flags;
mod listen_flags;
mod network_flags;

use std::path::PathBuf;

use clap::Args;
use skep_node::config::Config;
use skep_node::config_file::{CONFIG_FILE, Source};

use self::engine_flags::EngineFlags;
use self::listen_flags::ListenFlags;
use self::network_flags::NetworkFlags;
use crate::args::LogLevel;
use crate::failure::{Failure, Outcome};
use crate::output::line;

/// Run the daemon
#[derive(Debug, Args)]
pub struct DaemonArgs {
    /// File with the daemon's options, under Docker's keys
    #[arg(long, value_name = "PATH")]
    pub config_file: Option<PathBuf>,
    /// Validate daemon configuration and exit
    #[arg(long)]
    pub validate: bool,
    #[command(flatten)]
    pub engine: EngineFlags,
    #[command(flatten)]
    pub listen: ListenFlags,
    #[command(flatten)]
    pub networks: NetworkFlags,
    /// Write logs as JSON, one object a line
    #[arg(long, conflicts_with = "log_format")]
    pub log_json: bool,
}

/// Runs the daemon until it is told to stop.
pub fn run(args: DaemonArgs, level: LogLevel) -> Outcome {
    let mut flags = args.networks.keys();
    flags.extend(args.listen.keys());
    flags.extend(args.engine.keys());
    if args.log_json {
        flags.insert("log-format".to_owned(), "json".into());
    }
    // The flag may stand before the command too, where it is everybody's.
    let level = match level {
        LogLevel::Debug => Some("debug"),
        LogLevel::Info => None,
        LogLevel::Warn => Some("warn"),
        LogLevel::Error => Some("error"),
    };
    if let Some(level) = level {
        flags.entry("log-level").or_insert(level.into());
    }
    let named = args.config_file.is_some();
    let file = args.config_file.unwrap_or_else(|| CONFIG_FILE.into());
    let config = Config::read(Source { flags, file, named })
        .map_err(|error| Failure::new(error.to_string()))?;
    if args.validate {
        return line("configuration OK");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("failed to start the runtime: {error}")))?;
    let refilter =
        skep_node::logging::init(&config).map_err(|error| Failure::new(format!("{error:#}")))?;
    let done = runtime.block_on(skep_node::daemon::run(config, refilter));
    done.map_err(|error| Failure::new(format!("failed to run the daemon: {error:#}")))
}
