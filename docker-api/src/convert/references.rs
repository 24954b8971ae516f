//! The secrets and configs that a container reads as files.

use skep_types::container::{ConfigReference, FileTarget, SecretReference};

use super::{Answer, unsupported};
use crate::error::ApiError;
use crate::json;

/// All permission bits, with setuid, setgid and sticky.
const MODE_MAX: u32 = 0o7777;

/// A file's mode: Go's higher bits (kinds of files) have no place in a spec.
pub(super) fn mode(mode: u32, file: &str) -> Answer<u32> {
    if mode > MODE_MAX {
        return Err(ApiError::invalid(format!(
            "invalid mode {mode:#o} of {file}: expected at most {MODE_MAX:#o}"
        )));
    }
    Ok(mode)
}

fn target(file: &json::FileTarget) -> Answer<FileTarget> {
    Ok(FileTarget {
        name: file.name.clone(),
        uid: file.uid.clone(),
        gid: file.gid.clone(),
        mode: mode(file.mode, &file.name)?,
    })
}

fn file(target: &FileTarget) -> json::FileTarget {
    json::FileTarget {
        name: target.name.clone(),
        uid: target.uid.clone(),
        gid: target.gid.clone(),
        mode: target.mode,
    }
}

pub(super) fn secret_from_api(reference: &json::SecretReference) -> Answer<SecretReference> {
    let Some(file) = &reference.file else {
        return Err(ApiError::invalid("malformed secret reference, no target"));
    };
    let id = reference.secret_id.parse().map_err(|_| {
        ApiError::invalid(format!("malformed secret reference: {:?}", reference.secret_id))
    })?;
    Ok(SecretReference {
        secret_id: id,
        secret_name: reference.secret_name.clone(),
        target: target(file)?,
    })
}

pub(super) fn secret_to_api(reference: &SecretReference) -> json::SecretReference {
    json::SecretReference {
        file: Some(file(&reference.target)),
        secret_id: reference.secret_id.to_string(),
        secret_name: reference.secret_name.clone(),
    }
}

pub(super) fn config_from_api(reference: &json::ConfigReference) -> Answer<ConfigReference> {
    let file = match (&reference.file, &reference.runtime) {
        (Some(file), None) => file,
        (None, None) => {
            return Err(ApiError::invalid("invalid Config: either File or Runtime should be set"));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::invalid("invalid Config: cannot specify both File and Runtime"));
        }
        (None, Some(_)) => {
            let name = &reference.config_name;
            return Err(unsupported(format!("config {name}: a Runtime target")));
        }
    };
    let id = reference.config_id.parse().map_err(|_| {
        ApiError::invalid(format!("malformed config reference: {:?}", reference.config_id))
    })?;
    Ok(ConfigReference {
        config_id: id,
        config_name: reference.config_name.clone(),
        target: target(file)?,
    })
}

pub(super) fn config_to_api(reference: &ConfigReference) -> json::ConfigReference {
    json::ConfigReference {
        file: Some(file(&reference.target)),
        runtime: None,
        config_id: reference.config_id.to_string(),
        config_name: reference.config_name.clone(),
    }
}
