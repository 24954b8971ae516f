//! Rules that hold for what users give, whichever door it comes in by; the wording is Docker's.

use std::collections::BTreeMap;

use crate::defaults;

/// What is wrong with something a user gave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("name must be provided")]
    NoName,
    #[error("name must be valid as a DNS name component")]
    NotADnsLabel,
    #[error("name must be 63 characters or fewer")]
    NameTooLong,
    #[error(
        "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be [a-zA-Z0-9]"
    )]
    SecretName,
    #[error("secret data must be larger than 0 and less than 512000 bytes")]
    SecretData,
    #[error("config data must be larger than 0 and at most 1024000 bytes")]
    ConfigData,
    #[error("invalid container id {0:?}: expected up to 64 digits and letters")]
    ContainerId(String),
    #[error("names of a container are too large: expected at most {max} bytes together, got {got}")]
    ContainerNames { got: usize, max: usize },
    #[error("labels are too large: expected at most {max} bytes together, got {got}")]
    Labels { got: usize, max: usize },
}

/// A service's or network's name: a DNS label, as SwarmKit has it (`_` is let through inside).
pub fn name(name: &str) -> Result<(), Invalid> {
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    let inner = |byte: u8| edge(byte) || byte == b'-' || byte == b'_';
    match name.as_bytes() {
        [] => Err(Invalid::NoName),
        bytes @ [first, .., last]
            if edge(*first) && edge(*last) && bytes.iter().all(|b| inner(*b)) =>
        {
            length(bytes)
        }
        [only] if edge(*only) => Ok(()),
        _ => Err(Invalid::NotADnsLabel),
    }
}

fn length(bytes: &[u8]) -> Result<(), Invalid> {
    if bytes.len() > defaults::NAME_BYTES_MAX { Err(Invalid::NameTooLong) } else { Ok(()) }
}

/// A secret's or config's name.
pub fn secret_name(name: &str) -> Result<(), Invalid> {
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    let bytes = name.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err(Invalid::NoName);
    };
    let inner = bytes.iter().all(|b| edge(*b) || matches!(b, b'-' | b'_' | b'.'));
    if edge(*first) && edge(*last) && inner && bytes.len() <= defaults::SECRET_NAME_BYTES_MAX {
        Ok(())
    } else {
        Err(Invalid::SecretName)
    }
}

/// A secret's content: not empty, less than 500 KiB.
pub fn secret_data(data: &[u8]) -> Result<(), Invalid> {
    if (1..defaults::SECRET_BYTES_MAX).contains(&data.len()) {
        Ok(())
    } else {
        Err(Invalid::SecretData)
    }
}

/// A config's content: not empty, at most 1,000 KiB.
pub fn config_data(data: &[u8]) -> Result<(), Invalid> {
    if (1..=defaults::CONFIG_BYTES_MAX).contains(&data.len()) {
        Ok(())
    } else {
        Err(Invalid::ConfigData)
    }
}

/// What a container is called on a network, by its engine and by others.
pub fn attachment(container_id: &str, names: &[String]) -> Result<(), Invalid> {
    let bytes = container_id.as_bytes();
    let fits = (1..=defaults::CONTAINER_ID_BYTES_MAX).contains(&bytes.len());
    if !fits || !bytes.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Invalid::ContainerId(container_id.to_owned()));
    }
    let got = names.iter().map(String::len).sum();
    if got > defaults::CONTAINER_NAMES_BYTES_MAX {
        return Err(Invalid::ContainerNames { got, max: defaults::CONTAINER_NAMES_BYTES_MAX });
    }
    Ok(())
}

/// All labels of one object together stay within [`defaults::LABELS_BYTES_MAX`].
pub fn labels(labels: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let got = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    if got > defaults::LABELS_BYTES_MAX {
        return Err(Invalid::Labels { got, max: defaults::LABELS_BYTES_MAX });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let long = "a".repeat(64);
        for (given, expected) in [
            ("web", Ok(())),
            ("a", Ok(())),
            ("guestbook_web", Ok(())),
            ("", Err(Invalid::NoName)),
            ("-web", Err(Invalid::NotADnsLabel)),
            ("we b", Err(Invalid::NotADnsLabel)),
            ("web.", Err(Invalid::NotADnsLabel)),
            ("_", Err(Invalid::NotADnsLabel)),
            (&long, Err(Invalid::NameTooLong)),
        ] {
            assert_eq!(name(given), expected, "{given:?}");
        }
    }

    #[test]
    fn secret_names_and_sizes() {
        assert_eq!(secret_name("db.password-1"), Ok(()));
        assert_eq!(secret_name(".x"), Err(Invalid::SecretName));
        assert_eq!(secret_name(&"a".repeat(65)), Err(Invalid::SecretName));
        assert_eq!(secret_data(&[]), Err(Invalid::SecretData));
        assert_eq!(secret_data(&vec![0; 512_000]), Err(Invalid::SecretData));
        assert_eq!(secret_data(&vec![0; 511_999]), Ok(()));
        assert_eq!(config_data(&vec![0; 1_024_000]), Ok(()));
        assert_eq!(config_data(&vec![0; 1_024_001]), Err(Invalid::ConfigData));
    }

    #[test]
    fn labels_have_a_bound() {
        let one = |size| BTreeMap::from([(String::new(), "x".repeat(size))]);
        assert_eq!(labels(&one(defaults::LABELS_BYTES_MAX)), Ok(()));
        assert!(labels(&one(defaults::LABELS_BYTES_MAX + 1)).is_err());
    }
}
