//! Names of images: the tag that is meant when none is said, and the short form that people read.

/// A name with neither tag nor digest means `latest`.
pub fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if image.contains('@') || last.contains(':') || image.is_empty() {
        image.into()
    } else {
        format!("{image}:latest")
    }
}

/// Without the registry everyone means, and without its digest where it also has a tag.
pub fn familiar(image: &str) -> String {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let short = name
        .strip_prefix("docker.io/library/")
        .or_else(|| name.strip_prefix("docker.io/"))
        .unwrap_or(name);
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if tagged { short.into() } else { image.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(tagged("nginx"), "nginx:latest");
        assert_eq!(tagged("host:5000/nginx"), "host:5000/nginx:latest");
        assert_eq!(tagged("nginx:1"), "nginx:1");
        assert_eq!(tagged("nginx@sha256:ab"), "nginx@sha256:ab");
        assert_eq!(familiar("docker.io/library/nginx:1@sha256:ab"), "nginx:1");
        assert_eq!(familiar("nginx@sha256:ab"), "nginx@sha256:ab");
    }
}
