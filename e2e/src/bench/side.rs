//! One of the two that are compared: a few hosts, each with a daemon of its kind.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use skep_docker_api::Client;
use skep_docker_api::json::{SwarmInitRequest, SwarmJoinRequest};

use super::wait;
use crate::{Fleet, FleetConfig, Host, Process, limits};

/// Of a swarm's benchmarks.
pub const HOSTS: usize = 3;
const IMAGE: &str = "bench:1";
/// A dockerd with an empty state takes a few seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Engine {
    /// The binary at this path.
    Skep(PathBuf),
    /// Debian's `dockerd`, with a containerd of its own.
    Docker,
}

/// Runs what waits for a daemon. A runtime each: benchmarks are few and long.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("failed to start a runtime")?.block_on(work)
}

/// See the module. Dropped, nothing of it stays.
pub struct Side {
    pub engine: Engine,
    pub fleet: Fleet,
    /// What tasks run: Debian's static busybox and nothing else.
    pub image: String,
    /// The length of each run of what is measured by its length.
    pub run: Duration,
}

impl Side {
    /// Hosts with daemons, in no swarm yet, each with the image.
    pub fn up(engine: Engine, image: &Path, hosts: usize, run: Duration) -> Result<Self> {
        let config = match &engine {
            Engine::Skep(binary) => FleetConfig::hosts(hosts).daemon(binary),
            Engine::Docker => FleetConfig::hosts(hosts),
        };
        let mut side = Self { engine, fleet: Fleet::up(config)?, image: IMAGE.to_owned(), run };
        for host in side.fleet.hosts() {
            if side.engine == Engine::Docker {
                launch_dockerd(&host)?;
            }
            block_on(side.ready(&host))?;
        }
        side.bring_image(image)?;
        Ok(side)
    }

    /// The same image on each host. The peer's tasks name it by its id, for which no registry is
    /// asked: by a name it is asked for each task, even for an image that is there.
    fn bring_image(&mut self, archive: &Path) -> Result<()> {
        let put = |host: &Host, archive: &Path| {
            let place = host.dir().join("tmp/image.tar");
            std::fs::copy(archive, &place)
                .map(drop)
                .with_context(|| format!("failed to copy {}", archive.display()))
        };
        let first = self.fleet.host(1);
        put(&first, archive)?;
        let id = first.check(&[self.name(), "import", "/tmp/image.tar", IMAGE])?;
        first.check(&[self.name(), "save", "-o", "/tmp/saved.tar", IMAGE])?;
        for host in self.fleet.hosts().skip(1) {
            put(&host, &first.dir().join("tmp/saved.tar"))?;
            host.check(&[self.name(), "load", "-i", "/tmp/image.tar"])?;
        }
        if self.engine == Engine::Docker {
            self.image = id.trim().to_owned();
        }
        Ok(())
    }

    /// What it is called, and its command line too.
    pub fn name(&self) -> &'static str {
        match self.engine {
            Engine::Skep(_) => "skep",
            Engine::Docker => "docker",
        }
    }

    async fn ready(&self, host: &Host) -> Result<()> {
        let client = host.client();
        wait::until(Instant::now(), READY_WITHIN, async || {
            client.clone().negotiated().await.map(drop).context("no answer")
        })
        .await
        .with_context(|| format!("the daemon of {} is not ready", host.name()))
        .map(drop)
    }

    /// Speaks to a host's daemon in a version that it knows.
    pub async fn client(&self, host: &Host) -> Result<Client> {
        host.client().negotiated().await.context("failed to speak to a daemon")
    }

    /// Seconds of `swarm init` on the first host.
    pub async fn init(&self) -> Result<f64> {
        let first = self.fleet.host(1);
        let client = self.client(&first).await?;
        let request = SwarmInitRequest {
            listen_addr: "0.0.0.0:2377".into(),
            advertise_addr: first.address().to_string(),
            ..Default::default()
        };
        let begin = Instant::now();
        client.swarm_init(&request).await?;
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Seconds of each other host's `swarm join` as a manager.
    pub async fn join(&self) -> Result<Vec<f64>> {
        let first = self.fleet.host(1);
        let token = self.client(&first).await?.swarm_inspect().await?.join_tokens.manager;
        let mut took = Vec::new();
        for host in self.fleet.hosts().skip(1) {
            let client = self.client(&host).await?;
            let request = SwarmJoinRequest {
                listen_addr: "0.0.0.0:2377".into(),
                advertise_addr: host.address().to_string(),
                remote_addrs: vec![format!("{}:2377", first.address())],
                join_token: token.clone(),
                ..Default::default()
            };
            let begin = Instant::now();
            client.swarm_join(&request).await?;
            took.push(begin.elapsed().as_secs_f64());
        }
        Ok(took)
    }

    /// All as managers of one swarm, which all of them see ready.
    pub async fn form(&self) -> Result<()> {
        self.init().await?;
        self.join().await?;
        self.settled().await
    }

    /// Waits until each manager sees all of them ready and reachable.
    pub async fn settled(&self) -> Result<()> {
        for host in self.fleet.hosts() {
            let client = self.client(&host).await?;
            wait::until(Instant::now(), limits::SWARM_WITHIN, async || {
                let nodes = client.nodes(&Default::default()).await?;
                let well = nodes.iter().filter(|node| {
                    let manager = node.manager_status.as_ref();
                    node.status.state == "ready"
                        && manager.is_some_and(|it| it.reachability == "reachable")
                });
                ensure!(well.count() == self.fleet.hosts().count(), "not all are ready");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Ends the swarm on every host.
    pub async fn leave(&self) -> Result<()> {
        for host in self.fleet.hosts() {
            self.client(&host).await?.swarm_leave(true).await?;
        }
        Ok(())
    }

    /// A host's processes of one command (its name, or how it was called), those in containers too, as
    /// the host counts.
    pub fn numbers(&self, host: &Host, command: &str) -> Result<BTreeSet<i32>> {
        let found = host.run(&["pgrep", "-f", command])?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        Ok(found.lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    /// Such processes as the machine counts, without those in containers.
    pub fn processes(&self, host: &Host, command: &str) -> Result<Vec<i32>> {
        let numbers = self.numbers(host, command)?;
        // Some may have ended since.
        let found = Process::all_inside(host.first_process()?, &numbers)?;
        Ok(found.into_iter().map(|process| process.pid).collect())
    }

    /// The network namespace of a container, by the process that alone is called so on its host.
    pub fn network_of(&self, host: &Host, command: &str) -> Result<PathBuf> {
        let numbers: Vec<i32> = self.numbers(host, command)?.into_iter().collect();
        let [number] = numbers[..] else {
            bail!("not one process is called `{command}` on {}: {numbers:?}", host.name());
        };
        // As the host itself numbers it, by what is mounted there.
        let first = host.first_process()?;
        Ok(format!("/proc/{}/root/proc/{number}/ns/net", first.pid).into())
    }

    /// The daemon's process, as the machine counts.
    pub fn daemon(&self, host: &Host) -> Result<Process> {
        let daemon = match self.engine {
            Engine::Skep(_) => host.daemon()?,
            Engine::Docker => self.processes(host, "^dockerd")?.into_iter().find_map(Process::find),
        };
        daemon.with_context(|| format!("no daemon runs on {}", host.name()))
    }

    /// Starts it again and waits until it answers.
    pub async fn start_daemon(&self, host: &Host) -> Result<()> {
        match self.engine {
            Engine::Docker => launch_dockerd(host)?,
            Engine::Skep(_) => host.start()?,
        }
        self.ready(host).await
    }
}

fn launch_dockerd(host: &Host) -> Result<()> {
    let log = File::options().create(true).append(true).open(host.log());
    let log = log.with_context(|| format!("failed to open {}", host.log().display()))?;
    let socket = format!("unix://{}", limits::SOCKET);
    let script = "rm -f /run/dockerd.pid; exec setsid dockerd \"$@\" </dev/null >&2 2>&1 &";
    let words = ["sh", "-c", script, "sh", "-H", &socket, "--data-root", "/var/lib/skep/docker"];
    let rest = ["--exec-root", "/run/docker", "--pidfile", "/run/dockerd.pid"];
    let mut command = host.enter(limits::DAEMON_LEAF, &[&words[..], &rest[..]].concat())?;
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).status();
    let status = status.context("failed to start dockerd")?;
    ensure!(status.success(), "dockerd was not started: {status}");
    Ok(())
}
