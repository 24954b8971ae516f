//! `.env`: variables beside the Compose file.
//!
//! DEVIATION: `docker stack deploy` reads no `.env`, which its users have asked for since 2017;
//! this follows `docker compose`. The environment goes before the file.

use std::collections::BTreeMap;

use crate::read::template::{Fault, substitute};

/// Linux: one string of an environment; also keeps values that use one another from growing on.
const VALUE_BYTES_MAX: usize = 128 * 1024;

/// The variables of a `.env` file, or the number of the line that is none and what is wrong.
///
/// `NAME=value`, `export NAME=value`; text in double quotes knows `\n`, `\r`, `\t`, `\"`, `\\` and
/// `\$`, text in single quotes is taken as it stands, and both may span lines; ` #` begins a
/// comment in text without quotes. But for single quotes a value may use variables, those of
/// `lookup` before those above it.
pub(crate) fn parse(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, (usize, String)> {
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
        // Lines are not shown in errors: one may be a piece of a secret that broke over lines.
        let name = name(trimmed).map_err(|error| (number, error.to_owned()))?;
        let start = rest.find('=').expect("the line holds the sign that its name ends at") + 1;
        let value = rest[start..].trim_start_matches([' ', '\t']);
        let template = match value.chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
            Some(quote) => {
                let (content, length) = quoted(&value[1..], quote)
                    .ok_or_else(|| (number, "unterminated quoted value".to_owned()))?;
                rest = value[1 + length..].split_once('\n').map_or("", |(_, after)| after);
                content
            }
            None => {
                let value = value.split('\n').next().unwrap_or_default();
                let value = match value.starts_with('#') {
                    true => "",
                    false => value.split(" #").next().unwrap_or_default(),
                };
                rest = after;
                value.trim_end().to_owned()
            }
        };
        let known = |name: &str| lookup(name).or_else(|| variables.get(name).cloned());
        let too_large = || (number, format!("value is larger than {VALUE_BYTES_MAX} bytes"));
        let value = substitute(&template, &known, &mut |_| {}).map_err(|fault| match fault {
            Fault::Format => (number, "invalid interpolation format".to_owned()),
            Fault::TooLarge => too_large(),
            Fault::Missing { name, .. } => {
                (number, format!("required variable {name} is missing a value"))
            }
        })?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(too_large());
        }
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

/// The name that a line gives a value to.
fn name(line: &str) -> Result<&str, &'static str> {
    let exported = line.strip_prefix("export ").or_else(|| line.strip_prefix("export\t"));
    let declaration = exported.unwrap_or(line).trim_start();
    let (name, _) = declaration.split_once('=').ok_or("expected NAME=value")?;
    let name = name.trim_end();
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || !name.chars().all(valid) {
        return Err("unexpected character in variable name");
    }
    Ok(name)
}

/// The text up to the closing quote as a template, and how many bytes it took with the quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut content = String::new();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        if c == quote {
            return Some((content, index + 1));
        }
        if c != '\\' || quote == '\'' {
            content.push(c);
            if c == '$' && quote == '\'' {
                content.push(c);
            }
            continue;
        }
        match characters.next()?.1 {
            'n' => content.push('\n'),
            'r' => content.push('\r'),
            't' => content.push('\t'),
            '$' => content.push_str("$$"),
            other @ ('"' | '\\') => content.push(other),
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
        let lookup = |name: &str| (name == "HERE").then(|| "outside".to_owned());
        assert_eq!(parse(text, &lookup), expected, "{text}");
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
        check("HERE=x\nA=1\nB=$A${HERE}${C:-d}\nC='$A'\nD=\"\\$A $A\"", {
            Ok(&[("A", "1"), ("B", "1outsided"), ("C", "$A"), ("D", "$A 1"), ("HERE", "x")])
        });
        check("A=a$1", Err((1, "invalid interpolation format")));
        check("A=${B?no}", Err((1, "required variable B is missing a value")));
        check("A=1\nB", Err((2, "expected NAME=value")));
        check("A B=1", Err((1, "unexpected character in variable name")));
        check("A=1\nB='x", Err((2, "unterminated quoted value")));
    }
}
