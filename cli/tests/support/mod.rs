//! A daemon with a made-up swarm behind the real API on a temporary socket, and both command lines against it.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub mod busy;
pub mod fake;
pub mod recorder;

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use fake::Fake;
use skep_docker_api::{Server, router};

pub struct Daemon {
    pub fake: Arc<Fake>,
    socket: PathBuf,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Daemon {
    pub fn start(fake: Fake) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let fake = Arc::new(fake);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (bound, ready) = std::sync::mpsc::channel();
        let (path, backend) = (socket.clone(), fake.clone());
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::bind(&path, None).await.unwrap();
                bound.send(()).unwrap();
                let end = async {
                    let _ = stopped.await;
                };
                server.serve(router(backend), end).await;
            });
        });
        ready.recv().unwrap();
        Self { fake, socket, stop: Some(stop), thread: Some(thread), _dir: dir }
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> std::io::Result<Output> {
        Command::new(program)
            .args(arguments)
            .env_remove("SKEP_HOST")
            .env("DOCKER_HOST", self.host())
            .env("DOCKER_CONFIG", self.settings())
            .env("COLUMNS", "100")
            .output()
    }

    /// The user's own settings: none, unless a test writes some.
    fn settings(&self) -> PathBuf {
        self.socket.with_extension("settings")
    }

    /// The user `me` has logged in to `reg.example:5000` with `secret`.
    pub fn log_in(&self) {
        std::fs::create_dir(self.settings()).unwrap();
        let config = r#"{"auths": {"reg.example:5000": {"auth": "bWU6c2VjcmV0"}}}"#;
        std::fs::write(self.settings().join("config.json"), config).unwrap();
    }

    /// Standard output, standard error and exit status, as one text to compare.
    pub fn skep(&self, arguments: &[&str]) -> String {
        shown(self.run(env!("CARGO_BIN_EXE_skep"), arguments).unwrap())
    }

    /// The same from Docker's own command line, where it is installed.
    pub fn docker(&self, arguments: &[&str]) -> Option<String> {
        match self.run("docker", arguments) {
            Ok(output) => Some(shown(output)),
            Err(error) => {
                eprintln!("SKIP: the docker command line is not installed: {error}");
                None
            }
        }
    }

    /// Where both do not say the same of one daemon.
    pub fn unlike(&self, line: &str) -> Option<String> {
        let arguments: Vec<_> = line.split(' ').collect();
        let theirs = ours_for(&self.docker(&arguments)?);
        let ours = self.skep(&arguments);
        (ours != theirs).then(|| format!("skep {line}\n--- ours\n{ours}--- docker's\n{theirs}"))
    }

    /// Where both do not say the same or do not ask for the same changes. Arguments are parted by `|`.
    pub fn changes_unlike(make: impl Fn() -> Fake, line: &str) -> Option<String> {
        let arguments: Vec<_> = line.split('|').collect();
        let (ours, theirs) = (Self::start(make()), Self::start(make()));
        let text = theirs.docker(&arguments)?;
        let theirs = format!("{}{}\n", ours_for(&text), theirs.calls());
        let ours = format!("{}{}\n", ours.skep(&arguments), ours.calls());
        (ours != theirs).then(|| format!("skep {line}\n--- ours\n{ours}--- docker's\n{theirs}"))
    }

    /// The changing calls so far, and forgets them.
    pub fn calls(&self) -> String {
        std::mem::take(&mut *self.fake.calls.lock().unwrap()).join("\n")
    }
}

/// Holds that nothing differs, and shows all that does.
pub fn none(unlike: impl IntoIterator<Item = String>) {
    let unlike: Vec<_> = unlike.into_iter().collect();
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
}

/// Docker's text with our name where it names itself.
pub fn ours_for(text: &str) -> String {
    text.replace("docker", "skep").replace("skep.io/", "docker.io/")
}

fn shown(output: Output) -> String {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    let status = match output.status.code() {
        Some(0) => String::new(),
        code => format!("[{}]\n", code.map_or("signal".into(), |code| code.to_string())),
    };
    format!("{out}{err}{status}")
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
