//! What a fleet is to be.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};

use crate::registry::{self, Registry};
use crate::{limits, run};

/// With whom a fleet ends, whether it is taken down or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This process; and the fleet is taken down when its handle is dropped.
    Caller,
    /// The process of this number.
    Process(i32),
    /// It stands until it is taken down.
    Nobody,
}

/// Made by [`FleetConfig::hosts`] and the methods that follow.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    pub(crate) registry: Registry,
    pub(crate) name: String,
    pub(crate) hosts: usize,
    pub(crate) managers: usize,
    pub(crate) daemon: Option<PathBuf>,
    pub(crate) reachable: bool,
    pub(crate) owner: Owner,
}

impl FleetConfig {
    /// Bare hosts under a name that no other fleet has; they end with this process at the latest.
    pub fn hosts(hosts: usize) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self {
            registry: Registry::from_env(),
            name: format!("p{}-{count}", std::process::id()),
            hosts,
            managers: 0,
            daemon: None,
            reachable: false,
            owner: Owner::Caller,
        }
    }

    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Each host runs this binary as `skep daemon`.
    pub fn daemon(mut self, binary: &Path) -> Self {
        self.daemon = Some(binary.to_owned());
        self
    }

    /// The hosts form a swarm: the first so many are managers, the rest workers. Zero: no swarm.
    pub fn managers(mut self, managers: usize) -> Self {
        self.managers = managers;
        self
    }

    /// The machine itself gets a leg in the fleet's subnet.
    pub fn reachable(mut self) -> Self {
        self.reachable = true;
        self
    }

    /// Whose end is the fleet's end too.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        registry::check_name(&self.name)?;
        if self.hosts == 0 || self.hosts > limits::HOSTS_MAX {
            bail!("bad number of hosts: expected 1 to {}, got {}", limits::HOSTS_MAX, self.hosts);
        }
        if self.managers > self.hosts {
            bail!("bad number of managers: {} of {} hosts", self.managers, self.hosts);
        }
        if self.managers > 0 && self.daemon.is_none() {
            bail!("a swarm needs daemons: give no --managers with --no-daemon");
        }
        if let Some(daemon) = &self.daemon
            && !daemon.is_file()
        {
            bail!("no daemon at {}", daemon.display());
        }
        let socket =
            self.registry.dir(&self.name).join(format!("host{}/run/skep.sock", self.hosts));
        if socket.as_os_str().len() > limits::SOCKET_PATH_BYTES_MAX {
            bail!(
                "the path of a socket would be too long: expected at most {} bytes: {}",
                limits::SOCKET_PATH_BYTES_MAX,
                socket.display()
            );
        }
        Ok(())
    }
}

/// The `skep` binary of this workspace, built when it is not up to date; `SKEP_BIN` names another.
/// For tests: `cargo test` builds the binaries of the tested package only.
pub fn skep_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| find_skep().unwrap_or_else(|error| panic!("{error:#}")))
}

fn find_skep() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKEP_BIN") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--locked", "--package", "skep-cli", "--bin", "skep"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = run::checked(command, b"", limits::BUILD_WITHIN)?;
    let messages = String::from_utf8_lossy(&output);
    let mut executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "skep")
            .then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executables.next_back().context("cargo built no binary `skep`")
}
