//! The digest that a service's tag stands for when the service is made: with it in the spec all nodes
//! run the same, whenever they pull.

use skep_docker_api::Client;
use skep_docker_api::json::{PlacementPlatform, RegistryAuth, ServiceSpec};

use crate::values::image;

/// Asks the registry, through the daemon, and notes digest and platforms in the spec. What cannot be
/// asked is left as it is, with a warning in Docker's words.
pub async fn image(
    client: &Client,
    spec: &mut ServiceSpec,
    auth: Option<&RegistryAuth>,
) -> Option<String> {
    let container = spec.task_template.container_spec.as_mut()?;
    let name = container.image.clone();
    // An id names what nodes have, and no registry.
    if name.is_empty() || name.contains('@') || image::is_id(&name) {
        return None;
    }
    let Ok(found) = client.distribution(&name, auth).await else {
        return Some(format!(
            "image {name} could not be accessed on a registry to record\n\
             its digest. Each node will access {name} independently,\n\
             possibly leading to different nodes running different\n\
             versions of the image.\n"
        ));
    };
    container.image = format!("{name}@{}", found.descriptor.digest);
    if !found.platforms.is_empty() {
        let platforms = found.platforms.into_iter().map(|platform| PlacementPlatform {
            architecture: platform.architecture,
            os: platform.os,
        });
        let placement = spec.task_template.placement.get_or_insert_default();
        placement.platforms = platforms.collect();
    }
    None
}
