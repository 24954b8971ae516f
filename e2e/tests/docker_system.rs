//! What a host has and what it takes, through both command lines.

use skep_e2e::{CommandLine, IMAGE, Program, Single};

/// Both command lines, or skep's own where no other is installed.
fn each(single: &Single, case: impl Fn(&CommandLine)) {
    for program in [Program::Docker, Program::Skep] {
        match program.installed() {
            true => case(&single.command_line(program)),
            false => eprintln!("SKIP: no docker command line is installed"),
        }
    }
}

/// An image of a file of its own; another each time.
fn import(cli: &CommandLine, tag: &str, change: &str) -> String {
    let file = cli.file("root/motd", &format!("{tag} {change}\n"));
    let root = file.strip_suffix("/motd").unwrap();
    let archive = format!("{}/root.tar", cli.dir());
    cli.shell(&format!("tar -C {root} -cf {archive} ."));
    cli.ok(&["import", "--change", change, &archive, tag])
}

#[test]
fn everything_unused_goes_at_once() {
    let Some(single) = Single::own() else { return };
    each(&single, |cli| {
        let [kept, stopped, net, spare] =
            ["kept", "stopped", "net", "spare"].map(|it| cli.name(it));
        let (tag, labelled) =
            (format!("{}:one", cli.name("spare")), format!("{}:one", cli.name("lab")));
        let prepare = || {
            cli.ok(&["run", "-d", "--name", &kept, "--network", "none", IMAGE, "sleep", "1000"]);
            cli.ok(&["run", "--name", &stopped, "--network", "none", "-v", "/data", IMAGE, "true"]);
            cli.ok(&["network", "create", &net]);
            cli.ok(&["volume", "create", &spare]);
            import(cli, &tag, "CMD [\"one\"]");
            import(cli, &tag, "CMD [\"two\"]");
            import(cli, &labelled, "LABEL stay=1");
        };
        prepare();
        let gone = cli.ok(&["system", "prune", "--force", "--filter", "label!=stay"]);
        for what in ["Deleted Containers:", &net, "Deleted Images:", "Total reclaimed space: "] {
            assert!(gone.contains(what), "{what}: {gone}");
        }
        let names = cli.ok(&["ps", "-a", "--format", "{{.Names}}"]);
        assert_eq!(names, kept);
        assert_eq!(cli.ok(&["images", "-q", "--filter", "dangling=true"]), "");
        // What has a name stays, and so do volumes.
        assert!(cli.ok(&["images", "--format", "{{.Repository}}"]).contains(&spare));
        assert!(cli.ok(&["volume", "ls", "-q"]).lines().count() >= 2);
        let gone = cli.ok(&["system", "prune", "-f", "--volumes"]);
        assert!(gone.contains("Deleted Volumes:"), "{gone}");
        assert_eq!(cli.ok(&["volume", "ls", "-q"]), spare);
        let gone = cli.ok(&["system", "prune", "-a", "-f", "--filter", "until=24h"]);
        assert!(!gone.contains("Deleted Images:"), "{gone}");
        let gone = cli.ok(&["system", "prune", "--all", "-f", "--filter", "label!=stay"]);
        assert!(gone.contains(&format!("untagged: {tag}")), "{gone}");
        let left = cli.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"]);
        assert!(left.contains(&labelled) && left.contains(IMAGE) && !left.contains(&tag), "{left}");
        cli.fails(&["system", "prune", "-f", "--volumes", "--filter", "until=1h"], "until");
        cli.ok(&["rm", "-f", &kept]);
        cli.ok(&["volume", "rm", &spare]);
        cli.ok(&["rmi", &labelled]);
    });
}

#[test]
fn images_go_by_label_and_age_and_one_by_one() {
    let Some(single) = Single::own() else { return };
    each(&single, |cli| {
        let [one, two] = ["one", "two"].map(|it| format!("{}:v1", cli.name(it)));
        import(cli, &one, "LABEL tier=front");
        let id = import(cli, &two, "LABEL tier=back");
        cli.ok(&["image", "prune", "--force", "--all", "--filter", "until=24h"]);
        let gone = cli.ok(&["image", "prune", "-a", "-f", "--filter", "label=tier=front"]);
        assert!(gone.contains(&format!("untagged: {one}")), "{gone}");
        assert!(gone.contains("deleted: sha256:") && !gone.contains(&two), "{gone}");
        // The test's own image is used by nobody either, but has no such label.
        assert!(cli.ok(&["images", "-q", IMAGE]).len() > 1);
        let history = cli.ok(&["history", "--no-trunc", "--quiet", &two]);
        assert_eq!(history, id);
        let human = cli.ok(&["history", "--format", "{{.Size}}", "--human", &two]);
        assert!(human.ends_with('B'), "{human}");
        let exact = cli.ok(&["history", "--format", "{{.Size}}", "--human=false", &two]);
        assert!(exact.parse::<u64>().is_ok(), "{exact}");
        // An image here keeps no parents that could go with it.
        let said = cli.ok(&["rmi", "--no-prune", &two]);
        assert!(said.starts_with(&format!("Untagged: {two}\nDeleted: {id}")), "{said}");
    });
    let pruned = single.api("POST", "/images/prune", "").json();
    assert_eq!(pruned["SpaceReclaimed"], 0);
    assert_eq!(
        single.api("POST", "/images/prune?filters={%22colour%22:[%22red%22]}", "").status,
        400
    );
}

#[test]
fn what_is_there_is_counted() {
    let Some(single) = Single::own() else { return };
    each(&single, |cli| {
        let [name, volume] = ["counted", "data"].map(|it| cli.name(it));
        let at = format!("{volume}:/data");
        let script = "echo 12345 > /data/file; echo 123 > /file";
        cli.ok(&[
            "run",
            "--name",
            &name,
            "--network",
            "none",
            "-v",
            &at,
            IMAGE,
            "sh",
            "-c",
            script,
        ]);
        let format = "{{.Type}} {{.TotalCount}} {{.Active}}";
        let counted = cli.ok(&["system", "df", "--format", format]);
        assert_eq!(counted, "Images 1 1\nContainers 1 0\nLocal Volumes 1 1\nBuild Cache 0 0");
        let whole = cli.ok(&["system", "df", "--verbose"]);
        for part in
            [name.as_str(), &volume, "busybox", "Images space usage:", "Local Volumes space usage:"]
        {
            assert!(whole.contains(part), "{part}: {whole}");
        }
        let format = "{{range .Volumes}}{{.Name}} {{.Links}} {{.Size}}{{end}}";
        let volumes = cli.ok(&["system", "df", "-v", "--format", format]);
        assert_eq!(volumes, format!("{volume} 1 6B"));
        let usage = single.api("GET", "/system/df", "").json();
        assert_eq!(usage["Containers"][0]["SizeRw"], 4);
        assert_eq!(usage["Volumes"][0]["UsageData"]["RefCount"], 1);
        let images = single.api("GET", "/system/df?type=image", "").json();
        assert!(images["Images"][0]["Size"].as_u64() > Some(0) && images["Containers"].is_null());
        assert_eq!(single.api("GET", "/system/df?type=colour", "").status, 400);
        let info = "{{.Containers}} {{.ContainersRunning}} {{.ContainersStopped}} {{.Images}}";
        assert_eq!(cli.ok(&["info", "--format", info]), "1 0 1 1");
        cli.ok(&["rm", &name]);
        cli.ok(&["volume", "rm", &volume]);
    });
    let info = single.api("GET", "/info", "").json();
    assert_eq!(
        (info["OSType"].as_str(), info["Driver"].as_str()),
        (Some("linux"), Some("overlay2"))
    );
}
