//! Flags about a container's files.

use clap::Args;
use skep_docker_api::json::{ContainerCreateRequest, Mount, Nothing};

use super::process::some;
use super::refuse;
use crate::failure::{Failure, Outcome};
use crate::values::volume::{self, Volume};
use crate::values::{mount, pairs};

#[derive(Debug, Args)]
pub struct StorageFlags {
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "mount", value_parser = mount::parse)]
    mount: Vec<Mount>,
    /// Storage driver options for the container
    #[arg(long, value_name = "list")]
    storage_opt: Vec<String>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "list")]
    tmpfs: Vec<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "list")]
    volume: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    volume_driver: String,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "list")]
    volumes_from: Vec<String>,
}

impl StorageFlags {
    pub fn apply(&self, request: &mut ContainerCreateRequest) -> Outcome {
        let ContainerCreateRequest { config, host_config: host, .. } = request;
        let mut binds: Vec<String> = Vec::new();
        let volumes = config.volumes.get_or_insert_default();
        for text in &self.volume {
            match volume::parse(text).map_err(Failure::new)? {
                Volume::Anonymous(target) => {
                    volumes.insert(target, Nothing {});
                }
                Volume::Bind(bind) if binds.contains(&bind) => {}
                Volume::Bind(bind) => binds.push(bind),
            }
        }
        host.binds = (!binds.is_empty()).then_some(binds);
        // What options say is judged where the mount is made.
        host.tmpfs = self
            .tmpfs
            .iter()
            .map(|text| {
                let (path, options) = text.split_once(':').unwrap_or((text, ""));
                (path.to_owned(), options.to_owned())
            })
            .collect();
        if self.storage_opt.iter().any(|option| !option.contains('=')) {
            return refuse("invalid storage option");
        }
        host.storage_opt = pairs::map(&self.storage_opt);
        host.mounts = self.mount.clone();
        host.volume_driver = self.volume_driver.clone();
        host.volumes_from = some(&self.volumes_from);
        Ok(())
    }
}
