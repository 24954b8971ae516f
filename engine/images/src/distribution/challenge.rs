//! What a registry wants to be shown: the header `WWW-Authenticate` (RFC 9110, 11.6.1).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// Bytes of one header that are looked at; real ones have some hundred.
const HEADER_BYTES_MAX: usize = 4 << 10;

/// One way to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    /// A token of the server at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        /// What the registry itself says is needed.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The best way of those that are offered; none, if none is known here.
    pub(super) fn best(headers: &HeaderMap) -> Option<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|it| it.to_str().ok());
        let mut known = texts.filter_map(Self::parse).collect::<Vec<_>>();
        let bearer = known.iter().position(|it| matches!(it, Self::Bearer { .. }));
        (!known.is_empty()).then(|| known.swap_remove(bearer.unwrap_or(0)))
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > HEADER_BYTES_MAX {
            return None;
        }
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest.trim_start();
        while let Some((key, after)) = rest.split_once('=') {
            let (value, left) = value(after)?;
            match key.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => service = Some(value),
                "scope" => scope = Some(value),
                _ => {}
            }
            rest = left.trim_start().trim_start_matches(',').trim_start();
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// A token or a quoted string, and what is behind it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(texts: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, text.parse().unwrap());
        }
        Challenge::best(&headers)
    }

    #[test]
    fn tokens_are_preferred_to_passwords() {
        let bearer = Challenge::Bearer {
            realm: "https://a.example/token?x=1,2".to_owned(),
            service: Some("the \"r\"".to_owned()),
            scope: None,
        };
        let text = r#"Bearer realm="https://a.example/token?x=1,2", service="the \"r\"",error=x"#;
        assert_eq!(best(&["Basic realm=x", text]), Some(bearer));
        assert_eq!(best(&["basic"]), Some(Challenge::Basic));
        let short = best(&["BEARER Realm=http://t,scope=\"repository:a:pull\""]);
        let Some(Challenge::Bearer { realm, service: None, scope: Some(scope) }) = short else {
            panic!("{short:?}");
        };
        assert_eq!((realm.as_str(), scope.as_str()), ("http://t", "repository:a:pull"));
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for text in ["", "Bearer", "Bearer service=x", "Bearer realm=\"open", "Negotiate abc"] {
            assert_eq!(best(&[text]), None, "{text}");
        }
        assert_eq!(best(&[&format!("Basic {}", "x".repeat(5_000))]), None);
    }
}
