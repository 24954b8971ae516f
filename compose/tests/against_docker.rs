//! The merged file, printed: as recorded, and as the docker command itself prints it where it is
//! installed (it needs no daemon for that).

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use skep_compose::{Interpolation, Loader, Source, load};

mod docker;

struct Disk;

impl Loader for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    /// What the docker command is given too.
    fn variable(&self, name: &str) -> Option<String> {
        VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }
}

const VARIABLES: &[(&str, &str)] =
    &[("HOME", "/home/somebody"), ("TAG", "1.27"), ("REPLICAS", "3"), ("EMPTY", ""), ("YES", "on")];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")
}

fn ours(files: &[&str]) -> String {
    let directory = directory();
    let read = |name: &&str| Source {
        name: (*name).to_owned(),
        contents: std::fs::read(directory.join(name)).expect("the file is part of the tests"),
    };
    let sources = files.iter().map(read).collect();
    let project = load(sources, &directory, Interpolation::Expand, &Disk);
    project.unwrap_or_else(|error| panic!("{error}")).to_yaml()
}

/// What docker prints; none where there is no docker command to compare with.
fn dockers(files: &[&str]) -> Option<String> {
    let mut docker = docker::stack_config()?;
    let arguments = files.iter().flat_map(|file| ["-c", file]);
    docker.args(arguments).current_dir(directory()).envs(VARIABLES.iter().copied());
    let output = docker.output().expect("the docker command runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker refuses {files:?}: {errors}");
    Some(String::from_utf8(output.stdout).expect("docker prints UTF-8"))
}

fn check(files: &[&str], recorded: &str) {
    let ours = ours(files);
    let directory = directory();
    let here = directory.to_string_lossy().into_owned();
    let above = directory.parent().expect("it is in the tests").to_string_lossy().into_owned();
    // The same wherever the repository is.
    let placed = ours.replace(&here, "/DIRECTORY").replace(&above, "/ABOVE");
    expect_file![directory.join(recorded)].assert_eq(&placed);
    if let Some(dockers) = dockers(files) {
        assert_eq!(ours, dockers, "{files:?} differs from docker's");
    }
}

#[test]
fn one_file() {
    check(&["base.yml"], "base.expected");
}

#[test]
fn every_form() {
    check(&["forms.yml"], "forms.expected");
}

#[test]
fn two_files() {
    check(&["base.yml", "override.yml"], "merged.expected");
}
