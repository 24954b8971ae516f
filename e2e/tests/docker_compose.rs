//! Compose 1.29, Debian's `docker-compose`, against skep's daemon: one project through its life.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use skep_e2e::{IMAGE, SOON, Single, eventually_blocking};

/// What `web` serves is what `store` wrote to the volume that both have.
const PROJECT: &str = r#"
version: "3.9"
services:
  web:
    image: IMAGE
    command: ["sh", "-c", "echo serving $$KIND; exec httpd -f -p 80 -h /data"]
    init: true
    environment: {KIND: KIND_OF_WEB}
    volumes: ["comb:/data"]
    ports: ["80"]
    networks: {hive: {aliases: [queen]}}
    depends_on: [store]
  store:
    image: IMAGE
    command: ["sh", "-c", "echo sweet >/data/index.html; exec sleep 1000"]
    init: true
    volumes: ["comb:/data"]
    networks: [hive]
networks: {hive: {}}
volumes: {comb: {}}
"#;

/// Taken down when dropped.
struct Project {
    single: Arc<Single>,
    dir: tempfile::TempDir,
    name: &'static str,
}

impl Project {
    /// None (and SKIP) without root or the program.
    fn new(name: &'static str) -> Option<Self> {
        if Command::new("docker-compose").arg("version").output().is_err() {
            eprintln!("SKIP: no docker-compose is installed");
            return None;
        }
        let project = Self { single: Single::shared()?, dir: tempfile::tempdir().unwrap(), name };
        project.write("honey");
        Some(project)
    }

    fn write(&self, kind: &str) {
        let text = PROJECT.replace("IMAGE", IMAGE).replace("KIND_OF_WEB", kind);
        std::fs::write(self.dir.path().join("docker-compose.yml"), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Output {
        let place: &Path = self.dir.path();
        Command::new("docker-compose")
            .args(["--ansi", "never", "-p", self.name])
            .args(words)
            .current_dir(place)
            .env("HOME", place)
            .env("DOCKER_HOST", format!("unix://{}", self.single.host().socket().display()))
            .output()
            .unwrap()
    }

    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker-compose {words:?}: {complaints}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    fn container(&self, service: &str) -> serde_json::Value {
        let path = format!("/containers/{}_{service}_1/json", self.name);
        self.single.api("GET", &path, "").json()
    }

    /// How many of its containers, networks and volumes the host has.
    fn left(&self) -> [usize; 3] {
        ["/containers/json?all=1&", "/networks?", "/volumes?"].map(|list| {
            let filters = format!("{{\"label\":[\"com.docker.compose.project={}\"]}}", self.name);
            let encoded = filters.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
            let answer = self.single.api("GET", &format!("{list}filters={encoded}"), "").json();
            answer.get("Volumes").unwrap_or(&answer).as_array().map_or(0, Vec::len)
        })
    }

    /// What the published port of `web` gives to the host.
    #[track_caller]
    fn fetch(&self) {
        let published = self.ok(&["port", "web", "80"]);
        let port = published.rsplit(':').next().unwrap();
        let url = format!("http://127.0.0.1:{port}/");
        eventually_blocking(SOON, || {
            let said = self.single.host().check(&["curl", "-sS", "--max-time", "5", &url]);
            match said {
                Ok(page) if page == "sweet\n" => Ok(()),
                other => Err(format!("{url} gives {other:?}")),
            }
        });
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // After a whole life there is nothing left to take.
        let _ = self.run(&["down", "-v", "-t", "2"]);
    }
}

#[test]
fn leads_a_project_through_its_life() {
    let Some(bees) = Project::new("bees") else { return };
    bees.ok(&["up", "-d"]);
    assert_eq!(bees.left(), [2, 1, 1]);
    assert_eq!(bees.ok(&["ps", "-q"]).lines().count(), 2);
    assert!(bees.ok(&["ps"]).contains("bees_web_1"));
    let started =
        |service| bees.container(service)["State"]["StartedAt"].as_str().map(str::to_owned);
    assert!(started("store") < started("web"), "a service starts after what it depends on");
    bees.fetch();
    let page = bees.ok(&["exec", "-T", "store", "wget", "-q", "-O", "-", "http://queen/"]);
    assert_eq!(page, "sweet", "by the alias");
    let page = bees.ok(&["exec", "-T", "store", "wget", "-q", "-O", "-", "http://web/"]);
    assert_eq!(page, "sweet", "by the service's name");
    assert_eq!(bees.run(&["exec", "-T", "web", "sh", "-c", "exit 5"]).status.code(), Some(5));
    let logs = bees.ok(&["logs", "--no-color", "web"]);
    assert!(logs.ends_with("| serving honey"), "{logs}");

    bees.ok(&["stop", "-t", "5"]);
    assert_eq!(bees.container("web")["State"]["Status"], "exited");
    assert_eq!(bees.container("store")["State"]["ExitCode"], 143);
    bees.ok(&["start"]);
    bees.fetch();
    let before = started("web");
    bees.ok(&["restart", "-t", "5", "web"]);
    assert!(started("web") > before);
    bees.fetch();

    bees.ok(&["down", "-v", "-t", "5"]);
    assert_eq!(bees.left(), [0, 0, 0]);
}

#[test]
fn makes_again_what_changed_and_nothing_else() {
    let Some(wasps) = Project::new("wasps") else { return };
    wasps.ok(&["up", "-d"]);
    let ids = |services: [&str; 2]| services.map(|it| wasps.container(it)["Id"].clone());
    let [web, store] = ids(["web", "store"]);
    wasps.ok(&["up", "-d"]);
    assert_eq!(ids(["web", "store"]), [web.clone(), store.clone()], "nothing has changed");

    wasps.write("wax");
    wasps.ok(&["up", "-d"]);
    let [new_web, same_store] = ids(["web", "store"]);
    assert_ne!(new_web, web);
    assert_eq!(same_store, store);
    let logs = wasps.ok(&["logs", "--no-color", "web"]);
    assert!(logs.ends_with("| serving wax"), "{logs}");
    wasps.fetch();

    wasps.ok(&["up", "-d", "--scale", "store=2"]);
    assert_eq!(wasps.left(), [3, 1, 1]);
    wasps.ok(&["down", "-v", "-t", "5"]);
    assert_eq!(wasps.left(), [0, 0, 0]);
}
