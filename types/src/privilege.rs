//! What a service may ask of a node only where the node's operator allows it: devices of the host,
//! GPUs among them, and tasks that are privileged. An option of ours, given as labels of the
//! container's spec, for those are what Docker's clients pass on.
//!
//! **Invariant:** the labels of an image ask for nothing; only those of a service's spec do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// `true`: the task is privileged.
pub const PRIVILEGED: &str = "skep.privileged";
/// `HOST[:CONTAINER[:rwm]]`, separated by commas.
pub const DEVICES: &str = "skep.devices";
/// As `--gpus` has it: `all`, how many, or `device=ID,ID`.
pub const GPUS: &str = "skep.gpus";
/// The engine label by which a node says what its operator allows, separated by commas.
pub const ALLOWED: &str = "skep.allow-service-privileges";

/// Of one service. Docker has no bound of its own; more than any host has for one container.
pub const DEVICES_MAX: usize = 256;
/// How the kinds of devices that are GPUs end: `nvidia.com/gpu`.
const GPU_CLASS: &str = "/gpu";
/// Docker's clients may add it to a request for GPUs; every driver of theirs has it.
const CAPABILITY: &str = "gpu";

/// What an operator may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Privilege {
    Devices,
    Gpus,
    Privileged,
}

impl Privilege {
    pub const ALL: [Self; 3] = [Self::Devices, Self::Gpus, Self::Privileged];

    /// Its word in `daemon.json` and in the engine label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Devices => "devices",
            Self::Gpus => "gpus",
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
            Self::Gpus => "GPUs in tasks",
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

/// Which of a node's GPUs a task has. Tasks share them: none is one task's alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpus {
    All,
    /// The first of them.
    First(u32),
    /// By number, by UUID, or by a full name: `nvidia.com/gpu=0`.
    Named(Vec<String>),
}

/// What a spec asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    pub privileged: bool,
    pub devices: Vec<Device>,
    pub gpus: Option<Gpus>,
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
    #[error(
        "invalid label {GPUS}={0:?}: expected all, a number from 1 to {DEVICES_MAX}, or \
         device=ID,ID"
    )]
    Gpus(String),
}

impl Asked {
    /// What the node's operator must allow.
    pub fn needs(&self) -> Vec<Privilege> {
        let needs = [
            (!self.devices.is_empty()).then_some(Privilege::Devices),
            self.gpus.is_some().then_some(Privilege::Gpus),
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
    let gpus = match labels.get(GPUS).map(String::as_str) {
        None | Some("") => None,
        Some(text) => Some(gpus(text).ok_or_else(|| PrivilegeError::Gpus(text.to_owned()))?),
    };
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
    let devices = texts.iter().map(device).collect::<Result<_, _>>()?;
    Ok(Asked { privileged, devices, gpus })
}

/// What Docker's command reads too, but for its drivers and their options, which are not known here.
/// A list is in quotes there (`"device=0,1"`), for commas part what it says.
fn gpus(text: &str) -> Option<Gpus> {
    let (mut count, mut named) = (None, Vec::new());
    let mut rest = text;
    while !rest.is_empty() {
        let field;
        (field, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (field, after) = quoted.split_once('"')?;
                (field, if after.is_empty() { "" } else { after.strip_prefix(',')? })
            }
            // The names go on to the end where nothing is in quotes.
            None if rest.starts_with("device=") => (rest, ""),
            None => rest.split_once(',').unwrap_or((rest, "")),
        };
        match field.split_once('=') {
            Some(("device", ids)) if named.is_empty() => {
                named = ids.split(',').map(str::to_owned).collect();
            }
            Some(("count", number)) if count.is_none() => count = Some(number),
            Some(("capabilities", CAPABILITY)) => {}
            None if count.is_none() => count = Some(field),
            _ => return None,
        }
    }
    // A full name may be of any kind of device; here it is to be a GPU's.
    let is_id = |id: &String| {
        let name = match id.split_once('=') {
            Some((kind, name)) if kind.ends_with(GPU_CLASS) => name,
            Some(_) => return false,
            None => id,
        };
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
    };
    match (count, named.as_slice()) {
        (None, [_, ..]) if named.iter().all(is_id) && named.len() <= DEVICES_MAX => {
            Some(Gpus::Named(named))
        }
        (Some("all"), []) => Some(Gpus::All),
        (Some(number), []) => {
            let number = number.parse().ok()?;
            (1..=DEVICES_MAX)
                .contains(&usize::try_from(number).ok()?)
                .then_some(Gpus::First(number))
        }
        _ => None,
    }
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
    fn gpus_are_asked_for_as_docker_does() {
        let check = |text: &str, expected: Gpus| {
            let asked = asked(&[(GPUS, text)]).unwrap();
            assert_eq!((asked.needs(), asked.gpus), (vec![Privilege::Gpus], Some(expected)));
        };
        let named = |ids: &[&str]| Gpus::Named(ids.iter().map(|id| (*id).to_owned()).collect());
        check("all", Gpus::All);
        check("2", Gpus::First(2));
        check("count=2,capabilities=gpu", Gpus::First(2));
        check("device=0", named(&["0"]));
        check("device=0,nvidia.com/gpu=GPU-a:1", named(&["0", "nvidia.com/gpu=GPU-a:1"]));
        check("\"device=0,1\"", named(&["0", "1"]));
        check("\"device=0,1\",\"capabilities=gpu\"", named(&["0", "1"]));
        assert_eq!(asked(&[(GPUS, "")]), Ok(Asked::default()));
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
            (GPUS, "0", "invalid label skep.gpus=\"0\": expected all, a number from 1 to 256"),
            (GPUS, "-1", "invalid label"),
            (GPUS, "many", "invalid label"),
            (GPUS, "257", "invalid label"),
            (GPUS, "device=", "invalid label"),
            (GPUS, "device=a b", "invalid label"),
            (GPUS, "device=0,vendor.com/net=0", "invalid label"),
            (GPUS, "device=/dev/sda", "invalid label"),
            (GPUS, "1,device=0", "invalid label"),
            (GPUS, "1,driver=nvidia", "invalid label"),
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
        assert_eq!(label, "devices,gpus,privileged");
        assert_eq!(allowed(&BTreeMap::from([(ALLOWED.to_owned(), label)])), all);
        assert_eq!(allowed(&BTreeMap::new()), BTreeSet::new());
    }
}
