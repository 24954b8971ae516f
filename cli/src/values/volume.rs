//! `--volume [source:]target[:options]`, as Docker's command line parts it; what it means is the daemon's to judge.

use std::path::Path;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// A place with a volume that nobody names.
    Anonymous(String),
    /// `source:target[:options]`, a relative source made absolute.
    Bind(String),
}

/// A letter before the first colon is a drive to Docker's command line, on any host.
fn sections(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        let drive = at == start + 1 && text[start..at].chars().all(char::is_alphabetic);
        if c == ':' && !drive {
            out.push(&text[start..at]);
            start = at + 1;
        }
    }
    out.push(&text[start..]);
    out
}

pub fn parse(text: &str) -> Result<Volume, String> {
    match text.len() {
        0 => return Err("invalid empty volume spec".into()),
        1 | 2 => return Ok(Volume::Anonymous(text.into())),
        _ => {}
    }
    let sections = sections(text);
    if sections.iter().any(|section| section.is_empty()) {
        return Err(format!("invalid spec: {text}: empty section between colons"));
    }
    match sections.as_slice() {
        [target] => Ok(Volume::Anonymous((*target).into())),
        [source, ..] if sections.len() <= 3 => Ok(Volume::Bind(match source.starts_with('.') {
            true => format!("{}{}", absolute(source)?, &text[source.len()..]),
            false => text.into(),
        })),
        _ => Err(format!("invalid spec: {text}: too many colons")),
    }
}

/// Against the working directory, without `.` and `..`, as Go's `filepath.Abs`.
pub fn absolute(path: &str) -> Result<String, String> {
    let here = std::env::current_dir().map_err(|error| format!("working directory: {error}"))?;
    Ok(clean(&here.join(path)))
}

/// A path in its shortest form, as Go's `filepath.Clean`; nothing on disk is looked at.
pub fn clean(path: &Path) -> String {
    use std::path::Component;
    let mut parts: Vec<String> = Vec::new();
    let rooted = path.is_absolute();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                if parts.last().is_some_and(|last| last != "..") {
                    parts.pop();
                } else if !rooted {
                    parts.push("..".into());
                }
            }
            Component::Normal(name) => parts.push(name.to_string_lossy().into_owned()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".into(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let bind = |text: &str| Ok(Volume::Bind(text.into()));
        let own = |text: &str| Ok(Volume::Anonymous(text.into()));
        let here = std::env::current_dir().unwrap();
        for (text, expected) in [
            ("/data", own("/data")),
            ("name:/data", bind("name:/data")),
            ("/a:/b:ro,z", bind("/a:/b:ro,z")),
            ("./a:/b", bind(&format!("{}/a:/b", here.display()))),
            ("c:/data", own("c:/data")),
            ("/a:", Err("invalid spec: /a:: empty section between colons".into())),
            ("/a:/b:ro:x", Err("invalid spec: /a:/b:ro:x: too many colons".into())),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_cleaned() {
        for (path, expected) in
            [("/a/./b/../c/", "/a/c"), ("/..", "/"), ("a/..", "."), ("../a", "../a"), ("", ".")]
        {
            assert_eq!(clean(Path::new(path)), expected, "{path}");
        }
    }
}
