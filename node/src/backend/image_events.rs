//! What happens to images, told with the attributes that Docker gives.

use skep_docker_api::Events;
use skep_docker_api::json::Map;
use skep_images::{Digest, Reference, Removed, Store};

use super::DaemonBackend;

/// Tells of images; a flow that outlives its call holds one.
#[derive(Clone)]
pub struct ImageEvents {
    pub events: Events,
    pub images: Store,
}

impl ImageEvents {
    /// An image's labels; none where it is gone.
    async fn labels(&self, name: &str) -> Map {
        match self.images.inspect(name).await {
            Ok(image) => image.config.labels,
            Err(_) => Map::new(),
        }
    }

    /// What happened to an image that is known by `id`; its labels are told too.
    pub async fn tell(&self, action: &str, id: &str, name: &str) {
        let attributes = self.labels(id).await;
        self.publish(action, id, name, attributes);
    }

    /// Pulled or pushed: told by the name that was asked for.
    pub async fn tell_moved(&self, action: &str, reference: &Reference) {
        self.tell(action, &reference.familiar(), &reference.familiar_name()).await;
    }

    /// What a removal did to the image `id`, whose labels were read before.
    pub fn tell_removed(&self, id: Digest, labels: &Map, removed: &[Removed]) {
        let text = id.to_string();
        for step in removed {
            match step {
                Removed::Untagged(_) => self.publish("untag", &text, &text, labels.clone()),
                // A layer's going is shown to whoever removed it and has no event.
                Removed::Deleted(digest) if *digest != id => {}
                Removed::Deleted(_) => self.publish("delete", &text, &text, Map::new()),
            }
        }
    }

    fn publish(&self, action: &str, id: &str, name: &str, mut attributes: Map) {
        attributes.insert("name".to_owned(), name.to_owned());
        self.events.publish("image", action, id, attributes);
    }
}

impl DaemonBackend {
    pub(super) fn image_events(&self) -> ImageEvents {
        ImageEvents { events: self.events.clone(), images: self.engine.images().clone() }
    }
}
