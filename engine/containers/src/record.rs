//! What is remembered of a container: the documents it was made from, as they were given, and what
//! has become of it. One directory for each, with its log and its files of /etc beside the record.
//!
//! **Invariant:** a record is whole or absent. A container in the making has a plan instead, by which
//! what was made of it is found and taken away where the daemon was killed meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use skep_docker_api::ApiError;
use skep_docker_api::json::{ContainerConfig, EndpointSettings, HostConfig};
use time::OffsetDateTime;

use crate::mounts::Mount;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a slash.
    pub name: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// The image's id.
    pub image: String,
    /// With what the image adds.
    pub config: ContainerConfig,
    pub host_config: HostConfig,
    /// The networks it is to be on, by the names that were given.
    pub networks: BTreeMap<String, EndpointSettings>,
    pub mounts: Vec<Mount>,
    pub state: State,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    #[default]
    Created,
    Running,
    /// Ended, and to be started again in a moment.
    Restarting,
    Removing,
    Exited,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    pub phase: Phase,
    pub exit_code: i64,
    pub error: String,
    pub oom_killed: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    pub restart_count: u64,
    /// Its user ended it, so that no policy starts it again.
    pub stopped_by_hand: bool,
    /// While it is removed: its anonymous volumes go with it.
    #[serde(default)]
    pub removes_volumes: bool,
    /// It is paused for as long as an image is made of it.
    #[serde(default)]
    pub paused_for_commit: bool,
}

impl State {
    /// Its command runs from now on.
    pub fn begin(&mut self, started_at: OffsetDateTime) {
        self.phase = Phase::Running;
        self.started_at = Some(started_at);
        self.finished_at = None;
        self.exit_code = 0;
        self.error.clear();
        self.oom_killed = false;
    }

    pub fn end(&mut self, exit_code: i64, finished_at: OffsetDateTime) {
        self.phase = Phase::Exited;
        self.exit_code = exit_code;
        self.finished_at = Some(finished_at);
    }
}

impl Record {
    /// The whole command: entrypoint, then arguments.
    pub fn command(&self) -> Vec<String> {
        let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        [words(&self.config.entrypoint), words(&self.config.cmd)].concat()
    }

    /// The names of the volumes that it uses.
    pub fn volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(Mount::volume)
    }

    pub fn is_alive(&self) -> bool {
        matches!(self.state.phase, Phase::Running | Phase::Restarting)
    }
}

const RECORD: &str = "record.json";
/// A record that is being written. Of a container in the making it is the plan.
const ASIDE: &str = "record.new";

/// What stands in the directory of the records.
#[derive(Debug, Default)]
pub struct Found {
    pub records: Vec<Record>,
    /// Those that were not finished, or not wholly removed: by their id, with their plan where it
    /// can be read.
    pub unfinished: Vec<(String, Option<Record>)>,
}

/// The records of a node.
#[derive(Debug, Clone)]
pub struct Records {
    dir: PathBuf,
}

fn failed(action: &str, path: &Path) -> impl FnOnce(io::Error) -> ApiError {
    let text = format!("failed to {action} {}", path.display());
    move |error| ApiError::system(format!("{text}: {error}"))
}

impl Records {
    pub fn open(dir: PathBuf) -> Result<Records, ApiError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&dir).map_err(failed("create", &dir))?;
        Ok(Records { dir })
    }

    /// The directory of a container.
    pub fn place(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    /// The newest file of its log.
    pub fn log(&self, id: &str) -> PathBuf {
        self.place(id).join(format!("{id}-json.log"))
    }

    /// To be called before anything of a container is made.
    pub fn begin(&self, id: &str) -> Result<(), ApiError> {
        let place = self.place(id);
        DirBuilder::new().mode(0o700).create(&place).map_err(failed("create", &place))?;
        // There from the first: who follows the log then holds it, and reads its end even where the
        // container is removed meanwhile.
        let log = self.log(id);
        let mut options = File::options();
        let made = options.write(true).create(true).truncate(false).mode(0o640).open(&log);
        made.map(drop).map_err(failed("create", &log))
    }

    /// `durable`: also over a power cut. What only tells of a running container ends with the
    /// machine anyway.
    pub fn put(&self, record: &Record, durable: bool) -> Result<(), ApiError> {
        self.prepare(record, durable)?;
        self.settle(&record.id, durable)
    }

    /// The first half: all that takes long, and nothing that counts yet.
    pub fn prepare(&self, record: &Record, durable: bool) -> Result<(), ApiError> {
        let aside = self.place(&record.id).join(ASIDE);
        let bytes = serde_json::to_vec(record).expect("a record is plain data");
        let write = || -> io::Result<()> {
            let mut options = File::options();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(&bytes)?;
            if durable { file.sync_all() } else { Ok(()) }
        };
        write().map_err(failed("write", &aside))
    }

    /// The second half: from now on it is the record.
    pub fn settle(&self, id: &str, durable: bool) -> Result<(), ApiError> {
        let place = self.place(id);
        let path = place.join(RECORD);
        let settle = || -> io::Result<()> {
            fs::rename(place.join(ASIDE), &path)?;
            if durable { File::open(&place)?.sync_all() } else { Ok(()) }
        };
        settle().map_err(failed("write", &path))
    }

    /// All there is. What cannot be read is left and said.
    pub fn read(&self) -> Result<Found, ApiError> {
        let mut found = Found::default();
        for entry in fs::read_dir(&self.dir).map_err(failed("read", &self.dir))? {
            let entry = entry.map_err(failed("read", &self.dir))?;
            let place = entry.path();
            match fs::read(place.join(RECORD)) {
                Ok(bytes) => match serde_json::from_slice(&bytes) {
                    Ok(record) => found.records.push(record),
                    Err(error) => {
                        tracing::error!(place = %place.display(), %error, "a container's record is malformed: it is left as it is");
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let plan = fs::read(place.join(ASIDE)).ok();
                    let plan = plan.and_then(|bytes| serde_json::from_slice(&bytes).ok());
                    let id = entry.file_name().to_string_lossy().into_owned();
                    found.unfinished.push((id, plan));
                }
                Err(error) => return Err(failed("read", &place)(error)),
            }
        }
        Ok(found)
    }

    /// The record first, so that a removal that is cut short is not a container any more.
    pub fn remove(&self, id: &str) -> Result<(), ApiError> {
        let place = self.place(id);
        let removed = match fs::remove_file(place.join(RECORD)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir_all(&place),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &place)(error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record() -> Record {
        Record {
            id: "a1".repeat(32),
            name: "web".to_owned(),
            created: OffsetDateTime::UNIX_EPOCH,
            image: String::new(),
            config: ContainerConfig::default(),
            host_config: HostConfig::default(),
            networks: BTreeMap::new(),
            mounts: Vec::new(),
            state: State::default(),
        }
    }

    #[test]
    fn a_plan_is_no_container_before_it_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path().join("by-hand")).unwrap();
        let record = record();
        records.begin(&record.id).unwrap();
        records.prepare(&record, true).unwrap();
        let found = records.read().unwrap();
        assert!(found.records.is_empty());
        let (id, plan) = &found.unfinished[0];
        assert_eq!((id, plan.as_ref().map(|it| &it.name)), (&record.id, Some(&record.name)));
        records.settle(&record.id, true).unwrap();
        let found = records.read().unwrap();
        assert_eq!((found.records.len(), found.unfinished.len()), (1, 0));
        records.remove(&record.id).unwrap();
        assert_eq!(records.read().unwrap().unfinished.len(), 0);
    }
}
