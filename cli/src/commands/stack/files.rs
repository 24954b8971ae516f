//! Compose files from disk and standard input. What they mean is `skep_compose`'s.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use skep_compose::{Interpolation, Loader, Project, Source};

use crate::failure::{Failure, Outcome};
use crate::output::warn;

#[derive(Debug, Args)]
pub struct FileArgs {
    /// Path to a Compose file, or "-" to read from stdin
    #[arg(short, long = "compose-file", value_name = "strings", value_delimiter = ',')]
    pub compose_file: Vec<String>,
}

/// The largest file read: Compose files and what they name end up in requests of some megabytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The machine's files and environment.
pub struct Disk;

fn bounded(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("larger than the {FILE_BYTES_MAX} bytes allowed");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

impl Loader for Disk {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        bounded(std::fs::File::open(path)?)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// An error of the files, with its cause.
pub fn failure(error: skep_compose::Error) -> Failure {
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(&error) {
        text.push_str(&format!(": {cause}"));
    }
    Failure::new(text)
}

pub fn load(args: &FileArgs, keep_variables: bool) -> Outcome<Project> {
    let mut sources = Vec::new();
    for name in &args.compose_file {
        let contents = match name.as_str() {
            "-" => bounded(std::io::stdin().lock()),
            _ => Disk.read(Path::new(name)),
        };
        let contents = contents.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Failure::new(format!("open {name}: no such file or directory"))
            }
            _ => Failure::new(format!("open {name}: {error}")),
        })?;
        sources.push(Source { name: name.clone(), contents });
    }
    let here = |error| Failure::new(format!("failed to find the working directory: {error}"));
    let directory: PathBuf = match args.compose_file.first().map(String::as_str) {
        None | Some("-") => std::env::current_dir().map_err(here)?,
        Some(first) => {
            let path = std::path::absolute(first).map_err(here)?;
            path.parent().map_or_else(|| path.clone(), Path::to_path_buf)
        }
    };
    let interpolation = if keep_variables { Interpolation::Keep } else { Interpolation::Expand };
    skep_compose::load(sources, &directory, interpolation, &Disk).map_err(failure)
}

/// Docker parts warnings by an empty line.
pub fn say(warnings: &[String]) {
    warnings.iter().for_each(|text| warn(format!("{text}\n")));
}
