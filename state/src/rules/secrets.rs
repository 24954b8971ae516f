//! Secrets and configs: their content is fixed, and one that a service reads stays.

use std::sync::Arc;

use skep_types::{Config, Secret, Service, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::State;

pub fn check_secret(state: &State, delta: &Delta<Secret>) -> Result<(), Reason> {
    match (&delta.before, &delta.after) {
        (Some(removed), None) => {
            let users = users(state, |service| {
                let mut read = service.spec.task.container.secrets.iter();
                read.any(|reference| reference.secret_id == removed.id)
            });
            refuse_if_used("secret", &removed.spec.annotations.name, &users)
        }
        (_, Some(secret)) => {
            validate::secret_name(&secret.spec.annotations.name)?;
            validate::secret_data(&secret.spec.data.0)?;
            validate::labels(&secret.spec.annotations.labels)?;
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

pub fn check_config(state: &State, delta: &Delta<Config>) -> Result<(), Reason> {
    match (&delta.before, &delta.after) {
        (Some(removed), None) => {
            let users = users(state, |service| {
                let mut read = service.spec.task.container.configs.iter();
                read.any(|reference| reference.config_id == removed.id)
            });
            refuse_if_used("config", &removed.spec.annotations.name, &users)
        }
        (_, Some(config)) => {
            validate::secret_name(&config.spec.annotations.name)?;
            validate::config_data(&config.spec.data.0)?;
            validate::labels(&config.spec.annotations.labels)?;
            Ok(())
        }
        (None, None) => Ok(()),
    }
}

fn users(state: &State, reads: impl Fn(&Service) -> bool) -> Vec<&Arc<Service>> {
    state.services.iter().filter(|service| reads(service)).collect()
}

/// Docker's wording: names all the services, singular or plural.
fn refuse_if_used(kind: &'static str, name: &str, users: &[&Arc<Service>]) -> Result<(), Reason> {
    let names: Vec<&str> =
        users.iter().map(|service| service.spec.annotations.name.as_str()).collect();
    let noun = match names.len() {
        0 => return Ok(()),
        1 => "service",
        _ => "services",
    };
    let user = format!("the following {noun}: {}", names.join(", "));
    Err(Reason::InUse { kind, name: name.to_owned(), user })
}
