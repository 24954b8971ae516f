//! Names of networks, secrets and configs to the ids that a spec holds.

use std::collections::BTreeSet;

use skep_docker_api::json::{ConfigReference, NetworkAttachmentConfig, SecretReference};
use skep_docker_api::{Client, Filters};

use crate::failure::{Failure, Outcome};
use crate::values::reference::Reference;

pub async fn network(client: &Client, name: &str) -> Outcome<String> {
    Ok(client.network(name).await?.id)
}

/// Attachments by id, in the order of their ids: Docker sorts them so that an update changes nothing by accident.
pub async fn networks(
    client: &Client,
    wanted: &[NetworkAttachmentConfig],
) -> Outcome<Vec<NetworkAttachmentConfig>> {
    let mut out = Vec::with_capacity(wanted.len());
    for one in wanted {
        let target = network(client, &one.target).await?;
        out.push(NetworkAttachmentConfig { target, ..one.clone() });
    }
    out.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(out)
}

fn distinct(wanted: &[Reference], kind: &str) -> Outcome {
    let mut targets = BTreeSet::new();
    match wanted.iter().find(|one| !targets.insert(&one.file.name)) {
        Some(twice) => {
            Err(Failure::new(format!("duplicate {kind} target for {} not allowed", twice.source)))
        }
        None => Ok(()),
    }
}

fn named(wanted: &[Reference]) -> Filters {
    let mut filters = Filters::default();
    wanted.iter().for_each(|one| filters.add("name", &one.source));
    filters
}

pub async fn secrets(client: &Client, wanted: &[Reference]) -> Outcome<Vec<SecretReference>> {
    distinct(wanted, "secret")?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // The filter takes what only begins with a name, too.
    let found = client.secrets(&named(wanted)).await?;
    wanted
        .iter()
        .map(|one| {
            let secret = found.iter().find(|secret| secret.spec.name == one.source);
            let secret =
                secret.ok_or_else(|| Failure::new(format!("secret not found: {}", one.source)))?;
            Ok(SecretReference {
                file: Some(one.file.clone()),
                secret_id: secret.id.clone(),
                secret_name: one.source.clone(),
            })
        })
        .collect()
}

pub async fn configs(client: &Client, wanted: &[Reference]) -> Outcome<Vec<ConfigReference>> {
    distinct(wanted, "config")?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let found = client.configs(&named(wanted)).await?;
    wanted
        .iter()
        .map(|one| {
            let config = found.iter().find(|config| config.spec.name == one.source);
            let config =
                config.ok_or_else(|| Failure::new(format!("config not found: {}", one.source)))?;
            Ok(ConfigReference {
                file: Some(one.file.clone()),
                config_id: config.id.clone(),
                config_name: one.source.clone(),
                runtime: None,
            })
        })
        .collect()
}
