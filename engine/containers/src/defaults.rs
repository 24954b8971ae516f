//! What a container is where its maker says nothing: the daemon's own word, or else Docker's.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use skep_docker_api::ApiError;
use skep_docker_api::json::{HostConfig, Map};
use skep_engine::ContainerConfig;
use skep_engine::config::{Seccomp, Ulimit};

use crate::cdi::Cdi;
use crate::spec;

/// Docker's, in bytes.
const SHM_BYTES: i64 = 64 << 20;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    pub log_driver: String,
    /// Of that driver alone.
    pub log_options: Map,
    pub ulimits: Vec<Ulimit>,
    pub shm_bytes: i64,
    pub ipc_mode: String,
    pub cgroupns_mode: String,
    /// Whether an init of ours is a container's first process.
    pub init: bool,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// What `host-gateway` means; none: the default bridge's address.
    pub host_gateway: Option<IpAddr>,
    /// Where the devices of vendors are described.
    pub cdi: Cdi,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            log_driver: "json-file".to_owned(),
            log_options: Map::new(),
            ulimits: Vec::new(),
            shm_bytes: SHM_BYTES,
            ipc_mode: "private".to_owned(),
            cgroupns_mode: "private".to_owned(),
            init: false,
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            host_gateway: None,
            cdi: Cdi::default(),
        }
    }
}

impl Defaults {
    /// Writes into a new container's document what stays as it is when the daemon's word changes.
    pub fn fill(&self, host: &mut HostConfig) {
        let fill = |text: &mut String, default: &str| {
            if text.is_empty() {
                default.clone_into(text);
            }
        };
        let log = &mut host.log_config;
        fill(&mut log.kind, &self.log_driver);
        // Another driver's options would be refused by it.
        if log.kind == self.log_driver {
            for (option, value) in &self.log_options {
                log.config.entry(option.clone()).or_insert_with(|| value.clone());
            }
        }
        fill(&mut host.ipc_mode, &self.ipc_mode);
        fill(&mut host.cgroupns_mode, &self.cgroupns_mode);
        if host.shm_size == 0 {
            host.shm_size = self.shm_bytes;
        }
    }

    /// What a task's container has, whose spec has no word on most of it.
    ///
    /// # Errors
    /// The driver of logs takes no such option.
    pub fn apply(&self, made: &mut ContainerConfig) -> Result<(), ApiError> {
        (made.log_driver, made.log) = spec::log(&self.log_driver, &self.log_options)?;
        made.shm_bytes = u64::try_from(self.shm_bytes).unwrap_or(0);
        made.no_new_privileges = self.no_new_privileges;
        made.seccomp = self.seccomp.clone();
        self.add_ulimits(&mut made.ulimits);
        Ok(())
    }

    /// Those that the container has not set itself.
    pub(crate) fn add_ulimits(&self, own: &mut Vec<Ulimit>) {
        for ulimit in &self.ulimits {
            if own.iter().all(|it| it.name != ulimit.name) {
                own.push(ulimit.clone());
            }
        }
    }
}

/// What may be changed while the daemon runs. Its clones are one and the same.
#[derive(Debug, Default)]
pub struct Shared<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(value))))
    }

    /// As it is now.
    pub fn get(&self) -> Arc<T> {
        // A change is one assignment, so nobody leaves it half done.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Map {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_a_container_says_goes_before_the_daemon() {
        let defaults = Defaults {
            log_options: map(&[("max-size", "1m"), ("max-file", "2")]),
            shm_bytes: 1 << 20,
            ..Defaults::default()
        };
        let mut host = HostConfig::default();
        defaults.fill(&mut host);
        assert_eq!((host.log_config.kind.as_str(), host.shm_size), ("json-file", 1 << 20));
        assert_eq!(host.log_config.config, defaults.log_options);

        let mut host = HostConfig::default();
        host.log_config.kind = "json-file".to_owned();
        host.log_config.config = map(&[("max-size", "9m")]);
        host.shm_size = 7;
        defaults.fill(&mut host);
        assert_eq!(host.log_config.config, map(&[("max-size", "9m"), ("max-file", "2")]));
        assert_eq!(host.shm_size, 7);

        let mut host = HostConfig::default();
        host.log_config.kind = "syslog".to_owned();
        defaults.fill(&mut host);
        assert_eq!(host.log_config.config, Map::new(), "another driver's options are not its own");
    }

    #[test]
    fn limits_of_a_containers_own_stay() {
        let ulimit = |name: &str, soft| Ulimit { name: name.to_owned(), soft, hard: soft };
        let ulimits = vec![ulimit("nofile", 1), ulimit("nproc", 2)];
        let defaults = Defaults { ulimits, ..Defaults::default() };
        let mut own = vec![ulimit("nofile", 9)];
        defaults.add_ulimits(&mut own);
        assert_eq!(own, [ulimit("nofile", 9), ulimit("nproc", 2)]);
    }
}
