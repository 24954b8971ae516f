//! Why a message was not taken: which field of it, and what is wrong there.
//!
//! **Invariant:** an error never shows a payload, a key or a token; those fields take any bytes.

use std::fmt::Display;

/// What a peer sent is shown up to this many characters: enough to know it again.
const SHOWN_CHARACTERS_MAX: usize = 64;

/// A message does not stand for a value of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid message: field {field}: {problem}")]
pub struct ConvertError {
    /// The way to the field, from the outermost message: `spec.task.mounts[2].type`.
    pub field: String,
    pub problem: Problem,
}

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("missing")]
    Missing,
    /// A number that no value of the enumeration has, or that has no meaning in this place.
    #[error("unknown value {0}")]
    Unknown(i32),
    #[error("expected {expected}, got {got}")]
    Bad { expected: &'static str, got: String },
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

impl ConvertError {
    fn new(problem: Problem) -> Self {
        Self { field: String::new(), problem }
    }

    pub(super) fn missing() -> Self {
        Self::new(Problem::Missing)
    }

    pub(super) fn unknown(number: i32) -> Self {
        Self::new(Problem::Unknown(number))
    }

    pub(super) fn bad(expected: &'static str, got: impl Display) -> Self {
        let got = got.to_string().chars().take(SHOWN_CHARACTERS_MAX).collect();
        Self::new(Problem::Bad { expected, got })
    }

    pub(super) fn unsupported(what: &'static str) -> Self {
        Self::new(Problem::Unsupported(what))
    }

    /// The same error, seen from the message that has the field `outer`.
    pub(super) fn inside(mut self, outer: &str) -> Self {
        self.field = match self.field.as_str() {
            "" => outer.to_owned(),
            inner => format!("{outer}.{inner}"),
        };
        self
    }
}

/// Says where a conversion failed.
pub(super) trait At {
    fn at(self, field: &str) -> Self;
}

impl<T> At for Result<T, ConvertError> {
    fn at(self, field: &str) -> Self {
        self.map_err(|error| error.inside(field))
    }
}
