//! A command in one string, split as a shell would: quotes, backslashes, comments; nothing is
//! expanded.

enum State {
    Between,
    Word,
    Double,
    Single,
    Comment,
}

/// The words of `text`.
pub(crate) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut state = State::Between;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let mut escaped =
            || characters.next().ok_or_else(|| "EOF found after escape character".to_owned());
        match (&state, c) {
            (State::Between, ' ' | '\t' | '\r' | '\n') => {}
            (State::Between, '#') => state = State::Comment,
            (State::Word, ' ' | '\t' | '\r' | '\n') => {
                words.push(std::mem::take(&mut word));
                state = State::Between;
            }
            (State::Between | State::Word, '"') => state = State::Double,
            (State::Between | State::Word, '\'') => state = State::Single,
            (State::Between | State::Word, '\\') => {
                word.push(escaped()?);
                state = State::Word;
            }
            (State::Between | State::Word, _) => {
                word.push(c);
                state = State::Word;
            }
            (State::Double, '\\') => word.push(escaped()?),
            (State::Double, '"') | (State::Single, '\'') => state = State::Word,
            (State::Double | State::Single, _) => word.push(c),
            (State::Comment, '\n') => state = State::Between,
            (State::Comment, _) => {}
        }
    }
    match state {
        State::Between | State::Comment => Ok(words),
        State::Word => {
            words.push(word);
            Ok(words)
        }
        State::Double | State::Single => Err("EOF found when expecting closing quote".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_in_a_shell() {
        for (text, expected) in [
            ("", Ok(vec![])),
            ("bundle exec thin -p 3000", Ok(vec!["bundle", "exec", "thin", "-p", "3000"])),
            ("sh -c 'a b' \"c \\\" d\"", Ok(vec!["sh", "-c", "a b", "c \" d"])),
            ("a\\ b c'd'e \"\"", Ok(vec!["a b", "cde", ""])),
            ("a # rest\nb", Ok(vec!["a", "b"])),
            ("a#b", Ok(vec!["a#b"])),
            ("a '", Err("EOF found when expecting closing quote")),
            ("a \\", Err("EOF found after escape character")),
        ] {
            let expected = expected
                .map(|words| words.into_iter().map(str::to_owned).collect())
                .map_err(str::to_owned);
            assert_eq!(split(text), expected, "{text}");
        }
    }
}
