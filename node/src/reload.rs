//! SIGHUP: the file is read again, and what may change while the daemon runs is changed.
//!
//! Invariant: a file that is not whole changes nothing.

use std::sync::Arc;

use skep_containers::Shared;
use skep_docker_api::Events;
use skep_images::RegistryConfig;
use skep_types::error_chain;

use crate::config::Config;
use crate::config_file::{ConfigError, Settings};
use crate::logging::Refilter;

/// What may change, as it is now. Its clones are one and the same.
#[derive(Clone)]
pub struct Live {
    settings: Shared<Settings>,
    pub registries: Shared<RegistryConfig>,
    pub containers: Shared<skep_containers::Defaults>,
}

impl Live {
    pub fn new(settings: Settings) -> Self {
        Self {
            registries: Shared::new(settings.registries.clone()),
            containers: Shared::new(settings.containers.clone()),
            settings: Shared::new(settings),
        }
    }

    pub fn settings(&self) -> Arc<Settings> {
        self.settings.get()
    }

    fn set(&self, settings: Settings) {
        self.registries.set(settings.registries.clone());
        self.containers.set(settings.containers.clone());
        self.settings.set(settings);
    }
}

/// Who reloads.
pub struct Reload {
    pub live: Live,
    pub refilter: Refilter,
    pub events: Events,
    /// Whom the event is about.
    pub engine_id: String,
}

impl Reload {
    /// Reads the file again. What is wrong with it is logged.
    pub fn run(&self, config: &Config) {
        let file = config.source.file.display();
        let read = || -> Result<Settings, ConfigError> {
            // All of it must be sound, what waits for the next start too.
            Ok(Config::read(config.source.clone())?.settings)
        };
        let new = match read() {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(error = error_chain(&error), "failed to reload the configuration");
                return;
            }
        };
        let next = self.live.settings().reloaded(new);
        if let Err(error) = (self.refilter)(&next.log_filter()) {
            tracing::error!(error = format!("{error:#}"), "failed to change what is logged");
        }
        let mut attributes = next.attributes();
        self.live.set(next);
        tracing::info!(%file, "Got signal to reload configuration, reloaded");
        attributes.insert("name".to_owned(), crate::host::hostname());
        self.events.publish("daemon", "reload", &self.engine_id, attributes);
    }
}
