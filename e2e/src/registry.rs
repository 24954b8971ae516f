//! Which fleets stand, and who may make or take down one at this moment.
//!
//! The directory is the record: a fleet stands where it has one there. **Invariant:** names and
//! subnets are chosen, and what fleets share is removed, only under the lock.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::process::Process;
use crate::subnet::Subnet;

/// What is written down of a fleet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub subnet: Subnet,
    pub hosts: usize,
    /// Its daemons' binary.
    pub daemon: Option<PathBuf>,
    /// Whether the machine itself has a leg in the subnet.
    pub reachable: bool,
    /// The process with which the fleet ends.
    pub owner: Option<Process>,
}

#[derive(Debug, Clone)]
pub struct Registry {
    root: PathBuf,
}

/// Held while it lives.
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

const RECORD: &str = "fleet.json";

/// Written whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_vec_pretty(value).context("failed to encode a record")?;
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("failed to write {}", path.display()))
}

/// None where there is no such file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to read {}", path.display()));
        }
    };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("bad file {}", path.display()))
}

/// Names become parts of paths, cgroups and mount options.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || name.starts_with('-') || !name.chars().all(plain) {
        bail!("bad fleet name `{name}`: expected 1 to 32 of a-z, 0-9 and -, not starting with -");
    }
    Ok(())
}

impl Registry {
    /// Where the environment says, or the usual place.
    pub fn from_env() -> Self {
        Self::at(std::env::var_os(limits::ROOT_ENV).map_or(limits::ROOT.into(), PathBuf::from))
    }

    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    pub fn dir(&self, fleet: &str) -> PathBuf {
        self.root.join(fleet)
    }

    /// Locks the directory itself, so that nothing else has to stay behind for it.
    pub fn lock(&self) -> Result<Lock> {
        let what = || format!("failed to lock {}", self.root.display());
        loop {
            fs::create_dir_all(&self.root).with_context(what)?;
            let file = match File::open(&self.root) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(what),
            };
            let lock = Flock::lock(file, FlockArg::LockExclusive)
                .map_err(|(_, error)| error)
                .with_context(what)?;
            // Whoever had the lock before may have removed this directory with its last fleet.
            let same = fs::metadata(&self.root).is_ok_and(|now| {
                lock.metadata().is_ok_and(|held| (held.ino(), held.dev()) == (now.ino(), now.dev()))
            });
            if same {
                return Ok(Lock(lock));
            }
        }
    }

    pub fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("failed to list {}", self.root.display()));
            }
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| check_name(name).is_ok()).collect();
        names.sort();
        Ok(names)
    }

    /// None where no such fleet stands, or one whose making was broken off.
    pub fn record(&self, fleet: &str) -> Result<Option<Record>> {
        read_json(&self.dir(fleet).join(RECORD))
    }

    /// The lock is held.
    pub fn write(&self, _: &Lock, fleet: &str, record: &Record) -> Result<()> {
        write_json(&self.dir(fleet).join(RECORD), record)
    }

    /// Take a name and a subnet. The lock is held.
    pub fn reserve(&self, _: &Lock, fleet: &str) -> Result<Subnet> {
        let mut taken = Vec::new();
        for name in self.names()? {
            taken.extend(self.record(&name)?.map(|record| record.subnet));
        }
        let subnet = Subnet::first_free(&taken)
            .with_context(|| format!("no subnet is free: {} fleets stand", taken.len()))?;
        match fs::create_dir(self.dir(fleet)) {
            Ok(()) => Ok(subnet),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("fleet `{fleet}` already exists")
            }
            Err(error) => Err(error).with_context(|| format!("failed to make fleet `{fleet}`")),
        }
    }

    /// Fleets whose owner ended without taking them down.
    pub fn abandoned(&self) -> Result<Vec<String>> {
        let mut abandoned = Vec::new();
        for name in self.names()? {
            let owner = self.record(&name)?.and_then(|record| record.owner);
            if owner.is_some_and(|owner| !owner.alive()) {
                abandoned.push(name);
            }
        }
        Ok(abandoned)
    }

    /// A fleet's files, and the root with the last fleet. The lock is held; its hosts are gone.
    pub fn remove(&self, _: &Lock, fleet: &str) -> Result<()> {
        let dir = self.dir(fleet);
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .context("failed to read the machine's mounts")?;
        let below = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        if let Some(mount) = below.into_iter().find(|mount| Path::new(mount).starts_with(&dir)) {
            bail!("failed to remove fleet `{fleet}`: something is mounted on {mount}");
        }
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("failed to remove {}", dir.display()));
            }
            _ => {}
        }
        // Others' fleets keep it.
        let _ = fs::remove_dir(&self.root);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_leave_their_place_are_refused() {
        for bad in ["", "..", "a/b", "A", "-x", "a:b", &"x".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        check_name("demo-1").unwrap();
    }

    #[test]
    fn two_fleets_share_neither_name_nor_subnet() {
        let place = tempfile::tempdir().unwrap();
        let registry = Registry::at(place.path().join("fleets"));
        let lock = registry.lock().unwrap();
        let record =
            |subnet| Record { subnet, hosts: 1, daemon: None, reachable: false, owner: None };
        let first = registry.reserve(&lock, "a").unwrap();
        registry.write(&lock, "a", &record(first)).unwrap();
        let second = registry.reserve(&lock, "b").unwrap();
        assert_ne!(first, second);
        let error = registry.reserve(&lock, "a").unwrap_err().to_string();
        assert_eq!(error, "fleet `a` already exists");
        registry.remove(&lock, "a").unwrap();
        registry.remove(&lock, "b").unwrap();
        assert!(!place.path().join("fleets").exists(), "the last one takes the root along");
    }
}
