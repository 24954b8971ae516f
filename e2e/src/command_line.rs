//! The docker command line and skep's own, in one form: a test says the words, and either says them
//! to the host's daemon.

use std::process::Command;
use std::time::Duration;

use crate::host::Host;
use crate::http;
use crate::session::Session;
use crate::{limits, run};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Docker,
    Skep,
}

impl Program {
    fn word(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Skep => "skep",
        }
    }

    /// Skep is built where it is missing.
    pub fn installed(self) -> bool {
        self == Self::Skep || docker_version().is_some()
    }
}

/// Major and minor version of the docker command line; none where there is none.
pub fn docker_version() -> Option<(u32, u32)> {
    let output = Command::new("docker").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // `Docker version 28.2.2, build e6534b4`
    let mut numbers = text.strip_prefix("Docker version ")?.split(['.', ',']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Dropped, it takes away containers, networks, volumes and images whose names it gave out.
pub struct CommandLine {
    host: Host,
    program: Program,
    suffix: String,
}

impl CommandLine {
    pub(crate) fn new(host: Host, program: Program, number: u32) -> Self {
        Self { host, program, suffix: format!("-c{number}") }
    }

    pub fn program(&self) -> Program {
        self.program
    }

    pub fn is_docker(&self) -> bool {
        self.program == Program::Docker
    }

    pub fn host(&self) -> &Host {
        &self.host
    }

    /// A name that no other case uses. It is the same for both command lines.
    pub fn name(&self, base: &str) -> String {
        format!("{base}{}", self.suffix)
    }

    fn command(&self, words: &[&str]) -> Command {
        let words: Vec<&str> =
            std::iter::once(self.program.word()).chain(words.iter().copied()).collect();
        let mut command = self.host.command(&words).unwrap_or_else(|error| panic!("{error:#}"));
        // The person's own settings stay out of it. `/tmp` is the host's.
        command.env("DOCKER_CONFIG", "/tmp/docker-config").env("NO_COLOR", "1");
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        self.run_with_input(words, b"")
    }

    pub fn run_with_input(&self, words: &[&str], input: &[u8]) -> Ran {
        let output = run::output(self.command(words), input, limits::COMMAND_WITHIN);
        let output = output.unwrap_or_else(|error| panic!("{error:#}"));
        Ran {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// What it printed, without the last line's end. Panics where it failed.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        let said = || format!("{} {words:?}: {}{}", self.program.word(), ran.stderr, ran.stdout);
        assert_eq!(ran.status, 0, "{}", said());
        ran.stdout.trim_end_matches('\n').to_owned()
    }

    /// As [`Self::ok`], with something on standard input.
    #[track_caller]
    pub fn ok_with_input(&self, words: &[&str], input: &[u8]) -> String {
        let ran = self.run_with_input(words, input);
        assert_eq!(ran.status, 0, "{} {words:?}: {}", self.program.word(), ran.stderr);
        ran.stdout.trim_end_matches('\n').to_owned()
    }

    /// The exit status of a command that must fail and say `why` among its complaints.
    #[track_caller]
    pub fn fails(&self, words: &[&str], why: &str) -> i32 {
        let ran = self.run(words);
        let said = || format!("{} {words:?} gave {ran:?}", self.program.word());
        assert_ne!(ran.status, 0, "{}", said());
        assert!(ran.stderr.contains(why), "expected {why:?}: {}", said());
        ran.status
    }

    /// One value of `inspect`.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.ok(&["inspect", "--format", template, name])
    }

    /// Until what the command prints is as wanted.
    #[track_caller]
    pub fn wait_for(&self, words: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        crate::eventually_blocking(limits::SHOWN_WITHIN, || {
            let ran = self.run(words);
            match ran.status == 0 && wanted(ran.stdout.trim_end()) {
                true => Ok(ran.stdout.trim_end().to_owned()),
                false => Err(format!("{words:?} gives {ran:?}")),
            }
        })
    }

    /// Until the container's state is that word.
    #[track_caller]
    pub fn wait_state(&self, name: &str, state: &str) {
        let words = ["inspect", "--format", "{{.State.Status}}", name];
        self.wait_for(&words, |text| text == state);
    }

    pub fn on_terminal(&self, words: &[&str]) -> Session {
        Session::on_terminal(self.command(words), 24, 80)
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    pub fn on_pipes(&self, words: &[&str]) -> Session {
        Session::on_pipes(self.command(words)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// A file on the host, below a directory of this case. Gives its path there.
    #[track_caller]
    pub fn file(&self, name: &str, contents: &str) -> String {
        let path = format!("{}/{name}", self.dir());
        let script = "mkdir -p \"${1%/*}\" && cat > \"$1\"";
        let words = ["sh", "-c", script, "sh", &path];
        let output = self.host.run_with_input(&words, contents.as_bytes());
        let output = output.unwrap_or_else(|error| panic!("{error:#}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    }

    /// A directory of this case on the host, in its `/tmp`; made by [`Self::file`].
    pub fn dir(&self) -> String {
        format!("/tmp/case{}-{}", self.suffix, self.program.word())
    }

    /// A shell script on the host: what it printed, without the last line's end.
    #[track_caller]
    pub fn shell(&self, script: &str) -> String {
        let said = self.host.check(&["sh", "-c", script]);
        said.unwrap_or_else(|error| panic!("{error:#}")).trim_end_matches('\n').to_owned()
    }

    /// Collects nothing that goes wrong: what is left shows in the next look at the host.
    fn clean_up(&self) {
        let socket = self.host.socket();
        for (list, each) in [
            ("/containers/json?all=1", "/containers/{}?force=1&v=1"),
            ("/networks", "/networks/{}"),
            ("/volumes", "/volumes/{}?force=1"),
            ("/images/json", "/images/{}?force=1"),
        ] {
            let Ok(answer) = http::exchange(&socket, "GET", list, &[], b"") else { continue };
            let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            for name in names(&value).iter().filter(|name| self.gave(name)) {
                let _ = http::exchange(&socket, "DELETE", &each.replace("{}", name), &[], b"");
            }
        }
        let _ = self.host.run(&["rm", "-rf", &self.dir()]);
    }

    fn gave(&self, name: &str) -> bool {
        name.split([':', '_']).any(|part| part.ends_with(&self.suffix))
    }
}

/// The names in a list of containers, networks, volumes or images.
fn names(list: &serde_json::Value) -> Vec<String> {
    let list = list.get("Volumes").unwrap_or(list).as_array().cloned().unwrap_or_default();
    let each = list.iter().flat_map(|one| {
        let several = ["Names", "RepoTags"].into_iter().filter_map(|key| one[key].as_array());
        let several = several.flatten().filter_map(|name| name.as_str());
        several.chain(one["Name"].as_str()).collect::<Vec<_>>()
    });
    each.map(|name| name.trim_start_matches('/').to_owned()).collect()
}

impl Drop for CommandLine {
    fn drop(&mut self) {
        self.clean_up();
    }
}

/// Long enough for a debug build on a busy machine.
pub const SOON: Duration = limits::SHOWN_WITHIN;
