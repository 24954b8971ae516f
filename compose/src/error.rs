//! What goes wrong with a Compose file, with the place where it does.
//!
//! Inside the crate a [`Problem`] names a spot by numbers; at the border it becomes an [`Error`]
//! that carries the file's name and the line itself. What is in environment files and in the files
//! of secrets and configs is shown in no error.

use std::fmt;
use std::path::PathBuf;

use crate::project::Source;

/// A longer line is cut around the spot, so that a minified file does not flood the terminal.
const SNIPPET_CHARS_MAX: usize = 120;

/// Why files do not make a stack.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("specify a Compose file (with --compose-file)")]
    NoFiles,
    #[error("invalid stack name: {0:?}")]
    StackName(String),
    #[error("{message}{place}")]
    Invalid { message: String, place: Place },
    /// Options that have been replaced by others: a list, each with what to write instead.
    #[error("Compose file contains unsupported options:\n\n{0}\n")]
    Forbidden(String),
    #[error("failed to read {what} {}", path.display())]
    Read {
        what: String,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

/// Where in a file something is; shown below the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    /// From one.
    pub line: u32,
    /// From one, in characters.
    pub column: u32,
    /// The line as it stands in the file.
    pub text: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.max(1) as usize;
        let skipped = column.saturating_sub(SNIPPET_CHARS_MAX);
        let text: String = self.text.chars().skip(skipped).take(SNIPPET_CHARS_MAX).collect();
        // Tabs stay tabs below the line too, so that the mark stands under its spot.
        let pad: String = text
            .chars()
            .chain(std::iter::repeat(' '))
            .take(column - 1 - skipped)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        write!(f, "\n{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        write!(f, "\n{margin} |\n{number} | {}\n{margin} | {pad}^", text.trim_end())
    }
}

/// A spot in one of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    /// Index of the file among the sources.
    pub file: usize,
    pub line: u32,
    pub column: u32,
}

impl At {
    pub(crate) fn problem(self, message: impl Into<String>) -> Problem {
        Problem::Here { at: self, message: message.into() }
    }
}

/// An error that does not know the files' text yet.
#[derive(Debug)]
pub(crate) enum Problem {
    Here { at: At, message: String },
    Other(Error),
}

impl Problem {
    /// The same, with words before the message.
    pub(crate) fn within(self, context: &str) -> Self {
        match self {
            Self::Here { at, message } => {
                Self::Here { at, message: format!("{context}: {message}") }
            }
            other => other,
        }
    }

    pub(crate) fn resolve(self, sources: &[Source]) -> Error {
        match self {
            Self::Other(error) => error,
            Self::Here { at, message } => {
                let source = sources.get(at.file);
                let line = at.line.max(1) as usize - 1;
                let text = source.map(|s| String::from_utf8_lossy(&s.contents)).unwrap_or_default();
                Error::Invalid {
                    message,
                    place: Place {
                        file: source.map(|s| s.name.clone()).unwrap_or_default(),
                        line: at.line.max(1),
                        column: at.column.max(1),
                        text: text.lines().nth(line).unwrap_or_default().to_owned(),
                    },
                }
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
