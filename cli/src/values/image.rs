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

/// A name as registries have it: `nginx` is `docker.io/library/nginx`.
pub fn full(image: &str) -> String {
    let first = image.split('/').next().unwrap_or_default();
    // No repository has capitals; a host may.
    let hostly =
        first.contains(['.', ':']) || first == "localhost" || first != first.to_lowercase();
    let registry = image.contains('/') && hostly;
    match (registry, image.contains('/')) {
        (true, _) => image.into(),
        (false, true) => format!("docker.io/{image}"),
        (false, false) => format!("docker.io/library/{image}"),
    }
}

/// A name's repository and its tag; none where it has a digest or nothing.
pub fn parts(image: &str) -> (&str, Option<&str>) {
    let slash = image.rfind('/').map_or(0, |at| at + 1);
    match image[slash..].find(':') {
        Some(colon) if !image.contains('@') => {
            (&image[..slash + colon], Some(&image[slash + colon + 1..]))
        }
        _ => (image, None),
    }
}

/// Whether it is an image's id: 64 hexadecimal digits, with or without the algorithm.
pub fn is_id(image: &str) -> bool {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Refuses what cannot be a name of an image.
pub fn check(image: &str) -> crate::failure::Outcome {
    let invalid = || crate::failure::Failure::new("invalid reference format");
    if is_id(image) {
        return Ok(());
    }
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let (repository, tag) = parts(name);
    let path = full(repository);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(crate::failure::Failure::new(format!(
            "invalid reference format: repository name ({}) must be lowercase",
            path.strip_prefix("library/").unwrap_or(path)
        )));
    }
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    let tagged = tag.is_none_or(|tag| {
        tag.len() <= 128
            && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    if path.split('/').all(part) && tagged { Ok(()) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["nginx", "a/b-c:1.2", "localhost:5000/a/b", "nginx@sha256:ab"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a/B", "Nginx", "nginx:", "a//b", "nginx: x"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(tagged("nginx"), "nginx:latest");
        assert_eq!(tagged("host:5000/nginx"), "host:5000/nginx:latest");
        assert_eq!(tagged("nginx:1"), "nginx:1");
        assert_eq!(tagged("nginx@sha256:ab"), "nginx@sha256:ab");
        assert_eq!(full("nginx:1"), "docker.io/library/nginx:1");
        assert_eq!(full("me/nginx"), "docker.io/me/nginx");
        assert_eq!(full("localhost/nginx"), "localhost/nginx");
        assert_eq!(parts("host:5000/nginx:1"), ("host:5000/nginx", Some("1")));
        assert_eq!(parts("host:5000/nginx"), ("host:5000/nginx", None));
        assert_eq!(familiar("docker.io/library/nginx:1@sha256:ab"), "nginx:1");
        assert_eq!(familiar("nginx@sha256:ab"), "nginx@sha256:ab");
    }
}
