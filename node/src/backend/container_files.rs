//! What is in a container's root: differences, copies in and out, exports, and images made of it.

use std::io;
use std::path::PathBuf;

use futures::StreamExt;
use skep_docker_api::json::{ArchivePutOptions, Change, CommitOptions, ContainerConfig, PathStat};
use skep_docker_api::{ApiError, ByteStream, Kind};
use skep_images::{
    ArchiveStream, Bind, ChangeKind, FileError, ImageConfig, OpenRootfs, Owner, PathInfo, RootDir,
    WriteOptions, apply_changes,
};
use skep_types::error_chain;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Answer, DaemonBackend, engine_error};

/// Go's bits of a mode, which the header carries.
mod go {
    pub const DIR: u32 = 1 << 31;
    pub const SYMLINK: u32 = 1 << 27;
    pub const DEVICE: u32 = 1 << 26;
    pub const NAMED_PIPE: u32 = 1 << 25;
    pub const SOCKET: u32 = 1 << 24;
    pub const SETUID: u32 = 1 << 23;
    pub const SETGID: u32 = 1 << 22;
    pub const CHAR_DEVICE: u32 = 1 << 21;
    pub const STICKY: u32 = 1 << 20;
}

/// A mode of stat(2) as Go writes it.
fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => go::DIR,
        0o120_000 => go::SYMLINK,
        0o060_000 => go::DEVICE,
        0o020_000 => go::DEVICE | go::CHAR_DEVICE,
        0o010_000 => go::NAMED_PIPE,
        0o140_000 => go::SOCKET,
        _ => 0,
    };
    let special = [(0o4000, go::SETUID), (0o2000, go::SETGID), (0o1000, go::STICKY)];
    let special = special.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go);
    special.fold(kind | (mode & 0o777), |all, bit| all | bit)
}

fn path_stat(info: PathInfo) -> PathStat {
    PathStat {
        name: info.name,
        size: i64::try_from(info.size).unwrap_or(i64::MAX),
        mode: go_mode(info.mode),
        mtime: info.mtime.format(&Rfc3339).unwrap_or_default(),
        link_target: info.link_target,
    }
}

fn refused(container: &str, path: &str, error: FileError) -> ApiError {
    match error {
        FileError::NotFound { .. } => {
            ApiError::not_found(format!("Could not find the file {path} in container {container}"))
        }
        FileError::ReadOnly { .. } => {
            ApiError::new(Kind::Forbidden, "container rootfs is marked read-only")
        }
        FileError::NotDirectory { .. } => ApiError::invalid("extraction point is not a directory"),
        FileError::Io { .. } => ApiError::system(error_chain(&error)),
        FileError::NoOpenat2 => ApiError::new(Kind::NotImplemented, error.to_string()),
        error => ApiError::invalid(error_chain(&error)),
    }
}

fn flow(stream: ArchiveStream) -> ByteStream {
    stream.map(|piece| piece.map_err(|error| ApiError::system(error.to_string()))).boxed()
}

/// A container's root that is opened. What was opened in it stays readable when this goes.
struct Root {
    dir: RootDir,
    /// Where it does not run: its root file system is mounted for this.
    _mounted: Option<OpenRootfs>,
}

impl DaemonBackend {
    /// The id of a container of either kind.
    async fn id_of(&self, given: &str) -> Answer<String> {
        match self.containers.get(given) {
            Err(error) if error.kind == Kind::NotFound => {
                Ok(self.task_container(given).await?.id().to_owned())
            }
            found => Ok(found?.id),
        }
    }

    /// As the container itself sees it while it runs; otherwise its root file system with its volumes.
    async fn open_root(&self, given: &str) -> Answer<Root> {
        let id = self.id_of(given).await?;
        let pid = match self.engine.runtime().get(&id).await {
            Ok(run) => run.pid().await.map_err(engine_error::runtime)?,
            Err(_) => None,
        };
        let binds = match (pid, self.containers.get(&id)) {
            (None, Ok(record)) => self.containers.binds(&record)?,
            _ => Vec::new(),
        };
        let (path, mounted) = self.root_of(&id, pid).await?;
        let binds = binds
            .into_iter()
            .map(|(source, target, read_only)| Bind { source, target, read_only })
            .collect();
        let dir = RootDir::assemble(&path, binds, self.engine.images().ids()).await;
        let dir = dir.map_err(|error| refused(given, "/", error))?;
        Ok(Root { dir, _mounted: mounted })
    }

    /// Where a root file system is, and what keeps it mounted. Two mounts of one overlay at once are
    /// nothing the kernel promises to keep right, so one that runs is looked at as it is.
    async fn root_of(&self, id: &str, pid: Option<i32>) -> Answer<(PathBuf, Option<OpenRootfs>)> {
        match pid {
            Some(pid) => Ok((PathBuf::from(format!("/proc/{pid}/root")), None)),
            None => {
                let mounted = self.engine.images().open_rootfs(id).await;
                let mounted = mounted.map_err(engine_error::image)?;
                Ok((mounted.path().to_owned(), Some(mounted)))
            }
        }
    }

    pub(super) async fn stat_path(&self, given: &str, path: &str) -> Answer<PathStat> {
        let root = self.open_root(given).await?;
        let found = root.dir.stat(path).await;
        found.map(path_stat).map_err(|error| refused(given, path, error))
    }

    pub(super) async fn read_path(
        &self,
        given: &str,
        path: &str,
    ) -> Answer<(PathStat, ByteStream)> {
        let root = self.open_root(given).await?;
        let read = root.dir.read(path).await;
        let (info, archive) = read.map_err(|error| refused(given, path, error))?;
        Ok((path_stat(info), flow(archive)))
    }

    pub(super) async fn write_path(
        &self,
        given: &str,
        path: &str,
        options: ArchivePutOptions,
        tar: ByteStream,
    ) -> Answer<()> {
        if let Ok(record) = self.containers.get(given)
            && record.host_config.readonly_rootfs
            && !record.is_alive()
        {
            return Err(refused(given, path, FileError::ReadOnly { path: path.to_owned() }));
        }
        let root = self.open_root(given).await?;
        let options = WriteOptions {
            no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
            owner: match options.copy_uid_gid {
                true => self.owner_in(given).await,
                // To each the owner in the archive.
                false => None,
            },
        };
        let tar = tar.map(|piece| piece.map_err(|error| io::Error::other(error.message)));
        let written = root.dir.write(path, tar, options).await;
        written.map_err(|error| refused(given, path, error))
    }

    /// The user that a container runs as, where it is given by numbers.
    async fn owner_in(&self, given: &str) -> Option<Owner> {
        let record = self.containers.get(given).ok()?;
        let (user, group) = match record.config.user.split_once(':') {
            Some((user, group)) => (user.to_owned(), group.to_owned()),
            None => (record.config.user.clone(), record.config.user),
        };
        Some(Owner { uid: user.parse().ok()?, gid: group.parse().ok()? })
    }

    pub(super) async fn export_container(&self, given: &str) -> Answer<ByteStream> {
        let id = self.id_of(given).await?;
        let running = match self.engine.runtime().get(&id).await {
            Ok(run) => run.pid().await.map_err(engine_error::runtime)?,
            Err(_) => None,
        };
        let (path, _mounted) = self.root_of(&id, running).await?;
        let ids = self.engine.images().ids();
        let archive = RootDir::open(&path).map(|dir| dir.with_ids(ids).export());
        archive.map(flow).map_err(|error| refused(given, "/", error))
    }

    pub(super) async fn changes_of(&self, given: &str) -> Answer<Vec<Change>> {
        let id = self.id_of(given).await?;
        let changes = self.engine.images().changes(&id).await.map_err(engine_error::image)?;
        let kind = |kind| match kind {
            ChangeKind::Modified => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        };
        let shown = changes.into_iter().map(|it| Change { path: it.path, kind: kind(it.kind) });
        Ok(shown.collect())
    }

    pub(super) async fn commit_container(
        &self,
        options: CommitOptions,
        given: Option<ContainerConfig>,
    ) -> Answer<String> {
        let record = self.containers.get(&options.container)?;
        let reference = match (options.repo.as_str(), options.tag.as_str()) {
            ("", _) => None,
            (repo, "") => Some(super::images::reference(repo)?),
            (repo, tag) => Some(super::images::reference(&format!("{repo}:{tag}"))?),
        };
        // A document that says nothing is the container's own.
        let config = given.filter(|it| *it != ContainerConfig::default());
        let mut config = image_config(&config.unwrap_or_else(|| record.config.clone()));
        apply_changes(&mut config, &options.changes).map_err(engine_error::image)?;
        let command = record.command().join(" ");
        let made = self.engine.images().commit(
            &record.id,
            skep_images::CommitOptions {
                reference: reference.map(|it| it.tag_or_latest()),
                config,
                author: options.author,
                comment: options.comment,
                created_by: command,
                created: OffsetDateTime::now_utc(),
            },
        );
        let made = match options.pause {
            true => self.containers.while_still(&record.id, made).await?,
            false => made.await,
        };
        let image = made.map_err(engine_error::image)?;
        let mut attributes = record.config.labels.clone();
        attributes.insert("name".to_owned(), record.name);
        attributes.insert("imageID".to_owned(), image.id.to_string());
        self.events.publish("container", "commit", &record.id, attributes);
        Ok(image.id.to_string())
    }
}

/// What of a container's configuration its image keeps.
fn image_config(config: &ContainerConfig) -> ImageConfig {
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    ImageConfig {
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.keys().cloned().collect(),
        env: config.env.clone(),
        entrypoint: words(&config.entrypoint),
        cmd: words(&config.cmd),
        volumes: config.volumes.iter().flatten().map(|(target, _)| target.clone()).collect(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        healthcheck: config.healthcheck.as_ref().map(skep_containers::health_config),
        stop_signal: config.stop_signal.clone(),
        shell: words(&config.shell),
        on_build: words(&config.on_build),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o040_755), go::DIR | 0o755);
        assert_eq!(go_mode(0o120_777), go::SYMLINK | 0o777);
        assert_eq!(go_mode(0o104_755), go::SETUID | 0o755);
        assert_eq!(go_mode(0o041_777), go::DIR | go::STICKY | 0o777);
        assert_eq!(go_mode(0o020_620), go::DEVICE | go::CHAR_DEVICE | 0o620);
    }
}
