//! YAML out, in the one layout that Docker's encoder has: block style, two spaces, quotes only
//! where plain text would be read as something else.

use crate::node::{Node, Value, float};

/// Keys in the order they are to be written.
pub(crate) type Order = fn(path: &[String], keys: &mut Vec<&String>);

pub(crate) fn document(node: &Node, order: Order) -> String {
    let mut output = String::new();
    let mut writer = Writer { output: &mut output, order, path: Vec::new() };
    match &node.value {
        Value::Map(map) if !map.is_empty() => writer.map(node, 0),
        Value::List(items) if !items.is_empty() => writer.list(items, 0),
        _ => {
            writer.scalar(node, 0);
            output.push('\n');
        }
    }
    output
}

struct Writer<'a> {
    output: &'a mut String,
    order: Order,
    path: Vec<String>,
}

impl Writer<'_> {
    fn indent(&mut self, indent: usize) {
        self.output.extend(std::iter::repeat_n(' ', indent));
    }

    /// The entries of a map; the first stands where the writer is.
    fn map(&mut self, node: &Node, indent: usize) {
        let Some(map) = node.as_map() else { return };
        let mut keys: Vec<_> = map.keys().collect();
        (self.order)(&self.path, &mut keys);
        for (index, key) in keys.into_iter().enumerate() {
            if index > 0 {
                self.indent(indent);
            }
            self.output.push_str(&flow_text(key));
            self.output.push(':');
            self.path.push(key.clone());
            self.value(&map[key], indent);
            self.path.pop();
        }
    }

    /// What follows a key's colon.
    fn value(&mut self, node: &Node, indent: usize) {
        match &node.value {
            Value::Map(map) if !map.is_empty() => {
                self.output.push('\n');
                self.indent(indent + 2);
                self.map(node, indent + 2);
            }
            Value::List(items) if !items.is_empty() => {
                self.output.push('\n');
                self.indent(indent + 2);
                self.list(items, indent + 2);
            }
            _ => {
                self.output.push(' ');
                self.scalar(node, indent + 2);
                self.output.push('\n');
            }
        }
    }

    fn list(&mut self, items: &[Node], indent: usize) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.indent(indent);
            }
            self.output.push_str("- ");
            self.path.push("[]".to_owned());
            match &item.value {
                Value::Map(map) if !map.is_empty() => self.map(item, indent + 2),
                Value::List(items) if !items.is_empty() => self.list(items, indent + 2),
                _ => {
                    self.scalar(item, indent + 2);
                    self.output.push('\n');
                }
            }
            self.path.pop();
        }
    }

    fn scalar(&mut self, node: &Node, indent: usize) {
        let text = match &node.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => float(*value),
            Value::List(_) => "[]".to_owned(),
            Value::Map(_) => "{}".to_owned(),
            Value::Text(text) if literal_fits(text) => {
                self.literal(text, indent);
                return;
            }
            Value::Text(text) => flow_text(text),
        };
        self.output.push_str(&text);
    }

    /// Text of several lines as it stands. Docker's encoder loses a newline at the beginning; this
    /// one does not.
    fn literal(&mut self, text: &str, indent: usize) {
        self.output.push('|');
        if text.starts_with([' ', '\n']) {
            // The depth of the first line says nothing then; it is told.
            self.output.push('2');
        }
        let lines = text.strip_suffix('\n');
        match lines {
            None => self.output.push('-'),
            Some(rest) if rest.is_empty() || rest.ends_with('\n') => self.output.push('+'),
            Some(_) => {}
        }
        for line in lines.unwrap_or(text).split('\n') {
            self.output.push('\n');
            if !line.is_empty() {
                self.indent(indent);
                self.output.push_str(line);
            }
        }
    }
}

/// Whether text may stand as a literal block and be read back the same.
fn literal_fits(text: &str) -> bool {
    text.contains('\n')
        && !text.ends_with(' ')
        && !text.contains(" \n")
        && text.chars().all(|c| c == '\n' || printable(c))
}

fn printable(c: char) -> bool {
    matches!(c, '\t' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}'
        | '\u{ff00}'..='\u{fffd}' | '\u{10000}'..)
        && !matches!(c, '\u{2028}' | '\u{2029}')
}

/// Text on one line: plain, in single or in double quotes.
fn flow_text(text: &str) -> String {
    let special = text.contains('\t') || text.chars().any(|c| !printable(c));
    if special || text.is_empty() || reads_as_other(text) {
        return double_quoted(text);
    }
    if plain_fits(text) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "''"))
}

fn double_quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\0' => quoted.push_str("\\0"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            '\u{1b}' => quoted.push_str("\\e"),
            '\u{85}' => quoted.push_str("\\N"),
            '\u{2028}' => quoted.push_str("\\L"),
            '\u{2029}' => quoted.push_str("\\P"),
            c if printable(c) => quoted.push(c),
            c if (c as u32) < 0x100 => quoted.push_str(&format!("\\x{:02X}", c as u32)),
            c if (c as u32) < 0x1_0000 => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c => quoted.push_str(&format!("\\U{:08X}", c as u32)),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether plain text is what its characters allow.
fn plain_fits(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    let mut before = ' ';
    let mut characters = text.chars().peekable();
    let mut first = true;
    while let Some(c) = characters.next() {
        let space_follows = characters.peek().is_none_or(|c| *c == ' ');
        let allowed = match c {
            ' ' => !first && characters.peek().is_some(),
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
            | '@' | '`'
                if first =>
            {
                false
            }
            '-' | '?' if first => !space_follows,
            ':' => !space_follows,
            '#' => before != ' ',
            _ => true,
        };
        if !allowed {
            return false;
        }
        before = c;
        first = false;
    }
    true
}

/// Whether plain text would be read as null, a boolean, a number, a time or a merge key, by this
/// reader or by one of YAML 1.1.
fn reads_as_other(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL" | "<<" | ".nan" | ".NaN" | ".NAN")
        || is_boolean(text)
        || is_number(text)
        || is_base_sixty(text)
        || is_time(text)
}

fn is_boolean(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let word = matches!(lower.as_str(), "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false");
    let rest = text.get(1..).unwrap_or_default();
    // `Yes`, `YES` and `yes`, not `yEs`.
    word && (text == lower || text == text.to_ascii_uppercase() || rest == &lower[1..])
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return false;
    }
    let digits = unsigned.replace('_', "");
    let radix = |prefix: &str, radix| {
        digits.strip_prefix(prefix).is_some_and(|rest| i128::from_str_radix(rest, radix).is_ok())
    };
    if radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || radix("0X", 16) || radix("0B", 2) {
        return true;
    }
    let mantissa_end = digits.find(['e', 'E']).unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at(mantissa_end);
    let all = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_fits = (all(whole) || whole.is_empty())
        && (all(fraction) || fraction.is_empty())
        && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_empty() || {
        let exponent = &exponent[1..];
        all(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
    };
    mantissa_fits && exponent_fits
}

/// `1:30` is ninety to YAML 1.1.
fn is_base_sixty(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let first = parts.next().unwrap_or_default();
    if !first.starts_with(|c: char| c.is_ascii_digit())
        || !first.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
    {
        return false;
    }
    let rest: Vec<_> = parts.collect();
    let Some((last, middle)) = rest.split_last() else { return false };
    let sixty = |part: &str| matches!(part.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.iter().all(|part| sixty(part))
        && sixty(whole)
        && fraction.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// `2001-01-01`, with or without a time of day.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let Some(dash) = bytes.get(4..).and_then(|rest| rest.iter().position(|b| *b == b'-')) else {
        return false;
    };
    if dash != 0 || !digits(0..4) {
        return false;
    }
    let mut rest = &text[5..];
    for separator in ["-", ""] {
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=2).contains(&length) {
            return false;
        }
        rest = &rest[length..];
        match rest.strip_prefix(separator) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty() || rest.starts_with(['T', 't', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::At;
    use crate::node::Map;

    #[test]
    fn quotes_only_where_they_are_needed() {
        for (text, expected) in [
            ("nginx:1.27", "nginx:1.27"),
            ("a b", "a b"),
            ("", "\"\""),
            ("80", "\"80\""),
            ("1.5", "\"1.5\""),
            ("0x1f", "\"0x1f\""),
            ("1e3", "\"1e3\""),
            ("1.2.3", "1.2.3"),
            ("-1", "\"-1\""),
            ("-p", "-p"),
            ("- p", "'- p'"),
            ("yes", "\"yes\""),
            ("yEs", "yEs"),
            ("N", "\"N\""),
            ("null", "\"null\""),
            ("8080:80", "8080:80"),
            ("22:22", "\"22:22\""),
            ("90-91", "90-91"),
            ("2001-01-01", "\"2001-01-01\""),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("a: b", "'a: b'"),
            ("a:", "'a:'"),
            ("a #b", "'a #b'"),
            ("a#b", "a#b"),
            ("*", "'*'"),
            ("it's", "it's"),
            ("'x'", "'''x'''"),
            ("{{.Name}}", "'{{.Name}}'"),
            ("a\tb", "\"a\\tb\""),
            (" a", "' a'"),
            ("é", "é"),
            ("\u{7}", "\"\\a\""),
            ("\u{1}", "\"\\x01\""),
        ] {
            assert_eq!(flow_text(text), expected);
        }
    }

    #[test]
    fn lines_stand_as_they_are() {
        let order: Order = |_, keys| keys.sort();
        let show = |text: &str| {
            let map = Map::from([("a".to_owned(), Node::text(At::default(), text))]);
            document(&Node::map(At::default(), map), order)
        };
        assert_eq!(show("x\ny"), "a: |-\n  x\n  y\n");
        assert_eq!(show("x\ny\n"), "a: |\n  x\n  y\n");
        assert_eq!(show("x\n\n"), "a: |+\n  x\n\n");
        assert_eq!(show(" x\ny"), "a: |2-\n   x\n  y\n");
        assert_eq!(show("x \n\ty"), "a: \"x \\n\\ty\"\n");
    }
}
