//! What a log keeps beside each line, and `--details` shows: labels and variables of the container
//! that its log options name.

use skep_docker_api::json::Map;

use crate::containers::{Containers, Result};
use crate::record::Record;

/// By the options `labels` and `env`, each a list between commas.
fn attributes(record: &Record) -> Map {
    let options = &record.host_config.log_config.config;
    let named = |option: &str| {
        let list = options.get(option).map(String::as_str).unwrap_or_default();
        list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let config = &record.config;
    let labels = named("labels").into_iter().filter_map(|name| {
        let value = config.labels.get(&name)?.clone();
        Some((name, value))
    });
    let variables = named("env").into_iter().filter_map(|name| {
        let mut all = config.env.iter().filter_map(|it| it.split_once('='));
        let (_, value) = all.find(|(key, _)| *key == name)?;
        Some((name, value.to_owned()))
    });
    labels.chain(variables).collect()
}

impl Containers {
    /// What is shown beside each line of a container's log.
    pub fn log_attributes(&self, given: &str) -> Result<Map> {
        Ok(self.find(given)?.with(attributes))
    }
}
