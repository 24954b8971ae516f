//! A command in one flag, split as a shell would: quotes, backslashes, no expansion.

/// The words; an open quote is refused.
pub fn split(text: &str) -> Result<Words, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => word.extend(chars.next()),
                        Some(inner) => word.push(inner),
                        None => return Err("EOF found when expecting closing quote".into()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("EOF found after escape character".into()),
            },
            // A comment runs to the line's end.
            '#' if word.is_none() => {
                let _ = chars.by_ref().find(|c| *c == '\n');
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(Words(words))
}

#[derive(Debug, Clone, PartialEq)]
pub struct Words(pub Vec<String>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell() {
        assert_eq!(
            split(r#"sh -c "echo \"a b\"" 'c d'e \f"#).unwrap().0,
            ["sh", "-c", "echo \"a b\"", "c de", "f"]
        );
        assert_eq!(split("a '' # said").unwrap().0, ["a", ""]);
        assert!(split("'a").is_err() && split("a\\").is_err());
    }
}
