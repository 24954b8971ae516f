//! What is told of containers when something happens to them, with Docker's attributes.

use skep_docker_api::Events;
use skep_docker_api::json::Map;

use crate::record::Record;

pub fn tell(events: &Events, record: &Record, action: &str, more: &[(&str, String)]) {
    let mut attributes: Map = record.config.labels.clone();
    attributes.insert("name".to_owned(), record.name.clone());
    attributes.insert("image".to_owned(), record.config.image.clone());
    attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    events.publish("container", action, &record.id, attributes);
}
