//! Where the daemon's log goes: standard error, as text or JSON.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::Config;

/// Begins to log, once in a process.
///
/// # Errors
/// The filter is not one.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let filter: EnvFilter = config
        .log_filter
        .parse()
        .with_context(|| format!("malformed log filter {:?}", config.log_filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match config.log_json {
        true => builder.json().try_init(),
        false => builder.try_init(),
    };
    done.map_err(|error| anyhow::anyhow!("failed to begin logging: {error}"))
}
