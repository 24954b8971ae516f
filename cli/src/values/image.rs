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
    let registry = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
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
