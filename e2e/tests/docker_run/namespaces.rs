//! Whose processes, shared memory, host name and cgroups a container sees.

use skep_e2e::{IMAGE, both};

#[test]
fn processes_of_another_container_are_seen() {
    both(|cli| {
        let other = cli.idle("seen", &[]);
        let of_other = format!("container:{other}");
        let seen = cli.script(&["--pid", &of_other], "tr '\\0' ' ' < /proc/1/cmdline; echo $$");
        let (first, own) = seen.split_once(" \n").unwrap_or_else(|| seen.split_at(seen.len() - 1));
        assert!(first.starts_with("sleep 1000"), "{seen:?}");
        assert_ne!(own, "1");
        let name = cli.idle("sees", &["--pid", &of_other]);
        let id = cli.inspect(&other, "{{.Id}}");
        assert_eq!(cli.inspect(&name, "{{.HostConfig.PidMode}}"), format!("container:{id}"));
        assert!(cli.inside(&other, "ps").matches("sleep 1000").count() == 2);
        cli.ok(&["rm", "-f", &name]);
        cli.ok(&["stop", "-t", "0", &other]);
        cli.refuses(&["--pid", &of_other], "is not running");
        let nobody = cli.name("nobody");
        cli.refuses(&["--pid", &format!("container:{nobody}")], "No such container");
        cli.refuses(&["--pid", "nonsense"], "invalid PID mode")
    });
}

#[test]
fn shared_memory_is_ones_own_anothers_or_none() {
    both(|cli| {
        let donor = cli.idle("donor", &["--ipc", "shareable"]);
        cli.inside(&donor, "echo honey > /dev/shm/jar");
        let of_donor = format!("container:{donor}");
        assert_eq!(cli.said(&["--ipc", &of_donor], &["cat", "/dev/shm/jar"]), "honey");
        let namespace = "readlink /proc/self/ns/ipc";
        assert_eq!(cli.script(&["--ipc", &of_donor], namespace), cli.inside(&donor, namespace));
        let private = cli.idle("private", &["--ipc", "private"]);
        assert_ne!(cli.inside(&private, namespace), cli.inside(&donor, namespace));
        let of_private = format!("container:{private}");
        cli.refuses(&["--ipc", &of_private], "non-shareable IPC");
        let of_host = cli.script(&["--ipc", "host"], namespace);
        assert_eq!(of_host, cli.shell(namespace));
        let mark = cli.name("mark");
        cli.shell(&format!("echo here > /dev/shm/{mark}"));
        assert_eq!(cli.said(&["--ipc", "host"], &["cat", &format!("/dev/shm/{mark}")]), "here");
        cli.shell(&format!("rm /dev/shm/{mark}"));
        let none = cli.script(
            &["--ipc", "none"],
            "grep -c ' /dev/shm ' /proc/mounts; readlink /proc/self/ns/ipc",
        );
        let (mounts, own) = none.split_once('\n').unwrap();
        assert_eq!(mounts, "0");
        assert_ne!(own, of_host);
        cli.refuses(&["--ipc", "nonsense"], "invalid IPC mode")
    });
}

#[test]
fn names_of_the_host_are_shared_where_asked() {
    both(|cli| {
        let of_host = cli.shell("hostname");
        assert_eq!(cli.said(&["--uts", "host"], &["hostname"]), of_host);
        assert_ne!(cli.said(&[], &["hostname"]), of_host);
        cli.refuses(
            &["--uts", "host", "-h", "other"],
            "onflicting options: hostname and the UTS mode",
        );
        let names = ["-h", "box", "--domainname", "example.org"];
        let seen = cli.script(&names, "hostname; cat /proc/sys/kernel/domainname");
        assert_eq!(seen, "box\nexample.org");
        let name = cli.name("named");
        cli.ok(&[&["create", "--name", &name], &names[..], &[IMAGE]].concat());
        assert_eq!(cli.inspect(&name, "{{.Config.Domainname}}"), "example.org");
        cli.refuses(&["--uts", "nonsense"], "invalid UTS mode")
    });
}

#[test]
fn cgroups_are_seen_from_ones_own_or_from_the_hosts() {
    both(|cli| {
        let namespace = "readlink /proc/self/ns/cgroup";
        let of_host = cli.shell(namespace);
        assert_eq!(cli.script(&["--cgroupns", "host"], namespace), of_host);
        assert_ne!(cli.script(&["--cgroupns", "private"], namespace), of_host);
        let name = cli.name("grouped");
        cli.ok(&["create", "--name", &name, "--cgroupns", "host", IMAGE]);
        assert_eq!(cli.inspect(&name, "{{.HostConfig.CgroupnsMode}}"), "host");
        cli.refuses(&["--cgroupns", "nonsense"], "invalid CGROUP mode")
    });
}

#[test]
fn a_parent_cgroup_is_where_it_is_told() {
    both(|cli| {
        let parent = format!("/{}", cli.name("parent"));
        let name = cli.idle("child", &["--cgroup-parent", &parent, "-m", "64m"]);
        let id = cli.inspect(&name, "{{.Id}}");
        let pid = cli.inspect(&name, "{{.State.Pid}}");
        let path = cli
            .shell(&format!("grep -E ':memory:|^0::' /proc/{pid}/cgroup | cut -d: -f3 | sort -u"));
        assert!(path.lines().any(|line| line == format!("{parent}/{id}")), "{path}");
        assert_eq!(cli.inspect(&name, "{{.HostConfig.CgroupParent}}"), parent);
        assert_eq!(cli.inside(&name, "echo inside"), "inside");
        cli.ok(&["update", "-m", "128m", &name]);
        assert!(cli.ok(&["top", &name]).contains("sleep 1000"));
        cli.ok(&["pause", &name]);
        cli.ok(&["unpause", &name]);
        cli.ok(&["rm", "-f", &name]);
        // The container's own groups are gone; that of who chose it stays.
        let left = format!("find /sys/fs/cgroup -type d -name {id}");
        assert_eq!(cli.shell(&left), "");
        cli.shell(&format!(
            "find /sys/fs/cgroup -depth -type d -path '*{parent}*' -exec rmdir {{}} + || :"
        ));
    });
}
