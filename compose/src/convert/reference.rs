//! Whether text names an image: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.

/// The grammar's bound on the name without tag and digest.
const NAME_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;
const FORMAT: &str = "invalid reference format";

/// Holds where `text` is a reference; the message is Docker's.
pub(super) fn check(text: &str) -> Result<(), String> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return Err(FORMAT.to_owned());
    }
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(FORMAT.to_owned());
    }
    let path = match name.split_once('/') {
        Some((host, path)) if is_host(host) => path,
        _ => name,
    };
    if path.split('/').any(|part| !is_component(&part.to_ascii_lowercase())) {
        return Err(FORMAT.to_owned());
    }
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(format!("{FORMAT}: repository name ({path}) must be lowercase"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("repository name must not be more than {NAME_BYTES_MAX} characters"));
    }
    Ok(())
}

/// What stands before the first slash is a host when it looks like one.
fn is_host(text: &str) -> bool {
    let marked = text.contains(['.', ':'])
        || text == "localhost"
        || text.bytes().any(|byte| byte.is_ascii_uppercase());
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let valid_port =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let label = |label: &str| {
        let bytes = label.as_bytes();
        let inner = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
        bytes.iter().all(inner)
            && !bytes.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let six = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let valid_host = match six {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    marked && valid_host && valid_port
}

/// Letters and digits, with `.`, `_`, `__` or dashes between.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(alphanumeric).filter(|run| !run.is_empty());
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && separators
            .clone()
            .all(|run| matches!(run, "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= TAG_BYTES_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let algorithm_fits = !algorithm.is_empty()
        && algorithm
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'_' | b'-'));
    let length_fits = if algorithm == "sha256" { hex.len() == 64 } else { hex.len() >= 32 };
    algorithm_fits && length_fits && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let digest = format!("nginx@sha256:{}", "a".repeat(64));
        let long = format!("{}:x", "a".repeat(256));
        for good in [
            "nginx",
            "nginx:1.27-alpine",
            "library/nginx",
            "localhost/x",
            "localhost:5000/a/b_c/d__e/f--g:T_1",
            "registry.example.com:443/x",
            "Registry/x",
            "[::1]:5000/x",
            &digest,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            ":",
            "nginx:",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a..b",
            "a b",
            "nginx@sha256:abc",
            "a:b:c",
            "x___y",
            "é",
        ] {
            assert_eq!(check(bad), Err(FORMAT.to_owned()), "{bad}");
        }
        let upper = "invalid reference format: repository name (Nginx) must be lowercase";
        assert_eq!(check("Nginx"), Err(upper.to_owned()));
        assert!(check(&long).is_err());
    }
}
