//! Namespaces shared with the host or another container, and mounts that see each other's changes.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{Fixture, bind, output, root_or_skip, until};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use skep_engine::config::{Mount, Namespace};
use skep_engine::signal::Signal;
use skep_engine::{Container, ContainerConfig, Exec};

const KINDS: [&str; 4] = ["pid", "ipc", "uts", "cgroup"];

async fn sleeper(
    fixture: &Fixture,
    id: &str,
    change: impl FnOnce(&mut ContainerConfig),
) -> Container {
    let mut config = fixture.config(id, &["sleep", "1000"]);
    change(&mut config);
    fixture.start(config).await
}

/// The namespaces of a container's first process.
async fn namespaces(container: &Container) -> Vec<String> {
    let pid = container.pid().await.unwrap().unwrap();
    let of = |kind: &&str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    KINDS.iter().map(|kind| of(kind).display().to_string()).collect()
}

async fn run(container: &Container, script: &str) -> String {
    let args = ["sh", "-c", script].map(str::to_owned).to_vec();
    let output =
        container.exec(Exec { args, output_bytes_max: 4096, ..Exec::default() }).await.unwrap();
    String::from_utf8(output.output.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_are_ones_own_the_hosts_or_anothers() {
    if !root_or_skip("namespaces_are_ones_own_the_hosts_or_anothers") {
        return;
    }
    let fixture = Fixture::new().await;
    let host: Vec<String> = KINDS
        .iter()
        .map(|kind| std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap())
        .map(|path| path.display().to_string())
        .collect();
    let own = sleeper(&fixture, "own", |_| {}).await;
    let owns = namespaces(&own).await;
    assert!(owns.iter().all(|namespace| !host.contains(namespace)), "{owns:?} {host:?}");

    let hosts = sleeper(&fixture, "hosts", |config| {
        config.pid = Namespace::Host;
        config.ipc = Namespace::Host;
        config.uts = Namespace::Host;
        config.cgroup = Namespace::Host;
    })
    .await;
    assert_eq!(namespaces(&hosts).await, host);
    let name = nix::unistd::gethostname().unwrap();
    let said = run(&hosts, "hostname; stat -c %d:%i /dev/shm; ls -d /proc/$PPID").await;
    let shm = nix::sys::stat::stat("/dev/shm").unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..2], [name.to_str().unwrap(), &format!("{}:{}", shm.st_dev, shm.st_ino)]);

    let pid = own.pid().await.unwrap().unwrap();
    let joined = sleeper(&fixture, "joined", |config| {
        config.pid = Namespace::Of(pid);
        config.ipc = Namespace::Of(pid);
        config.uts = Namespace::Of(pid);
    })
    .await;
    assert_eq!(namespaces(&joined).await[..3], owns[..3]);
    // They see each other's memory, processes and name.
    run(&own, "echo shared > /dev/shm/file").await;
    let said = run(&joined, "cat /dev/shm/file; hostname; grep -c sleep /proc/1/cmdline").await;
    assert_eq!(said, "shared\nown\n1\n");
    run(&joined, "rm /dev/shm/file 2>/dev/null || : > /dev/shm/file").await;
    assert_eq!(run(&own, "cat /dev/shm/file 2>/dev/null").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shares_the_hosts_processes_ends_with_its_first() {
    if !root_or_skip("what_shares_the_hosts_processes_ends_with_its_first") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture.shell("many", "sleep 1000 & sleep 1000 & echo ready; wait");
    config.pid = Namespace::Host;
    let container = fixture.start(config).await;
    until("it is ready", async || output(&container).await.contains("ready")).await;
    let processes = container.processes().await.unwrap();
    assert_eq!(processes.len(), 3);
    container.stop(Some(Signal::KILL), Duration::ZERO).await.unwrap();
    for pid in processes {
        // A zombie waits for the host's init.
        until("it is gone", async || {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            status.is_err() || status.is_ok_and(|status| status.contains("State:\tZ"))
        })
        .await;
    }
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

/// A memory filesystem on the host that is gone after the test.
struct Shared<'a>(&'a Path);

impl Shared<'_> {
    fn new(path: &Path) -> Shared<'_> {
        std::fs::create_dir_all(path).unwrap();
        mount(Some("x"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let shared = Shared(path);
        mount(None::<&str>, path, None::<&str>, MsFlags::MS_SHARED, None::<&str>).unwrap();
        for name in ["host", "container", "early"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        tmpfs(&path.join("early"));
        shared
    }
}

impl Drop for Shared<'_> {
    fn drop(&mut self) {
        // Those below it first, as often as there is one.
        for name in ["host", "container", "early"] {
            while umount2(&self.0.join(name), MntFlags::MNT_DETACH).is_ok() {}
        }
        umount2(self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

fn tmpfs(path: &Path) {
    mount(Some("x"), path, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    std::fs::write(path.join("seen"), "").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_see_each_others_changes_as_asked() {
    if !root_or_skip("mounts_see_each_others_changes_as_asked") {
        return;
    }
    let fixture = Fixture::new().await;
    let volume = fixture.path("volume");
    let shared = Shared::new(&volume);
    let with =
        |propagation: &str| Mount { propagation: propagation.into(), ..bind(&volume, "/volume") };
    let mut containers = Vec::new();
    for propagation in ["rprivate", "rslave", "rshared", "shared"] {
        let container = sleeper(&fixture, propagation, |config| {
            config.privileged = true;
            config.mounts.push(with(propagation));
            // One that must not be drawn in by its neighbour.
            config.mounts.push(bind(&volume, "/beside"));
        })
        .await;
        containers.push((propagation, container));
    }
    tmpfs(&volume.join("host"));
    for (propagation, container) in &containers {
        let wanted = if *propagation == "rprivate" { "" } else { "seen\n" };
        assert_eq!(run(container, "ls /volume/host").await, wanted, "{propagation}");
        assert_eq!(run(container, "ls /beside/host").await, "", "beside {propagation}");
        assert_eq!(run(container, "ls /volume/early").await, "seen\n", "{propagation}");
        let script = "mount -t tmpfs x /volume/container && touch /volume/container/back";
        run(container, script).await;
        let back = volume.join("container/back");
        let shares = propagation.ends_with("shared");
        assert_eq!(back.exists(), shares, "{propagation}");
        if shares {
            umount2(&volume.join("container"), MntFlags::MNT_DETACH).unwrap();
        }
    }
    // What a container's own mount table has stays there.
    assert_eq!(run(&containers[2].1, "mount -t tmpfs x /tmp && echo ok").await, "ok\n");
    for (_, container) in containers {
        container.stop(Some(Signal::KILL), Duration::ZERO).await.unwrap();
        container.delete().await.unwrap();
    }

    let private = fixture.path("private");
    std::fs::create_dir(&private).unwrap();
    let flags = MsFlags::MS_BIND;
    mount(Some(&private), &private, None::<&str>, flags, None::<&str>).unwrap();
    mount(None::<&str>, &private, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let mut config = fixture.shell("refused", "true");
    config.mounts.push(Mount { propagation: "rshared".into(), ..bind(&private, "/x") });
    let refused = fixture.runtime().create(config).await.unwrap_err().to_string();
    umount2(&private, MntFlags::MNT_DETACH).unwrap();
    assert!(refused.contains("but it is not a shared mount"), "{refused}");
    drop(shared);
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn binds_reach_below_their_source_as_asked() {
    if !root_or_skip("binds_reach_below_their_source_as_asked") {
        return;
    }
    let fixture = Fixture::new().await;
    let volume = fixture.path("volume");
    let _shared = Shared::new(&volume);
    let said = async |id: &str, change: fn(&mut Mount)| {
        let mut config = fixture.shell(
            id,
            "ls /volume/early; touch /volume/x 2>/dev/null && echo top; \
             touch /volume/early/x 2>/dev/null && echo below; rm -f /volume/early/x; true",
        );
        let mut mount = bind(&volume, "/volume");
        mount.read_only = true;
        change(&mut mount);
        config.mounts.push(mount);
        fixture.run(config).await.1
    };
    assert_eq!(said("deep", |_| {}).await, "seen\n");
    assert_eq!(said("top", |mount| mount.read_only_non_recursive = true).await, "seen\nbelow\n");
    std::fs::remove_file(volume.join("early/x")).ok();
    assert_eq!(said("flat", |mount| mount.non_recursive = true).await, "");
}
