//! The local fleet itself, without daemons of the product: namespaces, wires, cuts, power, and
//! that nothing stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use skep_e2e::{
    Fleet, FleetConfig, Host, HostState, Owner, Process, Registry, Signal, eventually_blocking,
};

const SOON: Duration = Duration::from_secs(20);

/// A fleet of bare hosts; none where this machine cannot make one.
fn bare(hosts: usize) -> Option<Fleet> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIP: a fleet needs root");
        return None;
    }
    Some(Fleet::up(FleetConfig::hosts(hosts)).unwrap())
}

/// Says its host's name to whoever connects; killed when dropped.
struct Greeter(Child);

const PORT: u16 = 7000;

impl Greeter {
    fn on(host: &Host) -> Self {
        let port = PORT.to_string();
        let words = ["busybox", "nc", "-ll", "-p", &port, "-e", "hostname"];
        let child = host.command(&words).unwrap().stdin(Stdio::null()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        // Its host may have taken it along.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the greeter at the other end says; an error where nothing comes within a second.
fn greeting(from: &Host, to: &Host) -> Result<String> {
    // From a paused host nothing comes, though its kernel takes the connection.
    let (address, port) = (to.address().to_string(), PORT.to_string());
    let said = from.check(&["timeout", "1", "busybox", "nc", &address, &port])?;
    match said.trim() {
        "" => bail!("{} hears nothing from {}", from.name(), to.name()),
        name => Ok(name.to_owned()),
    }
}

fn reaches(from: &Host, to: &Host) {
    let name = eventually_blocking(SOON, || greeting(from, to));
    assert_eq!(name, to.name());
}

fn cannot_reach(from: &Host, to: &Host) {
    assert!(greeting(from, to).is_err(), "{} reaches {}", from.name(), to.name());
}

#[test]
fn each_host_is_a_machine_of_its_own() {
    let Some(fleet) = bare(2) else { return };
    let host = fleet.host(2);
    let say = |words: &[&str]| host.check(words).unwrap();
    assert_eq!(say(&["hostname"]), "host2\n");
    assert_eq!(say(&["cat", "/etc/hostname"]), "host2\n");
    assert!(say(&["getent", "hosts", "host1"]).starts_with(&fleet.host(1).address().to_string()));
    assert_eq!(say(&["ls", "-A", "/tmp", "/var/lib/skep", "/run/lock"]).matches('\n').count(), 5);
    assert_eq!(say(&["sh", "-c", "ls /sys/class/net | grep -v lo"]), "eth0\n");
    let cgroups = say(&["cat", "/proc/self/cgroup"]);
    assert!(cgroups.lines().all(|line| line.ends_with(":/init.scope")), "{cgroups}");
    assert_eq!(say(&["sh", "-c", "cat /proc/1/comm"]), "fleet\n");

    say(&["sh", "-c", "echo mine | tee /run/mark /tmp/mark /var/lib/skep/mark /etc/skep-mark"]);
    assert_eq!(fs::read_to_string(host.dir().join("run/mark")).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(host.dir().join("skep/mark")).unwrap(), "mine\n");
    assert!(!Path::new("/etc/skep-mark").exists(), "the machine's /etc is as it was");
    assert!(fleet.host(1).check(&["cat", "/tmp/mark"]).is_err(), "no host sees another's files");
}

#[test]
fn a_command_keeps_its_status_and_its_streams() {
    let Some(fleet) = bare(1) else { return };
    let output =
        fleet.host(1).run_with_input(&["sh", "-c", "cat; echo no >&2; exit 7"], b"in").unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"in"[..], &b"no\n"[..]));
}

#[test]
fn a_cut_parts_hosts_until_it_is_healed() {
    let Some(fleet) = bare(3) else { return };
    let hosts: Vec<Host> = fleet.hosts().collect();
    let _greeters: Vec<Greeter> = hosts.iter().map(Greeter::on).collect();
    let _outside = Greeter::on(&fleet.outside());
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        reaches(&hosts[from], &hosts[to]);
    }

    fleet.cut(&["host1"]).unwrap();
    cannot_reach(&hosts[0], &hosts[1]);
    cannot_reach(&hosts[2], &hosts[0]);
    reaches(&hosts[1], &hosts[2]);
    reaches(&hosts[0], &fleet.outside());

    fleet.heal().unwrap();
    reaches(&hosts[0], &hosts[1]);

    fleet.cut(&["host1", "host2"]).unwrap();
    reaches(&hosts[0], &hosts[1]);
    cannot_reach(&hosts[1], &hosts[2]);
    let error = fleet.cut(&["host9"]).unwrap_err().to_string();
    assert_eq!(error, format!("no such host: host9 in fleet `{}`", fleet.name()));
}

#[test]
fn one_direction_can_be_cut_alone() {
    let Some(fleet) = bare(2) else { return };
    let (first, second) = (fleet.host(1), fleet.host(2));
    // The neighbours are set by hand, for their discovery needs both directions.
    for (host, other) in [(&first, &second), (&second, &first)] {
        let mac = other.check(&["cat", "/sys/class/net/eth0/address"]).unwrap();
        let address = other.address().to_string();
        let words =
            ["ip", "neigh", "replace", &address, "lladdr", mac.trim(), "dev", "eth0", "nud"];
        host.check(&words.into_iter().chain(["permanent"]).collect::<Vec<_>>()).unwrap();
    }
    let send = |from: &Host, to: &Host| {
        let send = "import socket,sys\n\
             socket.socket(2,2).sendto(b'x'*1000,(sys.argv[1],9))";
        from.check(&["python3", "-c", send, &to.address().to_string()]).unwrap();
    };
    let bytes = |host: &Host| -> u64 {
        let text = host.check(&["cat", "/sys/class/net/eth0/statistics/rx_bytes"]).unwrap();
        text.trim().parse().unwrap()
    };
    fleet.cut_one_way(&["host1"], &["host2"]).unwrap();
    let (before_first, before_second) = (bytes(&first), bytes(&second));
    for _ in 0..20 {
        send(&first, &second);
        send(&second, &first);
    }
    eventually_blocking(SOON, || match bytes(&first) - before_first {
        20_000.. => Ok(()),
        got => Err(format!("{got} bytes of 20 datagrams of 1,000 have come back")),
    });
    let crossed = bytes(&second) - before_second;
    assert!(crossed < 20_000, "{crossed} bytes crossed a cut");
}

#[test]
fn a_paused_host_stands_still_and_goes_on() {
    let Some(fleet) = bare(2) else { return };
    let (first, second) = (fleet.host(1), fleet.host(2));
    let _greeter = Greeter::on(&second);
    reaches(&first, &second);
    second.pause().unwrap();
    assert_eq!(second.state().unwrap(), HostState::Paused);
    assert_eq!(second.pause().unwrap_err().to_string(), "host2 is paused");
    cannot_reach(&first, &second);
    second.resume().unwrap();
    assert_eq!(second.state().unwrap(), HostState::Running);
    reaches(&first, &second);
    second.pause().unwrap();
    second.restart().unwrap();
    assert_eq!(second.check(&["hostname"]).unwrap(), "host2\n", "a frozen host has a reset button");
}

#[test]
fn a_restart_kills_all_and_keeps_the_disk() {
    let Some(fleet) = bare(2) else { return };
    let (first, second) = (fleet.host(1), fleet.host(2));
    let mut sleeper = second.command(&["setsid", "sleep", "1000"]).unwrap().spawn().unwrap();
    second.check(&["sh", "-c", "touch /run/mark /tmp/mark /var/lib/skep/mark"]).unwrap();
    second.check(&["ip", "route", "add", "blackhole", "192.0.2.0/24"]).unwrap();
    second.restart().unwrap();
    assert!(!sleeper.wait().unwrap().success(), "killed from below");
    assert_eq!(second.check(&["ls", "-A", "/run"]).unwrap(), "lock\n");
    assert_eq!(second.check(&["ls", "/var/lib/skep"]).unwrap(), "mark\n");
    assert_eq!(second.check(&["ls", "-A", "/tmp"]).unwrap(), "");
    assert!(!second.check(&["ip", "route"]).unwrap().contains("192.0.2.0"));
    let _greeter = Greeter::on(&second);
    reaches(&first, &second);
}

/// Whatever of a fleet can be seen from the machine.
fn traces(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let dir = Registry::from_env().dir(name);
    if dir.exists() {
        found.push(dir.display().to_string());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&format!("/{name}/"))).map(Into::into));
    for line in mounts.lines().filter(|line| line.contains(" - cgroup")) {
        let mount = PathBuf::from(line.split(' ').nth(4).unwrap());
        let group = mount.join("skep-fleet").join(name);
        if group.exists() {
            found.push(group.display().to_string());
        }
    }
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let cgroup = fs::read_to_string(process.path().join("cgroup")).unwrap_or_default();
        // One that has ended may wait for the machine's own init to take notice.
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        let alive = pid.and_then(Process::find).is_some_and(Process::alive);
        if alive && cgroup.contains(&format!("/skep-fleet/{name}/")) {
            found.push(process.path().display().to_string());
        }
    }
    found
}

#[test]
fn nothing_stays_of_a_fleet_that_is_down() {
    if bare(1).is_none() {
        return;
    }
    let fleet = Fleet::up(FleetConfig::hosts(2).reachable()).unwrap();
    let name = fleet.name().to_owned();
    assert!(traces(&name).len() > 3, "the traces of a fleet that stands are seen");
    let address = fleet.host(1).address().to_string();
    let links = || {
        let links = Command::new("ip").args(["-o", "address"]).output().unwrap();
        String::from_utf8(links.stdout).unwrap()
    };
    let leg = format!("{}.2/22", address.rsplit_once('.').unwrap().0);
    assert!(links().contains(&leg), "the machine has a leg in the subnet");
    let _greeter = Greeter::on(&fleet.host(1));
    eventually_blocking(SOON, || {
        let mut nc = Command::new("timeout");
        let said = nc.args(["1", "busybox", "nc", &address, &PORT.to_string()]).output().unwrap();
        if said.stdout == b"host1\n" { Ok(()) } else { Err("the machine does not reach host1") }
    });

    // All that a container runtime may leave behind in a host.
    let busy = "touch /run/box; \
                unshare --net=/run/box true; mount -t tmpfs none /var/lib/skep; \
                mkdir /sys/fs/cgroup/*/box; setsid sleep 1000 </dev/null >/dev/null 2>&1 &";
    fleet.host(2).check(&["sh", "-c", busy]).unwrap();
    fleet.down().unwrap();
    assert_eq!(traces(&name), Vec::<String>::new());
    assert!(!links().contains(&leg), "the leg is gone");
    let error = Fleet::open(&Registry::from_env(), &name).unwrap_err().to_string();
    assert_eq!(error, format!("no such fleet: {name}"));
}

#[test]
fn two_fleets_stand_side_by_side() {
    let Some(one) = bare(2) else { return };
    let two = bare(2).unwrap();
    assert_ne!(one.name(), two.name());
    assert_ne!(one.host(1).address(), two.host(1).address());
    let _greeters = [Greeter::on(&one.host(2)), Greeter::on(&two.host(2))];
    reaches(&one.host(1), &one.host(2));
    cannot_reach(&one.host(1), &two.host(2));
    one.cut(&["host1"]).unwrap();
    cannot_reach(&one.host(1), &one.host(2));
    reaches(&two.host(1), &two.host(2));
    one.down().unwrap();
    reaches(&two.host(1), &two.host(2));
}

#[test]
fn a_fleet_ends_with_its_owner() {
    if bare(1).is_none() {
        return;
    }
    let mut owner = Command::new("sleep").arg("1000").spawn().unwrap();
    let pid = i32::try_from(owner.id()).unwrap();
    let fleet = Fleet::up(FleetConfig::hosts(1).owner(Owner::Process(pid))).unwrap();
    let (name, host) = (fleet.name().to_owned(), fleet.host(1));
    drop(fleet);
    assert_eq!(host.state().unwrap(), HostState::Running, "dropping a handle is not its end");
    assert!(Process::find(pid).unwrap().signal(Signal::SIGKILL).unwrap());
    owner.wait().unwrap();
    eventually_blocking(SOON, || match host.state().unwrap() {
        HostState::Down => Ok(()),
        state => Err(format!("{state:?}")),
    });
    // Whoever makes the next fleet clears its remains.
    drop(bare(1));
    assert_eq!(traces(&name), Vec::<String>::new());
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_made() {
    if bare(1).is_none() {
        return;
    }
    let refused = |config: FleetConfig| Fleet::up(config).unwrap_err().to_string();
    assert_eq!(refused(FleetConfig::hosts(0)), "bad number of hosts: expected 1 to 1000, got 0");
    assert_eq!(refused(FleetConfig::hosts(1).managers(2)), "bad number of managers: 2 of 1 hosts");
    let nowhere = FleetConfig::hosts(1).daemon(Path::new("/nowhere/skep"));
    assert_eq!(refused(nowhere), "no daemon at /nowhere/skep");
    let fleet = bare(1).unwrap();
    let again = FleetConfig::hosts(1).name(fleet.name());
    assert_eq!(refused(again), format!("fleet `{}` already exists", fleet.name()));
    assert_eq!(fleet.host(1).state().unwrap(), HostState::Running, "the other one is untouched");
}
