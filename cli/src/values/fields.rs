//! `key=value,key=value` as one line of CSV: a field in double quotes may hold commas.

/// The fields of one line.
pub fn split(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut field = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err("extraneous or missing \" in quoted-field".into()),
                }
            }
            if chars.peek().is_some_and(|c| *c != ',') {
                return Err("extraneous or missing \" in quoted-field".into());
            }
        } else {
            while let Some(c) = chars.next_if(|c| *c != ',') {
                if c == '"' {
                    return Err("bare \" in non-quoted-field".into());
                }
                field.push(c);
            }
        }
        fields.push(field);
        if chars.next().is_none() {
            return Ok(fields);
        }
    }
}

/// Whether the text is in the long form: some `word=word` stands in it.
pub fn is_long(text: &str) -> bool {
    let wordy = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.char_indices()
        .any(|(at, c)| c == '=' && text[..at].ends_with(wordy) && text[at + 1..].starts_with(wordy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas() {
        assert_eq!(split(r#"a=1,"b=2,3","c=""x""""#).unwrap(), ["a=1", "b=2,3", "c=\"x\""]);
        assert!(split(r#"a="1"#).is_err() && split(r#""a"#).is_err() && split(r#""a"b"#).is_err());
        assert!(is_long("a=b") && !is_long("8080:80") && !is_long("=b"));
    }
}
