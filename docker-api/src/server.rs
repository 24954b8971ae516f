//! The router on a Unix socket: bind without stealing, serve, stop.
//!
//! Invariant: a socket that another process answers on is never replaced, and no more than a bound of connections is served at once.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
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
        Ok(Self { listener, path: path.into() })
    }

    /// Serves until `shutdown` ends, then lets requests under way finish within a bound and removes the socket.
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(defaults::CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
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
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(router.clone());
            let watcher = graceful.watcher();
            connections.spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
                if let Err(error) = watcher.watch(connection.into_owned()).await {
                    tracing::debug!(%error, "API connection ended early");
                }
                drop(slot);
            });
        }
        drop(self.listener);
        let _ = std::fs::remove_file(&self.path);
        if tokio::time::timeout(defaults::SHUTDOWN_GRACE, graceful.shutdown()).await.is_err() {
            tracing::warn!("API requests still under way at shutdown were cut");
        }
        connections.shutdown().await;
    }
}
