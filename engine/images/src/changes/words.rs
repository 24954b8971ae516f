//! Splits an instruction into words: quotes, escapes and variables as in a Dockerfile.

/// Words separated by white space, unquoted, with variables filled in.
pub(super) fn words(text: &str, env: &[String]) -> Result<Vec<String>, String> {
    split(text)?.iter().map(|word| unquote(word, env)).collect()
}

/// `key=value …`, or the old form `key value with spaces`.
pub(super) fn pairs(text: &str, env: &[String]) -> Result<Vec<(String, String)>, String> {
    let raw = split(text)?;
    let first = raw.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let (key, value) =
            text.split_once(char::is_whitespace).ok_or("ENV must have two arguments")?;
        return Ok(vec![(unquote(key, env)?, unquote(value.trim(), env)?)]);
    }
    let mut pairs = Vec::new();
    for word in &raw {
        // The first equals sign outside of quotes ends the name.
        let (key, value) = word.split_once('=').ok_or_else(|| {
            format!("Syntax error - can't find = in {word:?}. Must be of the form: name=value")
        })?;
        let key = unquote(key, env)?;
        if key.is_empty() {
            return Err("names can not be blank".to_owned());
        }
        pairs.push((key, unquote(value, env)?));
    }
    Ok(pairs)
}

/// Words as written, quotes and all.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None, space) if space.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => {
                word.push(char);
                if let Some(escaped) = chars.next() {
                    word.push(escaped);
                }
                continue;
            }
            _ => {}
        }
        word.push(char);
    }
    if let Some(open) = quote {
        let name = if open == '"' { "double" } else { "single" };
        return Err(format!("unexpected end of statement while looking for matching {name}-quote"));
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

fn unquote(word: &str, env: &[String]) -> Result<String, String> {
    let mut plain = String::new();
    let mut quote = None;
    let mut chars = word.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None, '\'' | '"') => quote = Some(char),
            (Some(open), close) if open == close => quote = None,
            (None | Some('"'), '\\') => match chars.next() {
                // Within double quotes a backslash is itself before what needs no escape.
                Some(next) if quote.is_some() && !matches!(next, '"' | '$' | '\\') => {
                    plain.extend(['\\', next]);
                }
                Some(next) => plain.push(next),
                None => plain.push('\\'),
            },
            (None | Some('"'), '$') => {
                let braced = chars.next_if_eq(&'{').is_some();
                let mut name = String::new();
                while let Some(next) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(next);
                }
                if braced && chars.next() != Some('}') {
                    return Err(format!("unsupported modifier in substitution of {name:?}"));
                }
                if name.is_empty() && !braced {
                    plain.push('$');
                }
                plain.push_str(lookup(&name, env));
            }
            (_, char) => plain.push(char),
        }
    }
    Ok(plain)
}

fn lookup<'e>(name: &str, env: &'e [String]) -> &'e str {
    let value = |entry: &'e String| entry.split_once('=').filter(|(key, _)| *key == name);
    env.iter().rev().find_map(value).map_or("", |(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_unquoted_and_filled_in() {
        let env = vec!["A=1".to_owned(), "B=x y".to_owned()];
        let check = |text: &str, expected: &[&str]| {
            assert_eq!(words(text, &env).unwrap(), expected, "{text}");
        };
        check("a  'b c' \"d e\"f", &["a", "b c", "d ef"]);
        check("$A${B}c '$A' \"$B\" \\$A", &["1x yc", "$A", "x y", "$A"]);
        check(r#""a\"b\c" d\ e"#, &[r#"a"b\c"#, "d e"]);
        assert!(words("${A:-x}", &env).is_err());
    }
}
