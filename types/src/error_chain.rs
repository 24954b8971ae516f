//! An error and what caused it, in one line: for logs, and for wires that carry text alone.

use std::error::Error;

/// The error, then each of its causes after a colon. A cause whose text was said already is left
/// out, for many libraries repeat theirs.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn causes_follow_and_none_is_said_twice() {
        let end = Link { text: "no route", source: None };
        let again = Link { text: "failed to dial", source: Some(Box::new(end)) };
        let top = Link { text: "failed to dial m1", source: Some(Box::new(again)) };
        assert_eq!(error_chain(&top), "failed to dial m1: no route");
    }
}
