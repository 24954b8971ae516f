//! Whether a client comes to the same task of a service each time: an option of ours, given as a
//! label of the service, for that is what Docker's clients pass on.

use std::collections::BTreeMap;

/// The service's label.
pub const LABEL: &str = "skep.session";

/// How the task is chosen that a new connection goes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Session {
    /// Any of those that serve, as in Docker.
    #[default]
    Any,
    /// By the address that the client comes from: the same task on every node, as long as it serves.
    ClientAddress,
}

impl Session {
    /// As it is written in the label.
    pub fn word(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ClientAddress => "client-address",
        }
    }
}

/// A choice that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid label {LABEL}={0:?}: expected any or client-address")]
pub struct InvalidSession(String);

/// What a service's labels ask for.
///
/// # Errors
/// The label says something else.
pub fn of(labels: &BTreeMap<String, String>) -> Result<Session, InvalidSession> {
    let Some(text) = labels.get(LABEL) else { return Ok(Session::Any) };
    let all = [Session::Any, Session::ClientAddress];
    let known = all.into_iter().find(|it| it.word() == text);
    known.ok_or_else(|| InvalidSession(text.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_word_that_is_known() {
        let of = |text: &str| of(&BTreeMap::from([(LABEL.to_owned(), text.to_owned())]));
        assert_eq!(super::of(&BTreeMap::new()), Ok(Session::Any));
        assert_eq!(of("any"), Ok(Session::Any));
        assert_eq!(of("client-address"), Ok(Session::ClientAddress));
        for text in ["", "sticky", "Client-Address"] {
            let expected =
                format!("invalid label skep.session={text:?}: expected any or client-address");
            assert_eq!(of(text).unwrap_err().to_string(), expected);
        }
    }
}
