//! How an image comes to a container: whether it is pulled, for which platform, and what is printed.

use skep_e2e::{IMAGE, both};

#[test]
fn images_are_pulled_when_they_are_to_be() {
    both(|cli| {
        // Nobody serves this name.
        let absent = "127.0.0.1:9/nosuch/image:1";
        let never = cli.run(&["run", "--rm", "--pull", "never", absent]);
        assert_eq!(never.status, 125);
        assert!(never.stderr.contains(&format!("No such image: {absent}")), "{never:?}");
        assert!(!never.stderr.contains("Unable to find image"), "{never:?}");
        let missing = cli.run(&["run", "--rm", "--pull", "missing", absent]);
        assert!(
            missing.stderr.contains(&format!("Unable to find image '{absent}' locally")),
            "{missing:?}"
        );
        let quiet = cli.run(&["run", "--rm", "-q", absent]);
        assert!(!quiet.stderr.contains("Unable to find image"), "{quiet:?}");
        assert_eq!((missing.status, quiet.status), (125, 125));
        assert_eq!(cli.said(&["--pull", "missing"], &["echo", "there"]), "there");
        assert_eq!(cli.said(&["--pull", "never", "--quiet"], &["echo", "there"]), "there");
        // It is there, and asked for again all the same.
        let own = format!("127.0.0.1:9/{}:1", cli.name("own"));
        cli.ok(&["tag", IMAGE, &own]);
        let always = cli.run(&["create", "--pull", "always", &own]);
        assert_ne!(always.status, 0, "{always:?}");
        cli.ok(&["rmi", &own]);
        cli.refuses(&["--pull", "sometimes"], "invalid pull option: 'sometimes'")
    });
}

#[test]
fn a_platform_is_the_hosts_or_refused() {
    both(|cli| {
        let here = cli.ok(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]);
        assert_eq!(cli.said(&["--platform", &here], &["echo", "here"]), "here");
        let name = cli.name("here");
        cli.ok(&["create", "--name", &name, "--platform", &here, IMAGE]);
        assert_eq!(cli.inspect(&name, "{{.Platform}}"), "linux");
        let other = if here.ends_with("s390x") { "linux/amd64" } else { "linux/s390x" };
        let flags = ["--pull", "never", "--platform", other];
        cli.refuses(&flags, "specified platform");
        cli.refuses(&["--platform", "a/b/c/d"], "a/b/c/d")
    });
}

#[test]
fn the_daemons_socket_is_lent() {
    both(|cli| {
        let name = cli.idle("lent", &["--use-api-socket"]);
        let socket = cli.inside(&name, "test -S /var/run/docker.sock && echo socket");
        assert_eq!(socket, "socket");
        let same = "stat -c %d:%i";
        let lent = cli.inside(&name, &format!("{same} /var/run/docker.sock"));
        assert_eq!(lent, cli.shell(&format!("{same} /run/skep.sock")));
        cli.ok(&["rm", "-f", &name]);
    });
}

#[test]
fn logins_are_lent_with_the_socket() {
    both(|cli| {
        let auths = r#"{ "auths": { "registry.example": { "auth": "YmVlOmhvbmV5" } } }"#;
        let file = cli.file("config/config.json", auths);
        let folder = file.strip_suffix("/config.json").unwrap();
        let name = cli.name("login");
        let words = ["--config", folder, "run", "-d", "--name", &name, "--use-api-socket", IMAGE];
        cli.ok(&[&words[..], &["sleep", "1000"]].concat());
        assert_eq!(cli.inside(&name, "echo $DOCKER_CONFIG"), "/run/secrets/docker");
        let lent = cli.inside(&name, "cat $DOCKER_CONFIG/config.json");
        assert!(lent.contains("registry.example") && lent.contains("YmVlOmhvbmV5"), "{lent}");
        let mode = cli.inside(&name, "stat -c %a $DOCKER_CONFIG/config.json");
        cli.ok(&["rm", "-f", &name]);
        mode
    });
}
