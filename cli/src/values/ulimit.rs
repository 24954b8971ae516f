//! `--ulimit name=soft[:hard]`.

use skep_docker_api::json::Ulimit;

pub fn parse(text: &str) -> Result<Ulimit, String> {
    let invalid = || format!("invalid ulimit argument: {text}");
    let (name, value) = text.split_once('=').ok_or_else(invalid)?;
    const NAMES: [&str; 16] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
        "as",
    ];
    if !NAMES.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let number = |text: &str| text.parse::<i64>().map_err(|_| invalid());
    let (soft, hard) = match value.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(value)?, number(value)?),
    };
    if hard != -1 && (soft > hard || soft == -1) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(Ulimit { name: name.into(), hard, soft })
}

/// Of a name given twice the last counts; in the order of names.
pub fn distinct(list: &[Ulimit]) -> Vec<Ulimit> {
    let by_name: std::collections::BTreeMap<&str, &Ulimit> =
        list.iter().map(|one| (one.name.as_str(), one)).collect();
    by_name.into_values().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        let limit = parse("nofile=1024:2048").unwrap();
        assert_eq!((limit.soft, limit.hard), (1024, 2048));
        assert_eq!(parse("core=-1").unwrap().soft, -1);
        assert!(
            parse("nofile=3:2").is_err() && parse("nope=1").is_err() && parse("nofile").is_err()
        );
    }
}
