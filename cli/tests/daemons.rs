//! Which daemon a command asks, and how: the options before the command and the variables that
//! stand for them, beside Docker's own command line.

mod support;

use std::process::Command;

use support::fake::Fake;
use support::recorder::Recorder;
use support::{Daemon, none, ours_for};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");

/// Two daemons, and a folder of settings with a context for each.
struct Places {
    here: Recorder,
    there: Recorder,
    folder: tempfile::TempDir,
}

impl Places {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = Self { here: Recorder::start(), there: Recorder::start(), folder };
        for (name, recorder) in [("here", &places.here), ("there", &places.there)] {
            let host = format!("host={}", recorder.host());
            let made = places.run(SKEP, "", &["context", "create", name, "--docker", &host]);
            assert_eq!(made.unwrap(), format!("{name}\nSuccessfully created context \"{name}\"\n"));
        }
        places
    }

    fn filled(&self, text: &str) -> String {
        let folder = self.folder.path().to_str().unwrap();
        text.replace("@here", &self.here.host())
            .replace("@there", &self.there.host())
            .replace("@folder", folder)
    }

    /// Output, errors and status; none where the program is not installed.
    fn run(&self, program: &str, variables: &str, words: &[&str]) -> Option<String> {
        let mut command = Command::new(program);
        let words = words.iter().map(|word| self.filled(word));
        command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("DOCKER_CONFIG", self.folder.path());
        for pair in variables.split_whitespace() {
            let (name, value) = pair.split_once('=').unwrap();
            match value {
                "" => command.env_remove(name),
                value => command.env(name, self.filled(value)),
            };
        }
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                eprintln!("SKIP: {program} is not installed: {error}");
                return None;
            }
        };
        let mut shown =
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if let Some(status @ 1..) = output.status.code() {
            shown.push_str(&format!("[{status}]\n"));
        }
        Some(shown)
    }

    /// What a program says, and whom it asked for what.
    fn asked(&self, program: &str, variables: &str, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split(' ').collect();
        let mut shown = ours_for(&self.run(program, variables, &words)?);
        for (name, recorder) in [("here", &self.here), ("there", &self.there)] {
            for call in recorder.calls() {
                shown.push_str(&format!("{name}: {} {}\n", call.method, call.path));
            }
        }
        Some(shown)
    }
}

/// That both say and ask the same; what skep's was, for a closer look.
fn same(places: &Places, variables: &str, line: &str, faults: &mut Vec<String>) -> String {
    let ours = places.asked(SKEP, variables, line).unwrap();
    if let Some(theirs) = places.asked("docker", variables, line)
        && theirs != ours
    {
        faults.push(format!("{variables} skep {line}\n--- ours\n{ours}--- docker's\n{theirs}"));
    }
    ours
}

#[test]
fn flags_and_variables_say_whom_to_ask() {
    let places = Places::new();
    let mut faults = Vec::new();
    for (variables, line, whom) in [
        ("DOCKER_HOST=@here", "ps -q", "here"),
        ("DOCKER_HOST=@here", "-H @there ps -q", "there"),
        ("DOCKER_HOST=@here", "--host=@there ps -q", "there"),
        ("", "-c here ps -q", "here"),
        ("", "--context there ps -q", "there"),
        ("DOCKER_CONTEXT=there", "ps -q", "there"),
        ("DOCKER_CONTEXT=there", "-c here ps -q", "here"),
        ("DOCKER_CONTEXT=there DOCKER_HOST=@here", "ps -q", "here"),
        ("DOCKER_CONTEXT=there", "-H @here ps -q", "here"),
        ("DOCKER_HOST=@here", "-c there ps -q", "there"),
        ("DOCKER_CONFIG=", "--config @folder -c there ps -q", "there"),
        ("DOCKER_CONFIG=/nonexistent", "--config @folder -c here ps -q", "here"),
        ("DOCKER_CONFIG=@folder", "-c there ps -q", "there"),
        ("DOCKER_HOST=@here", "-l error ps -q", "here"),
        ("DOCKER_HOST=@here", "--log-level=fatal ps -q", "here"),
        ("", "-c here -H @here ps -q", ""),
        ("", "-c nowhere ps -q", ""),
        ("DOCKER_CONTEXT=nowhere", "ps -q", ""),
        ("DOCKER_HOST=@here", "-D info -f {{.ClientInfo.Debug}}", ""),
        ("DOCKER_HOST=@here", "--debug info -f {{.ClientInfo.Debug}}", ""),
        ("DOCKER_HOST=@here", "info -f {{.ClientInfo.Debug}}", ""),
    ] {
        let ours = same(&places, variables, line, &mut faults);
        let asked = |name: &str| {
            let call = format!("{name}: GET /containers/json");
            ours.lines().any(|line| line.starts_with(&call))
        };
        assert_eq!(asked("here"), whom == "here", "{variables} skep {line}: {ours}");
        assert_eq!(asked("there"), whom == "there", "{variables} skep {line}: {ours}");
    }
    let refused = places.asked(SKEP, "DOCKER_HOST=@here", "-l loud ps -q").unwrap();
    assert!(refused.contains("unable to parse logging level: loud"), "{refused}");
    // What `context use` wrote counts where nothing else is said.
    assert!(places.run(SKEP, "", &["context", "use", "there"]).is_some());
    let ours = same(&places, "", "ps -q", &mut faults);
    assert!(ours.contains("there: GET"), "{ours}");
    none(faults);
}

#[test]
fn certificates_that_are_not_there_are_missed() {
    let places = Places::new();
    let mut faults = Vec::new();
    let host = "-H tcp://127.0.0.1:1";
    for (variables, flags) in [
        ("", "--tlsverify --tlscacert=/nonexistent/ca.pem"),
        ("DOCKER_CERT_PATH=/nonexistent DOCKER_TLS_VERIFY=1", ""),
        ("", "--tls --tlscert=/nonexistent/cert.pem --tlskey=/nonexistent/key.pem"),
    ] {
        let line = format!("{host} {flags} ps -q").replace("  ", " ");
        let ours = same(&places, variables, &line, &mut faults);
        assert!(ours.contains("[1]"), "{ours}");
    }
    none(faults);
}

#[test]
fn a_version_of_the_api_is_asked_for() {
    let daemon = Daemon::start(Fake::swarm());
    let places = Places::new();
    let variables =
        |version: &str| format!("DOCKER_HOST={} DOCKER_API_VERSION={version}", daemon.host());
    let mut faults = Vec::new();
    for version in ["1.40", "v1.40"] {
        let line = "version -f {{.Client.APIVersion}}";
        assert_eq!(same(&places, &variables(version), line, &mut faults), "1.40\n");
        same(&places, &variables(version), "node ls -q", &mut faults);
    }
    let ours = same(&places, &variables("1.99"), "node ls -q", &mut faults);
    assert!(ours.contains("client version 1.99 is too new"), "{ours}");
    let ours = places.run(SKEP, &variables("1.40"), &["version"]).unwrap();
    assert!(ours.contains("1.40 (downgraded from 1.51)"), "{ours}");
    none(faults);
}

#[test]
fn versions_are_said_and_nobody_is_asked() {
    let places = Places::new();
    for flag in ["-v", "--version"] {
        let said = places.asked(SKEP, "DOCKER_HOST=@here", flag).unwrap();
        assert_eq!(said, format!("skep version {}\n", env!("CARGO_PKG_VERSION")));
    }
}
