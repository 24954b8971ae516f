//! The calls about containers, and about what else one host has.
//!
//! Those that last as long as a container pleases have no bound: stopping, waiting, attaching.

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncRead;

use super::streams::upload;
use super::{
    Answer, Client, ClientError, Connection, Download, ProgressLines, encode, whole, with_filters,
};
use crate::defaults;
use crate::filters::Filters;
use crate::json::*;

/// A container's end, when it has come.
pub type Ended = BoxFuture<'static, Answer<ContainerWaitResponse>>;

fn flag(on: bool) -> u8 {
    u8::from(on)
}

impl Client {
    /// A call whose answer takes as long as it takes.
    async fn patient(&self, method: Method, path: &str, body: Vec<u8>) -> Answer<StatusCode> {
        let response = self.send(method, path, None, whole(body)).await?;
        Ok(response.status())
    }

    /// A connection that after its head is the container's alone.
    async fn hijack(&self, path: &str, body: Vec<u8>) -> Answer<Connection> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
        let sent = self.send_with(Method::POST, path, headers, whole(body));
        let response = self.timely(path, sent).await?;
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| self.transport(error))?;
        Ok(Box::new(TokioIo::new(upgraded)))
    }

    pub async fn container_create(
        &self,
        name: Option<&str>,
        platform: &str,
        request: &ContainerCreateRequest,
    ) -> Answer<ContainerCreateResponse> {
        let mut query = Vec::new();
        if let Some(name) = name {
            query.push(format!("name={}", encode(name)));
        }
        if !platform.is_empty() {
            query.push(format!("platform={}", encode(platform)));
        }
        let query = query.join("&");
        let joint = if query.is_empty() { "" } else { "?" };
        self.create(&format!("/containers/create{joint}{query}"), request).await
    }

    /// Whether it was not running before.
    pub async fn container_start(&self, id: &str) -> Answer<bool> {
        let path = format!("/containers/{}/start", encode(id));
        let status = self.patient(Method::POST, &path, Vec::new()).await?;
        Ok(status != StatusCode::NOT_MODIFIED)
    }

    fn stop_query(id: &str, verb: &str, options: &StopOptions) -> String {
        let mut query = Vec::new();
        if !options.signal.is_empty() {
            query.push(format!("signal={}", encode(&options.signal)));
        }
        if let Some(timeout) = options.timeout {
            query.push(format!("t={timeout}"));
        }
        format!("/containers/{}/{verb}?{}", encode(id), query.join("&"))
            .trim_end_matches('?')
            .to_owned()
    }

    /// Whether it was running before.
    pub async fn container_stop(&self, id: &str, options: &StopOptions) -> Answer<bool> {
        let path = Self::stop_query(id, "stop", options);
        let status = self.patient(Method::POST, &path, Vec::new()).await?;
        Ok(status != StatusCode::NOT_MODIFIED)
    }

    pub async fn container_restart(&self, id: &str, options: &StopOptions) -> Answer<()> {
        let path = Self::stop_query(id, "restart", options);
        self.patient(Method::POST, &path, Vec::new()).await.map(drop)
    }

    /// An empty signal is the one that cannot be caught.
    pub async fn container_kill(&self, id: &str, signal: &str) -> Answer<()> {
        let query =
            if signal.is_empty() { String::new() } else { format!("?signal={}", encode(signal)) };
        let path = format!("/containers/{}/kill{query}", encode(id));
        self.patient(Method::POST, &path, Vec::new()).await.map(drop)
    }

    pub async fn container_pause(&self, id: &str) -> Answer<()> {
        let path = format!("/containers/{}/pause", encode(id));
        self.patient(Method::POST, &path, Vec::new()).await.map(drop)
    }

    pub async fn container_unpause(&self, id: &str) -> Answer<()> {
        let path = format!("/containers/{}/unpause", encode(id));
        self.patient(Method::POST, &path, Vec::new()).await.map(drop)
    }

    /// Begins to wait: when this is back, no end is missed.
    pub async fn container_wait(&self, id: &str, condition: WaitCondition) -> Answer<Ended> {
        let query = match condition {
            WaitCondition::NotRunning => String::new(),
            other => format!("?condition={}", other.as_str()),
        };
        let path = format!("/containers/{}/wait{query}", encode(id));
        let sent = self.send(Method::POST, &path, None, whole(Vec::new()));
        let response = self.timely(&path, sent).await?;
        let client = self.clone();
        Ok(async move {
            let limited = Limited::new(response.into_body(), defaults::LINE_BYTES_MAX);
            let bytes = limited.collect().await.map_err(|error| client.transport(error))?;
            serde_json::from_slice(&bytes.to_bytes())
                .map_err(|source| ClientError::Answer { path, source })
        }
        .boxed())
    }

    pub async fn container_rename(&self, id: &str, name: &str) -> Answer<()> {
        let path = format!("/containers/{}/rename?name={}", encode(id), encode(name));
        self.patient(Method::POST, &path, Vec::new()).await.map(drop)
    }

    pub async fn container_update(
        &self,
        id: &str,
        request: &ContainerUpdateRequest,
    ) -> Answer<ContainerUpdateResponse> {
        self.create(&format!("/containers/{}/update", encode(id)), request).await
    }

    pub async fn container_remove(&self, id: &str, options: &RemoveOptions) -> Answer<()> {
        let query: Vec<_> =
            [("v", options.volumes), ("link", options.link), ("force", options.force)]
                .into_iter()
                .filter(|(_, on)| *on)
                .map(|(name, _)| format!("{name}=1"))
                .collect();
        let joint = if query.is_empty() { "" } else { "?" };
        let path = format!("/containers/{}{joint}{}", encode(id), query.join("&"));
        self.patient(Method::DELETE, &path, Vec::new()).await.map(drop)
    }

    pub async fn containers_prune(&self, filters: &Filters) -> Answer<ContainersPruneResponse> {
        self.prune("/containers/prune", filters).await
    }

    async fn prune<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        filters: &Filters,
    ) -> Answer<T> {
        self.json(Method::POST, &with_filters(path, filters), Vec::new()).await
    }

    pub async fn container_attach(&self, id: &str, options: &AttachOptions) -> Answer<Connection> {
        let mut query = Vec::new();
        if !options.detach_keys.is_empty() {
            query.push(format!("detachKeys={}", encode(&options.detach_keys)));
        }
        for (name, on) in [
            ("logs", options.logs),
            ("stream", options.stream),
            ("stdin", options.stdin),
            ("stdout", options.stdout),
            ("stderr", options.stderr),
        ] {
            if on {
                query.push(format!("{name}=1"));
            }
        }
        let path = format!("/containers/{}/attach?{}", encode(id), query.join("&"));
        self.hijack(&path, Vec::new()).await
    }

    pub async fn container_resize(&self, id: &str, rows: u16, columns: u16) -> Answer<()> {
        let path = format!("/containers/{}/resize?h={rows}&w={columns}", encode(id));
        self.call(Method::POST, &path, Vec::new()).await.map(drop)
    }

    pub async fn container_top(&self, id: &str, ps_args: &str) -> Answer<TopResponse> {
        let query = match ps_args {
            "" => String::new(),
            words => format!("?ps_args={}", encode(words)),
        };
        self.get(&format!("/containers/{}/top{query}", encode(id))).await
    }

    /// Numbers as they come, or once; with `one_shot`, without the look before.
    pub async fn container_stats(
        &self,
        id: &str,
        stream: bool,
        one_shot: bool,
    ) -> Answer<BoxStream<'static, Answer<Stats>>> {
        let once = if one_shot { "&one-shot=1" } else { "" };
        let path = format!("/containers/{}/stats?stream={}{once}", encode(id), flag(stream));
        let sent = self.send(Method::GET, &path, None, whole(Vec::new()));
        Ok(self.documents_of(self.timely(&path, sent).await?))
    }

    pub async fn container_changes(&self, id: &str) -> Answer<Vec<Change>> {
        let path = format!("/containers/{}/changes", encode(id));
        Ok(self.get::<Option<Vec<Change>>>(&path).await?.unwrap_or_default())
    }

    pub async fn container_export(&self, id: &str) -> Answer<Download> {
        let path = format!("/containers/{}/export", encode(id));
        let sent = self.send(Method::GET, &path, None, whole(Vec::new()));
        Ok(self.bytes_of(self.timely(&path, sent).await?))
    }

    fn archive(id: &str, path: &str) -> String {
        format!("/containers/{}/archive?path={}", encode(id), encode(path))
    }

    fn stat_of(&self, headers: &HeaderMap) -> Answer<PathStat> {
        headers
            .get("X-Docker-Container-Path-Stat")
            .and_then(|value| value.to_str().ok())
            .and_then(PathStat::from_header)
            .ok_or_else(|| self.transport("the answer does not say what stands at the path"))
    }

    pub async fn container_archive_stat(&self, id: &str, path: &str) -> Answer<PathStat> {
        let path = Self::archive(id, path);
        let sent = self.send(Method::HEAD, &path, None, whole(Vec::new()));
        match self.timely(&path, sent).await {
            Ok(response) => self.stat_of(response.headers()),
            // An answer without a body has no words.
            Err(ClientError::Daemon { status, message }) if message.is_empty() => {
                let message = match status {
                    StatusCode::NOT_FOUND => "no such container or path".to_owned(),
                    _ => status.to_string(),
                };
                Err(ClientError::Daemon { status, message })
            }
            Err(error) => Err(error),
        }
    }

    /// A path's files as a tar archive.
    pub async fn container_archive_get(
        &self,
        id: &str,
        path: &str,
    ) -> Answer<(PathStat, Download)> {
        let path = Self::archive(id, path);
        let sent = self.send(Method::GET, &path, None, whole(Vec::new()));
        let response = self.timely(&path, sent).await?;
        let stat = self.stat_of(response.headers())?;
        Ok((stat, self.bytes_of(response)))
    }

    /// Unpacks an archive in a folder.
    pub async fn container_archive_put(
        &self,
        id: &str,
        path: &str,
        options: &ArchivePutOptions,
        tar: impl AsyncRead + Send + 'static,
    ) -> Answer<()> {
        let mut path = Self::archive(id, path);
        if options.no_overwrite_dir_non_dir {
            path.push_str("&noOverwriteDirNonDir=true");
        }
        if options.copy_uid_gid {
            path.push_str("&copyUIDGID=true");
        }
        self.send(Method::PUT, &path, None, upload(tar)).await.map(drop)
    }

    pub async fn container_commit(&self, options: &CommitOptions) -> Answer<MadeResponse> {
        let mut path = format!("/commit?container={}", encode(&options.container));
        for (name, value) in [
            ("repo", &options.repo),
            ("tag", &options.tag),
            ("comment", &options.comment),
            ("author", &options.author),
        ] {
            if !value.is_empty() {
                path.push_str(&format!("&{name}={}", encode(value)));
            }
        }
        for change in &options.changes {
            path.push_str(&format!("&changes={}", encode(change)));
        }
        if !options.pause {
            path.push_str("&pause=0");
        }
        // As long as the container's files are many.
        let response = self.send(Method::POST, &path, None, whole(b"null".to_vec())).await?;
        self.document(path, response).await
    }

    async fn document<T: serde::de::DeserializeOwned>(
        &self,
        path: String,
        response: http::Response<hyper::body::Incoming>,
    ) -> Answer<T> {
        let limited = Limited::new(response.into_body(), defaults::ANSWER_BYTES_MAX);
        let bytes = limited.collect().await.map_err(|error| self.transport(error))?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|source| ClientError::Answer { path, source })
    }

    pub async fn exec_create(
        &self,
        container: &str,
        request: &ExecCreateRequest,
    ) -> Answer<MadeResponse> {
        self.create(&format!("/containers/{}/exec", encode(container)), request).await
    }

    /// Starts it, with its streams on the connection.
    pub async fn exec_start(&self, id: &str, request: &ExecStartRequest) -> Answer<Connection> {
        self.hijack(&format!("/exec/{}/start", encode(id)), Self::bytes(request)).await
    }

    /// Starts it, and leaves it to itself.
    pub async fn exec_start_detached(&self, id: &str, request: &ExecStartRequest) -> Answer<()> {
        self.post(&format!("/exec/{}/start", encode(id)), request).await
    }

    pub async fn exec(&self, id: &str) -> Answer<ExecInspect> {
        self.get(&format!("/exec/{}/json", encode(id))).await
    }

    pub async fn exec_resize(&self, id: &str, rows: u16, columns: u16) -> Answer<()> {
        let path = format!("/exec/{}/resize?h={rows}&w={columns}", encode(id));
        self.call(Method::POST, &path, Vec::new()).await.map(drop)
    }

    pub async fn network_connect(
        &self,
        network: &str,
        request: &NetworkConnectRequest,
    ) -> Answer<()> {
        self.post(&format!("/networks/{}/connect", encode(network)), request).await
    }

    pub async fn network_disconnect(
        &self,
        network: &str,
        request: &NetworkDisconnectRequest,
    ) -> Answer<()> {
        self.post(&format!("/networks/{}/disconnect", encode(network)), request).await
    }

    pub async fn networks_doctor(&self) -> Answer<NetworkDoctor> {
        self.get("/swarm/networks").await
    }

    pub async fn networks_prune(&self, filters: &Filters) -> Answer<NetworksPruneResponse> {
        self.prune("/networks/prune", filters).await
    }

    pub async fn volumes_prune(&self, filters: &Filters) -> Answer<VolumesPruneResponse> {
        self.prune("/volumes/prune", filters).await
    }

    pub async fn images_prune(&self, filters: &Filters) -> Answer<ImagesPruneResponse> {
        self.prune("/images/prune", filters).await
    }

    pub async fn image_history(&self, name: &str) -> Answer<Vec<ImageHistoryItem>> {
        let path = format!("/images/{}/history", encode(name));
        Ok(self.get::<Option<Vec<ImageHistoryItem>>>(&path).await?.unwrap_or_default())
    }

    /// Pushes an image; the work ends with the stream.
    pub async fn image_push(&self, request: &PushRequest) -> Answer<ProgressLines> {
        let last = request.reference.rsplit('/').next().unwrap_or_default();
        let (name, tag) = match last.split_once(':') {
            Some((_, tag)) => {
                let length = request.reference.len() - tag.len() - 1;
                (&request.reference[..length], tag)
            }
            None => (request.reference.as_str(), ""),
        };
        let mut path = format!("/images/{}/push?tag={}", encode(name), encode(tag));
        if !request.platform.is_empty() {
            path.push_str(&format!("&platform={}", encode(&request.platform)));
        }
        // The header must be there, or Docker's daemon looks for a login in the body.
        let auth = request.auth.clone().unwrap_or_default();
        let sent = self.send(Method::POST, &path, Some(&auth), whole(Vec::new()));
        Ok(self.progress_of(self.timely(&path, sent).await?))
    }

    pub async fn image_search(
        &self,
        term: &str,
        limit: u64,
        filters: &Filters,
        auth: Option<&RegistryAuth>,
    ) -> Answer<Vec<SearchResult>> {
        let mut path = format!("/images/search?term={}", encode(term));
        if limit > 0 {
            path.push_str(&format!("&limit={limit}"));
        }
        let path = with_filters(&path, filters);
        let answer = async {
            let response = self.send(Method::GET, &path, auth, whole(Vec::new())).await?;
            self.document::<Option<Vec<SearchResult>>>(path.clone(), response).await
        };
        Ok(self.timely(&path, answer).await?.unwrap_or_default())
    }

    pub async fn disk_usage(&self) -> Answer<DiskUsage> {
        let path = "/system/df".to_owned();
        // The daemon walks over all files there are.
        let response = self.send(Method::GET, &path, None, whole(Vec::new())).await?;
        self.document(path, response).await
    }

    /// Asks a registry whether it knows a login.
    pub async fn auth(&self, auth: &RegistryAuth) -> Answer<AuthResponse> {
        self.create("/auth", auth).await
    }
}
