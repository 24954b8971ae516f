//! What outlives the daemon: networks, through a boot; open sandboxes, until the next boot.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::BridgeError;
use crate::endpoint::Record;
use crate::network::HostNetwork;

const SUFFIX: &str = ".json";

/// How long an object is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Boot,
    Removed,
}

/// One file for each object, replaced at once.
#[derive(Debug)]
pub struct Records {
    networks: PathBuf,
    sandboxes: PathBuf,
    /// There once this boot has had rules of ours.
    rules: PathBuf,
}

impl Records {
    pub fn open(state: &Path, run: &Path) -> Result<Self, BridgeError> {
        let records = Self {
            networks: state.join("networks"),
            sandboxes: run.join("open"),
            rules: run.join("rules"),
        };
        for directory in [&records.networks, &records.sandboxes] {
            fs::create_dir_all(directory)
                .map_err(BridgeError::io(format!("create {}", directory.display())))?;
        }
        Ok(records)
    }

    pub fn networks(&self) -> Result<BTreeMap<String, HostNetwork>, BridgeError> {
        read_all(&self.networks, Until::Removed)
    }

    pub fn sandboxes(&self) -> Result<BTreeMap<String, Record>, BridgeError> {
        read_all(&self.sandboxes, Until::Boot)
    }

    pub fn put_network(&self, network: &HostNetwork) -> Result<(), BridgeError> {
        write(&self.networks, &network.id, network, Until::Removed)
    }

    pub fn drop_network(&self, id: &str) -> Result<(), BridgeError> {
        remove(&self.networks, id)
    }

    pub fn put_sandbox(&self, record: &Record) -> Result<(), BridgeError> {
        write(&self.sandboxes, &record.request.container, record, Until::Boot)
    }

    /// To be called before the kernel is given rules.
    pub fn note_rules(&self) -> Result<(), BridgeError> {
        let made = File::options().create(true).append(true).open(&self.rules);
        made.map(drop).map_err(BridgeError::io(format!("write {}", self.rules.display())))
    }

    /// Whether the kernel may have rules of ours.
    pub fn has_rules(&self) -> bool {
        self.rules.exists()
    }

    pub fn drop_sandbox(&self, container: &str) -> Result<(), BridgeError> {
        remove(&self.sandboxes, container)
    }
}

fn read_all<T: DeserializeOwned>(
    directory: &Path,
    until: Until,
) -> Result<BTreeMap<String, T>, BridgeError> {
    let step = || format!("read {}", directory.display());
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(BridgeError::io(step()))? {
        let path = entry.map_err(BridgeError::io(step()))?.path();
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        // What lacks the suffix was being written when the daemon ended.
        let Some(id) = name.strip_suffix(SUFFIX) else {
            let _ = fs::remove_file(&path);
            continue;
        };
        let text = fs::read(&path).map_err(BridgeError::io(step()))?;
        match serde_json::from_slice(&text) {
            Ok(value) => drop(found.insert(id.to_owned(), value)),
            // Torn by a power cut, with which all that it told of has ended.
            Err(_) if until == Until::Boot => {
                fs::remove_file(&path).map_err(BridgeError::io(step()))?;
            }
            Err(source) => {
                return Err(BridgeError::Record { path: path.display().to_string(), source });
            }
        }
    }
    Ok(found)
}

fn write(
    directory: &Path,
    id: &str,
    value: &impl Serialize,
    until: Until,
) -> Result<(), BridgeError> {
    let path = directory.join(format!("{id}{SUFFIX}"));
    let begun = directory.join(format!("{id}.begun"));
    let step = format!("write {}", path.display());
    let write = || -> io::Result<()> {
        let mut file = File::create(&begun)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        if until == Until::Removed {
            file.sync_all()?;
        }
        fs::rename(&begun, &path)?;
        match until {
            Until::Removed => File::open(directory)?.sync_all(),
            Until::Boot => Ok(()),
        }
    };
    write().map_err(BridgeError::io(step))
}

fn remove(directory: &Path, id: &str) -> Result<(), BridgeError> {
    let path = directory.join(format!("{id}{SUFFIX}"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(BridgeError::io(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
