//! Run a command to its end within a bound, and keep what it said.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::limits;

fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            // What was read before an error is what there is to show.
            let _ = stream.take(limits::OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Status and output; an error where it cannot start or has not ended in time: then it is killed,
/// with all of its process group.
pub fn output(mut command: Command, input: &[u8], within: Duration) -> Result<Output> {
    let shown = format!("{command:?}");
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {shown}"))?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let feed = thread::spawn(move || {
        // A command may end without reading all: its status tells.
        let _ = stdin.write_all(&input);
    });
    let deadline = Instant::now() + within;
    let status = loop {
        if let Some(status) =
            child.try_wait().with_context(|| format!("failed to wait: {shown}"))?
        {
            break Some(status);
        }
        if Instant::now() >= deadline {
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let status = match status {
        Some(status) => status,
        None => {
            let group = i32::try_from(child.id()).context("failed to read a child's id")?;
            // It may have ended since.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            child.wait().with_context(|| format!("failed to wait: {shown}"))?;
            let tail = String::from_utf8_lossy(&stderr.join().unwrap_or_default()).into_owned();
            bail!("{shown} has not ended within {within:?}: {}", tail.trim());
        }
    };
    // The threads end with the pipes; they only read and write.
    let _ = feed.join();
    let stdout = stdout.join().unwrap_or_default();
    let stderr = stderr.join().unwrap_or_default();
    Ok(Output { status, stdout, stderr })
}

/// As [`output`]; a status other than success is an error with what it said.
pub fn checked(command: Command, input: &[u8], within: Duration) -> Result<Vec<u8>> {
    let shown = format!("{command:?}");
    let output = output(command, input, within)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed with {}: {}", output.status, said.trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_end_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun >&2; sleep 1000 & wait"]);
        let error = output(command, b"", Duration::from_millis(300)).unwrap_err().to_string();
        assert!(error.contains("has not ended within 300ms: begun"), "{error}");
    }

    #[test]
    fn input_and_output_go_through() {
        let output = output(Command::new("cat"), b"bees", Duration::from_secs(10)).unwrap();
        assert_eq!(output.stdout, b"bees");
    }
}
