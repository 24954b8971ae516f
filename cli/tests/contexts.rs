//! `skep context`, `login` and `logout` beside Docker's own command line, over one folder of settings each, and over one for both.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use support::recorder::Recorder;
use support::{none, ours_for};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");

/// Both outputs and the status of one line; none where the program is not installed.
fn said(
    program: &str,
    folder: &Path,
    host: Option<&str>,
    line: &str,
    input: &str,
) -> Option<String> {
    use std::io::Write;
    let mut command = Command::new(program);
    command
        .args(line.split('|'))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("DOCKER_CONFIG", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIP: {program} is not installed: {error}");
            return None;
        }
    };
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let shown = format!(
        "{}{}[{}]\n",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1)
    );
    // Each has a folder of its own, and a socket where nobody says another.
    Some(
        shown
            .replace(&folder.display().to_string(), "FOLDER")
            .replace("unix:///var/run/docker.sock", "SOCKET")
            .replace("unix:///run/skep.sock", "SOCKET"),
    )
}

/// Columns are as wide as their longest cell, which is the socket that each means by default.
fn squeezed(text: &str) -> String {
    text.split('\n')
        .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join("  "))
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// The same lines, one after another, to each.
fn unlike(lines: &[(&str, &str)], host: Option<&str>) -> Vec<String> {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut found = Vec::new();
    for (line, input) in lines {
        let Some(docker) = said("docker", theirs.path(), host, line, input) else { return found };
        // Names of keys and of Docker's pages are theirs in both.
        let docker = squeezed(&ours_for(&docker));
        let skep = squeezed(&ours_for(&said(SKEP, ours.path(), host, line, input).unwrap()));
        if skep != docker {
            found.push(format!("skep {line}\n--- ours\n{skep}--- docker's\n{docker}"));
        }
    }
    found
}

#[test]
fn contexts() {
    let lines = [
        "context|ls",
        "context|show",
        "context|create|far|--docker|host=tcp://far:2376|--description|over there",
        "context|create|far|--docker|host=tcp://far:2376",
        "context|create|default",
        "context|create|-x",
        "context|create|a b",
        "context|create|near|--docker|host=unix:///tmp/near.sock",
        "context|create|copy|--from|far",
        "context|create|again|--docker|from=near",
        "context|create|lost|--from|nowhere",
        "context|create|both|--from|far|--docker|host=tcp://x:1",
        "context|inspect|copy|-f|{{.Endpoints.docker.Host}}",
        "context|inspect|again|-f|{{.Endpoints.docker.Host}}",
        "context|ls",
        "context|ls|-q",
        "context|ls|--format|json",
        "context|use|far",
        "context|show",
        "context|ls",
        "context|inspect",
        "context|inspect|near|-f|{{.Name}} {{.Endpoints.docker.Host}}",
        "context|update|near|--description|close",
        "context|update|gone|--description|x",
        "context|rm|far",
        "context|rm|default",
        "context|rm|-f|far",
        "context|rm|near",
        "context|use|default",
        "context|ls",
    ]
    .map(|line| (line, ""));
    none(unlike(&lines, None));
}

#[test]
fn both_see_the_same_contexts() {
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, line: &str| said(program, folder.path(), None, line, "");
    run(SKEP, "context|create|one|--docker|host=unix:///tmp/one.sock|--description|made by us");
    let Some(shown) = run("docker", "context|inspect|one|-f|{{.Endpoints.docker.Host}}") else {
        return;
    };
    assert_eq!(shown, "unix:///tmp/one.sock\n[0]\n");
    run("docker", "context|create|two|--docker|host=unix:///tmp/two.sock");
    run("docker", "context|use|two");
    assert_eq!(run(SKEP, "context|show").unwrap(), "two\n[0]\n");
    let refused = run(SKEP, "ps").unwrap();
    assert!(refused.contains("unix:///tmp/two.sock"), "{refused}");
    let refused = run(SKEP, "-c|one|ps").unwrap();
    assert!(refused.contains("unix:///tmp/one.sock"), "{refused}");
    assert_eq!(run(SKEP, "context|ls|-q"), run("docker", "context|ls|-q"));
}

#[test]
fn logins() {
    let recorder = Recorder::start();
    let host = recorder.host();
    let lines = [
        ("login|-u|me|--password-stdin|reg.example:5000", "secret\n"),
        ("login|-u|me|-p|secret|reg.example", ""),
        ("login|--password-stdin|reg.example", "secret\n"),
        ("login|-u|me|reg.example", ""),
        ("login|-p|a|--password-stdin|reg.example", ""),
        ("logout|reg.example", ""),
        ("logout|never.example", ""),
        ("login|reg.example:5000", ""),
    ];
    none(unlike(&lines, Some(&host)));
}

#[test]
fn a_login_of_ours_is_dockers_too() {
    let recorder = Recorder::start();
    let (host, folder) = (recorder.host(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("config.json"), r#"{"psFormat":"{{.ID}}","mine":[1]}"#)
        .unwrap();
    let line = "login|-u|me|--password-stdin|reg.example";
    let shown = said(SKEP, folder.path(), Some(&host), line, "secret").unwrap();
    assert!(shown.ends_with("[0]\n"), "{shown}");
    let text = std::fs::read_to_string(folder.path().join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["auths"]["reg.example"]["auth"], "bWU6c2VjcmV0");
    assert_eq!((&config["psFormat"], &config["mine"][0]), (&"{{.ID}}".into(), &1.into()));
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(folder.path().join("config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
