//! The image of a task: what the node has, or else what its registry gives.

use skep_docker_api::json::RegistryAuth;
use skep_images::{Auth, Error, Image, PullOptions, Reference, RegistryConfig, Store};
use skep_proto::convert::NodeTask;
use skep_types::{Payload, error_chain};

use super::refused;
use crate::executor::ExecutorError;

/// Which registries are spoken to how.
pub type Registries = RegistryConfig;

/// The login that came with a service.
fn login(kept: &Payload) -> Result<Option<Auth>, ExecutorError> {
    let unusable = || refused("the login that came with the service is malformed");
    let text = std::str::from_utf8(&kept.0).map_err(|_| unusable())?;
    let auth = RegistryAuth::from_header(text).map_err(|_| unusable())?;
    Ok(auth.map(skep_containers::registry_login).transpose().map_err(refused)?.flatten())
}

/// Has the image of a task ready on this node.
pub async fn ready(
    images: &Store,
    registries: &Registries,
    task: &NodeTask,
) -> Result<Image, ExecutorError> {
    let name = &task.spec.container.image;
    match images.inspect(name).await {
        Ok(image) => return Ok(image),
        Err(Error::NoSuchImage(_)) => {}
        Err(error) => return Err(refused(error)),
    }
    let reference: Reference = name.parse().map_err(refused)?;
    let auth = login(&task.spec.container.registry_auth)?;
    let options = PullOptions { registries: registries.clone(), auth, ..PullOptions::default() };
    tracing::info!(task = %task.id, image = name, "pulling");
    let pulled = images.pull(&reference, &options).await.map_err(|error| {
        tracing::warn!(image = name, %error, "failed to pull");
        // Docker's words; what the registry said stands beside them.
        refused(format!("No such image: {name}: {}", error_chain(&error)))
    })?;
    images.inspect(&pulled.id.to_string()).await.map_err(refused)
}
