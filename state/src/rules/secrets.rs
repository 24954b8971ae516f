//! Secrets and configs: their content is fixed, and one that a service reads stays.

use skep_types::{Config, Secret, validate};

use crate::event::Delta;
use crate::rejection::Reason;
use crate::state::{Named, State};

pub fn check_secret(state: &State, delta: &Delta<Secret>) -> Result<(), Reason> {
    match (&delta.before, &delta.after) {
        (Some(removed), None) => {
            let name = &removed.spec.annotations.name;
            refuse_if_used(state, "secret", name, Named::Secret(removed.id))
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
            let name = &removed.spec.annotations.name;
            refuse_if_used(state, "config", name, Named::Config(removed.id))
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

/// Docker's wording: names all the services, singular or plural.
fn refuse_if_used(
    state: &State,
    kind: &'static str,
    name: &str,
    named: Named,
) -> Result<(), Reason> {
    let names: Vec<&str> =
        state.services_naming(named).map(|it| it.spec.annotations.name.as_str()).collect();
    let noun = match names.len() {
        0 => return Ok(()),
        1 => "service",
        _ => "services",
    };
    let user = format!("the following {noun}: {}", names.join(", "));
    Err(Reason::InUse { kind, name: name.to_owned(), user })
}
