//! What every command says of itself, and the scripts that complete commands in a shell.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");

fn skep(words: &[&str]) -> Output {
    Command::new(SKEP).args(words).env("COLUMNS", "100").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The commands that a help lists.
fn commands(help: &str) -> impl Iterator<Item = &str> {
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let list = list.take_while(|line| line.starts_with("  "));
    list.filter_map(|line| line.split_whitespace().next())
}

#[test]
fn every_command_shows_its_help_either_way() {
    // The short one is a flag of their own: a host's name.
    let own = ["run", "create", "container run", "container create"];
    let (mut waiting, mut seen) = (vec![String::new()], 0);
    while let Some(path) = waiting.pop() {
        let words: Vec<&str> = path.split_whitespace().collect();
        let long = skep(&[&words[..], &["--help"]].concat());
        let help = text(&long.stdout);
        assert!(long.status.success() && long.stderr.is_empty(), "skep {path} --help");
        assert!(help.starts_with(format!("Usage:  skep {path}").trim_end()), "{path}: {help}");
        waiting.extend(commands(&help).map(|sub| format!("{path} {sub}").trim().to_owned()));
        seen += 1;
        if own.contains(&path.as_str()) {
            continue;
        }
        let short = skep(&[&words[..], &["-h"]].concat());
        assert!(short.status.success(), "skep {path} -h");
        assert_eq!(text(&short.stdout), help, "skep {path} -h");
        let warned = match path.as_str() {
            "" => "",
            _ => "Flag shorthand -h has been deprecated, use --help\n",
        };
        assert_eq!(text(&short.stderr), warned, "skep {path} -h");
    }
    assert!(seen > 100, "only {seen} commands were found");
}

/// A shell that runs a script; none (and SKIP) where it is not installed.
fn shell(name: &str, flags: &[&str], script: &str) -> Option<String> {
    let mut command = Command::new(name);
    command.args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("SKIP: {name} is not installed: {error}");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}: {}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "{name}");
    Some(text(&output.stdout))
}

fn completion(shell: &str) -> String {
    let written = skep(&["completion", shell]);
    assert!(written.status.success(), "{}", text(&written.stderr));
    text(&written.stdout)
}

#[test]
fn shells_take_the_scripts_and_complete_commands() {
    let bash = completion("bash");
    let complete = |words: &str, word: &str| {
        let script = format!(
            "{bash}\nCOMP_WORDS=(skep {words} {word}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))\n\
             _skep skep '{word}' ''\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        );
        shell("bash", &["--norc"], &script)
    };
    if let Some(found) = complete("", "serv") {
        assert_eq!(found, "service\n");
        assert_eq!(complete("service", "rol").unwrap(), "rollback\n");
        let flags = complete("service create", "--replicas-").unwrap();
        assert_eq!(flags, "--replicas-max-per-node\n");
    }
    // Read to their ends, as at the start of a shell; what is asked of them is their own shells'.
    shell("zsh", &["-f", "-n"], &completion("zsh"));
    let script = completion("fish") + "\ncomplete -C 'skep service rol'\n";
    if let Some(found) = shell("fish", &["--no-config"], &script) {
        assert!(found.starts_with("rollback"), "{found}");
    }
    let refused = skep(&["completion", "nope"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(text(&refused.stderr), "invalid argument \"nope\": expected bash, zsh or fish\n");
}
