//! The Docker Engine API over the manager on a Unix socket, with the lists alone, and a client that
//! reads an answer to its end and no further into it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use skep_docker_api::json::*;
use skep_docker_api::{ApiError, Backend, Filters, List, Server, router};
use skep_manager::{Manager, lists};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

type Answer<T> = std::result::Result<T, ApiError>;

struct Lists(Arc<Manager>);

impl Lists {
    async fn view(&self) -> Answer<skep_state::State> {
        self.0.fresh_view().await.map_err(|error| ApiError::system(error.message))
    }
}

#[async_trait]
impl Backend for Lists {
    async fn version(&self) -> Answer<Version> {
        Ok(Version::default())
    }
    async fn info(&self) -> Answer<Info> {
        Ok(Info::default())
    }
    async fn swarm_status(&self) -> String {
        "active/manager".into()
    }
    async fn nodes(&self, filters: Filters) -> Answer<List<Node>> {
        let view = self.view().await?;
        let root = view.cluster().map(|cluster| cluster.root_ca.certificate.clone());
        let trust_root = String::from_utf8(root.unwrap_or_default()).unwrap_or_default();
        let tls = TlsInfo { trust_root, ..TlsInfo::default() };
        let managers = lists::manager_views(self.0.members().await);
        lists::nodes(view, &filters, tls, managers)
    }
    async fn services(&self, filters: Filters, status: bool) -> Answer<List<Service>> {
        lists::services(self.view().await?, &filters, status)
    }
    async fn tasks(&self, filters: Filters) -> Answer<List<Task>> {
        lists::tasks(self.view().await?, &filters)
    }
}

pub struct Api {
    path: PathBuf,
    _stop: oneshot::Sender<()>,
}

impl Api {
    /// Serves until it is dropped.
    pub async fn serve(manager: Arc<Manager>, dir: &Path) -> Result<Self> {
        let path = dir.join("api.sock");
        let server = Server::bind(&path, None).await.context("failed to serve the API")?;
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(server.serve(router(Arc::new(Lists(manager))), async {
            // Dropped or told, it is over.
            let _ = stopped.await;
        }));
        Ok(Self { path, _stop: stop })
    }

    /// Asks, reads the answer to its end, and gives how long that took.
    ///
    /// # Errors
    /// It is not a good one.
    pub async fn get(&self, path: &str) -> Result<Duration> {
        let began = Instant::now();
        let mut stream = UnixStream::connect(&self.path).await.context("failed to call")?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.context("failed to call")?;
        let (mut piece, mut head) = (vec![0; 1 << 16], Vec::new());
        loop {
            let read = stream.read(&mut piece).await.context("failed to read an answer")?;
            if read == 0 {
                break;
            }
            if head.is_empty() {
                head = piece[..read.min(64)].to_vec();
            }
        }
        let took = began.elapsed();
        let good = head.starts_with(b"HTTP/1.1 200");
        ensure!(good, "{path} was answered with {}", String::from_utf8_lossy(&head));
        Ok(took)
    }
}
