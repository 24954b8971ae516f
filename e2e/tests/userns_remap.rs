//! A daemon whose containers have a user namespace of their own (`userns-remap`), through the docker
//! command line and skep's own.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use skep_e2e::{CommandLine, IMAGE, Program, Single, image_archive};

/// The first id of the range of the user that the daemon makes.
const ROOT: u32 = 100_000;

/// A host whose daemon was told so by its file, with the tests' image.
fn remapped() -> Option<Single> {
    let single = Single::own()?;
    let host = single.host();
    host.kill(Signal::SIGKILL).unwrap();
    let script = "mkdir -p /etc/skep; echo '{\"userns-remap\": \"default\"}' > /etc/skep/daemon.json; \
                  : > /etc/subuid; : > /etc/subgid";
    host.check(&["sh", "-c", script]).unwrap();
    host.start().unwrap_or_else(|error| panic!("{error:#}"));
    let archive = image_archive();
    let words = ["skep", "image", "import", "--change", "CMD [\"sh\"]"];
    host.check(&[&words[..], &[archive.to_str().unwrap(), IMAGE]].concat()).unwrap();
    Some(single)
}

fn each(single: &Single, case: impl Fn(&CommandLine)) {
    for program in [Program::Docker, Program::Skep] {
        match program.installed() {
            true => case(&single.command_line(program)),
            false => eprintln!("SKIP: no docker command line is installed"),
        }
    }
}

/// Where the host has its daemon's state, as the machine sees it.
fn data_root(single: &Single) -> PathBuf {
    single.host().dir().join(format!("skep/{ROOT}.{ROOT}"))
}

#[test]
fn containers_have_users_of_their_own() {
    let Some(single) = remapped() else { return };
    // The user was made, with a range in each file.
    let made = single.host().check(&["sh", "-c", "id -un dockremap; cat /etc/subuid /etc/subgid"]);
    assert_eq!(made.unwrap(), "dockremap\ndockremap:100000:65536\ndockremap:100000:65536\n");
    each(&single, |cli| {
        let info = cli.ok(&["info", "--format", "{{.DockerRootDir}} {{.SecurityOptions}}"]);
        assert!(info.starts_with("/var/lib/skep/100000.100000 "), "{info}");
        assert!(info.contains("name=userns"), "{info}");

        let map = "         0     100000      65536";
        let script = "cat /proc/self/uid_map; stat -c '%u %g' / /bin/sh /home/bee /etc/hosts \
                      /etc/resolv.conf; id -u; wget -q -O- localhost 2>&1 | grep -c refused";
        let said = cli.ok(&["run", "--rm", IMAGE, "sh", "-c", script]);
        assert_eq!(said, format!("{map}\n0 0\n0 0\n1000 1001\n0 0\n0 0\n0\n1"));

        // Seen from the host, and by commands inside.
        let name = cli.name("web");
        let health = "test $(id -u) = 1000";
        cli.ok(&[
            "run",
            "-d",
            "--init",
            "--name",
            &name,
            "-u",
            "bee",
            "--health-cmd",
            health,
            "--health-interval",
            "100ms",
            "-p",
            "127.0.0.1::8000",
            IMAGE,
            "httpd",
            "-f",
            "-p",
            "8000",
            "-h",
            "/www",
        ]);
        cli.wait_for(&["inspect", "-f", "{{.State.Health.Status}}", &name], |it| it == "healthy");
        let pid = cli.inspect(&name, "{{.State.Pid}}");
        let uids = cli.shell(&format!("stat -c '%u %g' /proc/{pid}"));
        assert_eq!(uids, "101000 101001");
        assert_eq!(cli.ok(&["exec", &name, "sh", "-c", "id -u; id -g"]), "1000\n1001");
        let privileged = ["exec", "--privileged", "-u", "0", &name, "cat", "/proc/self/uid_map"];
        assert_eq!(cli.ok(&privileged), map);
        let at = cli.ok(&["port", &name, "8000"]);
        let page = cli.shell(&format!("wget -q -O- http://{at}/index.html"));
        assert_eq!(page, "hello from the hive");
        let top = cli.ok(&["top", &name, "-eo", "pid,uid,comm"]);
        assert!(top.contains("101000"), "{top}");
        let stats = cli.ok(&["stats", "--no-stream", "--format", "{{.PIDs}}", &name]);
        assert!(stats.parse::<u32>().is_ok_and(|it| it > 0), "{stats}");
        // Who shares its network is in its user namespace.
        let shared = format!("container:{name}");
        let link = ["run", "--rm", "--network", &shared, IMAGE];
        let user = cli.ok(&[&link[..], &["readlink", "/proc/self/ns/user"]].concat());
        assert_eq!(user, cli.shell(&format!("readlink /proc/{pid}/ns/user")));
        cli.ok(&["restart", "-t", "0", &name]);
        cli.wait_for(&["inspect", "-f", "{{.State.Health.Status}}", &name], |it| it == "healthy");
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn files_go_out_as_they_are_inside() {
    let Some(single) = remapped() else { return };
    each(&single, |cli| {
        let (name, volume) = (cli.name("files"), cli.name("data"));
        let mount = format!("{volume}:/home/bee");
        let script = "echo mine > /mine; chown bee:bees /mine; touch /home/bee/inside";
        cli.ok(&["run", "--name", &name, "-v", &mount, IMAGE, "sh", "-c", script]);

        // On the host they are owned by mapped ids: what the container wrote, the volume that was
        // filled from the image, the files of /etc.
        let root = data_root(&single);
        let owner = |path: &str| {
            let found = std::fs::symlink_metadata(root.join(path)).unwrap();
            (found.uid(), found.gid())
        };
        let id = cli.inspect(&name, "{{.Id}}");
        assert_eq!(owner(&format!("images/rootfs/{id}/diff/mine")), (ROOT + 1000, ROOT + 1001));
        assert_eq!(owner(&format!("volumes/{volume}/_data")), (ROOT + 1000, ROOT + 1001));
        assert_eq!(owner(&format!("volumes/{volume}/_data/inside")), (ROOT, ROOT));

        // An archive names them as the container does.
        let listing =
            |tar: &str| cli.shell(&format!("{tar} | tar --numeric-owner -tvf - | grep -w mine"));
        let program = if cli.is_docker() { "docker" } else { "skep" };
        for tar in [format!("{program} cp {name}:/mine -"), format!("{program} export {name}")] {
            let line = listing(&tar);
            assert!(line.contains(" 1000/1001 "), "{tar}: {line}");
        }
        // And is unpacked so.
        let file = cli.file("sent", "sent\n");
        cli.shell(&format!("chown 1000:1001 {file}"));
        cli.ok(&["cp", "-a", &file, &format!("{name}:/sent")]);
        cli.ok(&["cp", &file, &format!("{name}:/home/bee/sent")]);
        assert_eq!(owner(&format!("images/rootfs/{id}/diff/sent")), (ROOT + 1000, ROOT + 1001));
        assert_eq!(owner(&format!("volumes/{volume}/_data/sent")).0, ROOT + 1000);
        assert!(cli.ok(&["diff", &name]).contains("A /mine"));

        // An image of it is one as any other.
        let image = format!("{}:one", cli.name("made"));
        cli.ok(&["commit", &name, &image]);
        let stat = ["run", "--rm", &image, "stat", "-c", "%u %g", "/mine", "/sent", "/bin/busybox"];
        assert_eq!(cli.ok(&stat), "1000 1001\n1000 1001\n0 0");
        let layer = format!(
            "{program} save {image} | tar -xO --wildcards --no-anchored '*' 2>/dev/null | wc -c"
        );
        assert_ne!(cli.shell(&layer), "0");

        // A bind keeps its owners; what the daemon makes for one is the containers' root's.
        let made = format!("{}/made/deep", cli.dir());
        let bind = format!("{made}:/made");
        cli.ok(&["run", "--rm", "-v", &bind, IMAGE, "touch", "/made/file"]);
        assert_eq!(
            cli.shell(&format!("stat -c %u {made}/.. {made} {made}/file")),
            "100000\n100000\n100000"
        );
        let host = format!("{}:/host", cli.dir());
        let stat = ["run", "--rm", "-v", &host, IMAGE, "stat", "-c", "%u", "/host", "/host/made"];
        assert_eq!(cli.ok(&stat), "65534\n0");
    });
}

#[test]
fn the_host_s_users_are_asked_for() {
    let Some(single) = remapped() else { return };
    each(&single, |cli| {
        let privileged = "privileged mode is incompatible with user namespaces";
        cli.fails(&["run", "--rm", "--privileged", IMAGE, "true"], privileged);
        let network = "cannot share the host's network namespace when user namespaces are enabled";
        cli.fails(&["run", "--rm", "--network", "host", IMAGE, "true"], network);
        let pid = "cannot share the host PID namespace when user namespaces are enabled";
        cli.fails(&["run", "--rm", "--pid", "host", IMAGE, "true"], pid);
        cli.fails(
            &["run", "--rm", "--userns", "mine", IMAGE, "true"],
            "--userns: invalid USER mode",
        );

        let all = [
            "run",
            "--rm",
            "--userns",
            "host",
            "--privileged",
            "--network",
            "host",
            "--pid",
            "host",
        ];
        let map = [IMAGE, "cat", "/proc/self/uid_map"];
        let whole = cli.ok(&[&all[..], &map].concat());
        assert_eq!(whole.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295"]);
        // The image's files are mapped ones all the same, as in Docker.
        let stat = ["run", "--rm", "--userns", "host", IMAGE, "stat", "-c", "%u", "/bin/busybox"];
        assert_eq!(cli.ok(&stat), "100000");
        let created = cli.ok(&["create", "--userns", "host", IMAGE, "true"]);
        assert_eq!(cli.inspect(&created, "{{.HostConfig.UsernsMode}}"), "host");
        cli.ok(&["rm", &created]);
    });
}

#[test]
fn tasks_of_services_are_remapped() {
    let Some(single) = remapped() else { return };
    let cli = single.command_line(Program::Skep);
    cli.ok(&["swarm", "init"]);
    cli.ok_with_input(&["secret", "create", "key", "-"], b"hush");
    let script = "cat /proc/self/uid_map; stat -c '%u %g' /run/secrets/key /etc/hosts; \
                  cat /run/secrets/key; echo; exec sleep 1000";
    let secret = "source=key,uid=1000,gid=1001,mode=0440";
    cli.ok(&[
        "service",
        "create",
        "--name",
        "hive",
        "--secret",
        secret,
        "--mount",
        "type=volume,source=wax,target=/wax",
        IMAGE,
        "sh",
        "-c",
        script,
    ]);
    let said = cli.wait_for(&["service", "logs", "--raw", "hive"], |it| it.contains("hush"));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[1..], ["1000 1001", "0 0", "hush"], "{said}");
    assert!(lines[0].ends_with("0     100000      65536"), "{said}");
    let wax = data_root(&single).join("volumes/wax/_data");
    assert_eq!(std::fs::metadata(wax).unwrap().uid(), ROOT);
    // A daemon that comes back finds them, and commands go in as before.
    single.host().kill(Signal::SIGKILL).unwrap();
    single.host().start().unwrap();
    let id = cli.wait_for(&["ps", "-q"], |it| !it.is_empty());
    assert_eq!(cli.ok(&["exec", &id, "id", "-u"]), "0");
    cli.ok(&["service", "rm", "hive"]);
    cli.wait_for(&["ps", "-aq"], str::is_empty);
    cli.ok(&["secret", "rm", "key"]);
}

#[test]
fn ids_that_are_not_there_are_refused() {
    let Some(single) = Single::shared() else { return };
    let cli = single.command_line(Program::Skep);
    let state = cli.dir();
    let refused = |user: &str, why: &str| {
        let places =
            format!("--data-root {state}/data --exec-root {state}/run --cgroup-parent /none");
        let words =
            format!("skep daemon {places} -H unix://{state}/sock --userns-remap '{user}' 2>&1");
        let said = cli.shell(&format!("{words} || true"));
        assert!(said.contains(why), "{user}: {said}");
    };
    refused("a:b:c", "invalid user/group specification in --userns-remap");
    refused("nobody-here", "error during uid lookup for \"nobody-here\"");
    refused("424242", "uid 424242 has no entry in /etc/passwd");
    refused("daemon:424242", "gid 424242 has no entry in /etc/group");
    refused("daemon", "no subuid ranges found for user \"daemon\" in /etc/subuid");
    assert_eq!(cli.shell(&format!("ls {state}/data 2>/dev/null | wc -l")), "0");
}
