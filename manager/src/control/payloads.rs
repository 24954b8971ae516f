//! Secrets and configs: their content is fixed once they are made.

use std::sync::Arc;

use skep_state::{Change, State};
use skep_types::{
    Annotations, Config, ConfigId, ConfigSpec, Meta, Payload, Revision, Secret, SecretId,
    SecretSpec, validate,
};

use super::{ControlError, Plan, plan};

pub fn create_secret(spec: SecretSpec, id: SecretId) -> Result<Plan, ControlError> {
    validate::secret_name(&spec.annotations.name)?;
    validate::labels(&spec.annotations.labels)?;
    validate::secret_data(&spec.data.0)?;
    let secret = Secret { id, meta: Meta::default(), spec };
    Ok(plan(id, Change::Create(Arc::new(secret))))
}

pub fn update_secret(
    state: &State,
    id: SecretId,
    revision: Revision,
    spec: SecretSpec,
) -> Result<Plan, ControlError> {
    let secret = state.secrets().get(id).ok_or_else(|| ControlError::not_found("secret", id))?;
    only_labels(&secret.spec.annotations, &spec.annotations, &secret.spec.data, &spec.data)?;
    let mut changed = Secret::clone(secret);
    changed.meta.revision = revision;
    changed.spec.annotations = spec.annotations;
    Ok(plan(id, Change::Update(Arc::new(changed))))
}

pub fn remove_secret(state: &State, id: SecretId) -> Result<Plan, ControlError> {
    state.secrets().get(id).ok_or_else(|| ControlError::not_found("secret", id))?;
    Ok(plan(id, Change::<Secret>::Remove(id, None)))
}

pub fn create_config(spec: ConfigSpec, id: ConfigId) -> Result<Plan, ControlError> {
    validate::secret_name(&spec.annotations.name)?;
    validate::labels(&spec.annotations.labels)?;
    validate::config_data(&spec.data.0)?;
    let config = Config { id, meta: Meta::default(), spec };
    Ok(plan(id, Change::Create(Arc::new(config))))
}

pub fn update_config(
    state: &State,
    id: ConfigId,
    revision: Revision,
    spec: ConfigSpec,
) -> Result<Plan, ControlError> {
    let config = state.configs().get(id).ok_or_else(|| ControlError::not_found("config", id))?;
    only_labels(&config.spec.annotations, &spec.annotations, &config.spec.data, &spec.data)?;
    let mut changed = Config::clone(config);
    changed.meta.revision = revision;
    changed.spec.annotations = spec.annotations;
    Ok(plan(id, Change::Update(Arc::new(changed))))
}

pub fn remove_config(state: &State, id: ConfigId) -> Result<Plan, ControlError> {
    state.configs().get(id).ok_or_else(|| ControlError::not_found("config", id))?;
    Ok(plan(id, Change::<Config>::Remove(id, None)))
}

/// An update may leave the content out or repeat it.
fn only_labels(
    old: &Annotations,
    new: &Annotations,
    old_data: &Payload,
    new_data: &Payload,
) -> Result<(), ControlError> {
    validate::labels(&new.labels)?;
    if old.name == new.name && (new_data.0.is_empty() || new_data == old_data) {
        return Ok(());
    }
    Err(ControlError::invalid("only updates to Labels are allowed"))
}
