//! Named lines that change: redrawn in place on a terminal, and one after another elsewhere.

use std::io::{IsTerminal, Write};

use crate::failure::Outcome;

pub struct Display {
    quiet: bool,
    terminal: bool,
    lines: Vec<(String, String)>,
}

impl Display {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stdout().is_terminal(), lines: Vec::new() }
    }

    /// Sets a line.
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
        let mut out = std::io::stdout().lock();
        match known.filter(|_| self.terminal) {
            Some(at) => {
                let up = self.lines.len() - at;
                write!(out, "\x1b[{up}A\r\x1b[2K{shown}\x1b[{up}B\r")?;
            }
            // What counts seconds would fill a log.
            None if !self.terminal && text.starts_with("Waiting ") && known.is_some() => {}
            None => writeln!(out, "{shown}")?,
        }
        out.flush()?;
        Ok(())
    }
}
