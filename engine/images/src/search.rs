//! Looks for images in a registry's index, by the first version of its API: Docker asks no other.
//!
//! **Invariant:** an index gives no more than a bounded answer, whatever it sends.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use skep_types::error_chain;

use crate::error::{Error, Result};
use crate::trust::{Auth, RegistryConfig};

/// An index that has not answered by then does not answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A hundred finds, the most that are asked for, have some tens of kilobytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Docker's own registry as references have it, and where its index is.
const HUB: [&str; 2] = ["docker.io", "index.docker.io"];
const HUB_INDEX: &str = "index.docker.io";

/// One find.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Found {
    pub name: String,
    /// An index may say that there is none.
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default)]
    pub star_count: i64,
    #[serde(default)]
    pub is_official: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    results: Option<Vec<Found>>,
}

/// Where a term is looked for, and as what: `HOST/WORD` in that host's index, else in Docker's.
fn place(term: &str) -> Result<(&str, &str)> {
    let refuse = |reason: &str| {
        Err(Error::Invalid { what: format!("search term {term:?}"), reason: reason.to_owned() })
    };
    if term.contains("://") {
        return refuse("it has a scheme");
    }
    let (domain, word) = match term.split_once('/') {
        Some((host, word)) if host.contains(['.', ':']) || host == "localhost" => (host, word),
        _ => (HUB_INDEX, term),
    };
    if !HUB.contains(&domain) {
        return Ok((domain, word));
    }
    Ok((HUB_INDEX, word.strip_prefix("library/").unwrap_or(word)))
}

/// Asks an index for at most so many images that a term means.
///
/// # Errors
/// The index cannot be reached, refuses, or says what is no answer.
pub async fn search(
    term: &str,
    limit: u64,
    registries: &RegistryConfig,
    auth: Option<&Auth>,
) -> Result<Vec<Found>> {
    let (domain, word) = place(term)?;
    let insecure = registries.is_insecure(domain).await?;
    let client = registries.http_client(domain, insecure)?.timeout(TIMEOUT).build();
    let client = client.map_err(|error| Error::Registry(error_chain(&error)))?;
    let schemes: &[&str] = if insecure { &["https", "http"] } else { &["https"] };
    let mut unreached = None;
    for scheme in schemes {
        let limit = limit.to_string();
        let request = client
            .get(format!("{scheme}://{domain}/v1/search"))
            .query(&[("q", word), ("n", limit.as_str())]);
        let request = match auth {
            None => request,
            Some(Auth::Basic { username, password }) => {
                request.basic_auth(username, Some(password))
            }
            Some(Auth::Token(token)) => request.bearer_auth(token),
            // It is good for a server of tokens, and an index has none.
            Some(Auth::Identity(_)) => request,
        };
        match request.send().await {
            Ok(response) if response.status() == StatusCode::OK => return read(response).await,
            Ok(response) => {
                let code = response.status().as_u16();
                return Err(Error::Registry(format!("Unexpected status code {code}")));
            }
            Err(error) => drop(unreached.get_or_insert(error)),
        }
    }
    let error = unreached.expect("there is one scheme at least");
    Err(Error::Registry(format!("failed to ask the index of {domain}: {}", error_chain(&error))))
}

async fn read(mut response: reqwest::Response) -> Result<Vec<Found>> {
    let broken = |error: reqwest::Error| Error::Registry(error_chain(&error));
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(Error::Registry("the index's answer has no end".to_owned()));
        }
    }
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Registry(format!("the index's answer is none: {error}")))?;
    Ok(answer.results.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_name_their_index() {
        for (term, expected) in [
            ("nginx", ("index.docker.io", "nginx")),
            ("org/tool", ("index.docker.io", "org/tool")),
            ("library/nginx", ("index.docker.io", "nginx")),
            ("docker.io/library/nginx", ("index.docker.io", "nginx")),
            ("localhost/bees", ("localhost", "bees")),
            ("127.0.0.1:5000/bees/one", ("127.0.0.1:5000", "bees/one")),
        ] {
            assert_eq!(place(term).unwrap(), expected, "{term}");
        }
        assert!(place("https://r.example/x").is_err());
    }
}
