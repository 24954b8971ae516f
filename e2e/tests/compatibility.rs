//! `docs/compatibility.md` says what skep does of all that Docker has. Held here: that it is whole,
//! that the tests it names are there, and that commands, flags and endpoints are as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use skep_e2e::{Single, docker_version, skep_binary};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a row says skep does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// As Docker, shown by the row's tests.
    Yes,
    /// Less than Docker, shown by the row's tests.
    Partly,
    /// It is there, and no case shows it end to end.
    Untested,
    /// The `skep` command has it, and the daemon does not answer it.
    Waits,
    No,
}

#[derive(Debug)]
struct Row {
    /// Commands with their aliases, or one endpoint.
    subjects: Vec<String>,
    /// Without any the row is about the subject itself.
    flags: Vec<String>,
    stands: Stands,
    /// A row of a table that is headed as skep's own.
    ours: bool,
    tests: Vec<String>,
}

/// The words of a cell that stand between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn parse(text: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut ours = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            ours = heading.contains("skep's own");
        }
        let Some(line) = line.strip_prefix('|') else { continue };
        let cells: Vec<&str> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        if cells[0].starts_with("---") || !cells[0].contains('`') {
            continue;
        }
        assert_eq!(cells.len(), 4, "four cells: {line}");
        let (word, reason) = cells[2].split_once(':').unwrap_or((cells[2], ""));
        let stands = match word {
            "yes" => Stands::Yes,
            "partly" => Stands::Partly,
            "untested" => Stands::Untested,
            "waits" => Stands::Waits,
            "no" => Stands::No,
            _ => panic!("neither yes, partly, untested, waits nor no: {line}"),
        };
        let explained = matches!(stands, Stands::Yes | Stands::Untested) || !reason.is_empty();
        assert!(explained, "a reason is missing: {line}");
        let row = Row {
            subjects: quoted(cells[0]),
            flags: quoted(cells[1]),
            stands,
            ours,
            tests: quoted(cells[3]),
        };
        let shown = matches!(stands, Stands::Yes | Stands::Partly);
        assert!(!shown || !row.tests.is_empty(), "no test is named: {line}");
        rows.push(row);
    }
    rows
}

fn table() -> Vec<Row> {
    let rows = parse(&std::fs::read_to_string(workspace().join("docs/compatibility.md")).unwrap());
    assert!(rows.len() > 100, "the table was read");
    rows
}

fn is_endpoint(subject: &str) -> bool {
    subject.contains(" /")
}

/// Each command with its flags and what is said of them; the command itself under an empty flag.
fn commands(rows: &[Row]) -> BTreeMap<(String, String), (Stands, bool)> {
    let mut all = BTreeMap::new();
    for row in rows {
        for subject in row.subjects.iter().filter(|subject| !is_endpoint(subject)) {
            let none = [String::new()];
            let flags = if row.flags.is_empty() { &none[..] } else { &row.flags };
            for flag in flags {
                let key = (subject.clone(), flag.clone());
                let before = all.insert(key.clone(), (row.stands, row.ours));
                assert!(before.is_none(), "two rows say something of {key:?}");
            }
        }
    }
    all
}

/// Commands with their flags, as a program's own help lists them.
fn helps(program: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(command) = waiting.pop() {
        let words = command.split_whitespace();
        let output = Command::new(program).args(words).arg("--help").output().unwrap();
        let (subs, flags) = read_help(&String::from_utf8_lossy(&output.stdout));
        waiting.extend(subs.iter().map(|sub| format!("{command} {sub}").trim().to_owned()));
        all.insert(command, flags);
    }
    all
}

/// A help's commands and its flags, the short ones too.
fn read_help(text: &str) -> (Vec<String>, BTreeSet<String>) {
    let (mut subs, mut flags) = (Vec::new(), BTreeSet::new());
    let mut section = "";
    for line in text.lines() {
        if !line.starts_with(' ') {
            section = line.strip_suffix(':').unwrap_or_default();
            continue;
        }
        // What is deeper goes on with the line before.
        let indent = line.len() - line.trim_start().len();
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if section.ends_with("Commands") && indent == 2 {
            subs.push(first.trim_end_matches('*').to_owned());
        } else if section.ends_with("Options") && indent <= 6 && first.starts_with('-') {
            // One whose value may be left out is shown as `--init[=<bool>]`.
            let long = words.next().filter(|word| word.starts_with("--"));
            let names = std::iter::once(first.trim_end_matches(',')).chain(long);
            let names: Vec<&str> = names.filter_map(|name| name.split('[').next()).collect();
            // Every command has it, mostly with a `-h` that means the same.
            if !names.contains(&"--help") {
                flags.extend(names.into_iter().map(str::to_owned));
            }
        }
    }
    subs.retain(|sub| sub != "help");
    (subs, flags)
}

#[test]
fn every_test_that_is_named_exists() {
    for row in table() {
        for name in &row.tests {
            let (file, test) = name.split_once("::").unwrap_or_else(|| panic!("no test: {name}"));
            let path = match file.split_once('/') {
                Some((room, file)) => format!("{room}/tests/{file}.rs"),
                None => format!("e2e/tests/{file}.rs"),
            };
            let text = std::fs::read_to_string(workspace().join(&path))
                .unwrap_or_else(|error| panic!("{name}: {path}: {error}"));
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            let at = lines.iter().position(|line| {
                let line = line.strip_prefix("async ").unwrap_or(line);
                line.strip_prefix("fn ").is_some_and(|rest| rest.starts_with(&format!("{test}(")))
            });
            let at = at.unwrap_or_else(|| panic!("{path} has no function {test}"));
            let marked = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            let mut marked = marked.filter(|line| line.contains("test"));
            assert!(marked.next().is_some(), "{test} in {path} is no test");
        }
    }
}

#[test]
fn every_docker_command_and_flag_has_its_row() {
    // The table is that of 28.2; older ones have flags that are gone since.
    match docker_version() {
        Some(version) if version >= (28, 2) => {}
        version => {
            eprintln!("SKIP: no docker command line of version 28.2 or newer: {version:?}");
            return;
        }
    }
    let table = commands(&table());
    let mut missing = Vec::new();
    for (command, flags) in helps(Path::new("docker")) {
        let itself = std::iter::once(String::new()).filter(|_| !command.is_empty());
        for flag in flags.into_iter().chain(itself) {
            let row = table.get(&(command.clone(), flag.clone()));
            if row.is_none_or(|(_, ours)| *ours) {
                missing.push(format!("{command} {flag}"));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn skeps_own_help_says_the_same() {
    let table = commands(&table());
    let helps = helps(skep_binary());
    let mut faults = Vec::new();
    for (command, flags) in &helps {
        for flag in flags {
            match table.get(&(command.clone(), flag.clone())) {
                None => faults.push(format!("skep {command} {flag} has no row")),
                Some((Stands::No, _)) => faults.push(format!("skep {command} {flag} is there")),
                Some(_) => {}
            }
        }
    }
    for ((command, flag), (stands, _)) in &table {
        let there = helps.get(command).is_some_and(|flags| flag.is_empty() || flags.contains(flag));
        if *stands != Stands::No && !there {
            faults.push(format!("skep {command} {flag} is not there"));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn endpoints_answer_as_the_table_says() {
    let Some(single) = Single::shared() else { return };
    let mut faults = Vec::new();
    let rows = table();
    let endpoints = rows.iter().flat_map(|row| {
        let subjects = row.subjects.iter().filter(|subject| is_endpoint(subject));
        subjects.map(|subject| (subject.clone(), row.stands))
    });
    for (endpoint, stands) in endpoints {
        // Endless where it works; its own cases ask it.
        if endpoint == "GET /events" {
            continue;
        }
        let (method, path) = endpoint.split_once(' ').unwrap();
        let path = path.replace("{id}", "nobody").replace("{name}", "nobody");
        // A body that no route accepts: nothing is made, and a route that is there says so.
        let answer = single.api(method, &path, if method == "POST" { "[" } else { "" });
        let absent = match method {
            // It has no body to tell by.
            "HEAD" => continue,
            _ => answer.message() == "page not found" || answer.status == 405,
        };
        let there = matches!(stands, Stands::Yes | Stands::Partly | Stands::Untested);
        if absent == there {
            faults.push(format!(
                "{endpoint}: {stands:?}, and it says {} {}",
                answer.status,
                answer.text()
            ));
        }
    }
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn a_bad_table_is_found_out() {
    let rows = parse("## Commands of skep's own\n| `a`, `b c` | `-x` `--xx` | no: why | |\n");
    assert_eq!(rows[0].subjects, ["a", "b c"]);
    assert_eq!(rows[0].flags, ["-x", "--xx"]);
    assert!(rows[0].ours && rows[0].stands == Stands::No);
    for bad in ["| `a` | | perhaps | |", "| `a` | | no | |", "| `a` | | yes | |"] {
        assert!(std::panic::catch_unwind(|| parse(bad)).is_err(), "{bad}");
    }
}
