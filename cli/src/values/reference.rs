//! `--secret NAME` and `--config source=NAME,target=FILE,uid=…,gid=…,mode=…`: a payload by name and the file it becomes.

use skep_docker_api::json::FileTarget;

use super::fields;

/// Both kinds are written alike; ids are found later.
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    pub source: String,
    pub file: FileTarget,
}

/// Who may read it unless told otherwise: everybody in the container (Docker's value).
const MODE: u32 = 0o444;

fn parse(text: &str, kind: &str) -> Result<Reference, String> {
    let mut reference = Reference {
        source: String::new(),
        file: FileTarget { uid: "0".into(), gid: "0".into(), mode: MODE, ..Default::default() },
    };
    let fields = fields::split(text)?;
    if let [name] = fields.as_slice()
        && !name.contains('=')
    {
        reference.source = name.clone();
        reference.file.name = name.clone();
        return Ok(reference);
    }
    for field in &fields {
        let (key, value) = field
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        match key.to_lowercase().as_str() {
            "source" | "src" => reference.source = value.into(),
            "target" => reference.file.name = value.into(),
            "uid" => reference.file.uid = value.into(),
            "gid" => reference.file.gid = value.into(),
            "mode" => {
                reference.file.mode = mode(value).ok_or_else(|| {
                    format!("invalid mode specified: strconv.ParseUint: parsing {value:?}: invalid syntax")
                })?;
            }
            _ => return Err(format!("invalid field in {kind} request: {key}")),
        }
    }
    if reference.source.is_empty() {
        return Err("source is required".into());
    }
    if reference.file.name.is_empty() {
        reference.file.name = reference.source.clone();
    }
    Ok(reference)
}

/// As Go reads numbers with their base in front: `0444` and `0o444` are octal, `444` is not.
fn mode(text: &str) -> Option<u32> {
    let digits = |text: &str, base| u32::from_str_radix(text, base).ok();
    match text.to_lowercase().as_str() {
        "0" => Some(0),
        lower if lower.starts_with("0x") => digits(&text[2..], 16),
        lower if lower.starts_with("0b") => digits(&text[2..], 2),
        lower if lower.starts_with("0o") => digits(&text[2..], 8),
        lower if lower.starts_with('0') => digits(&text[1..], 8),
        _ => digits(text, 10),
    }
}

pub fn secret(text: &str) -> Result<Reference, String> {
    parse(text, "secret")
}

pub fn config(text: &str) -> Result<Reference, String> {
    parse(text, "config")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long() {
        let reference = secret("key").unwrap();
        assert_eq!((reference.source.as_str(), reference.file.name.as_str()), ("key", "key"));
        let reference = config("source=a,target=/etc/a,mode=0400,uid=7").unwrap();
        assert_eq!((reference.file.mode, reference.file.uid.as_str()), (0o400, "7"));
        assert_eq!(reference.file.name, "/etc/a");
        assert_eq!(secret("target=x").unwrap_err(), "source is required");
        assert_eq!(secret("source=a,nope=1").unwrap_err(), "invalid field in secret request: nope");
        assert!(secret("source=a,mode=9z").is_err());
    }
}
