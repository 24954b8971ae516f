//! What a container may see and do, observed from inside.

mod common;

use common::{Fixture, bind, root_or_skip};
use skep_engine::config::{
    Content, File, Mount, MountSource, NetworkNamespace, Resources, Rootfs, Ulimit,
};

/// Runs a script and gives its output, of which the test says what it must be.
async fn inside(
    fixture: &Fixture,
    script: &str,
    change: impl FnOnce(&mut skep_engine::ContainerConfig),
) -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut config = fixture.shell(&format!("inside{number}"), script);
    change(&mut config);
    fixture.run(config).await.1
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_are_dockers() {
    if !root_or_skip("privileges_are_dockers") {
        return;
    }
    let fixture = Fixture::new().await;
    // Not by way of a shell, which has its own mind on signals.
    let status = inside(&fixture, "", |config| {
        config.args = vec!["cat".into(), "/proc/self/status".into()];
    })
    .await;
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        assert_eq!(field(&status, set), "00000000a80425fb", "{set}");
    }
    assert_eq!(field(&status, "CapInh"), "0000000000000000");
    assert_eq!(field(&status, "CapAmb"), "0000000000000000");
    assert_eq!(field(&status, "Seccomp"), "2");
    assert_eq!(field(&status, "SigBlk"), "0000000000000000");
    assert_eq!(field(&status, "SigIgn"), "0000000000000000");

    let status = inside(&fixture, "cat /proc/self/status", |config| {
        config.user = "web".into();
        config.capability_drop = vec!["ALL".into()];
        config.capability_add = vec!["NET_BIND_SERVICE".into()];
    })
    .await;
    assert_eq!(field(&status, "CapBnd"), "0000000000000400");
    assert_eq!(field(&status, "CapEff"), "0000000000000000");
    assert_eq!(field(&status, "Uid"), "33\t33\t33\t33");
    assert_eq!(field(&status, "Groups"), "34 50");

    let script = "unshare -m true 2>&1; mount -t tmpfs x /tmp 2>&1; echo done";
    let said = inside(&fixture, script, |_| {}).await;
    assert_eq!(said.matches("denied").count() + said.matches("not permitted").count(), 2, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernels_files_are_masked() {
    if !root_or_skip("the_kernels_files_are_masked") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts; do \
                    [ -e $f ] && cat $f 2>/dev/null | wc -c; done; ls /sys/firmware | wc -l; \
                  echo x 2>/dev/null > /proc/sys/kernel/hostname && echo written; \
                  echo x 2>/dev/null > /proc/sysrq-trigger && echo written; \
                  touch /sys/x 2>/dev/null && echo written; \
                  touch /sys/fs/cgroup/x 2>/dev/null && echo written; \
                  for f in /sys/fs/cgroup/*/memory.limit_in_bytes /sys/fs/cgroup/*/cgroup.procs \
                           /sys/fs/cgroup/cgroup.procs; do \
                    [ -e $f ] && echo 0 2>/dev/null > $f && echo written $f; done; true";
    let said = inside(&fixture, script, |_| {}).await;
    assert!(said.lines().all(|line| line == "0"), "{said}");
    assert!(said.lines().count() >= 3, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_few() {
    if !root_or_skip("devices_are_few") {
        return;
    }
    let fixture = Fixture::new().await;
    let said = inside(&fixture, "ls /dev; stat -c '%a %n' /dev/null /dev/urandom", |_| {}).await;
    let known = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    let mut seen: Vec<&str> =
        said.lines().filter(|line| !line.contains(' ') && !line.contains("core")).collect();
    seen.sort_unstable();
    assert_eq!(seen.join(" "), known);
    assert!(said.contains("666 /dev/null") && said.contains("666 /dev/urandom"), "{said}");

    // Making any node is allowed, as in Docker; using the host's disks is not.
    let script = "mknod /tmp/disk b 254 0 && mknod /tmp/mem c 1 1 && \
                  mknod /tmp/null c 1 3 && echo made; \
                  for d in disk mem null; do head -c 1 /tmp/$d > /dev/null 2>&1 && echo $d; done; true";
    assert_eq!(inside(&fixture, script, |_| {}).await, "made\nnull\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_is_set_up_as_docker_does() {
    if !root_or_skip("the_process_is_set_up_as_docker_does") {
        return;
    }
    let fixture = Fixture::new().await;
    let said = inside(&fixture, "env; pwd; hostname; id", |config| {
        config.hostname = "box".into();
        config.env = vec!["A=1".into(), "B=x=y".into(), "A=2".into()];
        config.cwd = "/not/there/yet".into();
    })
    .await;
    let mut lines: Vec<&str> = said.lines().filter(|l| !l.starts_with("SHLVL")).collect();
    lines.sort_unstable();
    expect_test::expect![[r#"
        /not/there/yet
        A=2
        B=x=y
        HOME=/root
        HOSTNAME=box
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        PWD=/not/there/yet
        box
        uid=0(root) gid=0(root) groups=0(root)"#]]
    .assert_eq(&lines.join("\n"));

    let script = "ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; \
                  cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni \
                  /proc/sys/net/ipv4/ping_group_range; \
                  echo out > /dev/stdout; echo $$; ls /proc/self/fd | wc -l";
    let said = inside(&fixture, script, |config| {
        config.user = "33:34".into();
        config.oom_score_adj = 321;
        config.sysctls.insert("kernel.shmmni".into(), "777".into());
        config.ulimits.push(Ulimit { name: "nofile".into(), soft: 100, hard: 200 });
    })
    .await;
    // Three descriptors and the one that ls reads the directory with.
    assert_eq!(said, "100\n200\n321\n0\n777\n0\t2147483647\nout\n1\n4\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_are_where_they_should_be() {
    if !root_or_skip("mounts_are_where_they_should_be") {
        return;
    }
    let fixture = Fixture::new().await;
    let volume = fixture.path("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "from the host\n").unwrap();
    std::fs::write(fixture.path("hosts"), "127.0.0.1 localhost\n").unwrap();
    let script = "cat /data/file /etc/hosts; echo back > /data/back; \
                  touch /ro/x 2>/dev/null || echo ro; touch /x 2>/dev/null || echo root ro; \
                  touch /tmp/x && stat -c %a /tmp; grep ' /tmp ' /proc/mounts";
    let said = inside(&fixture, script, |config| {
        config.read_only = true;
        config.hosts_path = Some(fixture.path("hosts"));
        config.mounts.push(bind(&volume, "/data"));
        let tmpfs = MountSource::Tmpfs { size_bytes: 1 << 20, mode: 0o1770, options: Vec::new() };
        config.mounts.push(Mount { read_only: true, ..bind(&volume, "/ro") });
        config.mounts.push(Mount::new("/tmp", tmpfs, false));
    })
    .await;
    let (lines, mount) = said.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(lines, "from the host\n127.0.0.1 localhost\nro\nroot ro\n1770");
    assert!(mount.contains("nosuid,nodev,noexec") && mount.contains("size=1024k"), "{mount}");
    assert_eq!(std::fs::read_to_string(volume.join("back")).unwrap(), "back\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_overlays_or_directories() {
    if !root_or_skip("roots_are_overlays_or_directories") {
        return;
    }
    let fixture = Fixture::new().await;
    // More layers than mount(2) takes in one page, the topmost first.
    let mut lower = Vec::new();
    for number in (0..60).rev() {
        let layer = fixture.path(&format!("a-layer-with-a-long-name-{}-{number}", "x".repeat(60)));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join("top"), format!("{number}\n")).unwrap();
        lower.push(layer);
    }
    lower.push(fixture.path("image"));
    let said = inside(&fixture, "cat /top; echo changed > /top; touch /new", |config| {
        let Rootfs::Overlay { lower: old, .. } = &mut config.rootfs else { panic!() };
        old.splice(.., lower.clone());
    })
    .await;
    assert_eq!(said, "59\n");
    assert_eq!(std::fs::read_to_string(lower[0].join("top")).unwrap(), "59\n", "layers stay");

    inside(&fixture, "touch /tmp/new", |config| {
        config.rootfs = Rootfs::Directory(fixture.path("image"));
    })
    .await;
    assert!(fixture.path("image/tmp/new").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_new_or_joined() {
    if !root_or_skip("networks_are_new_or_joined") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "ls /sys/class/net; cat /sys/class/net/lo/operstate; ping -c 1 -W 5 127.0.0.1 \
                  > /dev/null && echo up; stat -Lc %i /proc/self/ns/net";
    let said = inside(&fixture, script, |_| {}).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["lo", "unknown", "up"], "{said}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!own.to_str().unwrap().contains(lines[3]));

    let said = inside(&fixture, "stat -Lc %i /proc/self/ns/net", |config| {
        config.network = NetworkNamespace::Host;
    })
    .await;
    assert!(own.to_str().unwrap().contains(said.trim()));

    let other = fixture.start(fixture.config("other", &["sleep", "1000"])).await;
    let path = format!("/proc/{}/ns/net", other.pid().await.unwrap().unwrap());
    let theirs = std::fs::read_link(&path).unwrap();
    let said = inside(&fixture, "stat -Lc %i /proc/self/ns/net", |config| {
        config.network = NetworkNamespace::Join(path.into());
    })
    .await;
    assert!(theirs.to_str().unwrap().contains(said.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_in_memory_only() {
    if !root_or_skip("secrets_are_in_memory_only") {
        return;
    }
    let fixture = Fixture::new().await;
    let secret = format!("hush-{}", std::process::id());
    let mut config = fixture.shell(
        "keeper",
        "cd /run/secrets; stat -c '%a %u %g %n' *; cat key; touch key 2>/dev/null || echo ro; \
         grep /run/secrets/key /proc/mounts; cat /etc/app.conf; exec sleep 1000",
    );
    config.files.push(File {
        target: "/run/secrets/key".into(),
        uid: 33,
        gid: 34,
        mode: 0o440,
        content: Content::new(format!("{secret}\n").into_bytes()),
    });
    config.files.push(File {
        target: "/etc/app.conf".into(),
        uid: 0,
        gid: 0,
        mode: 0o444,
        content: Content::new(b"config\n".to_vec()),
    });
    assert!(!format!("{config:?}").contains(&secret));
    let container = fixture.start(config).await;
    common::until("it has said all", async || {
        common::output(&container).await.ends_with("config\n")
    })
    .await;
    let said = common::output(&container).await;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["440 33 34 key", &secret, "ro"]);
    assert!(lines[3].contains(" tmpfs ro"), "{said}");

    // Nothing on disk but the log, where the container itself has written it.
    let mut files = vec![fixture.dir.path().to_owned()];
    let mut searched = 0;
    while let Some(path) = files.pop() {
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() && path.file_name().unwrap() != "json.log" {
            searched += 1;
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
    assert!(searched > 3);
    // Nor in a place of the host that others could read.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(fixture.dir.path().to_str().unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_set_and_kept() {
    if !root_or_skip("limits_are_set_and_kept") {
        return;
    }
    let fixture = Fixture::new().await;
    let mut config = fixture.config("limited", &["sleep", "1000"]);
    config.resources = Resources {
        memory_bytes: 64 << 20,
        nano_cpus: 1_500_000_000,
        pids: 50,
        ..Resources::default()
    };
    let container = fixture.start(config).await;
    let read = |controller: &str, v1: &str, v2: &str| {
        let parent = fixture.config.cgroup_parent.strip_prefix("/").unwrap().join("limited");
        let v1 = format!("/sys/fs/cgroup/{controller}/{}/{v1}", parent.display());
        let v2 = format!("/sys/fs/cgroup/{}/{v2}", parent.display());
        let text = std::fs::read_to_string(v1).or_else(|_| std::fs::read_to_string(v2)).unwrap();
        text.trim().to_owned()
    };
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(read("pids", "pids.max", "pids.max"), "50");
    let quota = read("cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(["150000", "150000 100000"].contains(&&quota[..]), "{quota}");
    drop(container);

    let mut config = fixture.shell("greedy", "x=x; while :; do x=$x$x$x$x; done");
    config.resources.memory_bytes = 16 << 20;
    let (exit, _) = fixture.run(config).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused() {
    if !root_or_skip("what_makes_no_sense_is_refused") {
        return;
    }
    let fixture = Fixture::new().await;
    let check = async |change: fn(&mut skep_engine::ContainerConfig)| {
        let mut config = fixture.config("one", &["true"]);
        change(&mut config);
        fixture.runtime().create(config).await.unwrap_err().to_string()
    };
    assert!(check(|c| c.args.clear()).await.contains("no command specified"));
    assert!(check(|c| c.id = "../up".into()).await.contains("invalid container id"));
    assert!(check(|c| c.cwd = "here".into()).await.contains("needs to be an absolute path"));
    assert!(check(|c| c.capability_add = vec!["X".into()]).await.contains("\"CAP_X\""));
    assert!(check(|c| c.resources.memory_bytes = 5).await.contains("Minimum memory limit"));
    assert!(
        check(|c| c.mounts.push(bind("/not/there".as_ref(), "/x")))
            .await
            .contains("bind source path does not exist: /not/there")
    );
    assert!(check(|c| c.stop_signal = "SIGX".into()).await.contains("Invalid signal: SIGX"));
    fixture.assert_clean().await;
}
