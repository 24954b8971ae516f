//! `key=value` pairs and files of them.

use std::path::Path;

use skep_docker_api::json::Map;

use crate::failure::{Failure, Outcome};

/// Pairs to a map; a key alone has an empty value, and the last of a key wins.
pub fn map(pairs: &[String]) -> Map {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), value.to_owned())
    };
    pairs.iter().map(split).collect()
}

/// The largest file of pairs read: a service's spec may hold no more than some megabytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Environment variables of files and flags: a name alone takes the value it has here. Without one, a file's is left out
/// and a flag's stays a name. The last of a name wins.
pub fn environment(files: &[String], pairs: &[String]) -> Outcome<Vec<String>> {
    let mut out = Vec::new();
    for pair in environment_of_files(files)? {
        replace(&mut out, pair);
    }
    for pair in pairs {
        replace(&mut out, resolved(pair));
    }
    Ok(out)
}

fn replace(list: &mut Vec<String>, pair: String) {
    if list.contains(&pair) {
        return;
    }
    let name = key(&pair).to_owned();
    list.retain(|have| !have.contains('=') || key(have) != name);
    list.push(pair);
}

/// What stands before the first `=`.
pub fn key(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(key, _)| key)
}

/// A name alone becomes a pair where it has a value here.
pub fn resolved(pair: &str) -> String {
    match std::env::var(pair) {
        Ok(value) if !pair.contains('=') => format!("{pair}={value}"),
        _ => pair.into(),
    }
}

/// For flags: a pair must have a name.
pub fn variable(text: &str) -> Result<String, String> {
    if key(text).is_empty() {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(text.into())
}

/// For flags: a label must have a name without blanks.
pub fn label(text: &str) -> Result<String, String> {
    let name = key(text).trim_start();
    if name.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if name.contains(char::is_whitespace) {
        return Err(format!("label '{text}' contains whitespaces in name"));
    }
    Ok(text.into())
}

/// A container's environment: of a flag given twice the last counts, and what files say stays beside it.
pub fn container_environment(files: &[String], pairs: &[String]) -> Outcome<Vec<String>> {
    let mut out = environment_of_files(files)?;
    let mut own: Vec<String> = Vec::new();
    for pair in pairs {
        let pair = resolved(pair);
        own.retain(|have| key(have) != key(&pair));
        own.push(pair);
    }
    out.extend(own);
    Ok(out)
}

pub fn environment_of_files(files: &[String]) -> Outcome<Vec<String>> {
    let mut out = Vec::new();
    for file in files {
        let lines = file_lines(Path::new(file))?;
        out.extend(lines.iter().map(|line| resolved(line)).filter(|pair| pair.contains('=')));
    }
    Ok(out)
}

/// Labels of files and flags; a name alone has an empty value in a flag, and is nothing in a file.
pub fn labels(files: &[String], pairs: &[String]) -> Outcome<Map> {
    let mut all = Vec::new();
    for file in files {
        all.extend(file_lines(Path::new(file))?.into_iter().filter(|line| line.contains('=')));
    }
    all.extend_from_slice(pairs);
    Ok(map(&all))
}

/// An error of the system in the words Go has for it.
pub fn io_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".into(),
        std::io::ErrorKind::PermissionDenied => "permission denied".into(),
        _ => error.to_string(),
    }
}

fn file_lines(path: &Path) -> Outcome<Vec<String>> {
    let refuse = |why: String| Failure::new(format!("open {}: {why}", path.display()));
    let malformed =
        |why: String| Failure::new(format!("invalid env file ({}): {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refuse(io_words(&error)))?.len();
    if size > FILE_BYTES_MAX {
        return Err(refuse(format!("{size} bytes are more than the {FILE_BYTES_MAX} allowed")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let mut lines = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() {
            return Err(malformed(format!("no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(malformed(format!("variable '{name}' contains whitespaces")));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}
