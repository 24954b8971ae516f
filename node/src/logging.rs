//! Where the daemon's log goes: standard error, as text or JSON.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogForm};

/// Changes what is said while the daemon runs.
pub type Refilter = Box<dyn Fn(&str) -> anyhow::Result<()> + Send + Sync>;

/// Begins to log, once in a process.
///
/// # Errors
/// The filter is not one.
pub fn init(config: &Config) -> anyhow::Result<Refilter> {
    let filter = read(&config.settings.log_filter())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let (done, refilter): (_, Refilter) = match config.log_form {
        LogForm::Json => {
            let builder = builder.json().with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |to| Ok(handle.reload(read(to)?)?)))
        }
        form => {
            use std::io::IsTerminal as _;
            // Colours are for people.
            let ansi = form == LogForm::Text && std::io::stderr().is_terminal();
            let builder = builder.with_ansi(ansi).with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |to| Ok(handle.reload(read(to)?)?)))
        }
    };
    done.map_err(|error| anyhow::anyhow!("failed to begin logging: {error}"))?;
    Ok(refilter)
}

fn read(filter: &str) -> anyhow::Result<EnvFilter> {
    filter.parse().with_context(|| format!("malformed log filter {filter:?}"))
}
