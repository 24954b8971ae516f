//! A fleet: made, looked at, cut apart, taken down.
//!
//! **Invariant:** taking down needs only the fleet's directory and cgroups, not that its making
//! went well.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::cgroup::Cgroups;
use crate::config::{FleetConfig, Owner};
use crate::host::{Host, HostState, OUTSIDE, SWITCH};
use crate::network::{self, Way};
use crate::process::Process;
use crate::registry::{Record, Registry};
use crate::{limits, swarm};

/// What stands under a name. Dropped, it takes the fleet down if it was made by
/// [`Fleet::up`] to end with its owner.
#[derive(Debug)]
pub struct Fleet {
    registry: Registry,
    name: String,
    record: Record,
    cgroups: Cgroups,
    down_on_drop: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct HostListing {
    pub name: String,
    pub address: Ipv4Addr,
    pub socket: PathBuf,
    pub state: HostState,
    /// The daemon's process on this machine; none where it does not run.
    pub daemon: Option<i32>,
    pub log: PathBuf,
}

/// The `fleet` program: this one, or beside a test's.
pub(crate) fn program() -> Result<PathBuf> {
    let me = std::env::current_exe().context("failed to find this program")?;
    if me.file_name().is_some_and(|name| name == "fleet") {
        return Ok(me);
    }
    let near = me.ancestors().skip(1).take(2).map(|dir| dir.join("fleet"));
    near.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("no `fleet` program beside {}: build it with cargo build -p skep-e2e", me.display())
    })
}

impl Fleet {
    pub fn up(config: FleetConfig) -> Result<Self> {
        config.check()?;
        if !nix::unistd::geteuid().is_root() {
            bail!("a fleet is made of namespaces and cgroups: run as root");
        }
        let owner = match config.owner {
            Owner::Caller => Some(Process::current()?),
            Owner::Process(pid) => {
                let owner = Process::find(pid).filter(|owner| owner.alive());
                Some(owner.with_context(|| format!("no process {pid} for the fleet to end with"))?)
            }
            Owner::Nobody => None,
        };
        let record = Record {
            subnet: Default::default(),
            hosts: config.hosts,
            daemon: config.daemon.clone(),
            reachable: config.reachable,
            owner,
        };
        let cgroups = Cgroups::of(&config.name)?;
        let mut fleet = Self {
            registry: config.registry.clone(),
            name: config.name.clone(),
            record,
            cgroups,
            down_on_drop: true,
        };
        fleet.reserve()?;
        // From here on the drop takes down what was made.
        fleet.make(&config)?;
        fleet.down_on_drop = config.owner == Owner::Caller;
        Ok(fleet)
    }

    fn reserve(&mut self) -> Result<()> {
        let reserved = (|| {
            let abandoned = self.registry.abandoned()?;
            for name in abandoned {
                Self::open(&self.registry, &name)?.down()?;
            }
            let lock = self.registry.lock()?;
            self.record.subnet = self.registry.reserve(&lock, &self.name)?;
            anyhow::Ok(lock)
        })();
        let lock = match reserved {
            Ok(lock) => lock,
            Err(error) => {
                // The name is another's.
                self.down_on_drop = false;
                return Err(error);
            }
        };
        self.registry.write(&lock, &self.name, &self.record)?;
        self.cgroups.create()
    }

    fn make(&self, config: &FleetConfig) -> Result<()> {
        let program = program()?;
        let subnet = self.record.subnet;
        let switch = self.machine(SWITCH, subnet.outside()).boot(&program)?;
        network::make_switch(switch)?;
        let mut machines: Vec<Host> = self.hosts().collect();
        machines.push(self.outside());
        let names: String =
            machines.iter().map(|m| format!("{} {}\n", m.address(), m.name())).collect();
        for machine in &machines {
            machine.provision(&names)?;
            let first = machine.boot(&program)?;
            network::plug(switch, first, machine.name(), machine.address(), subnet)?;
        }
        if self.record.reachable {
            network::plug_machine(switch, subnet)?;
        }
        if let Some(daemon) = &config.daemon {
            for host in self.hosts() {
                host.install(daemon)?;
                host.launch_daemon()?;
            }
            for host in self.hosts() {
                host.wait_daemon()?;
            }
        }
        if config.managers > 0 {
            let hosts: Vec<Host> = self.hosts().collect();
            swarm::form(&hosts, config.managers)?;
        }
        Ok(())
    }

    /// One that stands, whoever made it; it stays when this handle is dropped.
    pub fn open(registry: &Registry, name: &str) -> Result<Self> {
        crate::registry::check_name(name)?;
        let no_such = || format!("no such fleet: {name}");
        if !registry.dir(name).is_dir() {
            bail!(no_such());
        }
        // Its making may have been broken off before it was written down.
        let record = registry.record(name)?.unwrap_or_else(|| Record {
            subnet: Default::default(),
            hosts: 0,
            daemon: None,
            reachable: false,
            owner: None,
        });
        let cgroups = Cgroups::of(name)?;
        Ok(Self {
            registry: registry.clone(),
            name: name.into(),
            record,
            cgroups,
            down_on_drop: false,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn dir(&self) -> PathBuf {
        self.registry.dir(&self.name)
    }

    fn machine(&self, name: &str, address: Ipv4Addr) -> Host {
        Host {
            fleet: self.dir(),
            cgroups: self.cgroups.clone(),
            name: name.to_owned(),
            address,
            subnet: self.record.subnet,
            owner: self.record.owner,
        }
    }

    /// Counted from 1. Panics where the fleet has no such host: a test's mistake.
    pub fn host(&self, number: usize) -> Host {
        let hosts = self.record.hosts;
        assert!((1..=hosts).contains(&number), "fleet `{}` has hosts 1 to {hosts}", self.name);
        self.machine(&format!("host{number}"), self.record.subnet.host(number))
    }

    pub fn hosts(&self) -> impl Iterator<Item = Host> {
        (1..=self.record.hosts).map(|number| self.host(number))
    }

    /// The world beyond: every host's default route, and the address 203.0.113.1.
    pub fn outside(&self) -> Host {
        self.machine(OUTSIDE, self.record.subnet.outside())
    }

    /// A machine by its name.
    pub fn find(&self, name: &str) -> Result<Host> {
        let subnet = self.record.subnet;
        match name {
            OUTSIDE => return Ok(self.outside()),
            SWITCH => return Ok(self.machine(SWITCH, subnet.outside())),
            _ => {}
        }
        let found = self.hosts().find(|host| host.name() == name);
        found.with_context(|| format!("no such host: {name} in fleet `{}`", self.name))
    }

    pub fn list(&self) -> Result<Vec<HostListing>> {
        self.hosts()
            .map(|host| {
                Ok(HostListing {
                    name: host.name().to_owned(),
                    address: host.address(),
                    socket: host.socket(),
                    state: host.state()?,
                    daemon: host.daemon()?.map(|daemon| daemon.pid),
                    log: host.log(),
                })
            })
            .collect()
    }

    fn switch(&self) -> Result<Process> {
        self.machine(SWITCH, self.record.subnet.outside()).first_process()
    }

    /// Part these hosts from all other hosts, both ways. Among themselves, and to the outside,
    /// they go on.
    pub fn cut(&self, group: &[&str]) -> Result<()> {
        for name in group {
            self.find(name)?;
        }
        let mut ways: Vec<Way> = Vec::new();
        for host in self.hosts().filter(|host| !group.contains(&host.name())) {
            for name in group {
                ways.push(((*name).to_owned(), host.name().to_owned()));
                ways.push((host.name().to_owned(), (*name).to_owned()));
            }
        }
        network::cut(self.switch()?, &ways)
    }

    /// Drop what goes from one to the other; the way back stays. Either may be `outside`.
    pub fn cut_one_way(&self, from: &[&str], to: &[&str]) -> Result<()> {
        let mut ways: Vec<Way> = Vec::new();
        for from in from {
            for to in to {
                ways.push((self.find(from)?.name().to_owned(), self.find(to)?.name().to_owned()));
            }
        }
        network::cut(self.switch()?, &ways)
    }

    /// Undo every cut.
    pub fn heal(&self) -> Result<()> {
        network::heal(self.switch()?)
    }

    /// Take all down. Collects what goes wrong and goes on.
    pub fn down(mut self) -> Result<()> {
        self.down_on_drop = false;
        self.take_down()
    }

    fn take_down(&self) -> Result<()> {
        let mut errors = Vec::new();
        let mut machines = Vec::new();
        for entry in fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && entry.path().is_dir()
            {
                machines.push(self.machine(&name, limits::RANGE));
            }
        }
        if self.record.reachable {
            network::unplug_machine(self.record.subnet);
        }
        for machine in &machines {
            errors.extend(machine.power_off().err());
        }
        let lock = self.registry.lock()?;
        // In this order: while the directory stands, another `down` can finish the work.
        if errors.is_empty() {
            let removed = self.cgroups.remove();
            errors.extend(removed.and_then(|()| self.registry.remove(&lock, &self.name)).err());
        }
        match errors.is_empty() {
            true => Ok(()),
            false => {
                let said: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
                bail!("failed to take fleet `{}` down: {}", self.name, said.join("; "))
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if !self.down_on_drop {
            return;
        }
        if std::thread::panicking() && self.record.daemon.is_some() {
            for host in self.hosts() {
                eprintln!("---- {}: end of the daemon's log\n{}", host.name(), host.log_tail());
            }
        }
        if let Err(error) = self.take_down() {
            eprintln!("{error:#}");
        }
    }
}
