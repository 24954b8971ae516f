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
    for file in files {
        for line in file_lines(Path::new(file))? {
            let pair = resolved(&line);
            if pair.contains('=') {
                replace(&mut out, pair);
            }
        }
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

fn file_lines(path: &Path) -> Outcome<Vec<String>> {
    let refuse = |why: String| Failure::new(format!("open {}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refuse(error.to_string()))?.len();
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
            return Err(Failure::new(format!(
                "poorly formatted environment: no variable name on line '{line}'"
            )));
        }
        if name.contains(char::is_whitespace) {
            return Err(Failure::new(format!(
                "poorly formatted environment: variable '{name}' contains whitespaces"
            )));
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}
