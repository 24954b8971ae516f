//! `--restart name[:count]`.

use skep_docker_api::json::RestartPolicyName;

pub fn parse(text: &str) -> Result<RestartPolicyName, String> {
    let (name, count) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() && text.starts_with(':') {
        return Err("invalid restart policy format: no policy provided before colon".into());
    }
    let maximum_retry_count = match count {
        "" => 0,
        _ => count.parse().map_err(|_| {
            "invalid restart policy format: maximum retry count must be an integer".to_owned()
        })?,
    };
    Ok(RestartPolicyName { name: name.into(), maximum_retry_count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let policy = parse("on-failure:3").unwrap();
        assert_eq!((policy.name.as_str(), policy.maximum_retry_count), ("on-failure", 3));
        assert_eq!(parse("always").unwrap().name, "always");
        assert!(parse(":3").is_err() && parse("on-failure:x").is_err());
    }
}
