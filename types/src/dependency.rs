//! What a service waits for before its tasks begin: other services, and how far they must have come.
//!
//! DEVIATION: Docker's stacks pass over `depends_on`. It stands in a label of the service, so that it
//! outlives changes by clients that know nothing of it.

use std::fmt;

/// The label that holds a service's dependencies: `db:service_healthy,migrate:service_started`.
pub const LABEL: &str = "com.docker.stack.depends-on";

/// How far a service must have come; the words are Compose's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// A container of it was started.
    #[default]
    Started,
    /// A task of it runs, which it does when it is healthy.
    Healthy,
    /// It came to its end, with success.
    Completed,
}

impl Condition {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::Completed => "service_completed_successfully",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Started, Self::Healthy, Self::Completed].into_iter().find(|it| it.word() == word)
    }
}

/// One service that another waits for, by its name in the swarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    pub service: String,
    pub condition: Condition,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.condition.word())
    }
}

/// An entry of the label that names no service or no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid label {LABEL}: {0:?}: expected SERVICE:CONDITION, the condition being service_started, \
     service_healthy or service_completed_successfully"
)]
pub struct DependencyError(String);

/// Reads the label's value.
///
/// # Errors
/// The first entry that is none.
pub fn parse(text: &str) -> Result<Vec<Dependency>, DependencyError> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let one = |entry: &str| {
        let wrong = || DependencyError(entry.to_owned());
        let (service, condition) = entry.split_once(':').ok_or_else(wrong)?;
        if service.is_empty() {
            return Err(wrong());
        }
        let condition = Condition::from_word(condition).ok_or_else(wrong)?;
        Ok(Dependency { service: service.to_owned(), condition })
    };
    entries.map(one).collect()
}

/// Writes the label's value.
pub fn label(dependencies: &[Dependency]) -> String {
    let entries: Vec<String> = dependencies.iter().map(ToString::to_string).collect();
    entries.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_says_what_is_waited_for() {
        let text = "s_db:service_healthy,s_job:service_completed_successfully,s_x:service_started";
        let read = parse(text).unwrap();
        assert_eq!(read.len(), 3);
        let first = Dependency { service: "s_db".to_owned(), condition: Condition::Healthy };
        assert_eq!(read[0], first);
        assert_eq!(label(&read), text);
        assert_eq!(parse(" , "), Ok(vec![]));
        for wrong in ["db", "db:healthy", ":service_started"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("expected SERVICE:CONDITION"), "{error}");
        }
    }
}
