//! Named lines that change: redrawn in place on a terminal, and one after another elsewhere.

use std::io::{IsTerminal, Write};

use crate::failure::Outcome;

pub struct Display {
    quiet: bool,
    /// Where lines go: standard error, or else standard output.
    on_stderr: bool,
    terminal: bool,
    lines: Vec<(String, String)>,
}

impl Display {
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { quiet, on_stderr: false, terminal, lines: Vec::new() }
    }

    /// For commands whose standard output is somebody else's.
    pub fn on_stderr(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, on_stderr: true, terminal, lines: Vec::new() }
    }

    fn print(&self, text: &str) -> Outcome {
        if !self.on_stderr {
            return crate::output::print(text);
        }
        let mut err = std::io::stderr().lock();
        err.write_all(text.as_bytes())?;
        err.flush()?;
        Ok(())
    }

    /// Whether lines are redrawn, so that what moves may be shown moving.
    pub fn moves(&self) -> bool {
        self.terminal && !self.quiet
    }

    /// A line that stays.
    pub fn say(&mut self, text: &str) -> Outcome {
        if self.quiet {
            return Ok(());
        }
        // It stands below the named lines, which then lie one line higher.
        self.lines.push((String::new(), text.into()));
        self.print(&format!("{text}\n"))
    }

    /// Sets a named line.
    // DEVIATION: off a terminal, Docker repeats every line at every look; we write a line when it changes.
    pub fn set(&mut self, name: &str, text: &str) -> Outcome {
        let known = self.lines.iter().position(|(have, _)| have == name);
        if known.is_some_and(|at| self.lines[at].1 == text) {
            return Ok(());
        }
        match known {
            Some(at) => self.lines[at].1 = text.into(),
            None => self.lines.push((name.into(), text.into())),
        }
        if self.quiet {
            return Ok(());
        }
        let shown = if text.is_empty() { name.into() } else { format!("{name}: {text}") };
        match known.filter(|_| self.terminal) {
            Some(at) => {
                let up = self.lines.len() - at;
                self.print(&format!("\x1b[{up}A\r\x1b[2K{shown}\x1b[{up}B\r"))
            }
            // What counts seconds would fill a log.
            None if !self.terminal && text.starts_with("Waiting ") && known.is_some() => Ok(()),
            None => self.print(&format!("{shown}\n")),
        }
    }
}
