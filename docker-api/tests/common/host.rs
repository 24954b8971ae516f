//! A host of a few containers whose ids say how they behave; it notes what it is asked.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use skep_docker_api::json::*;
use skep_docker_api::*;
use tokio_util::io::ReaderStream;

pub type Answer<T> = Result<T, ApiError>;

/// What a flood is made of.
pub const FLOOD_CHUNK_BYTES: usize = 64 * 1024;
pub const FLOOD_CHUNKS: u64 = 1024;

/// Says when what holds it is dropped.
struct Left(Arc<tokio::sync::Notify>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[derive(Default)]
pub struct Host {
    pub tty: bool,
    pub notes: Mutex<Vec<String>>,
    /// The commands that were begun since they were made.
    pub ran: Mutex<HashSet<String>>,
    /// Told when a command is let go.
    pub left: Arc<tokio::sync::Notify>,
    /// Tells a container that is waited for to end.
    pub end: Arc<tokio::sync::Notify>,
    /// How many chunks were taken of a flood.
    pub flood: Arc<AtomicU64>,
}

impl Host {
    fn note(&self, text: impl Into<String>) {
        self.notes.lock().unwrap().push(text.into());
    }

    pub fn noted(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().unwrap())
    }

    fn find(&self, id: &str) -> Answer<()> {
        match id {
            "nope" => Err(ApiError::not_found("No such container: nope")),
            "paused" => Err(ApiError::conflict("container paused is paused")),
            _ => Ok(()),
        }
    }

    /// `echo…` says what it hears and then `bye` on standard error; `deaf…` hears nothing and goes on; `flood…` says much;
    /// `broken…` fails on the way; others are silent and go on. All tell when they are let go.
    fn streams(&self, id: &str, stdin: bool) -> Streams {
        let left = Left(self.left.clone());
        let (near, far) = tokio::io::duplex(1024);
        let (ear, mouth) = tokio::io::split(near);
        drop(mouth);
        let silent = stream::pending().boxed();
        let (output, far): (Flow<(LogSource, Bytes)>, _) = if id.starts_with("echo") {
            let heard = ReaderStream::new(ear)
                .map_ok(|bytes| (LogSource::Stdout, bytes))
                .map_err(|error| ApiError::system(error.to_string()));
            let bye = stream::iter([Ok((LogSource::Stderr, Bytes::from_static(b"bye")))]);
            (heard.chain(bye).boxed(), Some(far))
        } else if id.starts_with("flood") {
            let count = self.flood.clone();
            let chunks = stream::iter(0..FLOOD_CHUNKS).map(move |_| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok((LogSource::Stdout, Bytes::from(vec![7; FLOOD_CHUNK_BYTES])))
            });
            (chunks.boxed(), Some(far))
        } else if id.starts_with("broken") {
            let said = [
                Ok((LogSource::Stdout, Bytes::from_static(b"one"))),
                Err(ApiError::system("the shim left")),
            ];
            (stream::iter(said).boxed(), Some(far))
        } else if id.starts_with("deaf") {
            drop(ear);
            (silent, Some(far))
        } else {
            // Held, so that it may be written to.
            let held = stream::once(async move {
                let _held = ear;
                std::future::pending().await
            });
            (held.boxed(), Some(far))
        };
        let output = output.inspect(move |_| {
            let _held = &left;
        });
        let input = far.filter(|_| stdin).map(|far| Box::pin(far) as _);
        Streams { tty: self.tty, output: output.boxed(), input }
    }
}

#[async_trait]
impl Backend for Host {
    async fn version(&self) -> Answer<Version> {
        Ok(Version { version: "0.1.0".into(), api_version: "1.51".into(), ..Default::default() })
    }
    async fn info(&self) -> Answer<Info> {
        Ok(Info::default())
    }
    async fn swarm_status(&self) -> String {
        "inactive".into()
    }
    async fn swarm_inspect(&self) -> Answer<Swarm> {
        Err(ApiError::not_in_swarm())
    }
    async fn nodes(&self, _: Filters) -> Answer<List<Node>> {
        Err(ApiError::not_in_swarm())
    }
    async fn node(&self, _: &str) -> Answer<Node> {
        Err(ApiError::not_in_swarm())
    }

    async fn container_create(
        &self,
        name: Option<&str>,
        platform: &str,
        request: ContainerCreateRequest,
    ) -> Answer<ContainerCreateResponse> {
        let host = &request.host_config;
        self.note(format!(
            "create {name:?} {platform:?} {} {:?} ipc={:?} tty={}",
            request.config.image, host.console_size, host.ipc_mode, request.config.tty
        ));
        Ok(ContainerCreateResponse { id: name.unwrap_or("made").into(), warnings: vec![] })
    }
    async fn container(&self, id: &str, _: bool) -> Answer<ContainerInspect> {
        self.find(id)?;
        let mut container =
            ContainerInspect { id: id.into(), name: format!("/{id}"), ..Default::default() };
        container.state.status = "running".into();
        container.state.running = true;
        container.config.tty = self.tty;
        container.config.open_stdin = true;
        Ok(container)
    }
    async fn containers(&self, _: ContainerListOptions) -> Answer<Vec<ContainerSummary>> {
        Ok(vec![])
    }
    async fn container_start(&self, id: &str) -> Answer<bool> {
        self.find(id)?;
        self.note(format!("start {id}"));
        Ok(id != "on")
    }
    async fn container_stop(&self, id: &str, options: StopOptions) -> Answer<bool> {
        self.find(id)?;
        self.note(format!("stop {id} {:?} {:?}", options.signal, options.timeout));
        if id == "long" {
            self.end.notified().await;
            self.note("stopped");
        }
        Ok(id != "off")
    }
    async fn container_restart(&self, id: &str, options: StopOptions) -> Answer<()> {
        self.note(format!("restart {id} {:?} {:?}", options.signal, options.timeout));
        self.find(id)
    }
    async fn container_kill(&self, id: &str, signal: &str) -> Answer<()> {
        self.note(format!("kill {id} {signal:?}"));
        self.find(id)
    }
    async fn container_pause(&self, id: &str) -> Answer<()> {
        self.find(id)
    }
    async fn container_unpause(&self, id: &str) -> Answer<()> {
        self.find(id)
    }
    async fn container_wait(
        &self,
        id: &str,
        condition: WaitCondition,
    ) -> Answer<BoxFuture<'static, Answer<ContainerWaitResponse>>> {
        self.find(id)?;
        self.note(format!("wait {id} {condition:?}"));
        let end = (id.starts_with("long")).then(|| self.end.clone());
        let broken = id == "long-broken";
        Ok(async move {
            if let Some(end) = end {
                end.notified().await;
            }
            if broken {
                return Err(ApiError::system("the shim left"));
            }
            Ok(ContainerWaitResponse { status_code: 7, error: None })
        }
        .boxed())
    }
    async fn container_rename(&self, id: &str, name: &str) -> Answer<()> {
        self.note(format!("rename {id} {name}"));
        self.find(id)
    }
    async fn container_update(
        &self,
        id: &str,
        request: ContainerUpdateRequest,
    ) -> Answer<ContainerUpdateResponse> {
        self.find(id)?;
        let policy = request.restart_policy.name;
        self.note(format!("update {id} {} {:?} {policy}", request.memory, request.pids_limit));
        Ok(ContainerUpdateResponse::default())
    }
    async fn container_remove(&self, id: &str, options: RemoveOptions) -> Answer<()> {
        self.note(format!("rm {id} {options:?}"));
        self.find(id)
    }
    async fn containers_prune(&self, filters: Filters) -> Answer<ContainersPruneResponse> {
        self.note(format!("prune containers {:?}", filters.0));
        let containers_deleted = Some(vec!["c0ffee".into()]);
        Ok(ContainersPruneResponse { containers_deleted, space_reclaimed: 12 })
    }
    async fn container_attach(&self, id: &str, options: AttachOptions) -> Answer<Streams> {
        self.find(id)?;
        self.note(format!("attach {id}"));
        Ok(self.streams(id, options.stdin))
    }
    async fn container_resize(&self, id: &str, height: u16, width: u16) -> Answer<()> {
        self.note(format!("resize {id} {height}x{width}"));
        self.find(id)
    }
    async fn container_top(&self, id: &str, words: &str) -> Answer<TopResponse> {
        self.find(id)?;
        self.note(format!("top {id} {words}"));
        let processes = vec![vec!["1".into(), "sleep".into()]];
        Ok(TopResponse { titles: vec!["PID".into(), "CMD".into()], processes })
    }
    async fn container_stats(&self, id: &str, stream: bool, one_shot: bool) -> Answer<Flow<Stats>> {
        self.find(id)?;
        self.note(format!("stats {id} {stream} {one_shot}"));
        let mut stats = Stats { name: format!("/{id}"), id: id.into(), ..Default::default() };
        stats.read = Timestamp::default().0;
        stats.preread = Timestamp::default().0;
        stats.memory_stats.usage = 3 << 20;
        stats.memory_stats.limit = 1 << 30;
        stats.pids_stats.current = 5;
        let first = stream::iter([Ok(stats)]);
        Ok(if stream { first.chain(stream::pending()).boxed() } else { first.boxed() })
    }
    async fn container_changes(&self, id: &str) -> Answer<Vec<Change>> {
        self.find(id)?;
        Ok(match id {
            "clean" => vec![],
            _ => vec![Change { path: "/new".into(), kind: 1 }],
        })
    }
    async fn container_export(&self, id: &str) -> Answer<ByteStream> {
        self.find(id)?;
        Ok(stream::iter([Ok(Bytes::from_static(b"tar-ball"))]).boxed())
    }
    async fn container_archive_stat(&self, id: &str, path: &str) -> Answer<PathStat> {
        self.find(id)?;
        self.note(format!("stat {id} {path}"));
        let mtime = Timestamp::default().0;
        match path {
            "/gone" => {
                Err(ApiError::not_found(format!("Could not find the file /gone in container {id}")))
            }
            "/tmp" => {
                Ok(PathStat { name: "tmp".into(), mode: 1 << 31, mtime, ..Default::default() })
            }
            _ => Ok(PathStat {
                name: path.trim_start_matches('/').into(),
                size: 5,
                mode: 0o644,
                mtime,
                ..Default::default()
            }),
        }
    }
    async fn container_archive(&self, id: &str, path: &str) -> Answer<(PathStat, ByteStream)> {
        let stat = self.container_archive_stat(id, path).await?;
        let tar = tar(&stat.name, b"hello");
        Ok((stat, stream::iter([Ok(tar)]).boxed()))
    }
    async fn container_archive_put(
        &self,
        id: &str,
        path: &str,
        options: ArchivePutOptions,
        tar: ByteStream,
    ) -> Answer<()> {
        self.find(id)?;
        let ArchivePutOptions { no_overwrite_dir_non_dir: keep, copy_uid_gid: owners } = options;
        let length = tar.try_fold(0, |sum, bytes| async move { Ok(sum + bytes.len()) }).await?;
        self.note(format!("put {id} {path} keep={keep} owners={owners} {}", length > 0));
        Ok(())
    }
    async fn container_commit(
        &self,
        options: CommitOptions,
        config: Option<ContainerConfig>,
    ) -> Answer<String> {
        self.find(&options.container)?;
        let CommitOptions { container, repo, tag, changes, pause, .. } = options;
        self.note(format!(
            "commit {container} {repo} {tag} {changes:?} {pause} {}",
            config.is_some()
        ));
        Ok("sha256:07".into())
    }

    async fn exec_create(&self, container: &str, request: ExecCreateRequest) -> Answer<String> {
        self.find(container)?;
        self.note(format!("exec {container} {:?} {:?}", request.cmd, request.console_size));
        let id = format!("{}-exec", request.cmd[0]);
        self.ran.lock().unwrap().remove(&id);
        Ok(id)
    }
    async fn exec_start(&self, id: &str, request: ExecStartRequest) -> Answer<Option<Streams>> {
        self.note(format!("exec start {id} {:?}", request.console_size));
        self.ran.lock().unwrap().insert(id.into());
        match id {
            "bad-exec" => Err(ApiError::invalid("executable file not found in $PATH")),
            _ if request.detach => Ok(None),
            _ => Ok(Some(self.streams(id, true))),
        }
    }
    async fn exec_inspect(&self, id: &str) -> Answer<ExecInspect> {
        if id == "lost-exec" {
            return Err(ApiError::not_found("No such exec instance: lost-exec"));
        }
        let ran = self.ran.lock().unwrap().contains(id);
        let exit_code = ran.then_some(if id == "bad-exec" { 127 } else { 3 });
        Ok(ExecInspect {
            id: id.into(),
            exit_code,
            process_config: ExecProcess { tty: id.starts_with("tty"), ..Default::default() },
            detach_keys: "ctrl-a".into(),
            ..Default::default()
        })
    }
    async fn exec_resize(&self, id: &str, height: u16, width: u16) -> Answer<()> {
        self.note(format!("exec resize {id} {height}x{width}"));
        Ok(())
    }

    async fn network(&self, id: &str) -> Answer<Network> {
        Ok(Network { id: id.into(), name: id.into(), ..Default::default() })
    }
    async fn network_connect(&self, id: &str, request: NetworkConnectRequest) -> Answer<()> {
        let aliases = request.endpoint_config.and_then(|at| at.aliases);
        self.note(format!("connect {id} {} {aliases:?}", request.container));
        Ok(())
    }
    async fn network_disconnect(&self, id: &str, request: NetworkDisconnectRequest) -> Answer<()> {
        self.note(format!("disconnect {id} {} {}", request.container, request.force));
        Ok(())
    }
    async fn networks_prune(&self, _: Filters) -> Answer<NetworksPruneResponse> {
        Ok(NetworksPruneResponse { networks_deleted: Some(vec!["old".into()]) })
    }
    async fn volumes_prune(&self, _: Filters) -> Answer<VolumesPruneResponse> {
        let volumes_deleted = Some(vec!["data".into()]);
        Ok(VolumesPruneResponse { volumes_deleted, space_reclaimed: 5 })
    }
    async fn images_prune(&self, _: Filters) -> Answer<ImagesPruneResponse> {
        Ok(ImagesPruneResponse::default())
    }
    async fn image_history(&self, name: &str) -> Answer<Vec<ImageHistoryItem>> {
        let created_by = format!("RUN make {name}");
        Ok(vec![ImageHistoryItem { created_by, ..Default::default() }])
    }
    async fn image_push(&self, request: PushRequest) -> Answer<Flow<Progress>> {
        self.note(format!("push {} {}", request.reference, request.auth.is_some()));
        Ok(stream::iter([Ok(Progress::status("latest: digest: sha256:07 size: 7"))]).boxed())
    }
    async fn image_search(
        &self,
        term: &str,
        limit: u64,
        _: Filters,
        _: Option<RegistryAuth>,
    ) -> Answer<Vec<SearchResult>> {
        self.note(format!("search {term} {limit}"));
        Ok(vec![SearchResult { name: term.into(), star_count: 9, ..Default::default() }])
    }
    async fn image_remove(
        &self,
        name: &str,
        _: ImageRemoveOptions,
    ) -> Answer<Vec<ImageDeleteItem>> {
        Ok(vec![ImageDeleteItem { untagged: name.into(), ..Default::default() }])
    }
    async fn auth(&self, auth: RegistryAuth) -> Answer<AuthResponse> {
        self.note(format!("auth {} {}", auth.username, auth.server_address));
        Ok(AuthResponse { status: "Login Succeeded".into(), ..Default::default() })
    }
    async fn disk_usage(&self, types: Vec<String>) -> Answer<DiskUsage> {
        self.note(format!("df {types:?}"));
        let volumes = Some(vec![]);
        Ok(DiskUsage { layers_size: 7, volumes, ..Default::default() })
    }
}

/// An archive of one small file.
pub fn tar(name: &str, content: &[u8]) -> Bytes {
    let mut header = [0u8; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", content.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar.into()
}
