//! Volumes through both command lines: who has them, and how they go.

use skep_e2e::{IMAGE, Program, Single};

#[test]
fn volumes_nobody_has_go_together() {
    let Some(single) = Single::own() else { return };
    for program in [Program::Docker, Program::Skep] {
        if !program.installed() {
            eprintln!("SKIP: no docker command line is installed");
            continue;
        }
        let cli = single.command_line(program);
        let unnamed = cli.ok(&["volume", "create"]);
        let [kept, db, idle] = ["kept", "db", "idle"].map(|it| cli.name(it));
        cli.ok(&["volume", "create", &kept]);
        cli.ok(&["volume", "create", "--label", "tier=db", &db]);
        cli.ok(&["volume", "create", &idle]);
        let holder = cli.name("holder");
        cli.ok(&["create", "--name", &holder, "-v", &format!("{kept}:/data"), IMAGE, "true"]);
        let gone = cli.ok(&["volume", "prune", "--force"]);
        assert!(gone.contains(&unnamed) && !gone.contains(&idle), "{gone}");
        let gone = cli.ok(&["volume", "prune", "-f", "-a", "--filter", "label!=tier"]);
        assert!(gone.contains(&idle) && !gone.contains(&db) && !gone.contains(&kept), "{gone}");
        let gone = cli.ok(&["volume", "prune", "-f", "--all", "--filter", "label=tier=db"]);
        assert!(gone.contains(&db) && gone.contains("Total reclaimed space: 0B"), "{gone}");
        cli.fails(&["volume", "prune", "-f", "--filter", "until=1h"], "until");
        cli.fails(&["volume", "rm", &kept], "volume is in use");
        cli.ok(&["rm", &holder]);
        cli.ok(&["volume", "rm", &kept]);
    }
    assert_eq!(
        single.api("GET", "/volumes", "").json()["Volumes"].as_array().map(Vec::len),
        Some(0)
    );
    assert_eq!(single.api("GET", "/volumes/nobodys", "").status, 404);
    single.api("POST", "/volumes/create", r#"{ "Name": "plain" }"#);
    let one = single.api("GET", "/volumes/plain", "").json();
    assert_eq!((one["Driver"].as_str(), one["Scope"].as_str()), (Some("local"), Some("local")));
    let pruned = single.api("POST", "/volumes/prune?filters={%22all%22:[%22true%22]}", "").json();
    assert_eq!(pruned["VolumesDeleted"][0], "plain");
}

#[test]
fn only_a_clusters_volumes_are_updated() {
    let Some(single) = Single::own() else { return };
    let ask = |path: &str| {
        let answer = single.api("PUT", path, "{}");
        (answer.status, answer.message())
    };
    let (status, why) = ask("/volumes/mine?version=1");
    assert_eq!(status, 503, "{why}");
    assert_eq!(why, "volume update only valid for cluster volumes, but swarm is unavailable");
    let first = single.command_line(Program::Skep);
    first.ok(&["swarm", "init"]);
    assert_eq!(ask("/volumes/mine?version=1"), (404, "volume mine not found".to_owned()));
    assert_eq!(ask("/volumes/mine").0, 400);
    for program in [Program::Docker, Program::Skep] {
        if !program.installed() {
            eprintln!("SKIP: no docker command line is installed");
            continue;
        }
        let cli = single.command_line(program);
        let name = cli.name("local");
        cli.ok(&["volume", "create", &name]);
        let update = ["volume", "update", "--availability", "drain", &name];
        cli.fails(&update, "an only update cluster volumes");
        cli.fails(&["volume", "update", &cli.name("none")], "no such volume");
        cli.ok(&["volume", "rm", &name]);
    }
}
