//! One machine of a fleet: a host, or `outside` (the world beyond) or `switch` (the bridge).

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::Serialize;
use skep_docker_api::client::Client;

use crate::boot::BootSpec;
use crate::cgroup::{Cgroups, Freezer};
use crate::process::Process;
use crate::registry::{read_json, write_json};
use crate::{limits, mounts, network, run, subnet::Subnet};

pub const OUTSIDE: &str = "outside";
pub const SWITCH: &str = "switch";

const RECORD: &str = "init.json";
const PAUSED: &str = "paused";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    Running,
    Paused,
    Down,
}

/// A handle; cheap to clone, and good only while its fleet stands.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) fleet: PathBuf,
    pub(crate) cgroups: Cgroups,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) subnet: Subnet,
    pub(crate) owner: Option<Process>,
}

impl Host {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The host's files as the machine sees them: `run`, `tmp`, `skep` (the daemon's state), ….
    pub fn dir(&self) -> PathBuf {
        self.fleet.join(&self.name)
    }

    /// The daemon's API socket as the machine sees it.
    pub fn socket(&self) -> PathBuf {
        self.dir().join(limits::SOCKET.trim_start_matches('/'))
    }

    pub fn log(&self) -> PathBuf {
        self.dir().join("daemon.log")
    }

    pub fn client(&self) -> Client {
        let socket = self.socket();
        let path = socket.to_str().expect("the fleet's root is UTF-8, its names are plain");
        Client::connect(path).expect("an absolute path is an address")
    }

    pub(crate) fn first_process(&self) -> Result<Process> {
        self.find()?.with_context(|| format!("{} is down", self.name))
    }

    pub(crate) fn find(&self) -> Result<Option<Process>> {
        let first: Option<Process> = read_json(&self.dir().join(RECORD))?;
        Ok(first.filter(|first| first.alive()))
    }

    pub fn state(&self) -> Result<HostState> {
        Ok(match self.find()? {
            None => HostState::Down,
            Some(_) if self.dir().join(PAUSED).exists() => HostState::Paused,
            Some(_) => HostState::Running,
        })
    }

    pub(crate) fn check_not_paused(&self) -> Result<()> {
        match self.state()? {
            HostState::Running => Ok(()),
            HostState::Paused => bail!("{} is paused", self.name),
            HostState::Down => bail!("{} is down", self.name),
        }
    }

    /// Its disk. `names` are lines of hosts(5) for all machines of the fleet.
    pub(crate) fn provision(&self, names: &str) -> Result<()> {
        mounts::prepare(&self.dir())?;
        // Nobody serves names outside: a question is refused there at once, where the machine's
        // own server could not be reached and every question would wait for its time-out.
        let files = [
            ("hostname", format!("{}\n", self.name)),
            ("hosts", format!("127.0.0.1 localhost\n::1 localhost\n{names}")),
            ("resolv.conf", format!("nameserver {}\n", self.subnet.outside())),
        ];
        mounts::write_etc(&self.dir(), &files)
    }

    /// Make the machine, without wires or daemon. `program` is the `fleet` binary.
    pub(crate) fn boot(&self, program: &Path) -> Result<Process> {
        mounts::prepare(&self.dir())?;
        self.cgroups.create_machine(&self.name)?;
        let spec = BootSpec {
            machine: self.name.clone(),
            dir: self.dir(),
            cgroups: self.cgroups.clone(),
            owner: self.owner,
        };
        let spec = serde_json::to_vec(&spec).context("failed to encode what a host is told")?;
        let mut command = Command::new(program);
        command.arg("boot");
        let answer = run::checked(command, &spec, limits::BOOT_WITHIN)
            .with_context(|| format!("failed to start {}", self.name))?;
        let pid = String::from_utf8_lossy(&answer).trim().parse();
        let first = pid.ok().and_then(Process::find);
        let first = first.with_context(|| format!("{} ended as soon as it stood", self.name))?;
        write_json(&self.dir().join(RECORD), &first)?;
        Ok(first)
    }

    /// Kill every process of the machine at once, as a power cut does.
    pub(crate) fn power_off(&self) -> Result<()> {
        let first = self.find()?;
        if let Some(first) = first {
            first.signal(Signal::SIGKILL)?;
        }
        // What is frozen does not die before it is thawed, and then runs no step of its own.
        if self.dir().join(PAUSED).exists() {
            self.cgroups.freeze(&self.name, Freezer::Thawed)?;
            fs::remove_file(self.dir().join(PAUSED))
                .with_context(|| format!("failed to resume {}", self.name))?;
        }
        first.map_or(Ok(()), |first| first.wait_gone(limits::GONE_WITHIN))
    }

    /// A power cut, and on again: all processes and containers are killed, `/run`, `/tmp` and the
    /// network start empty, the disk stays. The daemon is started if the fleet has one.
    pub fn restart(&self) -> Result<()> {
        self.power_off()?;
        self.cgroups.remove_machine(&self.name)?;
        let program = crate::fleet::program()?;
        let first = self.boot(&program)?;
        let switch = Self { name: SWITCH.into(), ..self.clone() }.first_process()?;
        network::plug(switch, first, &self.name, self.address, self.subnet)?;
        if self.dir().join("bin/skep").exists() {
            self.start()?;
        }
        Ok(())
    }

    /// Freeze every process of the host, its containers included. The kernel still answers for it:
    /// connections stay open and nothing moves on them.
    pub fn pause(&self) -> Result<()> {
        self.check_not_paused()?;
        // Written first: a crash in between must not leave a frozen host that seems to run.
        fs::write(self.dir().join(PAUSED), b"")
            .with_context(|| format!("failed to pause {}", self.name))?;
        self.cgroups.freeze(&self.name, Freezer::Frozen)
    }

    pub fn resume(&self) -> Result<()> {
        if self.state()? != HostState::Paused {
            bail!("{} is not paused", self.name);
        }
        self.cgroups.freeze(&self.name, Freezer::Thawed)?;
        fs::remove_file(self.dir().join(PAUSED))
            .with_context(|| format!("failed to resume {}", self.name))
    }

    /// Put another binary in the place of the host's `skep`; a daemon that runs is not touched.
    pub fn install(&self, binary: &Path) -> Result<()> {
        let place = self.dir().join("bin/skep");
        let new = self.dir().join("bin/skep.new");
        // A link costs nothing, and keeps this version when the binary is built again. Across file
        // systems there are none.
        let _ = fs::remove_file(&new);
        if fs::hard_link(binary, &new).is_err() {
            fs::copy(binary, &new)
                .map(drop)
                .with_context(|| format!("failed to copy {}", binary.display()))?;
        }
        fs::rename(&new, &place)
            .with_context(|| format!("failed to install {} on {}", binary.display(), self.name))
    }

    /// A command inside all of the host's namespaces and the cgroup `leaf`.
    pub(crate) fn enter(&self, leaf: &str, words: &[impl AsRef<str>]) -> Result<Command> {
        let first = self.first_process()?;
        let mut doors = self.cgroups.doors(&self.name, leaf)?;
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let mut command = Command::new("nsenter");
        command
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--target"])
            .arg(first.pid.to_string())
            .arg("--")
            .args(words.iter().map(AsRef::as_ref))
            .env("PATH", format!("{}:{path}", limits::BIN))
            .env("DOCKER_HOST", format!("unix://{}", limits::SOCKET))
            .env_remove("SKEP_HOST");
        // SAFETY: between fork and exec this only writes a byte to open files; nothing allocates
        // or takes a lock.
        unsafe { command.pre_exec(move || Cgroups::join(&mut doors)) };
        Ok(command)
    }

    /// A command on the host, to be started by the caller. `skep` and the `docker` command line
    /// there talk to the host's daemon.
    pub fn command(&self, words: &[impl AsRef<str>]) -> Result<Command> {
        if words.is_empty() {
            bail!("no command to run on {}", self.name);
        }
        self.enter(limits::INIT_LEAF, words)
    }

    /// Run a command on the host to its end, within [`limits::COMMAND_WITHIN`].
    pub fn run(&self, words: &[impl AsRef<str>]) -> Result<Output> {
        self.run_with_input(words, b"")
    }

    pub fn run_with_input(&self, words: &[impl AsRef<str>], input: &[u8]) -> Result<Output> {
        run::output(self.command(words)?, input, limits::COMMAND_WITHIN)
    }

    /// As [`Self::run`]: what it printed; an error with what it complained where it failed.
    pub fn check(&self, words: &[impl AsRef<str>]) -> Result<String> {
        let output = run::checked(self.command(words)?, b"", limits::COMMAND_WITHIN)?;
        String::from_utf8(output).with_context(|| format!("bad output on {}", self.name))
    }
}
