//! Containers with a user namespace of their own, observed from inside and from outside.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::Path;

use common::{Fixture, bind, root_or_skip};
use skep_engine::config::{
    Content, Device, File, Mount, MountSource, Namespace, NetworkNamespace, Rootfs, Ulimit,
};
use skep_engine::{ContainerConfig, Exec};
use skep_idmap::{IdMaps, IdRange};

/// The containers' root as the host counts.
const ROOT: u32 = 200_000;

fn maps() -> IdMaps {
    let range = IdRange { inside: 0, outside: ROOT, count: 65536 };
    IdMaps { uids: vec![range], gids: vec![range] }
}

/// A runtime whose image belongs to mapped ids, as a remapped store has it.
async fn fixture() -> Fixture {
    let mut fixture = Fixture::new().await;
    fs::set_permissions(fixture.dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    own_all(&fixture.path("image"));
    fixture.config.id_maps = Some(maps());
    fixture.reopen().await;
    fixture
}

fn own_all(path: &Path) {
    lchown(path, Some(ROOT), Some(ROOT)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            own_all(&entry.unwrap().path());
        }
    }
}

fn mapped(fixture: &Fixture, id: &str, script: &str) -> ContainerConfig {
    let mut config = fixture.shell(id, script);
    config.id_maps = Some(maps());
    if let Rootfs::Overlay { upper, .. } = &config.rootfs {
        chown(upper, Some(ROOT), Some(ROOT)).unwrap();
    }
    config
}

/// CAP_SYS_RESOURCE, which not every machine of tests has.
fn may_raise() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(held.trim(), 16).unwrap() >> 24 & 1 == 1
}

async fn inside(
    fixture: &Fixture,
    script: &str,
    change: impl FnOnce(&mut ContainerConfig),
) -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut config = mapped(fixture, &format!("inside{number}"), script);
    change(&mut config);
    fixture.run(config).await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn root_is_nobody_on_the_host() {
    if !root_or_skip("root_is_nobody_on_the_host") {
        return;
    }
    let fixture = fixture().await;
    let script = "cat /proc/self/uid_map /proc/self/gid_map; id; stat -c '%u %g %a' / /bin /etc/passwd; \
                  grep -E 'CapEff|Seccomp:' /proc/self/status; touch /made; echo out > /dev/stdout; \
                  hostname inside; cat /proc/sys/kernel/hostname; \
                  ls /sys/class/net; ping -c 1 -W 5 127.0.0.1 > /dev/null && echo up; \
                  cat /proc/sys/net/ipv4/ip_unprivileged_port_start; \
                  for f in null zero random urandom tty full; do stat -c '%t:%T' /dev/$f; done";
    let mut config = mapped(&fixture, "root", script);
    config.hostname = "box".into();
    config.cwd = "/srv/deep/er".into();
    config.capability_add = vec!["SYS_ADMIN".into()];
    let container = fixture.start(config).await;
    common::patiently(container.wait()).await.unwrap();
    let said = common::output(&container).await;
    expect_test::expect![[r#"
                 0     200000      65536
                 0     200000      65536
        uid=0(root) gid=0(root) groups=0(root)
        0 0 755
        0 0 755
        0 0 644
        CapEff:	00000000a82425fb
        Seccomp:	2
        out
        inside
        lo
        up
        0
        1:3
        1:5
        1:8
        1:9
        5:0
        1:7
    "#]]
    .assert_eq(&said);
    let upper = fixture.path("layers/root/upper");
    for made in ["made", "srv/deep", "srv/deep/er"] {
        let found = fs::metadata(upper.join(made)).unwrap();
        assert_eq!((found.uid(), found.gid()), (ROOT, ROOT), "{made}");
    }
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_belong_to_mapped_users() {
    if !root_or_skip("processes_belong_to_mapped_users") {
        return;
    }
    let fixture = fixture().await;
    let mut config = mapped(&fixture, "web", "exec sleep 1000");
    config.user = "web".into();
    config.init = true;
    let container = fixture.start(config).await;
    let pid = container.pid().await.unwrap().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let uid = format!("Uid:\t{0}\t{0}\t{0}\t{0}\n", ROOT + 33);
    assert!(status.contains(&uid), "{status}");
    assert!(status.contains(&format!("Groups:\t{} {}", ROOT + 34, ROOT + 50)), "{status}");

    // Commands come into the same namespaces, whoever they run as.
    let exec = async |user: Option<&str>, script: &str| {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        let user = user.map(str::to_owned);
        let exec = Exec { args, user, output_bytes_max: 4096, ..Exec::default() };
        let done = container.exec(exec).await.unwrap();
        String::from_utf8(done.output.to_vec()).unwrap()
    };
    let script = "cat /proc/self/uid_map; id -u; id -g; readlink /proc/self/ns/user; \
                  grep -E 'CapBnd|Seccomp:' /proc/self/status; echo x > /dev/stderr";
    let theirs = fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
    let theirs = theirs.to_str().unwrap().to_owned();
    let plain = format!(
        "         0     200000      65536\n33\n34\n{theirs}\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\nx\n"
    );
    assert_eq!(exec(None, script).await, plain);
    let root = exec(Some("0"), "id -u; touch /by-root; grep CapEff /proc/self/status").await;
    assert_eq!(root, "0\nCapEff:\t00000000a80425fb\n");
    let made = fs::metadata(fixture.path("layers/web/upper/by-root")).unwrap();
    assert_eq!(made.uid(), ROOT);
    assert_eq!(exec(Some("0"), "mknod /n c 1 3 2>&1 | grep -c permitted").await, "1\n");

    container.stop(None, common::PATIENCE).await.unwrap();
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_host_keep_their_owners() {
    if !root_or_skip("files_of_the_host_keep_their_owners") {
        return;
    }
    let fixture = fixture().await;
    // Below a directory that the containers' root may not pass.
    let hosts = fixture.path("closed/of-host");
    let volume = fixture.path("closed/volume");
    for dir in [&hosts, &volume] {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join("file"), "content\n").unwrap();
    }
    fs::set_permissions(fixture.path("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    own_all(&volume);
    fs::write(fixture.path("closed/hosts"), "127.0.0.1 localhost\n").unwrap();
    let script = "stat -c '%u %n' /host/file /volume/file; cat /host/file /etc/hosts; \
                  touch /host/new 2>/dev/null || echo closed; touch /volume/new && echo open; \
                  touch /ro/new 2>/dev/null || echo ro; \
                  stat -c '%u %g %a' /run/secrets/key /scratch; cat /run/secrets/key";
    let said = inside(&fixture, script, |config| {
        config.hosts_path = Some(fixture.path("closed/hosts"));
        config.mounts = vec![
            bind(&hosts, "/host"),
            bind(&volume, "/volume"),
            Mount { read_only: true, ..bind(&volume, "/ro") },
        ];
        let options = vec!["uid=33".to_owned()];
        let scratch = MountSource::Tmpfs { size_bytes: 1 << 20, mode: 0o700, options };
        config.mounts.push(Mount::new("/scratch", scratch, false));
        config.files.push(File {
            target: "/run/secrets/key".into(),
            uid: 0,
            gid: 34,
            mode: 0o440,
            content: Content::new(b"hush\n".to_vec()),
        });
    })
    .await;
    let expected = "65534 /host/file\n0 /volume/file\ncontent\n127.0.0.1 localhost\nclosed\nopen\n\
                    ro\n0 34 440\n33 0 700\nhush\n";
    assert_eq!(said, expected);
    assert_eq!(fs::metadata(volume.join("new")).unwrap().uid(), ROOT);

    // A root that is a directory, below the closed one as well.
    let root = fixture.path("closed/root");
    let mut copy = std::process::Command::new("cp");
    assert!(copy.arg("-a").arg(fixture.path("image")).arg(&root).status().unwrap().success());
    let said = inside(&fixture, "touch /tmp/new && stat -c %u /tmp/new", |config| {
        config.rootfs = Rootfs::Directory(root.clone());
    })
    .await;
    assert_eq!(said, "0\n");
    assert_eq!(fs::metadata(root.join("tmp/new")).unwrap().uid(), ROOT);
}

#[tokio::test(flavor = "multi_thread")]
async fn terminals_devices_and_limits_are_the_containers() {
    if !root_or_skip("terminals_devices_and_limits_are_the_containers") {
        return;
    }
    let fixture = fixture().await;
    // Where this process may do so itself, the container's limits are above those it inherits.
    let raises = may_raise();
    let (files, score) = if raises { (1_000_000, -100) } else { (2000, 100) };
    let script = "tty; stat -c %u $(tty); stat -c '%t:%T' /dev/log0 /srv/zero; \
                  head -c 2 /srv/zero | od -An -c; ulimit -Hn; ulimit -n; cat /proc/self/oom_score_adj";
    let said = inside(&fixture, script, |config| {
        config.tty = true;
        config.user = "web".into();
        config.oom_score_adj = score;
        config.ulimits.push(Ulimit { name: "nofile".into(), soft: 1000, hard: files });
        config.devices = [("/dev/kmsg", "/dev/log0"), ("/dev/zero", "/srv/zero")]
            .map(|(from, to)| Device {
                on_host: from.into(),
                in_container: to.into(),
                access: "rwm".into(),
            })
            .to_vec();
    })
    .await;
    let said = said.replace('\r', "");
    let expected = format!("/dev/pts/0\n33\n1:b\n1:5\n  \\0  \\0\n{files}\n1000\n{score}\n");
    assert_eq!(said, expected);

    let mut config = mapped(&fixture, "frozen", "exec sleep 1000");
    config.resources.memory_bytes = 64 << 20;
    let container = fixture.start(config).await;
    container.pause().await.unwrap();
    container.unpause().await.unwrap();
    assert!(container.stats().await.unwrap().memory.limit == 64 << 20);
    container.stop(Some(skep_engine::Signal::KILL), common::PATIENCE).await.unwrap();
    container.delete().await.unwrap();
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_namespaces_joins_the_user_namespace() {
    if !root_or_skip("who_joins_namespaces_joins_the_user_namespace") {
        return;
    }
    let fixture = fixture().await;
    let first = fixture.start(mapped(&fixture, "first", "exec sleep 1000")).await;
    let pid = first.pid().await.unwrap().unwrap();
    let links = |name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    let theirs = ["user", "net", "ipc"].map(|it| links(it).to_str().unwrap().to_owned());
    let script = "readlink /proc/self/ns/user; readlink /proc/self/ns/net; \
                  readlink /proc/self/ns/ipc; ps -o args | grep -c 'sleep 1000'";
    let network = NetworkNamespace::Join(format!("/proc/{pid}/ns/net").into());
    let said = inside(&fixture, script, |config| {
        config.network = network.clone();
        config.ipc = Namespace::Of(pid);
        config.pid = Namespace::Of(pid);
    })
    .await;
    let [user, net, ipc] = theirs;
    assert!(said.starts_with(&format!("{user}\n{net}\n{ipc}\n")), "{said}");

    // Also those of another user's, whose first process executed nothing in there.
    let mut config = mapped(&fixture, "bee", "exec sleep 2000");
    (config.user, config.init) = ("web".into(), true);
    let bee = fixture.start(config).await;
    let theirs = bee.pid().await.unwrap().unwrap();
    let said = inside(&fixture, "ps -o args | grep -c 'sleep 2000'; ls /dev/shm", |config| {
        config.network = NetworkNamespace::Join(format!("/proc/{theirs}/ns/net").into());
        config.ipc = Namespace::Of(theirs);
        config.pid = Namespace::Of(theirs);
    })
    .await;
    assert!(
        said.lines().next().is_some_and(|it| it.parse::<u32>().is_ok_and(|it| it > 0)),
        "{said}"
    );

    // Not two at once.
    let second = fixture.start(mapped(&fixture, "second", "exec sleep 1000")).await;
    let other = second.pid().await.unwrap().unwrap();
    let mut config = mapped(&fixture, "torn", "true");
    config.network = network;
    config.ipc = Namespace::Of(other);
    let said = fixture.runtime().create(config).await.unwrap_err().to_string();
    assert!(
        said.contains("containers that share a namespace must share a user namespace"),
        "{said}"
    );

    // One without a namespace of its own beside them, on the same runtime.
    let said = fixture.run(fixture.shell("plain", "cat /proc/self/uid_map")).await.1;
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shares_with_the_host_is_refused() {
    if !root_or_skip("what_shares_with_the_host_is_refused") {
        return;
    }
    let fixture = fixture().await;
    let refused = async |change: fn(&mut ContainerConfig)| {
        let mut config = mapped(&fixture, "refused", "true");
        change(&mut config);
        fixture.runtime().create(config).await.unwrap_err().to_string()
    };
    let said = refused(|c| c.privileged = true).await;
    assert!(said.contains("privileged mode is incompatible with user namespaces."), "{said}");
    let said = refused(|c| c.network = NetworkNamespace::Host).await;
    assert!(said.contains("cannot share the host's network namespace"), "{said}");
    let said = refused(|c| c.pid = Namespace::Host).await;
    assert!(said.contains("cannot share the host PID namespace"), "{said}");
    let said = refused(|c| c.network = NetworkNamespace::Join("/proc/self/ns/net".into())).await;
    assert!(said.contains("belongs to the host's user namespace"), "{said}");
    let said = refused(|c| c.user = "70000".into()).await;
    assert!(said.contains("cannot set uid to unmapped user in user namespace"), "{said}");
    fixture.assert_clean().await;

    // The host's IPC and names can be shared.
    let said =
        inside(&fixture, "readlink /proc/self/ns/uts; readlink /proc/self/ns/ipc", |config| {
            config.ipc = Namespace::Host;
            config.uts = Namespace::Host;
        })
        .await;
    let own = ["uts", "ipc"].map(|it| fs::read_link(format!("/proc/self/ns/{it}")).unwrap());
    assert_eq!(said, own.map(|it| format!("{}\n", it.display())).concat());

    // A run directory that the containers' root cannot reach.
    fs::set_permissions(fixture.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mut config = fixture.config.clone();
    config.state_dir = fixture.path("other");
    let said = skep_engine::Runtime::open(config).await.unwrap_err().to_string();
    assert!(said.contains("restricts access to the remapped root uid/gid"), "{said}");
    fs::set_permissions(fixture.dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
}
