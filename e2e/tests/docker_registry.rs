//! Images and registries through both command lines: logins, images sent and fetched, images of
//! several platforms. The registries stand on the fleet's own hosts.

use skep_e2e::{CommandLine, IMAGE, ImageRegistry, Login, Program, Single};

/// Each command line on a host of the test's own, beside a registry at a port.
fn beside_a_registry(port: u16, login: Login, case: impl Fn(&CommandLine, &str)) {
    let Some(single) = Single::own() else { return };
    let served = ImageRegistry::serve(&single.host(), port, login);
    let Some(registry) = served.unwrap_or_else(|error| panic!("{error:#}")) else { return };
    for program in [Program::Docker, Program::Skep] {
        match program.installed() {
            true => case(&single.command_line(program), &registry.at),
            false => eprintln!("SKIP: no docker command line is installed"),
        }
    }
}

/// A small root file system in an archive on the host; gives its path.
fn archive(cli: &CommandLine, contents: &str) -> String {
    let file = cli.file("root/motd", contents);
    let root = file.strip_suffix("/motd").unwrap();
    let archive = format!("{}/root.tar", cli.dir());
    cli.shell(&format!("tar -C {root} -cf {archive} ."));
    archive
}

#[test]
fn logs_in_and_out() {
    beside_a_registry(5000, Login::Ali, |cli, at| {
        let tag = format!("{at}/{}:v1", cli.name("app"));
        cli.ok(&["tag", IMAGE, &tag]);
        cli.fails(&["push", &tag], "unauthorized: authentication required");
        let said = cli.ok(&["login", "-u", "ali", "-p", "open sesame", at]);
        assert!(said.contains("Login Succeeded"), "{said}");
        let kept = cli.shell("cat /tmp/docker-config/config.json");
        assert!(kept.contains(at), "{kept}");
        cli.ok(&["push", &tag]);
        let said = cli.ok(&["logout", at]);
        assert_eq!(said, format!("Removing login credentials for {at}"));
        assert!(!cli.shell("cat /tmp/docker-config/config.json").contains(at));
        cli.fails(&["push", &tag], "unauthorized: authentication required");

        let stdin = ["login", "--username", "ali", "--password-stdin", at];
        assert!(cli.ok_with_input(&stdin, b"open sesame\n").contains("Login Succeeded"));
        cli.ok(&["push", &tag]);
        let ran = cli.run_with_input(&stdin, b"close sesame\n");
        assert!(ran.status != 0 && ran.stderr.contains("unauthorized"), "{ran:?}");
        let words = ["login", "-u", "ali", "--password", "close sesame", at];
        cli.fails(&words, "unauthorized");
        cli.fails(
            &["login", "--password-stdin", at],
            "--password-stdin option requires --username",
        );
        let both = ["login", "-u", "ali", "-p", "x", "--password-stdin", at];
        cli.fails(&both, "cannot specify both --password and --password-stdin");
        cli.ok(&["logout", at]);
    });
}

#[test]
fn the_api_tells_whether_a_login_is_good() {
    let Some(single) = Single::own() else { return };
    let served = ImageRegistry::serve(&single.host(), 5000, Login::Ali);
    let Some(registry) = served.unwrap_or_else(|error| panic!("{error:#}")) else { return };
    let ask = |password: &str| {
        let body = format!(
            r#"{{"username":"ali","password":"{password}","serveraddress":"{}"}}"#,
            registry.at
        );
        single.api("POST", "/auth", &body)
    };
    let good = ask("open sesame");
    assert_eq!((good.status, good.json()["Status"].as_str()), (200, Some("Login Succeeded")));
    let bad = ask("close sesame");
    assert_eq!(bad.status, 401, "{}", bad.text());
    let none = single.api(
        "POST",
        "/auth",
        r#"{"username":"ali","password":"x","serveraddress":"127.0.0.1:9"}"#,
    );
    assert_eq!(none.status, 500, "{}", none.text());
}

#[test]
fn pushes_every_tag_and_pulls_one() {
    beside_a_registry(5000, Login::Nobody, |cli, at| {
        let name = format!("{at}/{}", cli.name("app"));
        let tags = ["v1", "v2"].map(|tag| format!("{name}:{tag}"));
        for tag in &tags {
            cli.ok(&["tag", IMAGE, tag]);
        }
        let pushed = cli.ok(&["push", "-a", &name]);
        assert!(pushed.contains(&format!("refers to repository [{name}]")), "{pushed}");
        for tag in ["v1", "v2"] {
            assert!(pushed.contains(&format!("{tag}: digest: sha256:")), "{pushed}");
        }
        assert_eq!(cli.ok(&["push", "-q", &tags[0]]), tags[0]);
        cli.fails(&["push", "-a", &tags[0]], "tag can't be used with --all-tags/-a");
        let none = format!("{at}/none:v1");
        cli.fails(&["push", &none], "does not exist locally with the tag");

        cli.ok(&["rmi", &tags[0], &tags[1]]);
        assert_eq!(cli.ok(&["pull", "-q", &tags[1]]), tags[1]);
        cli.fails(&["pull", &format!("{name}:none")], "not found");
        cli.ok(&["rmi", &tags[1]]);

        let filter = format!("image={name}");
        let until = cli.shell("date +%s.%N");
        let words = ["events", "--since", "10m", "--until", &until, "--filter", &filter];
        let told = cli.ok(&[&words[..], &["--format", "{{.Action}}"]].concat());
        let count = |action: &str| told.lines().filter(|it| *it == action).count();
        assert_eq!((count("push"), count("pull")), (3, 1), "{told}");
    });
}

#[test]
fn pulls_the_platform_that_is_asked_for() {
    beside_a_registry(5000, Login::Nobody, |cli, at| {
        let name = format!("{at}/{}", cli.name("app"));
        let archive = archive(cli, "for all\n");
        let here = cli.ok(&["image", "inspect", "-f", "{{.Os}}/{{.Architecture}}", IMAGE]);
        // Each platform is pushed under a tag of its own, and one tag stands for an index of both.
        let mut manifests = Vec::new();
        for (tag, platform) in [("here", here.as_str()), ("there", "linux/s390x")] {
            let tag = format!("{name}:{tag}");
            cli.ok(&["import", "--platform", platform, &archive, &tag]);
            let format = "{{.Os}}/{{.Architecture}}";
            assert_eq!(cli.ok(&["image", "inspect", "-f", format, &tag]), platform);
            cli.ok(&["push", "-q", &tag]);
            cli.ok(&["rmi", &tag]);
            let socket = cli.host().socket();
            let path = format!("/distribution/{tag}/json");
            let answer = skep_e2e::http::exchange(&socket, "GET", &path, &[], b"").unwrap();
            let found = answer.json();
            let (os, architecture) = platform.split_once('/').unwrap();
            let expected = serde_json::json!([{ "os": os, "architecture": architecture }]);
            assert_eq!(found["Platforms"], expected, "{found}");
            let mut one = found["Descriptor"].clone();
            one["platform"] = serde_json::json!({ "os": os, "architecture": architecture });
            manifests.push(one);
        }
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "manifests": manifests,
        });
        let file = cli.file("index.json", &index.to_string());
        let repository = cli.name("app");
        cli.shell(&format!(
            "curl -sf -X PUT -H 'Content-Type: {kind}' --data-binary @{file} \
             http://{at}/v2/{repository}/manifests/all"
        ));
        let all = format!("{name}:all");
        let is = |platform: &str| {
            let format = "{{.Os}}/{{.Architecture}}";
            assert_eq!(cli.ok(&["image", "inspect", "-f", format, &all]), platform);
        };
        cli.ok(&["pull", &all]);
        is(&here);
        cli.ok(&["pull", "--platform", "linux/s390x", &all]);
        is("linux/s390x");
        let none = ["pull", "--platform", "linux/riscv64", &all];
        cli.fails(&none, "no matching manifest for linux/riscv64");
        cli.fails(&["pull", "--platform", "nonsense", &all], "");
        cli.ok(&["rmi", &all]);
        let path = format!("/distribution/{all}/json");
        let answer =
            skep_e2e::http::exchange(&cli.host().socket(), "GET", &path, &[], b"").unwrap();
        let found = answer.json();
        assert_eq!(found["Descriptor"]["mediaType"], kind);
        assert_eq!(found["Platforms"].as_array().map(Vec::len), Some(2), "{found}");
    });
}

#[test]
fn shows_manifests_as_their_registry_has_them() {
    beside_a_registry(5000, Login::Ali, |cli, at| {
        let tag = format!("{at}/{}:v1", cli.name("app"));
        let json = |words: &[&str]| -> serde_json::Value {
            serde_json::from_str(&cli.ok(&[&["manifest", "inspect"], words].concat())).unwrap()
        };
        let inspect = ["manifest", "inspect", "--insecure", &tag];
        cli.fails(&inspect, "");
        cli.ok(&["login", "-u", "ali", "-p", "open sesame", at]);
        cli.ok(&["tag", IMAGE, &tag]);
        let pushed = cli.ok(&["push", &tag]);
        let (_, digest) = pushed.split_once("digest: ").unwrap();
        let digest = digest.split(' ').next().unwrap();
        let repository = cli.name("app");
        let there = format!("http://{at}/v2/{repository}/manifests");
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let curl = format!("curl -sf -u 'ali:open sesame' -H 'Accept: {kind}' {there}/{digest}");
        let raw: serde_json::Value = serde_json::from_str(&cli.shell(&curl)).unwrap();
        assert_eq!(json(&["--insecure", &tag]), raw);
        let more = json(&["--insecure", "-v", &tag]);
        assert_eq!(more["Descriptor"]["digest"], digest, "{more}");
        let here = cli.ok(&["image", "inspect", "-f", "{{.Architecture}}", IMAGE]);
        assert_eq!(more["Descriptor"]["platform"]["architecture"], here.as_str(), "{more}");
        let none = format!("{tag}-none");
        cli.fails(&["manifest", "inspect", "--insecure", &none], "");

        // An index of it is shown as what is in it.
        let mut entry = more["Descriptor"].clone();
        entry["platform"] = serde_json::json!({ "architecture": here, "os": "linux" });
        let kind = "application/vnd.oci.image.index.v1+json";
        let mut index = serde_json::json!({
            "schemaVersion": 2, "mediaType": kind, "manifests": [entry],
        });
        let file = cli.file("index.json", &index.to_string());
        cli.shell(&format!(
            "curl -sf -u 'ali:open sesame' -X PUT -H 'Content-Type: {kind}' \
             --data-binary @{file} {there}/all"
        ));
        let all = format!("{at}/{repository}:all");
        let mut shown = json(&["--insecure", &all]);
        for document in [&mut shown, &mut index] {
            assert_eq!(document["manifests"][0]["digest"], digest, "{document}");
            assert_eq!(document["mediaType"], kind);
        }
        let shown = json(&["--insecure", "--verbose", &all]);
        assert_eq!(shown[0]["Descriptor"]["digest"], digest, "{shown}");
        cli.ok(&["logout", at]);
    });
}

/// Answers every question with three finds and keeps what it was asked, line by line, until its host
/// ends.
const INDEX: &str = r#"
import http.server
class Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, flush=True)
        body = b"""{"num_results": 3, "query": "bees", "results": [
            {"name": "bees", "description": "those\\nthat hum", "star_count": 40, "is_official": true},
            {"name": "ali/bees", "description": null, "star_count": 7, "is_official": false},
            {"name": "eve/bees", "description": "few", "star_count": 1, "is_official": false}]}"""
        found = self.path.startswith("/v1/search?")
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body) if found else 0))
        self.end_headers()
        if found:
            self.wfile.write(body)
    def log_message(self, *words):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 5080), Index)
print("listening", flush=True)
server.serve_forever()
"#;

#[test]
fn looks_for_images_in_an_index() {
    let Some(single) = Single::own() else { return };
    let host = single.host();
    if !host.run(&["which", "python3"]).unwrap().status.success() {
        eprintln!("SKIP: no python3 is installed");
        return;
    }
    let command = host.command(&["python3", "-c", INDEX]).unwrap();
    let index = skep_e2e::Session::on_pipes(command).unwrap();
    index.expect("listening", 0).unwrap_or_else(|error| panic!("{error:#}"));
    let term = "127.0.0.1:5080/bees";
    let results = [Program::Docker, Program::Skep].map(|program| {
        if !program.installed() {
            eprintln!("SKIP: no docker command line is installed");
            return None;
        }
        let cli = single.command_line(program);
        let from = index.text().len();
        let table = cli.ok(&["search", term]);
        assert!(table.contains("NAME") && table.contains("[OK]"), "{table}");
        index.expect("/v1/search?q=bees&n=25", from).unwrap();
        let format = ["--format", "{{.Name}} {{.StarCount}}", term];
        let names = |more: &[&str]| cli.ok(&[&["search"], more, &format[..]].concat());
        assert_eq!(names(&["--filter", "is-official=true"]), "bees 40");
        assert_eq!(names(&["-f", "is-official=false"]), "ali/bees 7\neve/bees 1");
        assert_eq!(names(&["-f", "stars=5"]), "bees 40\nali/bees 7");
        assert_eq!(names(&["--limit", "3", "--no-trunc"]).lines().count(), 3);
        index.expect("/v1/search?q=bees&n=3", from).unwrap();
        cli.fails(&["search", "--limit", "101", term], "outside the range of [1, 100]");
        cli.fails(&["search", "--filter", "colour=red", term], "invalid filter 'colour'");
        cli.fails(&["search", "--filter", "stars=many", term], "invalid filter 'stars=many'");
        cli.fails(&["search", "127.0.0.1:9/bees"], "");
        Some((table, names(&[])))
    });
    if let [Some(docker), Some(skep)] = results {
        assert_eq!(docker, skep, "docker's on the left, skep's on the right");
    }
    let bad = single.api("GET", "/images/search?term=https://r.example/x", "");
    assert_eq!(bad.status, 400, "{}", bad.text());
}
