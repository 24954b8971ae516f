//! A runtime of its own for each test, with a small root filesystem around busybox. Dropping it
//! takes all containers, cgroups and files away, also when the test has failed.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use skep_engine::cgroup::Hierarchies;
use skep_engine::config::{ContainerConfig, Mount, MountSource, Rootfs};
use skep_engine::{Container, ExitStatus, LogQuery, Runtime, RuntimeConfig};
use tempfile::TempDir;

/// An emulated machine needs long; nothing waits this long when all is well.
pub const PATIENCE: Duration = Duration::from_secs(180);

const APPLETS: &[&str] = &[
    "sh", "cat", "echo", "sleep", "id", "env", "pwd", "ls", "stat", "mount", "grep", "hostname",
    "touch", "mknod", "ip", "ping", "unshare", "seq", "dd", "rm", "cp", "umount", "true", "false",
    "kill", "head", "tr", "ulimit", "chmod", "test", "od", "mkdir", "ps", "wc", "yes", "printf",
    "date", "nc", "httpd", "tty", "stty", "readlink",
];

pub struct Fixture {
    pub runtime: Option<Runtime>,
    pub config: RuntimeConfig,
    pub dir: TempDir,
}

impl Fixture {
    pub async fn new() -> Fixture {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        make_rootfs(&dir.path().join("image"));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let parent = format!("/skep-test-{}-{number}", std::process::id());
        let mut config =
            RuntimeConfig::new(dir.path().join("state"), dir.path().join("run"), parent);
        config.shim_exe = env!("CARGO_BIN_EXE_skep-shim").into();
        let runtime = Runtime::open(config.clone()).await.unwrap();
        Fixture { runtime: Some(runtime), config, dir }
    }

    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// Drops the runtime and opens another, as a daemon that comes back does.
    pub async fn reopen(&mut self) {
        self.runtime = None;
        self.runtime = Some(Runtime::open(self.config.clone()).await.unwrap());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A container on an overlay of its own.
    pub fn config(&self, id: &str, args: &[&str]) -> ContainerConfig {
        let layer = |name: &str| {
            let path = self.path("layers").join(id).join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let rootfs = Rootfs::Overlay {
            lower: vec![self.path("image")],
            upper: layer("upper"),
            work: layer("work"),
        };
        ContainerConfig::new(id, rootfs, args.iter().map(|a| (*a).to_owned()).collect())
    }

    pub fn shell(&self, id: &str, script: &str) -> ContainerConfig {
        self.config(id, &["sh", "-c", script])
    }

    pub async fn start(&self, config: ContainerConfig) -> Container {
        let container = self.runtime().create(config).await.unwrap();
        container.start().await.unwrap();
        container
    }

    /// Runs a container to its end and gives its output.
    pub async fn run(&self, config: ContainerConfig) -> (ExitStatus, String) {
        let container = self.start(config).await;
        let exit = patiently(container.wait()).await.unwrap();
        let output = output(&container).await;
        container.delete().await.unwrap();
        (exit, output)
    }

    /// Demands that the host has nothing more of this runtime's containers. A shim that has closed
    /// its files is still a process for some microseconds.
    pub async fn assert_clean(&self) {
        until("nothing is left", async || self.leftovers().is_empty()).await;
    }

    fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let own = self.dir.path().to_str().unwrap();
        for line in fs::read_to_string("/proc/self/mounts").unwrap().lines() {
            if line.contains(own) {
                found.push(format!("mount {line}"));
            }
        }
        for dir in ["state/containers", "run/containers"] {
            for entry in fs::read_dir(self.path(dir)).unwrap() {
                found.push(format!("file {}", entry.unwrap().path().display()));
            }
        }
        let parent = self.config.cgroup_parent.strip_prefix("/").unwrap();
        for root in fs::read_dir("/sys/fs/cgroup").unwrap() {
            let Ok(entries) = fs::read_dir(root.unwrap().path().join(parent)) else { continue };
            for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
                let leaf = entry.path();
                if !leaf.ends_with("_shims") {
                    found.push(format!("cgroup {}", leaf.display()));
                    continue;
                }
                let inside = fs::read_to_string(leaf.join("cgroup.procs")).unwrap_or_default();
                // What shims are forked from is the runtime's, and ends with it.
                let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm"));
                let shims = inside
                    .lines()
                    .filter(|pid| name(pid).is_ok_and(|name| name.trim_end() != "skep-nursery"));
                found.extend(shims.map(|pid| format!("shim {pid} in {}", leaf.display())));
            }
        }
        found
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.runtime = None;
        let config = self.config.clone();
        let cleaned = std::thread::spawn(move || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(async {
                let runtime = Runtime::open(config.clone()).await.unwrap();
                for container in runtime.list().await.unwrap() {
                    let kill = Some(skep_engine::signal::Signal::KILL);
                    // One that was never started cannot be stopped, and need not be.
                    let _ = container.stop(kill, Duration::from_secs(10)).await;
                    container.delete().await.unwrap();
                }
                let hierarchies = Hierarchies::find().unwrap();
                let parent = config.cgroup_parent.strip_prefix("/").unwrap();
                until("the parent cgroup is gone", async || {
                    hierarchies.remove_parent(&config.cgroup_parent);
                    let mut roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
                    !roots.any(|root| root.path().join(parent).exists())
                })
                .await;
            });
        });
        cleaned.join().unwrap();
    }
}

/// A bind of a host's path.
pub fn bind(source: &Path, target: &str) -> Mount {
    Mount::new(target, MountSource::Bind(source.to_owned()), false)
}

pub async fn output(container: &Container) -> String {
    lines(container, LogQuery::default()).await.concat()
}

pub async fn lines(container: &Container, query: LogQuery) -> Vec<String> {
    let entries = container.logs(query).await.unwrap();
    let text = |entry: std::io::Result<skep_engine::LogEntry>| {
        String::from_utf8(entry.unwrap().line.to_vec()).unwrap()
    };
    patiently(entries.map(text).collect()).await
}

pub async fn patiently<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it ends in time")
}

/// Waits for something that announces itself in no way.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn make_rootfs(root: &Path) {
    for dir in ["bin", "etc", "tmp", "proc", "dev", "sys", "root", "srv"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n";
    fs::write(root.join("etc/passwd"), passwd).unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\nlogs:x:50:web\n").unwrap();
}

/// Says why a test does not run here, if it does not.
pub fn root_or_skip(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root() && Path::new("/bin/busybox").exists();
    if !root {
        eprintln!("SKIP {test}: needs root and busybox");
    }
    root
}

/// What an attached command says until something is in it: each stream's, in order.
#[derive(Debug, Default)]
pub struct Said {
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Takes one more piece; false at the end.
    pub async fn hear(&mut self, attached: &mut skep_engine::Attached) -> bool {
        let next = tokio::time::timeout(PATIENCE, attached.output.next()).await;
        let Some(frame) = next.unwrap_or_else(|_| panic!("silent after {self:?}")) else {
            return false;
        };
        let (stdio, bytes) = frame.unwrap();
        let text = String::from_utf8_lossy(&bytes);
        match stdio {
            skep_engine::logs::Stdio::Stdout => self.stdout.push_str(&text),
            skep_engine::logs::Stdio::Stderr => self.stderr.push_str(&text),
        }
        true
    }

    /// All up to the end.
    pub async fn all(attached: &mut skep_engine::Attached) -> Said {
        let mut said = Said::default();
        while said.hear(attached).await {}
        said
    }

    /// Up to the first time that standard output holds this.
    pub async fn until(attached: &mut skep_engine::Attached, wanted: &str) -> Said {
        let mut said = Said::default();
        while !said.stdout.contains(wanted) {
            assert!(said.hear(attached).await, "ended without {wanted:?}: {said:?}");
        }
        said
    }
}
