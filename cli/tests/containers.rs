//! `skep run` and its like beside Docker's own command line: the same lines must ask the daemon for the same, and say the same.

mod support;

use support::recorder::{Call, Recorder};
use support::{none, ours_for};

/// What a line asked for and said.
fn told(recorder: &Recorder, program: &str, line: &str) -> Option<(Vec<Call>, String)> {
    let arguments: Vec<&str> = line.split('|').collect();
    let output = match recorder.run(program, &arguments, "y\n") {
        Ok(output) => output,
        Err(error) => {
            eprintln!("SKIP: the docker command line is not installed: {error}");
            return None;
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!(
        "{}{}[{}]\n",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1)
    );
    Some((recorder.calls(), said))
}

/// What a line left here: names and texts.
fn tree(at: &std::path::Path) -> String {
    if let Ok(text) = std::fs::read_to_string(at) {
        return format!("{}: {text}", at.display());
    }
    let Ok(entries) = std::fs::read_dir(at) else { return String::new() };
    let mut below: Vec<_> = entries.flatten().map(|entry| tree(&entry.path())).collect();
    below.sort();
    format!("{}/\n{}", at.display(), below.concat())
}

/// Where the two differ on a line; words are parted by `|`. Calls that only look are not compared one by one.
fn unlike(line: &str) -> Option<String> {
    let recorder = Recorder::start();
    for (name, text) in [
        ("env", "# said\nA=file\nFROM_HERE\nNOT_HERE\n"),
        ("labels", "one=1\ntwo\n"),
        ("tree/inner/deep", "deep\n"),
        ("tree/top", "top\n"),
        ("seccomp.json", "{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}\n"),
    ] {
        let path = recorder.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let (theirs, mut said) = told(&recorder, "docker", line)?;
    // What Docker's logger says of its own threads is for nobody.
    said = said.split_inclusive('\n').filter(|line| !line.starts_with("time=")).collect();
    said = ours_for(&said);
    std::fs::remove_file(recorder.dir.path().join("cid")).ok();
    let got = recorder.dir.path().join("got");
    said.push_str(&tree(&got));
    std::fs::remove_dir_all(&got).or_else(|_| std::fs::remove_file(&got)).ok();
    let (ours, mut shown) = told(&recorder, env!("CARGO_BIN_EXE_skep"), line)?;
    shown.push_str(&tree(&got));
    let changing = |calls: &[Call]| -> Vec<String> {
        let mut calls: Vec<String> = calls
            .iter()
            .filter(|call| call.method != "GET" && call.method != "HEAD")
            // Docker waits for what it leaves in the background too, and for nothing.
            .filter(|call| !(line.starts_with("run|-d|") && call.path.contains("/wait")))
            .map(|call| match call.path.split_once("?fromImage=") {
                // A name may be whole or in parts.
                Some((path, _)) => format!("{} {path}", call.method),
                None => format!("{} {} {:#}", call.method, call.path, call.body),
            })
            .collect();
        // Waiting and attaching begin side by side.
        calls.sort();
        calls
    };
    let (ours, theirs) = (changing(&ours).join("\n"), changing(&theirs).join("\n"));
    (ours != theirs || shown != said).then(|| {
        format!(
            "skep {line}\n--- ours\n{}\n{shown}--- docker's\n{}\n{said}",
            differences(&ours, &theirs),
            differences(&theirs, &ours)
        )
    })
}

/// The lines of one that the other has not.
fn differences(one: &str, other: &str) -> String {
    let other: Vec<&str> = other.lines().collect();
    one.lines().filter(|line| !other.contains(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn create_bodies() {
    none(CREATE.iter().filter_map(|flags| unlike(&format!("create|{flags}"))));
}

/// Flags and what stands behind them.
const CREATE: &[&str] = &[
    "alpine",
    "alpine|echo|hi",
    "-i|-t|--name|web|alpine|sh",
    "-it|alpine|ls|-l|--help",
    "-e|A=1|-e|B|-e|FROM_HERE|-e|A=2|--env-file|env|alpine",
    "-l|x=y|-l|z|--label-file|labels|alpine",
    "-h|host|--domainname|example.org|-u|1000:1000|-w|/srv|alpine",
    "--entrypoint|/bin/sh|alpine|-c|true",
    "--entrypoint=|alpine",
    "--init|--rm|alpine",
    "--init=false|--restart|on-failure:3|alpine",
    "--restart|always|--stop-signal|SIGINT|--stop-timeout|7|alpine",
    "--restart|always|--rm|alpine",
    "-a|stdin|-a|STDOUT|-i|alpine",
    "-a|nope|alpine",
    "--annotation|a=b|--group-add|audio|--group-add|7|--runtime|runc|alpine",
    "--log-driver|json-file|--log-opt|max-size=1m|--log-opt|max-file=3|alpine",
    "--log-driver|none|--log-opt|a=b|alpine",
    "--cpus|1.5|-c|512|--cpuset-cpus|0-1|--cpuset-mems|0|alpine",
    "--cpu-period|50000|--cpu-quota|25000|--cpu-rt-period|1|--cpu-rt-runtime|2|alpine",
    "-m|64m|--memory-reservation|32m|--memory-swap|-1|--memory-swappiness|10|alpine",
    "--memory-swap|128m|--oom-kill-disable|--oom-score-adj|-500|--pids-limit|99|alpine",
    "--memory-swappiness|101|alpine",
    "--shm-size|128m|--ulimit|nofile=1024:2048|--ulimit|core=0|--blkio-weight|300|alpine",
    "--blkio-weight-device|/dev/sda:200|--device-read-bps|/dev/sda:1mb|alpine",
    "--device-write-bps|/dev/sda:1mb|--device-read-iops|/dev/sda:10|--device-write-iops|/dev/sda:20|alpine",
    "--cap-add|NET_ADMIN|--cap-drop|ALL|--privileged|--read-only|alpine",
    "--security-opt|no-new-privileges|--security-opt|seccomp=unconfined|alpine",
    "--security-opt|seccomp=seccomp.json|--security-opt|label=type:x|alpine",
    "--security-opt|systempaths=unconfined|alpine",
    "--security-opt|nope|alpine",
    "--device|/dev/fuse|--device|/dev/a:/dev/b:r|--device-cgroup-rule|c 1:3 rw|alpine",
    "--device|nope|alpine",
    "--gpus|all|alpine",
    "--gpus|\"device=0,1\"|alpine",
    "--gpus|2|alpine",
    "--pid|host|--ipc|host|--uts|host|--userns|host|--cgroupns|private|alpine",
    "--pid|container:web|--ipc|container:web|alpine",
    "--pid|nope|alpine",
    "--sysctl|net.core.somaxconn=1|--cgroup-parent|/x|--isolation|default|alpine",
    "--sysctl|vm.x=1|alpine",
    "-v|/data|-v|vol:/vol|-v|/a:/b:ro|-v|./rel:/c|alpine",
    "-v|/a:/b:ro:x|alpine",
    "--mount|type=bind,src=/a,dst=/b,readonly|--mount|type=volume,dst=/v,volume-opt=a=b|alpine",
    "--mount|type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777|--tmpfs|/run:rw,size=64k|alpine",
    "--volumes-from|web:ro|--volume-driver|local|--storage-opt|size=1G|alpine",
    "--network|front|alpine",
    "--network|host|alpine",
    "--net|none|alpine",
    "--network|container:web|alpine",
    "--network|front|--network-alias|a|--net-alias|b|--ip|10.0.0.5|--ip6|fd00::5|alpine",
    "--network|name=front,alias=x,ip=10.0.0.7,driver-opt=a=b,gw-priority=3|--network|back|alpine",
    "--network|front|--network|front|alpine",
    "--network|front|--network|host|alpine",
    "--network-alias|x|alpine",
    "--network|front|--link|db:x|alpine",
    "--link|db:x|--link|other|alpine",
    "--mac-address|92:d0:c6:0a:29:33|alpine",
    "--mac-address|nope|alpine",
    "--link-local-ip|169.254.1.1|--network|front|alpine",
    "--dns|1.1.1.1|--dns-search|example.org|--dns-option|ndots:2|--add-host|a:1.2.3.4|alpine",
    "--dns|127.0.0.1|--add-host|b=[::1]|--add-host|gw:host-gateway|alpine",
    "-p|80|alpine",
    "-p|8080:80|-p|127.0.0.1:53:53/udp|-p|127.0.0.1::81|-P|alpine",
    "-p|8000-8002:80-82|-p|9000-9010:90|-p|[::1]:7:7|alpine",
    "-p|8000-8002:80-81|alpine",
    "-p|published=8080,target=80|alpine",
    "-p|x:80|alpine",
    "--expose|3000|--expose|4000-4002/udp|alpine",
    "--expose|x|alpine",
    "--health-cmd|true|--health-interval|5s|--health-retries|3|--health-timeout|1s|alpine",
    "--health-start-period|1m|--health-start-interval|2s|alpine",
    "--no-healthcheck|alpine",
    "--no-healthcheck|--health-cmd|x|alpine",
    "--platform|linux/amd64|--pull|never|alpine",
    "--pull|nope|alpine",
    "--cidfile|cid|alpine",
    "--use-nothing|alpine",
    "--cpus|x|alpine",
    "-m|x|alpine",
    "UPPER/case",
    "",
];

#[test]
fn running() {
    none(
        [
            "run|alpine|true",
            "run|--rm|alpine|true",
            "run|-d|alpine",
            "run|-d|-a|stdout|alpine",
            "run|-i|alpine|cat",
            "run|-it|alpine|sh",
            "run|-a|stdin|-i|alpine",
            "run|--detach-keys|ctrl-a|alpine",
            "run|--sig-proxy=false|alpine",
            "run|--pull|nope|alpine",
            "run",
            "start|web|gone|db",
            "start|-a|web",
            "start|-ai|web",
            "start|-a|web|db",
            "attach|web",
            "attach|--no-stdin|--sig-proxy=false|web",
            "attach|gone",
            "exec|web|ls|-l",
            "exec|-d|-e|A=1|-e|FROM_HERE|-u|7|-w|/srv|--privileged|web|ls",
            "exec|-i|--env-file|env|web|cat",
            "exec|-it|web|sh",
            "exec|gone|ls",
            "exec|web",
        ]
        .into_iter()
        .filter_map(unlike),
    );
}

#[test]
fn copying() {
    none(
        [
            "cp|tree|web:/dir",
            "cp|tree/.|web:/dir",
            "cp|tree|web:/new",
            "cp|tree/top|web:/dir",
            "cp|tree/top|web:/dir/",
            "cp|tree/top|web:/new",
            "cp|tree/top|web:/new/",
            "cp|tree/top|web:/file",
            "cp|tree|web:/file",
            "cp|-a|-q|tree/top|web:/dir",
            "cp|gone|web:/dir",
            "cp|web:/file|got",
            "cp|web:/dir|got",
            "cp|web:/file|gone/got",
            "cp|-q|web:/file|got",
            "cp|web:/a|db:/b",
            "cp|a|b",
        ]
        .into_iter()
        .filter_map(unlike),
    );
}

#[test]
fn a_folder_goes_over_whole() {
    let recorder = Recorder::start();
    let top = recorder.dir.path().join("tree");
    std::fs::create_dir_all(top.join("inner")).unwrap();
    std::fs::write(top.join("inner/deep"), "deep\n").unwrap();
    std::os::unix::fs::symlink("inner/deep", top.join("link")).unwrap();
    let told = told(&recorder, env!("CARGO_BIN_EXE_skep"), "cp|tree|web:/dir").unwrap();
    let (calls, said) = told;
    let put = calls.last().unwrap_or_else(|| panic!("{said}"));
    assert_eq!(put.path, "/containers/web/archive?noOverwriteDirNonDir=1&path=%2Fdir");
    assert_eq!(
        put.body,
        serde_json::json!([
            "tree Directory 0",
            "tree/inner Directory 0",
            "tree/inner/deep Regular 5",
            "tree/link Symlink 0",
        ])
    );
}

#[test]
fn a_missing_image_is_pulled() {
    none(
        ["create|missing", "create|-q|missing", "create|--pull|never|missing", "run|-d|missing"]
            .into_iter()
            .filter_map(unlike),
    );
}

#[test]
fn everyday() {
    none(
        [
            "stop|web|gone|db",
            "stop|-s|INT|-t|3|web",
            "restart|-t|0|web",
            "kill|web",
            "kill|-s|HUP|web|gone",
            "pause|web",
            "unpause|web",
            "wait|web|gone",
            "rename|web|db",
            "rename|gone|db",
            "rm|web",
            "rm|-f|-v|web|gone",
            "rm|gone",
            "rm|-l|web",
            "update|--cpus|1|-m|64m|--restart|always|web",
            "update|--pids-limit|5|web|gone",
            "update|web",
            "port|web",
            "port|web|80",
            "port|web|81/udp",
            "port|web|x",
            "diff|web",
            "top|web",
            "top|web|-o|pid",
            "commit|-a|me|-m|why|-c|CMD sh|-p=false|web|me/img:1",
            "commit|web",
            "container|prune",
            "container|prune|-f|--filter|until=1h",
            "network|connect|--alias|a,b|--ip|10.0.0.1|--link|x:y|--gw-priority|2|front|web",
            "network|connect|--driver-opt|a=b|front|web",
            "network|connect|--driver-opt|a|front|web",
            "network|disconnect|-f|front|web",
            "network|prune|-f",
            "volume|create",
            "volume|create|data|--label|a=b|-o|type=nfs|-d|local",
            "volume|ls",
            "volume|ls|-q",
            "volume|ls|--format|json",
            "volume|ls|--format|{{.Name}} {{.Mountpoint}} {{.Labels}}",
            "volume|rm|-f|data",
            "volume|inspect|-f|{{.Name}}|data|gone",
            "volume|prune",
            "volume|prune|-a|-f",
            "image|prune|-a",
            "image|prune|-f",
            "system|df",
            "system|df|-v",
            "history|nginx",
            "history|--no-trunc|-H=false|nginx",
            "history|-q|nginx",
            "search|nginx",
            "ps",
            "ps|-a|-s|--no-trunc",
            "ps|-q",
            "ps|-l",
            "ps|-n|3|-f|name=x",
            "ps|--format|{{.ID}} {{.Names}} {{.Labels}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.Size}}",
            "ps|--format|table {{.Names}}\\t{{.CreatedAt}}",
            "ps|--filter|x",
            "events|--since|1|--until|2",
            "events|--until|2|--format|{{.Type}} {{.Actor.ID}}",
            "inspect|gone",
            "inspect|--type|nope|web",
            "inspect|-f|{{.Name}}|web",
            "container|inspect|-f|{{.State.Running}}|web|gone",
            "logs|gone",
        ]
        .into_iter()
        .filter_map(unlike),
    );
}
