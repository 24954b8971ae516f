//! Makes the user whose ids containers get by default, as Docker does: by the host's own commands.

use std::fs;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use super::{RemapError, SUBGID, SUBUID, ranges};

/// A user that cannot log in, with its group and a range of ids in each file.
pub fn create(name: &'static str) -> Result<(), RemapError> {
    let failed = |reason: String| RemapError::Creation { user: name, reason };
    let add = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false"];
    run(&[&add[..], &[name]].concat()).map_err(failed)?;
    for (file, flag) in [(SUBUID, "--add-subuids"), (SUBGID, "--add-subgids")] {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| failed(format!("failed to read {file}: {error}")))?,
        };
        // Some hosts give every new user a range.
        let of_name = |line: &str| line.split(':').next() == Some(name);
        if text.lines().any(of_name) {
            continue;
        }
        let first = ranges::free(&text).map_err(failed)?;
        let range = format!("{first}-{}", first + ranges::COUNT - 1);
        run(&["usermod", flag, &range, name]).map_err(failed)?;
    }
    tracing::info!(user = name, "made the user whose ids containers are mapped to");
    Ok(())
}

fn run(words: &[&str]) -> Result<(), String> {
    let done = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("failed to run {}: {error}", words[0]))?;
    match done.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            Err(format!("{}: {said}", words.join(" ")))
        }
    }
}
