//! `$VAR` and its kin in one piece of text.
//!
//! DEVIATION: defaults and the like need braces, as the Compose Specification has it. Docker's
//! stack loader takes `$TAG-alpine` for `${TAG-alpine}` and loses the suffix.

/// Defaults within defaults, deeper than any hand writes them.
const DEPTH_MAX: usize = 16;

/// One value; the largest that a stack can use is a config's content (1,000 KiB).
pub(crate) const VALUE_BYTES_MAX: usize = 1024 * 1024;

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not by the grammar.
    Format,
    /// More than [`VALUE_BYTES_MAX`] come of it.
    TooLarge,
    /// `${VAR:?message}` of a variable that is not there.
    Missing { name: String, message: String },
}

/// `template` with its variables replaced. Names without a value and without a default become
/// empty and are handed to `unset`.
pub(crate) fn substitute(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
) -> Result<String, Fault> {
    expand(template, lookup, unset, 0)
}

fn expand(
    template: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
    depth: usize,
) -> Result<String, Fault> {
    if depth > DEPTH_MAX {
        return Err(Fault::Format);
    }
    let mut output = String::new();
    let mut rest = template;
    while let Some(dollar) = rest.find('$') {
        if output.len() > VALUE_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        output.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            output.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('{') {
            let end = closing(inner).ok_or(Fault::Format)?;
            output.push_str(&braced(&inner[..end], lookup, unset, depth)?);
            rest = &inner[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                return Err(Fault::Format);
            }
            output.push_str(&value(&rest[..length], lookup, unset));
            rest = &rest[length..];
        }
    }
    output.push_str(rest);
    Ok(output)
}

/// Where the brace that was opened before `text` closes; braces of inner `${` are skipped.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    let mut before = ' ';
    for (index, c) in text.char_indices() {
        match c {
            '{' if before == '$' => depth += 1,
            '}' if depth == 0 => return Some(index),
            '}' => depth -= 1,
            _ => {}
        }
        before = c;
    }
    None
}

fn name_length(text: &str) -> usize {
    let first = text.as_bytes().first();
    if !first.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_') {
        return 0;
    }
    text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count()
}

fn value(
    name: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
) -> String {
    lookup(name).unwrap_or_else(|| {
        unset(name);
        String::new()
    })
}

/// What stands between the braces.
fn braced(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    unset: &mut dyn FnMut(&str),
    depth: usize,
) -> Result<String, Fault> {
    let length = name_length(text);
    let (name, rest) = text.split_at(length);
    if name.is_empty() {
        return Err(Fault::Format);
    }
    if rest.is_empty() {
        return Ok(value(name, lookup, unset));
    }
    // With a colon an empty value counts as none.
    let (filled, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let present = lookup(name).filter(|value| !filled || !value.is_empty());
    let mut inner = |text: &str| expand(text, lookup, unset, depth + 1);
    if let Some(default) = rest.strip_prefix('-') {
        present.map_or_else(|| inner(default), Ok)
    } else if let Some(message) = rest.strip_prefix('?') {
        match present {
            Some(value) => Ok(value),
            None => Err(Fault::Missing { name: name.to_owned(), message: inner(message)? }),
        }
    } else if let Some(alternative) = rest.strip_prefix('+') {
        if present.is_some() { inner(alternative) } else { Ok(String::new()) }
    } else {
        Err(Fault::Format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(template: &str, expected: Result<&str, Fault>, expected_unset: &[&str]) {
        let lookup = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            "_x1" => Some("odd".to_owned()),
            _ => None,
        };
        let mut unset = Vec::new();
        let got = substitute(template, &lookup, &mut |name| unset.push(name.to_owned()));
        assert_eq!(got, expected.map(str::to_owned), "{template}");
        assert_eq!(unset, expected_unset, "{template}");
    }

    #[test]
    fn every_form() {
        let missing = |message: &str| {
            Err(Fault::Missing { name: "NONE".to_owned(), message: message.to_owned() })
        };
        check("plain", Ok("plain"), &[]);
        check("$SET/${SET}", Ok("value/value"), &[]);
        check("a $$SET $${SET}", Ok("a $SET ${SET}"), &[]);
        check("$SET-alpine", Ok("value-alpine"), &[]);
        check("${_x1}", Ok("odd"), &[]);
        check("[$NONE]", Ok("[]"), &["NONE"]);
        check("[$EMPTY]", Ok("[]"), &[]);
        check("${SET:-d}${EMPTY:-d}${NONE:-d}", Ok("valuedd"), &[]);
        check("${SET-d}${EMPTY-d}${NONE-d}", Ok("valued"), &[]);
        check("${NONE:-a:-b}", Ok("a:-b"), &[]);
        check("${NONE-}", Ok(""), &[]);
        check("${SET:?no}${SET?no}${EMPTY?no}", Ok("valuevalue"), &[]);
        check("${NONE:?no good}", missing("no good"), &[]);
        check("${NONE?}", missing(""), &[]);
        check("${SET:+a}${EMPTY:+a}${NONE:+a}", Ok("a"), &[]);
        check("${SET+a}${EMPTY+a}${NONE+a}", Ok("aa"), &[]);
        check("${NONE:-${SET}-x}", Ok("value-x"), &[]);
        check("${NONE:-${EMPTY:-${SET}}}", Ok("value"), &[]);
        check("${NONE:-{\"a\":1}}", Ok("{\"a\":1}"), &[]);
        for bad in ["$", "a$", "$1", "${}", "${SET", "${SET!x}", "${SET:x}", "$ SET", "${ SET}"] {
            check(bad, Err(Fault::Format), &[]);
        }
    }

    #[test]
    fn defaults_within_defaults_have_a_bound() {
        let deep = format!("{}x{}", "${NONE:-".repeat(40), "}".repeat(40));
        check(&deep, Err(Fault::Format), &[]);
    }

    #[test]
    fn values_have_a_bound() {
        let lookup = |_: &str| Some("x".repeat(1 << 10));
        let got = substitute(&"$BIG".repeat(1 << 11), &lookup, &mut |_| {});
        assert_eq!(got, Err(Fault::TooLarge));
    }
}
