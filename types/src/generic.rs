//! Generic resources: means that an operator declares on a node (`gpu=UUID1`, `ssd=2`), and that
//! services reserve by kind and number. The rules and their words are SwarmKit's.

use std::collections::BTreeMap;

/// Means of one kind: one that has a name, or so many that have none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GenericResource {
    Named { kind: String, value: String },
    Discrete { kind: String, value: i64 },
}

/// What is wrong with `kind=value` terms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenericError {
    #[error("incorrect term {0}, missing '=' or malformed expression")]
    Term(String),
    #[error("cannot ask for negative resource {0}")]
    Negative(String),
    #[error("mixed discrete and named resources in expression '{kind}={values}'")]
    Mixed { kind: String, values: String },
}

impl GenericResource {
    pub fn kind(&self) -> &str {
        match self {
            Self::Named { kind, .. } | Self::Discrete { kind, .. } => kind,
        }
    }

    /// How many it is.
    pub fn amount(&self) -> i64 {
        match self {
            Self::Named { .. } => 1,
            Self::Discrete { value, .. } => *value,
        }
    }
}

/// Reads `kind=value` terms, by kind: one number is a count, words are names.
///
/// # Errors
/// A term that is none, a negative count, or a kind with both counts and names.
pub fn parse<'a>(
    terms: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<GenericResource>, GenericError> {
    let mut by_kind: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for term in terms {
        let mut parts = term.split('=').map(str::trim);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(kind), Some(value), None) if !kind.is_empty() && !value.is_empty() => {
                by_kind.entry(kind).or_default().push(value);
            }
            _ => return Err(GenericError::Term(term.to_owned())),
        }
    }
    let mut resources = Vec::new();
    for (kind, mut values) in by_kind {
        let kind = kind.to_owned();
        let number = |value: &str| value.parse::<i64>().ok();
        match *values {
            [only] if number(only).is_some() => {
                let value = number(only).unwrap_or_default();
                if value < 0 {
                    return Err(GenericError::Negative(kind));
                }
                resources.push(GenericResource::Discrete { kind, value });
            }
            _ if values.iter().any(|value| number(value).is_some()) => {
                return Err(GenericError::Mixed { kind, values: values.join(",") });
            }
            _ => {
                values.sort_unstable();
                values.dedup();
                let named = |value: &str| GenericResource::Named {
                    kind: kind.clone(),
                    value: value.to_owned(),
                };
                resources.extend(values.into_iter().map(named));
            }
        }
    }
    Ok(resources)
}

/// How many of a kind there are among these.
pub fn amount(resources: &[GenericResource], kind: &str) -> i64 {
    let of_kind = resources.iter().filter(|resource| resource.kind() == kind);
    of_kind.fold(0, |sum: i64, resource| sum.saturating_add(resource.amount()))
}

/// Takes what is reserved out of what a node has and nobody holds: by name where the kind has names.
///
/// None if there is not enough of a kind.
pub fn claim(
    has: &[GenericResource],
    held: &[GenericResource],
    reserved: &[GenericResource],
) -> Option<Vec<GenericResource>> {
    let mut claimed = Vec::new();
    for want in reserved {
        let (kind, count) = (want.kind(), want.amount());
        let named = |it: &&GenericResource| matches!(it, GenericResource::Named { .. });
        let of_kind = |it: &&GenericResource| it.kind() == kind;
        if has.iter().filter(of_kind).any(|it| named(&it)) {
            let count = usize::try_from(count).ok()?;
            let free = has.iter().filter(of_kind).filter(|it| !held.contains(it));
            let before = claimed.len();
            claimed.extend(free.take(count).cloned());
            if claimed.len() < before + count {
                return None;
            }
        } else if amount(has, kind).saturating_sub(amount(held, kind)) >= count {
            claimed.push(GenericResource::Discrete { kind: kind.to_owned(), value: count });
        } else {
            return None;
        }
    }
    Some(claimed)
}

/// What a container's environment tells of them: `DOCKER_RESOURCE_GPU=UUID1,UUID2`.
pub fn environment(resources: &[GenericResource]) -> Vec<String> {
    let mut by_kind: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for resource in resources {
        let value = match resource {
            GenericResource::Named { value, .. } => value.clone(),
            GenericResource::Discrete { value, .. } => value.to_string(),
        };
        by_kind.entry(resource.kind()).or_default().push(value);
    }
    let line = |(kind, values): (&str, Vec<String>)| {
        format!("DOCKER_RESOURCE_{}={}", kind.to_uppercase(), values.join(","))
    };
    by_kind.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<GenericResource> {
        parse(text.split_whitespace()).unwrap()
    }

    #[test]
    fn terms_are_read() {
        let gpu = |value: &str| GenericResource::Named { kind: "gpu".into(), value: value.into() };
        let ssd = GenericResource::Discrete { kind: "ssd".into(), value: 2 };
        assert_eq!(read("gpu=B ssd=2 gpu=A gpu=B"), [gpu("A"), gpu("B"), ssd]);
        for (text, expected) in [
            ("gpu", "incorrect term gpu, missing '=' or malformed expression"),
            ("a=b=c", "incorrect term a=b=c, missing '=' or malformed expression"),
            ("=1", "incorrect term =1, missing '=' or malformed expression"),
            ("ssd=-1", "cannot ask for negative resource ssd"),
            ("gpu=1 gpu=A", "mixed discrete and named resources in expression 'gpu=1,A'"),
            ("gpu=1 gpu=2", "mixed discrete and named resources in expression 'gpu=1,2'"),
        ] {
            let error = parse(text.split_whitespace()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_is_held_is_not_claimed_again() {
        let has = read("gpu=A gpu=B gpu=C ssd=3");
        for (held, reserved, expected) in [
            ("", "gpu=2 ssd=1", Some("gpu=A gpu=B ssd=1")),
            ("gpu=A", "gpu=2", Some("gpu=B gpu=C")),
            ("gpu=A gpu=B", "gpu=2", None),
            ("ssd=2", "ssd=1", Some("ssd=1")),
            ("ssd=2", "ssd=2", None),
            // Held of a node that has it no more: it counts for nothing.
            ("gpu=X", "gpu=3", Some("gpu=A gpu=B gpu=C")),
            ("", "fpga=1", None),
        ] {
            let claimed = claim(&has, &read(held), &read(reserved));
            assert_eq!(claimed, expected.map(read), "{held} / {reserved}");
        }
    }

    #[test]
    fn the_environment_tells_them() {
        let lines = environment(&read("gpu=A gpu=B ssd=2"));
        assert_eq!(lines, ["DOCKER_RESOURCE_GPU=A,B", "DOCKER_RESOURCE_SSD=2"]);
    }
}
