//! Which folder an archive is unpacked in, and what its first name becomes there: `docker cp`'s rules.
//!
//! A path that ends in `/.` means what is in a folder; one that ends in `/` must be a folder.

use std::path::Path;

use crate::failure::{Failure, Outcome};

/// One end of a copy.
#[derive(Debug, Clone)]
pub struct End {
    pub path: String,
    pub exists: bool,
    pub is_dir: bool,
}

impl End {
    /// What is at a path here; a link counts as what it leads to.
    pub fn here(path: &str) -> Self {
        let found = std::fs::metadata(path.trim_end_matches("/."));
        let is_dir = found.as_ref().is_ok_and(std::fs::Metadata::is_dir);
        Self { path: path.into(), exists: found.is_ok(), is_dir }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the archive is unpacked; it is there.
    pub folder: String,
    /// The first part of the names in the archive as the daemon or we write it; empty: the root.
    pub from: String,
    /// What stands in its place.
    pub to: String,
}

/// Puts back the end that makes a path mean a folder or what is in it.
pub fn keep_end(path: &str, given: &str) -> String {
    let path = path.trim_end_matches('/');
    match given {
        _ if given == "." || given.ends_with("/.") => format!("{path}/."),
        _ if given.ends_with('/') => format!("{path}/"),
        _ if path.is_empty() => "/".into(),
        _ => path.into(),
    }
}

/// The folder and the name in it; the name of `a/.` is `.`.
pub fn parted(path: &str) -> (String, String) {
    let dotted = path == "." || path.ends_with("/.");
    let path = if dotted { path } else { path.trim_end_matches('/') };
    match path.rsplit_once('/') {
        Some(("", name)) => ("/".into(), name.into()),
        Some((folder, name)) => (folder.into(), name.into()),
        None if path.is_empty() => ("/".into(), String::new()),
        None => (".".into(), path.into()),
    }
}

/// The folder that a new file would be in must be there.
pub fn check_parent(path: &str) -> Outcome {
    let (parent, _) = parted(path.trim_end_matches("/."));
    match Path::new(&parent).is_dir() {
        true => Ok(()),
        false => {
            Err(Failure::new(format!("invalid output path: directory {parent:?} does not exist")))
        }
    }
}

impl Plan {
    /// `called`: the name that is asked for where the source is what a link led to.
    pub fn make(source: &End, there: &End, called: Option<&str>) -> Outcome<Self> {
        let (_, from) = parted(&source.path);
        let name = called.map_or(from.clone(), str::to_owned);
        let (folder, last) = parted(&there.path);
        let asserts = there.path.ends_with('/') || there.path.ends_with("/.");
        Ok(match (there.exists, there.is_dir, source.is_dir) {
            (true, true, _) => Self { folder: there.path.clone(), from, to: name },
            (true, false, true) => return Err(Failure::new("cannot copy directory")),
            (true, false, false) => {
                if asserts {
                    return Err(Failure::new("not a directory"));
                }
                Self { folder, from, to: last }
            }
            (false, _, true) => {
                let (folder, last) = parted(there.path.trim_end_matches("/."));
                Self { folder, from, to: last }
            }
            (false, _, false) if asserts => {
                return Err(Failure::new("no such directory"));
            }
            (false, _, false) => Self { folder, from, to: last },
        })
    }

    /// A name of the archive as it is called there.
    pub fn name(&self, given: &Path) -> std::path::PathBuf {
        let given = given.strip_prefix("/").unwrap_or(given);
        let from = self.from.trim_start_matches('/');
        let rest = match from {
            "" | "." => given.strip_prefix(".").unwrap_or(given),
            from => match given.strip_prefix(from) {
                Ok(rest) => rest,
                // Not what was asked for; it keeps its name.
                Err(_) => return given.into(),
            },
        };
        match self.to.as_str() {
            "." | "" => rest.into(),
            // Joining nothing would put a slash behind it.
            to if rest.as_os_str().is_empty() => to.into(),
            to => Path::new(to).join(rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(path: &str, kind: &str) -> End {
        End { path: path.into(), exists: kind != "none", is_dir: kind == "dir" }
    }

    fn shown(source: (&str, &str), there: (&str, &str)) -> String {
        let given = if source.1 == "dir" && source.0.ends_with("/.") { "./x" } else { "a" };
        match Plan::make(&end(source.0, source.1), &end(there.0, there.1), None) {
            Err(failure) => failure.message,
            Ok(plan) => {
                format!("{} {}", plan.folder, plan.name(Path::new(given)).display())
            }
        }
    }

    #[test]
    fn dockers_table() {
        for (source, there, expected) in [
            (("/s/a", "file"), ("/d", "dir"), "/d a"),
            (("/s/a", "file"), ("/d/b", "file"), "/d b"),
            (("/s/a", "file"), ("/d/b", "none"), "/d b"),
            (("/s/a", "file"), ("/d/b/", "none"), "no such directory"),
            (("/s/a", "dir"), ("/d", "dir"), "/d a"),
            (("/s/a", "dir"), ("/d/b", "none"), "/d b"),
            (("/s/a", "dir"), ("/d/b", "file"), "cannot copy directory"),
            (("/s/a/.", "dir"), ("/d", "dir"), "/d x"),
            (("/s/a/.", "dir"), ("/d/b", "none"), "/d b/x"),
        ] {
            assert_eq!(shown(source, there), expected, "{source:?} {there:?}");
        }
        assert_eq!(parted("/a/b/"), ("/a".into(), "b".into()));
        assert_eq!(parted("/a/."), ("/a".into(), ".".into()));
        assert_eq!(keep_end("/a/b", "b/."), "/a/b/.");
    }
}
