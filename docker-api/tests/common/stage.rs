//! A daemon over a backend of the test's, on a socket of its own, and the docker command line that talks to it.

use std::path::PathBuf;
use std::sync::Arc;

use skep_docker_api::{Backend, Server, router};

/// A served daemon and the docker command line that talks to it.
pub struct Stage<B> {
    pub dir: tempfile::TempDir,
    pub backend: Arc<B>,
    stop: tokio::sync::oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl<B: Backend> Stage<B> {
    /// `None`, said loudly, where docker is not installed.
    pub async fn set(backend: B) -> Option<Self> {
        if let Err(error) = std::process::Command::new("docker").arg("--version").output() {
            eprintln!("SKIP: the docker command line is not installed: {error}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let backend = Arc::new(backend);
        let server = Server::bind(&dir.path().join("api.sock"), None).await.unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(router(backend.clone()), async {
            let _ = stopped.await;
        }));
        Some(Self { dir, backend, stop, serving })
    }

    pub fn command(&self, line: &str) -> tokio::process::Command {
        let socket: PathBuf = self.dir.path().join("api.sock");
        let mut command = tokio::process::Command::new("docker");
        command
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            .env("DOCKER_CONFIG", self.dir.path())
            .args(line.split(' '))
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Standard output of a command that must succeed.
    pub async fn run(&self, line: &str) -> String {
        let output = self.command(line).output().await.unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {line}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Standard error of a command that must fail.
    pub async fn fail(&self, line: &str) -> String {
        let output = self.command(line).output().await.unwrap();
        assert!(!output.status.success(), "docker {line} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    pub async fn clear(self) {
        self.stop.send(()).unwrap();
        self.serving.await.unwrap();
    }
}
