//! From keys to the daemon's whole configuration.

use std::path::PathBuf;

use super::given::Given;
use super::{ConfigError, Settings, Source, api, network};
use crate::config::{CGROUP_PARENT, Config, DATA_ROOT, EXEC_ROOT, LogForm};

impl Config {
    /// Reads the file and puts it together with the flags.
    ///
    /// # Errors
    /// What is no option, or no value of one.
    pub fn read(source: Source) -> Result<Self, ConfigError> {
        let keys = source.keys()?;
        let mut made = Self {
            data_root: DATA_ROOT.into(),
            exec_root: EXEC_ROOT.into(),
            api: api::api_options(&keys)?,
            cgroup_parent: CGROUP_PARENT.into(),
            userns_remap: String::new(),
            id_maps: None,
            networks: network::network_options(&keys)?,
            settings: Settings::of(&keys)?,
            pidfile: None,
            log_form: LogForm::Text,
            metrics_addr: None,
            source,
        };
        for (key, value) in &keys {
            let given = Given { key, value };
            let path = || -> Result<PathBuf, ConfigError> {
                let path = PathBuf::from(given.text()?);
                if path.is_absolute() { Ok(path) } else { Err(given.wrong()) }
            };
            match key.as_str() {
                "data-root" => made.data_root = path()?,
                "exec-root" => made.exec_root = path()?,
                "cgroup-parent" => made.cgroup_parent = given.text()?.into(),
                "userns-remap" => given.text()?.clone_into(&mut made.userns_remap),
                "metrics-addr" if !given.text()?.is_empty() => {
                    made.metrics_addr = Some(given.text()?.parse().map_err(|_| given.wrong())?);
                }
                "pidfile" if !given.text()?.is_empty() => made.pidfile = Some(path()?),
                "log-format" => match given.text()? {
                    "" | "text" => {}
                    "json" => made.log_form = LogForm::Json,
                    other => {
                        return Err(ConfigError::Value(format!("invalid log format: {other}")));
                    }
                },
                "raw-logs" if given.truth()? && made.log_form == LogForm::Text => {
                    made.log_form = LogForm::Raw;
                }
                _ => {}
            }
        }
        Ok(made)
    }
}
