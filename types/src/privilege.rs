//! What a service may ask of a node only where the node's operator allows it: devices of the host,
//! and tasks that are privileged. An option of ours, given as labels of the container's spec, for
//! those are what Docker's clients pass on.
//!
//! **Invariant:** the labels of an image ask for nothing; only those of a service's spec do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// `true`: the task is privileged.
pub const PRIVILEGED: &str = "skep.privileged";
/// `HOST[:CONTAINER[:rwm]]`, separated by commas.
pub const DEVICES: &str = "skep.devices";
/// As `--gpus` has it. There is no driver of devices, so it is always refused.
pub const GPUS: &str = "skep.gpus";
/// The engine label by which a node says what its operator allows, separated by commas.
pub const ALLOWED: &str = "skep.allow-service-privileges";

/// Of one service. Docker has no bound of its own; more than any host has for one container.
pub const DEVICES_MAX: usize = 256;

/// What an operator may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Privilege {
    Devices,
    Privileged,
}

impl Privilege {
    pub const ALL: [Self; 2] = [Self::Devices, Self::Privileged];

    /// Its word in `daemon.json` and in the engine label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Privileged => "privileged",
        }
    }

    /// Of a word; None where it is none.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.word() == word)
    }
}

/// What is not allowed, in a sentence.
impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Devices => "devices in tasks",
            Self::Privileged => "privileged tasks",
        })
    }
}

/// A device of the host in a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub on_host: String,
    pub in_container: String,
    /// Of `rwm`.
    pub access: String,
}

/// As the label has it.
impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.on_host, self.in_container, self.access)
    }
}

/// What a spec asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub privileged: bool,
    pub devices: Vec<Device>,
}

/// Labels that do not say what they are for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrivilegeError {
    #[error("invalid label {PRIVILEGED}={0:?}: expected true or false")]
    Privileged(String),
    #[error(
        "invalid device {0:?} in label {DEVICES}: expected HOST[:CONTAINER[:rwm]] with absolute paths"
    )]
    Device(String),
    #[error("too many devices in label {DEVICES}: expected at most {DEVICES_MAX}, got {0}")]
    Devices(usize),
    /// Docker's words where no driver chooses devices.
    #[error("could not select device driver \"\" with capabilities: [[gpu]]")]
    Gpus,
}

impl Asked {
    /// What the node's operator must allow.
    pub fn needs(&self) -> Vec<Privilege> {
        let needs = [
            (!self.devices.is_empty()).then_some(Privilege::Devices),
            self.privileged.then_some(Privilege::Privileged),
        ];
        needs.into_iter().flatten().collect()
    }
}

/// What the labels of a container's spec ask for.
///
/// # Errors
/// A label is malformed, or asks for what no node has.
pub fn of(labels: &BTreeMap<String, String>) -> Result<Asked, PrivilegeError> {
    if labels.contains_key(GPUS) {
        return Err(PrivilegeError::Gpus);
    }
    let privileged = match labels.get(PRIVILEGED).map(String::as_str) {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(PrivilegeError::Privileged(other.to_owned())),
    };
    let devices = labels.get(DEVICES).map_or("", String::as_str);
    let texts: Vec<&str> = devices.split(',').filter(|text| !text.is_empty()).collect();
    if texts.len() > DEVICES_MAX {
        return Err(PrivilegeError::Devices(texts.len()));
    }
    let device = |text: &&str| device(text).ok_or_else(|| PrivilegeError::Device((*text).into()));
    Ok(Asked { privileged, devices: texts.iter().map(device).collect::<Result<_, _>>()? })
}

fn device(text: &str) -> Option<Device> {
    let mut parts = text.split(':');
    let on_host = parts.next()?;
    let (in_container, access) = match (parts.next(), parts.next(), parts.next()) {
        (None, ..) => (on_host, "rwm"),
        (Some(access), None, _) if is_access(access) => (on_host, access),
        (Some(path), None, _) => (path, "rwm"),
        (Some(path), Some(access), None) if is_access(access) => (path, access),
        _ => return None,
    };
    let absolute = |path: &str| path.starts_with('/') && !path.split('/').any(|part| part == "..");
    (absolute(on_host) && absolute(in_container)).then(|| Device {
        on_host: on_host.to_owned(),
        in_container: in_container.to_owned(),
        access: access.to_owned(),
    })
}

/// Each of `rwm` at most once, and one at least.
fn is_access(text: &str) -> bool {
    let once = |letter| text.chars().filter(|it| *it == letter).count() <= 1;
    !text.is_empty() && text.chars().all(|it| "rwm".contains(it)) && "rwm".chars().all(once)
}

/// The engine label of what an operator allows; None where that is nothing.
pub fn label_of(allowed: &BTreeSet<Privilege>) -> Option<String> {
    let words: Vec<&str> = allowed.iter().map(|it| it.word()).collect();
    (!words.is_empty()).then(|| words.join(","))
}

/// What the engine labels of a node say that it allows.
pub fn allowed(engine_labels: &BTreeMap<String, String>) -> BTreeSet<Privilege> {
    let words = engine_labels.get(ALLOWED).map_or("", String::as_str);
    words.split(',').filter_map(Privilege::of_word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, String> {
        let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        of(&pairs.collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_ask_for_privileges() {
        assert_eq!(asked(&[("other", "true")]), Ok(Asked::default()));
        assert!(asked(&[(PRIVILEGED, "true")]).unwrap().privileged);
        assert_eq!(asked(&[(PRIVILEGED, "false"), (DEVICES, "")]), Ok(Asked::default()));
        let both =
            asked(&[(PRIVILEGED, "true"), (DEVICES, "/dev/fuse,/dev/snd:/dev/x:rw")]).unwrap();
        assert_eq!(both.needs(), [Privilege::Devices, Privilege::Privileged]);
        let shown: Vec<String> = both.devices.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/dev/fuse:/dev/fuse:rwm", "/dev/snd:/dev/x:rw"]);
        let again = asked(&[(DEVICES, &shown.join(","))]).unwrap();
        assert_eq!(again.devices, both.devices, "what is shown is read back");
        assert_eq!(asked(&[(DEVICES, "/dev/snd:r")]).unwrap().devices[0].access, "r");
    }

    #[test]
    fn what_is_none_is_refused() {
        for (key, value, said) in [
            (PRIVILEGED, "yes", "invalid label skep.privileged=\"yes\": expected true or false"),
            (DEVICES, "fuse", "invalid device \"fuse\" in label"),
            (DEVICES, "/dev/../etc", "invalid device"),
            (DEVICES, "/dev/a:/dev/b:q", "invalid device"),
            (DEVICES, "/dev/a:b", "invalid device"),
            (DEVICES, "/dev/a:/dev/b:rr", "invalid device"),
            (DEVICES, "/a:/b:r:c", "invalid device"),
            (GPUS, "all", "could not select device driver \"\" with capabilities: [[gpu]]"),
        ] {
            let error = asked(&[(key, value)]).unwrap_err();
            assert!(error.contains(said), "{key}={value}: {error}");
        }
        assert!(asked(&[(DEVICES, &"/dev/a,".repeat(DEVICES_MAX + 1))]).is_err());
    }

    #[test]
    fn a_node_says_what_it_allows() {
        assert_eq!(label_of(&BTreeSet::new()), None);
        let all = BTreeSet::from(Privilege::ALL);
        let label = label_of(&all).unwrap();
        assert_eq!(label, "devices,privileged");
        assert_eq!(allowed(&BTreeMap::from([(ALLOWED.to_owned(), label)])), all);
        assert_eq!(allowed(&BTreeMap::new()), BTreeSet::new());
    }
}
