//! `skep swarm`, `node`, `info`, `version` and the grammar of the command line, over the real API.

mod support;

use expect_test::{Expect, expect};
use support::fake::Fake;
use support::{Daemon, none};

fn check(daemon: &Daemon, line: &str, expected: Expect) {
    // A bar stands for a blank within an argument.
    let arguments: Vec<_> = line.split(' ').map(|word| word.replace('|', " ")).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut text = daemon.skep(&arguments);
    let calls = daemon.calls();
    if !calls.is_empty() {
        text.push_str(&format!("-> {calls}\n"));
    }
    expected.assert_eq(&text);
}

#[test]
fn init_says_how_to_join() {
    let daemon = Daemon::start(Fake::swarm());
    check(
        &daemon,
        "swarm init --advertise-addr 10.0.0.1 --task-history-limit 3 --default-addr-pool 10.1.0.0/16,10.2.0.0/16 --cert-expiry 1h",
        expect![[r#"
            Swarm initialized: current node (abcdefghijklmnopqrstuvwx1) is now a manager.

            To add a worker to this swarm, run the following command:

                skep swarm join --token SWMTKN-1-worker 10.0.0.1:2377

            To add a manager to this swarm, run 'skep swarm join-token manager' and follow the instructions.
            -> init {"ListenAddr":"0.0.0.0:2377","AdvertiseAddr":"10.0.0.1","DataPathAddr":"","DataPathPort":0,"ForceNewCluster":false,"Spec":{"Labels":{},"Orchestration":{"TaskHistoryRetentionLimit":3},"Raft":{"ElectionTick":0,"HeartbeatTick":0},"Dispatcher":{},"CAConfig":{"NodeCertExpiry":3600000000000},"TaskDefaults":{},"EncryptionConfig":{"AutoLockManagers":false}},"AutoLockManagers":false,"Availability":"","DefaultAddrPool":["10.1.0.0/16","10.2.0.0/16"],"SubnetSize":24}
        "#]],
    );
    check(
        &daemon,
        "swarm init --availability lazy",
        expect![[r#"
        invalid availability "lazy", only active, pause and drain are supported
        [1]
    "#]],
    );
    check(
        &daemon,
        "swarm init --default-addr-pool 10.0.0.0",
        expect![[r#"
        invalid argument "10.0.0.0" for "--default-addr-pool" flag: invalid CIDR address: 10.0.0.0

        Usage:  skep swarm init [OPTIONS]

        Run 'skep swarm init --help' for more information
        [125]
    "#]],
    );
}

#[test]
fn both_ask_for_the_same_swarm() {
    let mut unlike = Vec::new();
    for line in [
        "swarm|init|--autolock",
        "swarm|init|--data-path-addr|10.0.0.2|--data-path-port|4790",
        "swarm|init|--data-path-port|80",
        "swarm|init|--default-addr-pool|10.1.0.0/16|--default-addr-pool-mask-length|26",
        "swarm|init|--dispatcher-heartbeat|7s|--cert-expiry|48h",
        "swarm|init|--force-new-cluster",
        "swarm|init|--listen-addr|127.0.0.1:2378|--advertise-addr|127.0.0.1:2378",
        "swarm|init|--listen-addr|eth0",
        "swarm|init|--max-snapshots|3|--snapshot-interval|500",
        "swarm|update|--autolock",
        "swarm|update|--autolock=false",
        "swarm|update|--cert-expiry|720h",
        "swarm|update|--dispatcher-heartbeat|10s|--max-snapshots|2|--snapshot-interval|9",
        "swarm|update|--task-history-limit|0",
        "swarm|join|--token|SWMTKN-1-x|--listen-addr|10.0.0.9|10.0.0.1:2377",
        "node|update|--role|manager|host2",
        "node|update|--role|worker|host1",
        "node|update|--role|king|host2",
        "node|update|--availability|PAUSE|--label-add|a|--label-add|b=c=d|host2",
    ] {
        unlike.extend(Daemon::changes_unlike(Fake::swarm, line));
    }
    none(unlike);
}

#[test]
fn joining_and_leaving() {
    let daemon = Daemon::start(Fake::swarm());
    check(
        &daemon,
        "swarm join --token SWMTKN-1-x --availability Drain 10.0.0.1:2377",
        expect![[r#"
        This node joined a swarm as a manager.
        -> join {"ListenAddr":"0.0.0.0:2377","AdvertiseAddr":"","DataPathAddr":"","RemoteAddrs":["10.0.0.1:2377"],"JoinToken":"SWMTKN-1-x","Availability":"drain"}
    "#]],
    );
    check(
        &daemon,
        "swarm join 10.0.0.1:2377",
        expect![[r#"
        Error response from daemon: This node is already part of a swarm. Use "skep swarm leave" to leave this swarm and join another one.
        [1]
        -> join {"ListenAddr":"0.0.0.0:2377","AdvertiseAddr":"","DataPathAddr":"","RemoteAddrs":["10.0.0.1:2377"],"JoinToken":"","Availability":""}
    "#]],
    );
    check(
        &daemon,
        "swarm join-token worker",
        expect![[r#"
        To add a worker to this swarm, run the following command:

            skep swarm join --token SWMTKN-1-worker 10.0.0.1:2377

    "#]],
    );
    check(
        &daemon,
        "swarm join-token -q --rotate manager",
        expect![[r#"
            SWMTKN-1-manager
            -> update 11 worker=false manager=true {"Labels":{},"Orchestration":{},"Raft":{"ElectionTick":0,"HeartbeatTick":0},"Dispatcher":{},"CAConfig":{},"TaskDefaults":{},"EncryptionConfig":{"AutoLockManagers":false}}
        "#]],
    );
    check(
        &daemon,
        "swarm join-token --rotate worker",
        expect![[r#"
            Successfully rotated worker join token.

            To add a worker to this swarm, run the following command:

                skep swarm join --token SWMTKN-1-worker 10.0.0.1:2377

            -> update 11 worker=true manager=false {"Labels":{},"Orchestration":{},"Raft":{"ElectionTick":0,"HeartbeatTick":0},"Dispatcher":{},"CAConfig":{},"TaskDefaults":{},"EncryptionConfig":{"AutoLockManagers":false}}
        "#]],
    );
    check(
        &daemon,
        "swarm leave --force=false",
        expect![[r#"
        Node left the swarm.
        -> leave false
    "#]],
    );
    check(
        &daemon,
        "swarm leave -f",
        expect![[r#"
        Node left the swarm.
        -> leave true
    "#]],
    );
    check(
        &daemon,
        "swarm update --task-history-limit 9",
        expect![[r#"
            Swarm updated.
            -> update 11 worker=false manager=false {"Labels":{},"Orchestration":{"TaskHistoryRetentionLimit":9},"Raft":{"ElectionTick":0,"HeartbeatTick":0},"Dispatcher":{},"CAConfig":{},"TaskDefaults":{},"EncryptionConfig":{"AutoLockManagers":false}}
        "#]],
    );
    check(
        &daemon,
        "swarm ca",
        expect![[r#"
        -----BEGIN
        root
    "#]],
    );
    let outside = Daemon::start(Fake::outside());
    check(
        &outside,
        "node ls",
        expect![[r#"
        Error response from daemon: This node is not a swarm manager. Use "skep swarm init" or "skep swarm join" to connect this node to swarm and try again.
        [1]
    "#]],
    );
}

#[test]
fn nodes() {
    let daemon = Daemon::start(Fake::swarm());
    check(
        &daemon,
        "node ls",
        expect![[r#"
        ID                            HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION
        abcdefghijklmnopqrstuvwx1 *   host1      Ready     Active         Leader           0.1.0
        bcdefghijklmnopqrstuvwxy2     host2      Ready     Active                          0.1.0
    "#]],
    );
    check(
        &daemon,
        "node ls -q -f role=worker",
        expect![[r#"
        bcdefghijklmnopqrstuvwxy2
    "#]],
    );
    check(
        &daemon,
        "node update --label-add a=b --label-rm zone --availability drain host2",
        expect![[r#"
            host2
            -> node bcdefghijklmnopqrstuvwxy2 7 {"Labels":{"a":"b"},"Role":"worker","Availability":"drain"}
        "#]],
    );
    check(
        &daemon,
        "node update --label-rm nope host2",
        expect![[r#"
        key nope doesn't exist in node's labels
        [1]
    "#]],
    );
    check(
        &daemon,
        "node promote host1 host2",
        expect![[r#"
        Node abcdefghijklmnopqrstuvwx1 is already a manager.
        Node host2 promoted to a manager in the swarm.
        -> node bcdefghijklmnopqrstuvwxy2 7 {"Labels":{"zone":"a"},"Role":"manager","Availability":"active"}
    "#]],
    );
    check(
        &daemon,
        "node demote host1",
        expect![[r#"
        Manager host1 demoted in the swarm.
        -> node abcdefghijklmnopqrstuvwx1 7 {"Labels":{"zone":"a"},"Role":"worker","Availability":"active"}
    "#]],
    );
    check(
        &daemon,
        "node rm --force host2 nope host1",
        expect![[r#"
        host2
        host1
        Error response from daemon: node nope not found
        [1]
        -> node rm host2 true
        node rm host1 true
    "#]],
    );
    check(
        &daemon,
        "node inspect --pretty self",
        expect![[r#"
        ID:			abcdefghijklmnopqrstuvwx1
        Labels:
         - zone=a
        Hostname:              	host1
        Joined at:             	2026-01-02 03:04:05.5 +0000 utc
        Status:
         State:			Ready
         Availability:         	Active
         Address:		10.0.0.1
        Manager Status:
         Address:		10.0.0.1:2377
         Raft Status:		Reachable
         Leader:		Yes
        Platform:
         Operating System:	linux
         Architecture:		x86_64
        Resources:
         CPUs:			2
         Memory:		4GiB
        Plugins:
         Network:		overlay
        Engine Version:		0.1.0
    "#]],
    );
    for (line, expected) in [
        (
            "{{.Spec.Name}}/{{.Status.Message}}/{{.ManagerStatus.Leader}} host1",
            expect![[r#"
            //true
        "#]],
        ),
        (
            "{{.Spec.Nope}} host1",
            expect![[r#"

            template parsing error: can't evaluate field Nope
            [1]
        "#]],
        ),
        (
            "{{if|.ManagerStatus}}m{{else}}w{{end}} host2",
            expect![[r#"
            w
        "#]],
        ),
        (
            "{{json|.Spec}} host2",
            expect![[r#"
            {"Labels":{"zone":"a"},"Role":"worker","Availability":"active"}
        "#]],
        ),
    ] {
        check(&daemon, &format!("node inspect -f {line}"), expected);
    }
    check(
        &daemon,
        "node inspect -f {{.Spec.Role}} self nope",
        expect![[r#"
        manager
        Error response from daemon: node nope not found
        [1]
    "#]],
    );
}

#[test]
fn both_command_lines_say_the_same() {
    let daemon = Daemon::start(Fake::swarm());
    let unlike = [
        "node ls",
        "node ls --format json",
        "node ls --format {{.Hostname}}:{{.ManagerStatus}}",
        "node ls --filter role=worker",
        "node ls --filter nope=worker",
        "node ls --filter nope",
        "node ls extra",
        "node ls --nope",
        "node ls -x",
        "node ls --format",
        "node nope",
        "node inspect",
        "node inspect --pretty host1 host2",
        "node inspect --format {{.Spec.Role}} host1 host2 nope",
        "node inspect nope",
        "node promote host1 host2",
        "node promote nope",
        "node demote host1",
        "node rm host2 nope",
        "node update --availability drain host2",
        "node update --label-rm nope host2",
        "swarm join-token worker",
        "swarm join-token manager -q",
        "swarm join-token nope",
        "swarm join-token",
        "swarm join",
        "swarm init --cert-expiry 3",
        "swarm init --availability nope",
        "swarm leave",
        "swarm leave --force=nope",
        "swarm ca",
        "swarm unlock",
        "swarm unlock-key",
        "swarm unlock-key -q",
        "swarm unlock-key --rotate",
        "nope",
        "--nope",
    ]
    .into_iter()
    .filter_map(|line| daemon.unlike(line));
    none(unlike);
}

#[test]
fn system() {
    let daemon = Daemon::start(Fake::swarm());
    check(
        &daemon,
        "version",
        expect![[r#"
        Client:
         Version:           0.1.0
         API version:       1.51
         OS/Arch:           linux/amd64
         Context:           default

        Server:
         Engine:
          Version:          0.1.0
          API version:      1.51 (minimum version 1.24)
          OS/Arch:          linux/amd64
          Experimental:     false
    "#]],
    );
    check(
        &daemon,
        "version -f {{.Server.Version}}",
        expect![[r#"
        0.1.0
    "#]],
    );
    check(
        &daemon,
        "info",
        expect![[r#"
        Client:
         Version:    0.1.0
         Context:    default
         Debug Mode: false

        Server:
         Containers: 0
          Running: 0
          Paused: 0
          Stopped: 0
         Images: 0
         Server Version: 0.1.0
         Plugins:
          Volume: 
          Network: 
          Log: 
         Swarm: active
          NodeID: abcdefghijklmnopqrstuvwx1
          Is Manager: true
          ClusterID: cluster
          Managers: 1
          Nodes: 2
          Default Address Pool: 10.0.0.0/8  
          SubnetSize: 24
          Data Path Port: 4789
          Orchestration:
           Task History Retention Limit: 0
          Raft:
           Snapshot Interval: 0
           Heartbeat Tick: 0
           Election Tick: 0
          Dispatcher:
           Heartbeat Period: Less than a second
          CA Configuration:
           Expiry Duration: Less than a second
           Force Rotate: 0
          Autolock Managers: false
          Root Rotation In Progress: false
          Node Address: 10.0.0.1
          Manager Addresses:
           10.0.0.1:2377
         Operating System: Linux
         OSType: linux
         CPUs: 2
         Total Memory: 4GiB
         Name: host1
         Docker Root Dir: /var/lib/skep
         Debug Mode: false
         Experimental: false
         Live Restore Enabled: false

    "#]],
    );
    check(
        &daemon,
        "info --format {{.Swarm.LocalNodeState}}",
        expect![[r#"
        active
    "#]],
    );
    check(
        &daemon,
        "--version",
        expect![[r#"
        skep version 0.1.0
    "#]],
    );
    check(
        &daemon,
        "-H unix:///nowhere/skep.sock node ls",
        expect![[r#"
        Cannot connect to the skep daemon at unix:///nowhere/skep.sock. Is the skep daemon running?
        [1]
    "#]],
    );
    check(
        &daemon,
        "-H ftp://x node ls",
        expect![[r#"
        unable to parse docker host `ftp://x`
        [1]
    "#]],
    );
    check(
        &daemon,
        "swarm join --help",
        expect![[r#"
        Usage:  skep swarm join [OPTIONS] HOST:PORT

        Join a swarm as a node and/or manager

        Options:
              --advertise-addr <string>  Advertised address (format: "<ip|interface>[:port]")
              --availability <string>    Availability of the node ("active", "pause", "drain") (default
                                         "active")
              --data-path-addr <string>  Address or interface to use for data path traffic (format:
                                         "<ip|interface>")
              --listen-addr <node-addr>  Listen address (format: "<ip|interface>[:port]") (default
                                         0.0.0.0:2377)
              --token <string>           Token for entry into the swarm
          -h, --help                     Print help
    "#]],
    );
    check(
        &daemon,
        "swarm",
        expect![[r#"
            Usage:  skep swarm COMMAND

            Manage Swarm

            Commands:
              ca          Display the root CA
              init        Initialize a swarm
              join        Join a swarm as a node and/or manager
              join-token  Manage join tokens
              leave       Leave the swarm
              unlock      Unlock swarm
              unlock-key  Manage the unlock key
              update      Update the swarm

            Options:
              -h, --help  Print help

            Run 'skep swarm COMMAND --help' for more information on a command.
        "#]],
    );
}
