//! All containers of a node: makes them, finds them, finds them again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use skep_idmap::IdMaps;
use time::OffsetDateTime;

use crate::cgroup::Hierarchies;
use crate::config::{ContainerConfig, Resources};
use crate::container::Container;
use crate::defaults::{LOCK_TIMEOUT, POLL_INTERVAL};
use crate::error::{Error, Result};
use crate::filters::Filters;
use crate::layout::{self, Places};
use crate::nursery::Nursery;
use crate::protocol::{Launch, Role};
use crate::record::{self, Durability, Stored};
use crate::sealed::Program;
use crate::shim::filter::Filter;
use crate::{apparmor, launch, passage, recover};

#[derive(Debug, Clone)]
pub struct RuntimeConfig {
    /// What outlives a reboot: configurations, exit statuses, logs.
    pub state_dir: PathBuf,
    /// What does not: sockets, locks. Best on a memory filesystem.
    pub run_dir: PathBuf,
    /// The cgroup below which shims and containers are, as an absolute path (`/skep`).
    pub cgroup_parent: PathBuf,
    /// The program that is a shim when its first argument says so.
    pub shim_exe: PathBuf,
    /// The maps of containers' user namespaces, where they have their own.
    pub id_maps: Option<IdMaps>,
}

impl RuntimeConfig {
    /// With this process's own program as the shim.
    pub fn new(
        state_dir: impl Into<PathBuf>,
        run_dir: impl Into<PathBuf>,
        cgroup_parent: impl Into<PathBuf>,
    ) -> RuntimeConfig {
        RuntimeConfig {
            state_dir: state_dir.into(),
            run_dir: run_dir.into(),
            cgroup_parent: cgroup_parent.into(),
            shim_exe: "/proc/self/exe".into(),
            id_maps: None,
        }
    }
}

/// A handle; clones are the same runtime. Dropping it leaves the containers as they are.
#[derive(Debug, Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// What a runtime and its containers' handles have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: RuntimeConfig,
    pub hierarchies: Hierarchies,
    nursery: Arc<Nursery>,
    filters: Filters,
    /// The containers by their ids, so that whoever lists a thousand reads no thousand files. What a
    /// container was made from never changes; those in the making are not there yet.
    known: Mutex<BTreeMap<String, Arc<Stored>>>,
    /// Keeps a second daemon out.
    _lock: File,
}

impl Shared {
    pub fn cgroup(&self, config: &ContainerConfig) -> PathBuf {
        config.cgroup_parent.as_ref().unwrap_or(&self.config.cgroup_parent).join(&config.id)
    }

    pub fn places(&self, id: &str) -> Places {
        Places::new(&self.config.state_dir, &self.config.run_dir, id)
    }

    /// A process of the shim's program with these as its standard streams.
    pub async fn fork(&self, role: Role, streams: [OwnedFd; 3]) -> std::io::Result<OwnedFd> {
        let nursery = Arc::clone(&self.nursery);
        let forked = tokio::task::spawn_blocking(move || nursery.fork(role, &streams)).await;
        forked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Stored>>> {
        // Each change of it is one call.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filter of a container's system calls. The first of a kind takes a moment to make.
    pub async fn filter(self: &Arc<Self>, config: &ContainerConfig) -> Result<Option<Arc<Filter>>> {
        let (shared, config) = (Arc::clone(self), config.clone());
        blocking(move || shared.filters.of(&config)).await
    }

    /// A container that is gone.
    pub fn forget(&self, id: &str) {
        self.known().remove(id);
    }
}

impl Runtime {
    /// Takes charge of a node's containers: those that run are left alone, those that ended without
    /// a witness get their status, what belongs to none is removed.
    pub async fn open(config: RuntimeConfig) -> Result<Runtime> {
        let runtime = blocking(move || Runtime::open_blocking(config)).await?;
        for container in runtime.list().await? {
            container.state().await?;
        }
        Ok(runtime)
    }

    fn open_blocking(config: RuntimeConfig) -> Result<Runtime> {
        if !config.cgroup_parent.is_absolute() || config.cgroup_parent == Path::new("/") {
            let path = config.cgroup_parent.display();
            return Err(Error::Invalid(format!("the parent cgroup {path} is no absolute path")));
        }
        for dir in [&config.state_dir, &config.run_dir] {
            let dir = layout::containers(dir);
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700);
            builder.create(&dir).map_err(Error::io("create", &dir))?;
        }
        if let Some(maps) = &config.id_maps {
            passage::open(&config.run_dir, maps)?;
        }
        let lock = keep_others_out(&config.state_dir)?;
        let hierarchies =
            Hierarchies::find().map_err(Error::io("find cgroups in", "/proc/self/mounts"))?;
        let program =
            Program::copy(&config.shim_exe).map_err(Error::io("copy", &config.shim_exe))?;
        recover::sweep(&config.state_dir, &config.run_dir, (&hierarchies, &config.cgroup_parent))?;
        let known = Mutex::new(read_all(&config)?);
        let nursery = Arc::new(Nursery::new(program, config.cgroup_parent.clone()));
        Ok(Runtime {
            shared: Arc::new(Shared {
                config,
                hierarchies,
                nursery,
                filters: Filters::default(),
                known,
                _lock: lock,
            }),
        })
    }

    /// Makes a container, up to the point where its command can be run. On failure nothing is left
    /// of it. Goes on to its end even if the caller does not wait for it.
    /// Limits that this host cannot hold are left out, as [`Runtime::fit`] tells.
    pub async fn create(&self, mut config: ContainerConfig) -> Result<Container> {
        config.check()?;
        config.resources.fit(&self.shared.hierarchies.support())?;
        let shared = Arc::clone(&self.shared);
        let made = tokio::spawn(async move { create(&shared, config).await });
        made.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// The maps of containers' user namespaces, where they have their own.
    pub fn id_maps(&self) -> Option<&IdMaps> {
        self.shared.config.id_maps.as_ref()
    }

    /// Takes away the limits that this host cannot hold, and says so in Docker's words.
    pub fn fit(&self, resources: &mut Resources) -> Result<Vec<String>> {
        resources.fit(&self.shared.hierarchies.support())
    }

    /// The container of this id.
    pub async fn get(&self, id: &str) -> Result<Container> {
        let stored = self.shared.known().get(id).cloned();
        let stored = stored.ok_or_else(|| Error::NoSuchContainer(id.to_owned()))?;
        Ok(Container::new(Arc::clone(&self.shared), stored))
    }

    /// All containers, by their ids.
    pub async fn list(&self) -> Result<Vec<Container>> {
        let stored: Vec<_> = self.shared.known().values().cloned().collect();
        let container = |stored| Container::new(Arc::clone(&self.shared), stored);
        Ok(stored.into_iter().map(container).collect())
    }

    /// Those of these containers that are frozen now.
    pub async fn frozen(&self, ids: Vec<String>) -> Result<BTreeSet<String>> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let frozen = |id: &String| {
                // What is gone meanwhile is not frozen.
                let Some(stored) = shared.known().get(id).cloned() else { return Ok(false) };
                let frozen = shared.hierarchies.frozen(&shared.cgroup(&stored.config));
                let id = id.clone();
                let operation = "look at the freezer";
                frozen.map_err(|source| Error::Container { operation, id, source })
            };
            let mut all = BTreeSet::new();
            for id in ids {
                if frozen(&id)? {
                    all.insert(id);
                }
            }
            Ok(all)
        })
        .await
    }
}

fn read_all(config: &RuntimeConfig) -> Result<BTreeMap<String, Arc<Stored>>> {
    let dir = layout::containers(&config.state_dir);
    let mut known = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("read", &dir))? {
        let entry = entry.map_err(Error::io("read", &dir))?;
        let Ok(id) = entry.file_name().into_string() else { continue };
        let places = Places::new(&config.state_dir, &config.run_dir, &id);
        if let Some(stored) = record::read::<Stored>(&places.config())? {
            known.insert(id, Arc::new(stored));
        }
    }
    Ok(known)
}

/// Takes the lock of a state directory. A process that the last daemon forked a moment ago holds it
/// too, until its execve, and so may a task of the last runtime: hence the patience.
fn keep_others_out(state_dir: &Path) -> Result<File> {
    let path = state_dir.join("engine.lock");
    let lock = File::create(&path).map_err(Error::io("create", &path))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(POLL_INTERVAL);
            }
            Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse(state_dir.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
}

async fn create(shared: &Arc<Shared>, config: ContainerConfig) -> Result<Container> {
    let (config, filter) = {
        let (shared, mut config) = (Arc::clone(shared), config);
        blocking(move || {
            apparmor::choose(&mut config)?;
            let filter = shared.filters.of(&config)?;
            Ok((config, filter))
        })
        .await?
    };
    let places = shared.places(&config.id);
    let stored = Stored { created_at: OffsetDateTime::now_utc(), config };
    let id = stored.config.id.clone();
    let run_mode = if stored.config.id_maps.is_some() { passage::MODE } else { 0o700 };
    for (dir, mode) in [(places.state(), 0o700), (places.run(), run_mode)] {
        match DirBuilder::new().mode(mode).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists(id));
            }
            Err(error) => return Err(Error::io("create", dir)(error)),
        }
    }
    let config = stored.config.clone();
    let launch = Launch {
        file_bytes: config.files.iter().map(|file| file.content.bytes().len()).collect(),
        config,
        filter,
        state: places.state().to_owned(),
        run: places.run().to_owned(),
        cgroup_parent: shared.config.cgroup_parent.clone(),
    };
    let made = match record::write(&places.config(), &stored, Durability::Cached) {
        Ok(()) => launch::launch(shared, &launch, &places).await,
        Err(error) => Err(error),
    };
    if let Err(error) = made {
        let (shared, cgroup) = (Arc::clone(shared), shared.cgroup(&launch.config));
        let removed =
            blocking(move || recover::remove(&places, &shared.hierarchies, &cgroup)).await;
        if let Err(error) = removed {
            tracing::warn!(%id, %error, "failed to clean up after a container that was not made");
        }
        return Err(error);
    }
    // What was secret in the configuration has done its work.
    let mut stored = stored;
    for file in &mut stored.config.files {
        file.content = crate::config::Content::default();
    }
    let stored = Arc::new(stored);
    shared.known().insert(id, Arc::clone(&stored));
    Ok(Container::new(Arc::clone(shared), stored))
}

/// Runs what waits for a disk or a process outside the runtime's own threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
