//! `fleet`: a local fleet of hosts from the command line.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use skep_e2e::{BootSpec, Fleet, FleetConfig, Owner, Registry, Signal};

/// Several hosts on this machine, made of namespaces, each with a daemon.
#[derive(Parser)]
#[command(name = "fleet", max_term_width = 100)]
struct Arguments {
    /// Which fleet; several stand side by side
    #[arg(long, global = true, default_value = "fleet", env = "FLEET")]
    name: String,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make a fleet of host1 … hostN
    Up {
        hosts: usize,
        /// Form a swarm: host1 … hostM are its managers, the rest workers
        #[arg(long, default_value_t = 0)]
        managers: usize,
        /// The binary that each host runs as `skep daemon`; default: `skep` beside this program
        /// or in PATH
        #[arg(long, value_name = "PATH", conflicts_with = "no_daemon")]
        daemon: Option<PathBuf>,
        /// Bare hosts
        #[arg(long)]
        no_daemon: bool,
        /// Give this machine a leg in the fleet's subnet, so that it reaches the hosts' addresses
        #[arg(long)]
        reachable: bool,
        /// The fleet ends with this process at the latest
        #[arg(long, value_name = "PID")]
        end_with: Option<i32>,
    },
    /// One host a line: name, address, API socket
    Ls {
        #[arg(long)]
        json: bool,
    },
    /// Run a command on a host, or on `outside` (the world beyond) or `switch` (the bridge)
    Exec {
        host: String,
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Kill a host's daemon; containers stay
    Kill {
        host: String,
        /// By name or number
        #[arg(long, default_value = "SIGKILL", value_parser = signal)]
        signal: Signal,
    },
    /// Start a host's daemon again
    Start { host: String },
    /// Freeze everything on a host
    Pause { host: String },
    /// Thaw a paused host
    Resume { host: String },
    /// Cut a host's power and switch it on again; only its disk stays
    Restart { host: String },
    /// Part hosts from all others, or with --from and --to drop one direction only
    Cut {
        #[arg(required_unless_present = "from")]
        hosts: Vec<String>,
        #[arg(long, requires = "to", conflicts_with = "hosts", num_args = 1..)]
        from: Vec<String>,
        #[arg(long, requires = "from", num_args = 1..)]
        to: Vec<String>,
    },
    /// Undo every cut
    Heal,
    /// Take the fleet down; nothing stays
    Down,
    /// Become a host's first process, as standard input says
    #[command(hide = true)]
    Boot,
}

/// `KILL`, `SIGKILL`, `sigkill` or `9`.
fn signal(text: &str) -> Result<Signal, String> {
    let unknown = || format!("unknown signal `{text}`");
    if let Ok(number) = text.parse::<i32>() {
        return Signal::try_from(number).map_err(|_| unknown());
    }
    let upper = text.to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    name.parse().map_err(|_| unknown())
}

/// `skep` beside this program, or in PATH.
fn find_skep() -> Result<PathBuf> {
    let beside = std::env::current_exe().ok().map(|me| me.with_file_name("skep"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join("skep"));
    let mut places = beside.into_iter().chain(in_path);
    places.find(|place| place.is_file()).context(
        "no `skep` beside this program or in PATH: build it with `cargo build -p skep-cli`, \
         name it with --daemon PATH, or give --no-daemon",
    )
}

fn list(fleet: &Fleet, json: bool) -> Result<()> {
    let hosts = fleet.list()?;
    let mut text = String::new();
    if json {
        text = serde_json::to_string_pretty(&hosts).context("failed to encode the list")? + "\n";
    } else {
        for host in hosts {
            text += &format!("{} {} {}\n", host.name, host.address, host.socket.display());
        }
    }
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader of a pipe may have seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("failed to print"),
    }
}

fn boot() -> Result<()> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("failed to read what to boot")?;
    let spec: BootSpec = serde_json::from_slice(&text).context("bad description of a host")?;
    let first = skep_e2e::boot(&spec)?;
    writeln!(std::io::stdout(), "{first}").context("failed to answer")
}

fn borrow(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn act(arguments: Arguments) -> Result<()> {
    let registry = Registry::from_env();
    let open = || Fleet::open(&registry, &arguments.name);
    match arguments.action {
        Action::Boot => boot(),
        Action::Up { hosts, managers, daemon, no_daemon, reachable, end_with } => {
            let mut config = FleetConfig::hosts(hosts)
                .name(&arguments.name)
                .registry(registry.clone())
                .managers(managers)
                .owner(end_with.map_or(Owner::Nobody, Owner::Process));
            if !no_daemon {
                config = config.daemon(&daemon.map_or_else(find_skep, Ok)?);
            }
            if reachable {
                config = config.reachable();
            }
            list(&Fleet::up(config)?, false)
        }
        Action::Ls { json } => list(&open()?, json),
        Action::Exec { host, command } => {
            let mut command = open()?.find(&host)?.command(&command)?;
            bail!("failed to start {command:?}: {}", command.exec())
        }
        Action::Kill { host, signal } => open()?.find(&host)?.kill(signal),
        Action::Start { host } => open()?.find(&host)?.start(),
        Action::Pause { host } => open()?.find(&host)?.pause(),
        Action::Resume { host } => open()?.find(&host)?.resume(),
        Action::Restart { host } => open()?.find(&host)?.restart(),
        Action::Cut { hosts, from, to } => {
            let fleet = open()?;
            match from.is_empty() {
                true => fleet.cut(&borrow(&hosts)),
                false => fleet.cut_one_way(&borrow(&from), &borrow(&to)),
            }
        }
        Action::Heal => open()?.heal(),
        Action::Down => open()?.down(),
    }
}

fn main() -> ExitCode {
    match act(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}
