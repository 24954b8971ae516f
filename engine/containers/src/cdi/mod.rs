//! Devices of vendors, by the Container Device Interface: files of a host describe them
//! (`/etc/cdi/vendor.yaml`), and a container asks for them by name.
//!
//! Not here: what a driver does that is a program of its own, such as NVIDIA's older hook.

mod inject;
mod registry;
mod request;
mod spec;

use std::path::PathBuf;

use skep_docker_api::json::DeviceRequest;
use skep_engine::ContainerConfig;

pub use registry::Registry;

/// The interface's own, the later before the earlier.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// Where a host's devices are described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cdi {
    /// Whether there are such devices at all.
    pub enabled: bool,
    pub directories: Vec<PathBuf>,
}

impl Default for Cdi {
    fn default() -> Self {
        Self { enabled: true, directories: DIRECTORIES.map(PathBuf::from).to_vec() }
    }
}

impl Cdi {
    /// The devices there are now: files may come and go while the daemon runs.
    pub fn registry(&self) -> Registry {
        match self.enabled {
            true => Registry::read(&self.directories),
            false => Registry::default(),
        }
    }

    /// Gives a container the devices that it asks of drivers.
    ///
    /// # Errors
    /// No driver knows a request, or a device cannot be given; in Docker's words.
    pub fn give(&self, requests: &[DeviceRequest], to: &mut ContainerConfig) -> Result<(), String> {
        if requests.is_empty() {
            return Ok(());
        }
        let registry = self.registry();
        for request in requests {
            let names = request::names(request, self, &registry)?;
            if names.is_empty() {
                continue;
            }
            let failed = |why: String| format!("CDI device injection failed: {why}");
            if self.directories.is_empty() {
                return Err(failed("no CDI specification directories specified".to_owned()));
            }
            let edits = registry.edits(&names).map_err(|why| {
                for (path, error) in &registry.errors {
                    tracing::warn!(path = %path.display(), error, "a description of devices is none");
                }
                failed(why)
            })?;
            inject::apply(&edits, to)
                .map_err(|why| failed(format!("failed to inject devices: {why}")))?;
        }
        Ok(())
    }
}
