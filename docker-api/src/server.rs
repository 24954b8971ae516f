//! The router on a Unix socket: bind without stealing, serve, stop.
//!
//! Invariant: a socket that another process answers on is never replaced; no more than a bound of connections is served at once,
//! and one that says nothing for a while is closed, so that the bound cannot be held by the silent.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::defaults;

#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("failed to listen on {path}: another daemon answers there")]
    InUse { path: PathBuf },
    #[error("failed to listen on {path}: expected a socket, got another kind of file")]
    NotSocket { path: PathBuf },
    #[error("failed to {operation} socket {path}")]
    Io { operation: &'static str, path: PathBuf, source: std::io::Error },
}

/// A bound API socket, not yet served.
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    head_timeout: Duration,
}

impl Server {
    /// Binds with mode 0660, and group `gid` where given. A dead socket is replaced, a live one refused.
    pub async fn bind(path: &Path, gid: Option<u32>) -> Result<Self, ServerError> {
        let io = |operation| move |source| ServerError::Io { operation, path: path.into(), source };
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(ServerError::NotSocket { path: path.into() });
            }
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(io("remove dead"))?;
                }
                // A full listen queue or a forbidden socket is somebody's too.
                _ => return Err(ServerError::InUse { path: path.into() }),
            },
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(io("bind"))?;
        let mode = std::fs::Permissions::from_mode(defaults::SOCKET_MODE);
        std::fs::set_permissions(path, mode).map_err(io("set mode of"))?;
        chown(path, None, gid).map_err(io("set group of"))?;
        Ok(Self { listener, path: path.into(), head_timeout: defaults::HEAD_TIMEOUT })
    }

    /// Another bound than the default on how long a connection may be silent before and within a request's head.
    pub fn with_head_timeout(mut self, timeout: Duration) -> Self {
        self.head_timeout = timeout;
        self
    }

    /// Serves until `shutdown` ends, then lets requests under way finish within a bound and removes the socket.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(defaults::CONNECTIONS_MAX));
        // Dropping the sender is the sign to finish.
        let (open, closing) = tokio::sync::watch::channel(());
        let mut connections = tokio::task::JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accept = async {
                let slot =
                    slots.clone().acquire_owned().await.expect("the semaphore is never closed");
                (self.listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                () = &mut shutdown => break,
                // Ended connections are dropped as they end, so the set stays as small as the bound.
                Some(_) = connections.join_next() => continue,
                pair = accept => pair,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept an API connection");
                    // Out of files: let others end first rather than spin.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(router.clone());
            let mut closing = closing.clone();
            let head_timeout = self.head_timeout;
            connections.spawn(async move {
                // HTTP/1.1 alone, which is all that Docker's clients speak: telling versions apart waits without a bound.
                let connection = Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(head_timeout)
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                let mut connection = std::pin::pin!(connection);
                let ended = tokio::select! {
                    ended = connection.as_mut() => ended,
                    _ = closing.changed() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "API connection ended early");
                }
                drop(slot);
            });
        }
        drop(self.listener);
        let _ = std::fs::remove_file(&self.path);
        drop(open);
        let finished = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(defaults::SHUTDOWN_GRACE, finished).await.is_err() {
            tracing::warn!("API requests still under way at shutdown were cut");
        }
        connections.shutdown().await;
    }
}
