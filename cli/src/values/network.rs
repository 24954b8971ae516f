//! `--network NAME` or `--network name=NAME,alias=…,driver-opt=…`.

use skep_docker_api::json::NetworkAttachmentConfig;

use super::fields;

/// The target is a name or id as written; services want the id.
pub fn parse(text: &str) -> Result<NetworkAttachmentConfig, String> {
    let mut network = NetworkAttachmentConfig::default();
    if !fields::is_long(text) {
        network.target = text.into();
        return Ok(network);
    }
    for field in fields::split(text)? {
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field {field}"))?;
        let value = value.trim();
        match key.trim().to_lowercase().as_str() {
            "name" => network.target = value.into(),
            "alias" => network.aliases.push(value.into()),
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or("invalid key value pair format in driver options")?;
                network.driver_opts.insert(key.trim().into(), value.trim().into());
            }
            known @ ("ip" | "ip6" | "mac-address" | "link-local-ip" | "gw-priority") => {
                return Err(format!("field {known} is not supported for services"));
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if network.target.is_empty() {
        return Err("network name/id is not specified".into());
    }
    Ok(network)
}
