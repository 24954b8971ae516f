//! What went wrong in this node's engine, as the API says it.

use skep_containers::VolumeError;
use skep_docker_api::{ApiError, Kind};
use skep_images::{Error, Reference};
use skep_types::error_chain;

/// An image's name as Docker repeats it: with the tag that was meant.
fn meant(name: &str) -> String {
    match name.parse::<Reference>() {
        Ok(reference) => reference.tag_or_latest().familiar(),
        Err(_) => name.to_owned(),
    }
}

pub fn image(error: Error) -> ApiError {
    let kind = match &error {
        Error::NoSuchImage(name) => {
            return ApiError::not_found(format!("No such image: {}", meant(name)));
        }
        Error::Conflict(_) => Kind::Conflict,
        Error::Reference(_)
        | Error::Digest(_)
        | Error::Ambiguous(_)
        | Error::TooManyLayers
        | Error::Entry { .. }
        | Error::Archive(_)
        | Error::Mismatch { .. }
        | Error::RootfsMismatch
        | Error::Invalid { .. } => Kind::InvalidParameter,
        Error::NoMatchingPlatform { .. } | Error::WrongPlatform { .. } => Kind::NotFound,
        // What is not there and what may not be seen are one to a registry's caller.
        Error::Registry(text) if ["denied", "not found"].iter().any(|word| text.contains(word)) => {
            Kind::NotFound
        }
        _ => Kind::System,
    };
    ApiError::new(kind, error_chain(&error))
}

pub fn runtime(error: skep_engine::Error) -> ApiError {
    match error {
        skep_engine::Error::NoSuchContainer(id) => {
            ApiError::not_found(format!("No such container: {id}"))
        }
        error => ApiError::system(error_chain(&error)),
    }
}

pub fn volume(error: VolumeError) -> ApiError {
    let kind = match &error {
        VolumeError::Name(_) => Kind::InvalidParameter,
        VolumeError::Absent(_) => Kind::NotFound,
        VolumeError::Io { .. } | VolumeError::Malformed { .. } => Kind::System,
    };
    ApiError::new(kind, error_chain(&error))
}
