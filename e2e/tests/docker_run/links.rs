//! Links between containers, as the default bridge and as users' networks have them.

use skep_e2e::{IMAGE, both};

#[test]
fn the_default_bridge_links_by_name_and_variables() {
    both(|cli| {
        let db = cli.idle("db", &["--expose", "5432", "-e", "SECRET=honey"]);
        let address = cli.inspect(&db, "{{.NetworkSettings.Networks.bridge.IPAddress}}");
        let link = format!("{db}:store");
        let app = cli.idle("app", &["--link", &link]);
        let hosts = cli.inside(&app, "cat /etc/hosts");
        let line = hosts.lines().find(|line| line.starts_with(&address)).unwrap_or_default();
        for name in ["store", db.as_str()] {
            assert!(line.split_whitespace().any(|it| it == name), "{name} is not in {hosts}");
        }
        assert!(cli.inside(&app, "ping -c1 -q store").starts_with("PING store"));
        let variables = cli.inside(&app, "tr '\\0' '\\n' < /proc/1/environ | grep ^STORE_ | sort");
        let wanted = [
            "STORE_ENV_SECRET=honey".to_owned(),
            format!("STORE_NAME=/{app}/store"),
            format!("STORE_PORT=tcp://{address}:5432"),
            format!("STORE_PORT_5432_TCP=tcp://{address}:5432"),
            format!("STORE_PORT_5432_TCP_ADDR={address}"),
            "STORE_PORT_5432_TCP_PORT=5432".to_owned(),
            "STORE_PORT_5432_TCP_PROTO=tcp".to_owned(),
        ];
        assert_eq!(variables.lines().collect::<Vec<_>>(), wanted);
        assert_eq!(cli.inspect(&app, "{{.HostConfig.Links}}"), format!("[/{db}:/{app}/store]"));
        // The link goes, the containers stay.
        let alone = format!("/{app}/store");
        cli.fails(
            &["rm", "--link", &format!("/{db}")],
            "onflict, cannot remove the default link name of the container",
        );
        cli.ok(&["rm", "--link", &alone]);
        assert!(!cli.inside(&app, "cat /etc/hosts").contains("store"));
        assert_eq!(cli.inspect(&app, "{{.HostConfig.Links}} {{.State.Running}}"), "[] true");
        cli.fails(&["rm", "--link", &alone], "store");
        cli.ok(&["stop", "-t", "0", &db]);
        cli.refuses(&["--link", &link], "annot link to a non running container");
        cli.refuses(&["--link", "nosuch:x"], "nosuch")
    });
}

#[test]
fn a_users_network_links_by_names_of_ones_own() {
    both(|cli| {
        let net = cli.name("net");
        cli.ok(&["network", "create", &net]);
        let db = cli.idle("db", &["--network", &net]);
        let link = format!("{db}:store");
        let linked = ["--network", &net, "--link", &link];
        assert!(cli.said(&linked, &["ping", "-c1", "-q", "store"]).starts_with("PING store"));
        // The alias is the linking container's alone.
        let words = ["run", "--rm", "--network", &net, IMAGE, "ping", "-c1", "-q", "store"];
        cli.fails(&words, "bad address");
        let app = cli.idle("app", &linked);
        let format = format!("{{{{(index .NetworkSettings.Networks \"{net}\").Links}}}}");
        assert_eq!(cli.inspect(&app, &format), format!("[{link}]"));
        cli.ok(&["rm", "-f", &db, &app]);
        cli.ok(&["network", "rm", &net]);
    });
}
