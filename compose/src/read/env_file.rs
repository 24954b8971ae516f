//! Files of `env_file`: `NAME=value` a line, taken as it stands.
//!
//! No quotes, no escapes, no interpolation, as in Docker; a name alone takes its value from the
//! environment and is left out where that has none.

/// The variables in the order of the file, or what is wrong with it.
pub(crate) fn parse(
    contents: &[u8],
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<(String, String)>, String> {
    let mut variables = Vec::new();
    let contents = contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents);
    for (index, line) in contents.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("invalid utf8 bytes at line {}", index + 1))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, lookup(line)),
        };
        if name.is_empty() {
            return Err(format!("no variable name on line {}", index + 1));
        }
        if name.contains([' ', '\t']) {
            // The line itself is not shown: it may be a piece of a secret that broke over lines.
            return Err(format!("variable on line {} contains whitespaces", index + 1));
        }
        if let Some(value) = value {
            variables.push((name.to_owned(), value));
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_as_they_stand() {
        let lookup = |name: &str| (name == "HERE").then(|| "from outside".to_owned());
        let text = b"\xef\xbb\xbf# c\nA=1\r\n  B=\"x\" # y \n\nHERE\nABSENT\nC=\n";
        let expected = [("A", "1"), ("B", "\"x\" # y "), ("HERE", "from outside"), ("C", "")];
        let expected: Vec<_> =
            expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parse(text, &lookup), Ok(expected));
        assert_eq!(parse(b"A=1\n=x", &lookup), Err("no variable name on line 2".to_owned()));
        let error = "variable on line 1 contains whitespaces".to_owned();
        assert_eq!(parse(b"A B=1", &lookup), Err(error));
        assert_eq!(parse(b"\xff", &lookup), Err("invalid utf8 bytes at line 1".to_owned()));
    }
}
