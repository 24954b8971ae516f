//! What tests of a swarm's services do over and over: hosts with the image in one swarm, services and
//! their tasks as `service ps` shows them, pages, and commands in a task's network.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::config::{FleetConfig, skep_binary};
use crate::eventually::eventually_blocking;
use crate::fleet::Fleet;
use crate::host::Host;
use crate::limits;
use crate::single::{IMAGE, image_archive, root};

/// Images, containers, elections and updates of a few tasks are ready well within it.
pub const SOON: Duration = limits::SETTLED_WITHIN;

/// A web server whose page is its host name.
pub const WEB: &str = "mkdir -p /w; hostname > /w/index.html; exec httpd -f -p 80 -h /w";

/// So many hosts with daemons and the image, of which so many are managers of one swarm; in no swarm
/// where that is none. None (and SKIP) without root.
pub fn swarm(hosts: usize, managers: usize) -> Option<Fleet> {
    if !root() {
        return None;
    }
    let config = FleetConfig::hosts(hosts).daemon(skep_binary()).managers(managers);
    let fleet = Fleet::up(config).unwrap_or_else(|error| panic!("{error:#}"));
    for host in fleet.hosts() {
        import(&host).unwrap_or_else(|error| panic!("{error:#}"));
    }
    Some(fleet)
}

/// As [`swarm`], of one host, which it gives too.
pub fn swarm_of_one() -> Option<(Fleet, Host)> {
    let fleet = swarm(1, 1)?;
    let host = fleet.host(1);
    Some((fleet, host))
}

fn import(host: &Host) -> Result<()> {
    let archive = image_archive();
    let archive = archive.to_str().context("an archive's path is UTF-8")?;
    skep(host, &["image", "import", archive, IMAGE]).map(drop)
}

/// What skep's command line prints on the host.
pub fn skep(host: &Host, words: &[&str]) -> Result<String> {
    host.check(&[&["skep"], words].concat())
}

/// What a command complains that must be refused; its first word is the program.
#[track_caller]
pub fn refused(host: &Host, words: &[&str]) -> String {
    let output = host.run(words).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(!output.status.success(), "{words:?} was taken");
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// A service whose tasks run a shell's script. A shell that is the first process heeds no signal to
/// end: a script gives its place to another program, or ends late.
#[track_caller]
pub fn create(host: &Host, flags: &[&str], script: &str) {
    let begin = ["service", "create", "--detach", "--no-resolve-image"];
    let words = [&begin[..], flags, &[IMAGE, "sh", "-c", script]].concat();
    skep(host, &words).unwrap_or_else(|error| panic!("{error:#}"));
}

/// The service's tasks that are to run and do: (name, node).
pub fn running(host: &Host, service: &str) -> Result<Vec<(String, String)>> {
    let format = "{{.Name}} {{.Node}} {{.CurrentState}}";
    let filter = ["--filter", "desired-state=running"];
    let lines = skep(host, &["service", "ps", service, filter[0], filter[1], "--format", format])?;
    let tasks = lines.lines().filter_map(|line| {
        let mut words = line.splitn(3, ' ');
        let (name, node, state) = (words.next()?, words.next()?, words.next()?);
        state.starts_with("Running").then(|| (name.to_owned(), node.to_owned()))
    });
    Ok(tasks.collect())
}

/// As [`running`], once there are so many.
#[track_caller]
pub fn wait_running(host: &Host, service: &str, count: usize) -> Vec<(String, String)> {
    eventually_blocking(SOON, || {
        let tasks = running(host, service)?;
        let all = || skep(host, &["service", "ps", service, "--no-trunc"]).unwrap_or_default();
        ensure!(tasks.len() == count, "{service} has {} of {count}:\n{}", tasks.len(), all());
        Ok(tasks)
    })
}

/// The nodes of the service's tasks that run; an error while others are to run or to end.
pub fn settled(host: &Host, service: &str) -> Result<Vec<String>> {
    let format = "{{.Node}} {{.DesiredState}} {{.CurrentState}}";
    let all = skep(host, &["service", "ps", service, "--no-trunc", "--format", format])?;
    let mut nodes = Vec::new();
    for line in all.lines() {
        let mut words = line.split(' ');
        let node = words.next().context("no node")?;
        match (words.next().context("no desired state")?, words.next().context("no state")?) {
            ("Running", "Running") => nodes.push(node.to_owned()),
            ("Running" | "Ready", _) | (_, "Running") => bail!("not settled:\n{all}"),
            _ => {}
        }
    }
    Ok(nodes)
}

/// As [`settled`], once there are so many.
#[track_caller]
pub fn wait_settled(host: &Host, service: &str, count: usize) -> Vec<String> {
    eventually_blocking(SOON, || {
        let nodes = settled(host, service)?;
        ensure!(nodes.len() == count, "{service} has {} of {count} tasks", nodes.len());
        Ok(nodes)
    })
}

/// What a web server says to a host's own request.
pub fn fetch(from: &Host, url: &str) -> Result<String> {
    let said = from.check(&["curl", "-g", "-s", "--fail", "--max-time", "3", url])?;
    Ok(said.trim().to_owned())
}

/// The oldest process on the host of that command and its arguments, and no others: how a test finds
/// a task.
pub fn process_of(host: &Host, command: &str) -> Result<String> {
    let found = host.check(&["pgrep", "-o", "-f", "-x", command])?;
    Ok(found.split_whitespace().next().context("no such process")?.to_owned())
}

/// Runs in the network and with the files of the task that is that command: see [`process_of`].
pub fn inside(host: &Host, command: &str, words: &[&str]) -> Result<String> {
    let pid = process_of(host, command)?;
    let enter = ["nsenter", "-t", &pid, "-n", "-m", "-r", "-w"];
    host.check(&[&enter[..], words].concat())
}

/// The IPv4 addresses of a name, sorted, as the task that is that command is told.
pub fn resolve(host: &Host, command: &str, name: &str) -> Result<Vec<String>> {
    let said = inside(host, command, &["/bin/nslookup", "-type=a", name])?;
    // Before the first name stands the server's own address.
    let answers = said.split("Name:").skip(1).flat_map(str::lines);
    let addresses = answers.filter_map(|line| line.trim().strip_prefix("Address: "));
    let mut addresses: Vec<String> = addresses.map(|it| it.trim().to_owned()).collect();
    addresses.sort();
    Ok(addresses)
}
