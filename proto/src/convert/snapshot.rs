//! The state as a snapshot's records, and back.
//!
//! **Invariant:** a state has one sequence of records, and the records give an equal state.

use std::sync::Arc;

use skep_state::State;
use skep_state::state::Objects;
use skep_types::{Revision, ServiceId, ServiceSpec};

use super::error::{At, ConvertError};
use super::field::{CompactId, part};
use crate::state;
use crate::state::object::Object;
use crate::state::record::Record;

/// Everything that stands, one record at a time, so that no second copy of the state is made.
pub fn records(view: &State) -> impl Iterator<Item = state::Record> + '_ {
    let objects = view
        .cluster()
        .map(|it| Object::Cluster((&**it).into()))
        .into_iter()
        .chain(view.nodes().iter().map(|it| Object::Node((&**it).into())))
        .chain(view.networks().iter().map(|it| Object::Network((&**it).into())))
        .chain(view.secrets().iter().map(|it| Object::Secret((&**it).into())))
        .chain(view.configs().iter().map(|it| Object::Config((&**it).into())))
        .chain(view.attachments().iter().map(|it| Object::Attachment((&**it).into())))
        .chain(view.services().iter().map(|it| Object::Service((&**it).into())))
        .map(|object| Record::Object(state::Object { object: Some(object) }));
    let specs = view.specs().map(|(service, version, spec)| {
        Record::Spec(state::RetainedSpec {
            service_id: service.to_bytes(),
            version: version.0,
            spec: Some((&**spec).into()),
        })
    });
    let tasks = view
        .tasks()
        .iter()
        .map(|it| Record::Object(state::Object { object: Some(Object::Task((&**it).into())) }));
    objects.chain(specs).chain(tasks).map(|record| state::Record { record: Some(record) })
}

/// Puts a record where it belongs among the objects of a snapshot.
///
/// # Errors
/// The record stands for nothing, or is a second cluster.
pub fn put_record(objects: &mut Objects, message: state::Record) -> Result<(), ConvertError> {
    match message.record {
        Some(Record::Object(object)) => put_object(objects, object).at("object"),
        Some(Record::Spec(spec)) => {
            objects.specs.push(retained(spec).at("spec")?);
            Ok(())
        }
        None => Err(ConvertError::missing()).at("record"),
    }
}

fn put_object(objects: &mut Objects, message: state::Object) -> Result<(), ConvertError> {
    match message.object {
        Some(Object::Cluster(it)) if objects.cluster.is_none() => {
            objects.cluster = Some(it.try_into().at("cluster")?);
        }
        Some(Object::Cluster(_)) => {
            return Err(ConvertError::unsupported("a second cluster")).at("cluster");
        }
        Some(Object::Node(it)) => objects.nodes.push(it.try_into().at("node")?),
        Some(Object::Service(it)) => objects.services.push(it.try_into().at("service")?),
        Some(Object::Task(it)) => objects.tasks.push(it.try_into().at("task")?),
        Some(Object::Network(it)) => objects.networks.push(it.try_into().at("network")?),
        Some(Object::Secret(it)) => objects.secrets.push(it.try_into().at("secret")?),
        Some(Object::Config(it)) => objects.configs.push(it.try_into().at("config")?),
        Some(Object::Attachment(it)) => {
            objects.attachments.push(it.try_into().at("attachment")?);
        }
        None => return Err(ConvertError::missing()),
    }
    Ok(())
}

fn retained(
    message: state::RetainedSpec,
) -> Result<(ServiceId, Revision, Arc<ServiceSpec>), ConvertError> {
    let service = ServiceId::from_bytes(&message.service_id, "service_id")?;
    Ok((service, Revision(message.version), Arc::new(part(message.spec, "spec")?)))
}
