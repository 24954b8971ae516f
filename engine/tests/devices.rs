//! Privileges beyond Docker's default: devices, privileged containers, seccomp profiles, and the
//! paths that are hidden.

mod common;

use common::{Fixture, root_or_skip};
use skep_engine::config::{
    Device, DeviceKind, DeviceNode, Hook, HookPoint, Mount, MountSource, Seccomp,
};
use skep_engine::{ContainerConfig, Exec};

/// Runs a script to its end and gives its output.
async fn inside(
    fixture: &Fixture,
    script: &str,
    change: impl FnOnce(&mut ContainerConfig),
) -> String {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mut config = fixture.shell(&format!("inside{number}"), script);
    change(&mut config);
    fixture.run(config).await.1
}

async fn refused(fixture: &Fixture, change: impl FnOnce(&mut ContainerConfig)) -> String {
    let mut config = fixture.shell("refused", "true");
    change(&mut config);
    fixture.runtime().create(config).await.unwrap_err().to_string()
}

fn device(on_host: &str, in_container: &str, access: &str) -> Device {
    Device { on_host: on_host.into(), in_container: in_container.into(), access: access.into() }
}

/// The kernel's log, which no container has by default; to read it takes a capability as well.
const KMSG: &str = "/dev/kmsg";

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_given_with_the_access_asked_for() {
    if !root_or_skip("devices_are_given_with_the_access_asked_for") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "stat -c '%t:%T' /dev/log0; ( head -c 1 < /dev/log0 >/dev/null ) 2>/dev/null && echo read; \
                  ( exec 3>/dev/log0 ) 2>/dev/null && echo write; true";
    let said = inside(&fixture, script, |config| {
        config.devices = vec![device(KMSG, "/dev/log0", "rwm")];
        config.capability_add = vec!["SYSLOG".into()];
    })
    .await;
    assert_eq!(said, "1:b\nread\nwrite\n");
    let said = inside(&fixture, script, |config| {
        config.devices = vec![device(KMSG, "/dev/log0", "r")];
        config.capability_add = vec!["SYSLOG".into()];
    })
    .await;
    assert_eq!(said, "1:b\nread\n");
    // A place outside /dev, and a directory of devices.
    let said = inside(&fixture, "stat -c '%t:%T' /srv/dev/log", |config| {
        config.devices = vec![device(KMSG, "/srv/dev/log", "rwm")];
    })
    .await;
    assert_eq!(said, "1:b\n");
    let directory = fixture.path("devices/deep");
    std::fs::create_dir_all(&directory).unwrap();
    for (name, minor) in [("one", 3), ("two", 5)] {
        nix::sys::stat::mknod(
            &directory.join(name),
            nix::sys::stat::SFlag::S_IFCHR,
            nix::sys::stat::Mode::from_bits_truncate(0o640),
            nix::sys::stat::makedev(1, minor),
        )
        .unwrap();
    }
    let said = inside(&fixture, "cd /dev/mine/deep; stat -c '%n %t:%T %a' *", |config| {
        let from = fixture.path("devices");
        config.devices = vec![device(from.to_str().unwrap(), "/dev/mine", "rwm")];
    })
    .await;
    assert_eq!(said, "one 1:3 640\ntwo 1:5 640\n");

    let said = refused(&fixture, |c| c.devices = vec![device("/dev/nope", "/dev/x", "r")]).await;
    assert!(said.contains("\"/dev/nope\": no such file or directory"), "{said}");
    let said = refused(&fixture, |c| c.devices = vec![device("/etc/passwd", "/dev/x", "r")]).await;
    assert!(said.contains("not a device node"), "{said}");
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_open_devices_that_have_no_node() {
    if !root_or_skip("rules_open_devices_that_have_no_node") {
        return;
    }
    let fixture = Fixture::new().await;
    let script =
        "mknod /tmp/log c 1 11; ( head -c 1 < /tmp/log >/dev/null ) 2>/dev/null && echo read; true";
    assert_eq!(inside(&fixture, script, |_| {}).await, "");
    for rule in ["c 1:11 r", "c 1:* rwm", "a *:* rwm"] {
        let said = inside(&fixture, script, |config| {
            config.device_rules = vec![rule.into()];
            config.capability_add = vec!["SYSLOG".into()];
        })
        .await;
        assert_eq!(said, "read\n", "{rule}");
    }
    let said = refused(&fixture, |c| c.device_rules = vec!["c 1 r".into()]).await;
    assert!(said.contains("invalid device cgroup rule format: 'c 1 r'"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tun_devices_are_denied_unless_asked_for() {
    if !root_or_skip("tun_devices_are_denied_unless_asked_for") {
        return;
    }
    let fixture = Fixture::new().await;
    // Opened each way: without a module in the kernel there is another error where it is allowed.
    let script = "mknod /tmp/tun c 10 200 && echo made; \
                  for how in '<' '>' '<>'; do \
                  ( eval \"exec 3$how/tmp/tun\" ) 2>&1 | grep -q 'not permitted' && echo denied; done; true";
    let denied = "made\ndenied\ndenied\ndenied\n";
    assert_eq!(inside(&fixture, script, |_| {}).await, denied);
    let other = |config: &mut ContainerConfig| config.device_rules = vec!["c 10:201 rwm".into()];
    assert_eq!(inside(&fixture, script, other).await, denied);
    let rule = |config: &mut ContainerConfig| config.device_rules = vec!["c 10:200 rwm".into()];
    assert_eq!(inside(&fixture, script, rule).await, "made\n");
    assert_eq!(inside(&fixture, script, |config| config.privileged = true).await, "made\n");
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_privileged_container_is_almost_the_host() {
    if !root_or_skip("a_privileged_container_is_almost_the_host") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "grep -E 'CapEff|Seccomp:' /proc/self/status; \
                  [ -c /dev/kmsg ] && head -c 1 < /dev/kmsg > /dev/null && echo kmsg; \
                  mknod /tmp/tun c 10 200; mknod /tmp/log c 1 11; \
                  head -c 1 < /tmp/log > /dev/null && echo log; \
                  mount -t tmpfs x /tmp && echo mounted; \
                  grep -c ' /proc/sys ' /proc/mounts; \
                  d=$(ls -d /sys/fs/cgroup/pids /sys/fs/cgroup 2>/dev/null | head -n 1); \
                  mkdir $d/mine && echo cgroup; \
                  grep ' /sys sysfs' /proc/mounts | grep -c rw";
    let said = inside(&fixture, script, |config| config.privileged = true).await;
    let lines: Vec<&str> = said.lines().collect();
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    assert_eq!(lines[0], format!("CapEff:{own}"));
    assert_eq!(lines[1..], ["Seccomp:\t0", "kmsg", "log", "mounted", "0", "cgroup", "1"]);
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_in_a_container_has_its_privileges_and_no_more() {
    if !root_or_skip("a_command_in_a_container_has_its_privileges_and_no_more") {
        return;
    }
    let fixture = Fixture::new().await;
    let status = async |id: &str, change: fn(&mut ContainerConfig)| {
        let mut config = fixture.config(id, &["sleep", "1000"]);
        change(&mut config);
        let container = fixture.start(config).await;
        let args = vec!["grep".into(), "-E".into(), "CapBnd|Seccomp:|NoNewPrivs".into()];
        let args = [args, vec!["/proc/self/status".to_owned()]].concat();
        let exec = Exec { args, output_bytes_max: 4096, ..Exec::default() };
        let output = container.exec(exec).await.unwrap();
        String::from_utf8(output.output.to_vec()).unwrap()
    };
    let plain = "CapBnd:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2\n";
    assert_eq!(status("plain", |_| {}).await, plain);
    let bound = "CapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!(status("bound", |c| c.no_new_privileges = true).await, bound);
    let free = status("free", |c| c.privileged = true).await;
    assert!(free.contains("Seccomp:\t0") && !free.contains("00000000a80425fb"), "{free}");
}

#[tokio::test(flavor = "multi_thread")]
async fn system_calls_follow_the_profile() {
    if !root_or_skip("system_calls_follow_the_profile") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "grep Seccomp: /proc/self/status; mkdir /tmp/made 2>/dev/null && echo made; true";
    let said = inside(&fixture, script, |c| c.seccomp = Seccomp::Unconfined).await;
    assert_eq!(said, "Seccomp:\t0\nmade\n");
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","archMap":[
        {"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
        {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
        "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1,
        "excludes":{"caps":["CAP_SYS_ADMIN"]}}]}"#;
    let said = inside(&fixture, script, |c| c.seccomp = Seccomp::Profile(profile.into())).await;
    assert_eq!(said, "Seccomp:\t2\n");
    let said = inside(&fixture, script, |config| {
        config.seccomp = Seccomp::Profile(profile.into());
        config.capability_add = vec!["SYS_ADMIN".into()];
    })
    .await;
    assert_eq!(said, "Seccomp:\t2\nmade\n");
    // Also where nothing may be gained any more.
    let said = inside(&fixture, script, |config| {
        config.seccomp = Seccomp::Profile(profile.into());
        config.no_new_privileges = true;
    })
    .await;
    assert_eq!(said, "Seccomp:\t2\n");
    let bad = Seccomp::Profile(r#"{"defaultAction":"SCMP_ACT_NONSENSE"}"#.into());
    let said = refused(&fixture, |config| config.seccomp = bad).await;
    assert!(said.contains("Decoding seccomp profile failed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_are_hidden_as_asked() {
    if !root_or_skip("paths_are_hidden_as_asked") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "ls /srv/hidden | wc -l; touch /srv/fixed/x 2>/dev/null || echo fixed; \
                  grep -c ' /proc/sys ' /proc/mounts; \
                  stat -f -c %b*%S /dev/shm; cat /proc/sys/kernel/domainname";
    let said = inside(&fixture, script, |config| {
        for name in ["hidden", "fixed"] {
            let path = fixture.path("image/srv").join(name);
            std::fs::create_dir_all(path.join("x")).unwrap();
        }
        config.masked_paths = Some(vec!["/srv/hidden".into(), "/not/there".into()]);
        config.read_only_paths = Some(vec!["/srv/fixed".into()]);
        config.domainname = "example.org".into();
        config.shm_bytes = 8 << 20;
    })
    .await;
    assert_eq!(said, "0\nfixed\n0\n2048*4096\nexample.org\n");

    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.starts_with('Y')) {
        let said = refused(&fixture, |c| c.apparmor = Some("mine".into())).await;
        assert!(said.contains("AppArmor is not enabled on this host"), "{said}");
    }
    assert_eq!(
        inside(&fixture, "echo ok", |c| c.apparmor = Some("unconfined".into())).await,
        "ok\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_filesystems_take_options() {
    if !root_or_skip("memory_filesystems_take_options") {
        return;
    }
    let fixture = Fixture::new().await;
    let tmpfs = |options: &[&str]| {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Mount::new("/scratch", MountSource::Tmpfs { size_bytes: 0, mode: 0, options }, false)
    };
    let script = "stat -c '%u %a' /scratch; stat -f -c %b*%S /scratch; \
                  cat /bin/busybox > /scratch/true; chmod 755 /scratch/true; \
                  /scratch/true 2>/dev/null && echo ran; true";
    let said = inside(&fixture, script, |config| {
        config.mounts.push(tmpfs(&["exec", "uid=33", "mode=700", "size=16m"]));
    })
    .await;
    assert_eq!(said, "33 700\n4096*4096\nran\n");
    let said = inside(&fixture, script, |c| c.mounts.push(tmpfs(&["size=16m"]))).await;
    assert_eq!(said, "0 1777\n4096*4096\n");
    let said = refused(&fixture, |c| c.mounts.push(tmpfs(&["remount"]))).await;
    assert!(said.contains("Invalid tmpfs option"), "{said}");
}

fn told(path: &str, on_host: &str, access: &str) -> DeviceNode {
    DeviceNode {
        path: path.into(),
        on_host: on_host.into(),
        kind: None,
        number: None,
        mode: None,
        uid: None,
        gid: None,
        access: access.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_devices_node_is_what_is_said_of_it() {
    if !root_or_skip("a_devices_node_is_what_is_said_of_it") {
        return;
    }
    let fixture = Fixture::new().await;
    let script = "stat -c '%F %t:%T %a %u:%g' /dev/told; \
                  ( head -c 1 /dev/told | wc -c ) 2>/dev/null";
    // The host says what is not said, and the container's user has it.
    let said = inside(&fixture, script, |config| {
        config.device_nodes = vec![told("/dev/told", "/dev/zero", "rw")];
        config.user = "5:6".into();
    })
    .await;
    assert_eq!(said, "character special file 1:5 666 5:6\n1\n");
    // All is said, and the host has no such node.
    let said = inside(&fixture, script, |config| {
        config.device_nodes = vec![DeviceNode {
            kind: Some(DeviceKind::Char),
            number: Some((1, 5)),
            mode: Some(0o640),
            uid: Some(7),
            ..told("/dev/told", "/dev/nosuch", "r")
        }];
    })
    .await;
    assert_eq!(said, "character special file 1:5 640 7:0\n1\n");
    // It goes over one that was asked for at that place, and may be there for show.
    let said = inside(&fixture, script, |config| {
        config.devices = vec![device("/dev/null", "/dev/told", "rwm")];
        config.device_nodes = vec![told("/dev/told", KMSG, "")];
        config.capability_add = vec!["SYSLOG".into()];
    })
    .await;
    assert!(said.starts_with("character special file 1:b") && said.ends_with("\n0\n"), "{said}");
    let why = refused(&fixture, |config| {
        config.device_nodes = vec![told("/dev/told", "/dev/nosuch", "rwm")];
    })
    .await;
    assert!(why.contains("failed to stat CDI host device \"/dev/nosuch\": "), "{why}");
    let why = refused(&fixture, |config| {
        let kind = Some(DeviceKind::Block);
        config.device_nodes = vec![DeviceNode { kind, ..told("/dev/told", "/dev/null", "rwm") }];
    })
    .await;
    assert!(why.contains("host type mismatch (b, c)"), "{why}");
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_has_the_options_it_is_given() {
    if !root_or_skip("a_bind_has_the_options_it_is_given") {
        return;
    }
    let fixture = Fixture::new().await;
    std::fs::write(fixture.path("library"), "of a driver").unwrap();
    let bind = |options: &[&str]| Mount {
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::new("/lib/driver.so", MountSource::Bind(fixture.path("library")), true)
    };
    let script = "cat /lib/driver.so; grep -o ' /lib/driver.so [^ ]*' /proc/self/mountinfo";
    let said = inside(&fixture, script, |config| {
        config.mounts = vec![bind(&["nosuid", "nodev", "noexec"])];
    })
    .await;
    let flags = said.split_once(" /lib/driver.so ").unwrap().1.trim();
    for flag in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(flags.split(',').any(|it| it == flag), "{said}");
    }
    let why = refused(&fixture, |config| config.mounts = vec![bind(&["size=1"])]).await;
    assert!(why.contains("invalid option of a bind: \"size=1\""), "{why}");
    fixture.assert_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_run_as_a_container_comes_and_goes() {
    if !root_or_skip("programs_are_run_as_a_container_comes_and_goes") {
        return;
    }
    let fixture = Fixture::new().await;
    let told = |point: HookPoint| fixture.path(&format!("{}.json", point.name()));
    let on_host = |point: HookPoint| Hook {
        point,
        path: "/bin/sh".into(),
        args: vec!["sh".into(), "-c".into(), "cat > \"$TO\"".into()],
        env: vec![format!("TO={}", told(point).display())],
        timeout_s: Some(30),
    };
    let points = HookPoint::ALL.into_iter().filter(|point| *point != HookPoint::StartContainer);
    let said = inside(&fixture, "cat /tmp/started; id -u", |config| {
        config.hooks = points.clone().map(on_host).collect();
        // In the container, before its command.
        let args = ["sh", "-c", "mkdir -p /tmp; echo here > /tmp/started"];
        config.hooks.push(Hook {
            point: HookPoint::StartContainer,
            path: "/bin/sh".into(),
            args: args.map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".into()],
            timeout_s: None,
        });
    })
    .await;
    assert_eq!(said, "here\n0\n");
    for point in points {
        let text = std::fs::read_to_string(told(point)).unwrap();
        let state: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(state["id"].as_str().unwrap().starts_with("inside"), "{point:?}: {text}");
        let stopped = point == HookPoint::Poststop;
        assert_eq!(state["status"] == "stopped", stopped, "{point:?}: {text}");
    }
    // One that fails, or takes too long, keeps the container from running.
    for (script, timeout_s) in [("exit 3", None), ("exec sleep 600", Some(1))] {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        let why = refused(&fixture, |config| {
            let hook = Hook { args, timeout_s, ..on_host(HookPoint::CreateContainer) };
            config.hooks = vec![hook];
        })
        .await;
        assert!(why.contains("hook"), "{why}");
    }
    let why = refused(&fixture, |config| {
        config.hooks = vec![Hook { path: "sh".into(), ..on_host(HookPoint::Poststart) }];
    })
    .await;
    assert!(why.contains("invalid poststart hook: sh: the path must be absolute"), "{why}");
    fixture.assert_clean().await;
}
