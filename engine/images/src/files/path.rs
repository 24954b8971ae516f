//! A path as a user names it: cleaned by its text alone, with what its end means kept.

use super::FileError;

/// How a path ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Plain,
    /// `/`: a directory is meant, also behind a link.
    Slash,
    /// `/.`: what is in the directory is meant.
    Dot,
}

/// An absolute path in a container, without empty, `.` and `..` components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    text: String,
    components: Vec<String>,
    end: End,
}

impl Asked {
    /// Reads what a user wrote; a relative path begins at the root, as for Docker. `..` is taken
    /// off by the text, as Docker does, and leads no further than the root.
    pub(super) fn parse(text: &str) -> Result<Self, FileError> {
        if text.contains('\0') {
            let reason = "it holds a NUL byte";
            return Err(FileError::InvalidPath { path: text.to_owned(), reason });
        }
        let mut components: Vec<String> = Vec::new();
        for component in text.split('/') {
            match component {
                "" | "." => {}
                ".." => drop(components.pop()),
                _ => components.push(component.to_owned()),
            }
        }
        let last = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let end = match last {
            "." => End::Dot,
            "" if text.is_empty() => End::Dot,
            _ if text.ends_with('/') && !components.is_empty() => End::Slash,
            _ => End::Plain,
        };
        Ok(Self { text: text.to_owned(), components, end })
    }

    /// As the user wrote it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What Docker calls it: the last component, `.` for what is in a directory, `/` for the root.
    pub(super) fn name(&self) -> &str {
        match (self.end, self.components.last()) {
            (End::Dot, _) => ".",
            (_, None) => "/",
            (_, Some(last)) => last,
        }
    }

    pub(super) fn components(&self) -> &[String] {
        &self.components
    }

    /// The path for the kernel, relative to the root. Its end has a last link followed or not.
    pub(super) fn relative(&self) -> String {
        let path = joined(&self.components);
        match self.end {
            End::Plain => path,
            End::Slash => path + "/",
            End::Dot => path + "/.",
        }
    }

    /// The directory that it is in, for the kernel, and its name there; None for the root.
    pub(super) fn split(&self) -> Option<(String, &str)> {
        let (last, parent) = self.components.split_last()?;
        Some((joined(parent), last))
    }
}

fn joined(components: &[String]) -> String {
    if components.is_empty() { ".".to_owned() } else { components.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_their_ends_kept() {
        for (given, name, relative) in [
            ("/", "/", "."),
            ("", ".", "./."),
            ("/.", ".", "./."),
            ("a", "a", "a"),
            ("/a//b/", "b", "a/b/"),
            ("/a/b/.", ".", "a/b/."),
            ("/a/b/./", ".", "a/b/."),
            ("/a/./b", "b", "a/b"),
            ("/../../a/../b", "b", "b"),
            ("/a/..", "/", "."),
            ("..", "/", "."),
        ] {
            let asked = Asked::parse(given).unwrap();
            assert_eq!((asked.name(), asked.relative().as_str()), (name, relative), "{given}");
        }
        assert!(Asked::parse("a\0b").is_err());
    }
}
