//! Asking somebody at a terminal. Off a terminal, one line is read as it comes.

use std::io::{BufRead, Write};
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::failure::{Failure, Outcome};

/// Puts a terminal's settings back, whatever happens between.
struct Restore(Termios);

impl Drop for Restore {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &self.0);
    }
}

/// Asks for a line on standard error.
pub fn read(question: &str) -> Outcome<String> {
    let failed =
        |error: std::io::Error| Failure::new(format!("failed to read the answer: {error}"));
    let mut err = std::io::stderr().lock();
    err.write_all(question.as_bytes()).and_then(|()| err.flush()).map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim_end_matches(['\r', '\n']).into())
}

/// A line that the terminal does not show.
pub fn hidden(question: &str) -> Outcome<String> {
    let Ok(before) = tcgetattr(std::io::stdin().as_fd()) else { return read(question) };
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    let _restore = Restore(before);
    tcsetattr(std::io::stdin().as_fd(), SetArg::TCSANOW, &silent)
        .map_err(|error| Failure::new(format!("failed to hide what is typed: {error}")))?;
    let answer = read(question);
    // The line's end was not shown either.
    crate::output::warn("");
    answer
}

/// Anything but yes is no.
pub fn confirmed(question: &str) -> Outcome<bool> {
    Ok(matches!(read(&format!("{question} [y/N] "))?.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// As Docker asks before it removes much: on standard output, and `y` alone is yes.
pub fn agreed(question: &str) -> Outcome<bool> {
    crate::output::print(&format!("{question} [y/N] "))?;
    Ok(read("")?.trim().eq_ignore_ascii_case("y"))
}
