//! `.env`: variables beside the Compose file.
//!
//! DEVIATION: `docker stack deploy` reads no `.env`, which its users have asked for since 2017;
//! this follows `docker compose`. The environment goes before the file.

use std::collections::BTreeMap;

/// The variables of a `.env` file, or the number of the line that is none and what is wrong.
///
/// `NAME=value`, `export NAME=value`; text in double quotes knows `\n`, `\r`, `\t`, `\"`, `\\` and
/// `\$`, text in single quotes is taken as it stands, and both may span lines; ` #` begins a
/// comment in text without quotes.
pub(crate) fn parse(text: &str) -> Result<BTreeMap<String, String>, (usize, String)> {
    let mut variables = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut rest = text;
    while !rest.is_empty() {
        let number = 1 + text[..text.len() - rest.len()].matches('\n').count();
        let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            continue;
        }
        let declaration = trimmed
            .strip_prefix("export ")
            .or_else(|| trimmed.strip_prefix("export\t"))
            .unwrap_or(trimmed)
            .trim_start();
        let Some((name, _)) = declaration.split_once('=') else {
            return Err((number, "expected NAME=value".to_owned()));
        };
        let name = name.trim_end();
        let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || !name.chars().all(valid) {
            return Err((number, format!("unexpected character in variable name {name:?}")));
        }
        let start = rest.find('=').expect("the line holds the sign that was split at") + 1;
        let value = rest[start..].trim_start_matches([' ', '\t']);
        match value.chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
            Some(quote) => {
                let (content, length) = quoted(&value[1..], quote)
                    .ok_or_else(|| (number, format!("unterminated quoted value of {name}")))?;
                variables.insert(name.to_owned(), content);
                rest = value[1 + length..].split_once('\n').map_or("", |(_, after)| after);
            }
            None => {
                let value = value.split('\n').next().unwrap_or_default();
                let value = match value.starts_with('#') {
                    true => "",
                    false => value.split(" #").next().unwrap_or_default(),
                };
                variables.insert(name.to_owned(), value.trim_end().to_owned());
                rest = after;
            }
        }
    }
    Ok(variables)
}

/// The text up to the closing quote, and how many bytes it took with the quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        if c == quote {
            return Some((content, index + 1));
        }
        if c != '\\' || quote == '\'' {
            content.push(c);
            continue;
        }
        match characters.next()?.1 {
            'n' => content.push('\n'),
            'r' => content.push('\r'),
            't' => content.push('\t'),
            other @ ('"' | '\\' | '$') => content.push(other),
            other => content.extend(['\\', other]),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[(&str, &str)], (usize, &str)>) {
        let expected = expected
            .map(|pairs| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
            .map_err(|(line, message)| (line, message.to_owned()));
        assert_eq!(parse(text), expected, "{text}");
    }

    #[test]
    fn every_form() {
        check("", Ok(&[]));
        check("\n# c\nA=1\r\n B = two words \nexport C=3", {
            Ok(&[("A", "1"), ("B", "two words"), ("C", "3")])
        });
        check("A=\nB=# c\nC=x # c\nD=x#y", Ok(&[("A", ""), ("B", ""), ("C", "x"), ("D", "x#y")]));
        check("A=\"x\\ny \\\"q\\\" \\$z\" # c\nB='a\\nb $C'", {
            Ok(&[("A", "x\ny \"q\" $z"), ("B", "a\\nb $C")])
        });
        check("A=\"one\ntwo\"\nB=2", Ok(&[("A", "one\ntwo"), ("B", "2")]));
        check("\u{feff}A=1=2", Ok(&[("A", "1=2")]));
        check("A=1\nB", Err((2, "expected NAME=value")));
        check("A B=1", Err((1, "unexpected character in variable name \"A B\"")));
        check("A=1\nB='x", Err((2, "unterminated quoted value of B")));
    }
}
