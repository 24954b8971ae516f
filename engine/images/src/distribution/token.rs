//! Tokens: what a registry's server of tokens gives for a login, or to anybody, for a while.

use std::time::{Duration, Instant};

use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::{Client, Failure, Refusal, read_all};
use crate::trust::Auth;

/// A token has some kilobytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// What a server that says nothing of it means (the distribution specification's value).
const LIFE: Duration = Duration::from_secs(60);
/// So long before its end a token is not used any more: it has to reach the registry as well.
const MARGIN: Duration = Duration::from_secs(5);
/// A life beyond this is none that a server means, and would not fit a clock.
const LIFE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Who asks, as the protocol has it.
const CLIENT_ID: &str = "skep";

#[derive(Clone)]
pub(super) struct Token {
    pub text: String,
    pub until: Instant,
    /// What a login can be exchanged for.
    pub identity: Option<String>,
}

/// Both forms: `token` is the distribution specification's, `access_token` OAuth's.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// What a token is asked for.
pub(super) struct Request<'a> {
    pub realm: &'a str,
    pub service: Option<&'a str>,
    pub scope: Option<&'a str>,
    /// Whether a token that stands for the login is wanted too.
    pub lasting: bool,
}

impl Client {
    /// Asks the server of tokens. Errors: it is not to be trusted with a login, cannot be reached,
    /// refuses, or says what is no token.
    pub(super) async fn fetch_token(&self, request: &Request<'_>) -> Result<Token, Failure> {
        let realm = self.realm(request.realm)?;
        let mut query: Vec<(&str, &str)> = Vec::new();
        query.extend(request.service.map(|service| ("service", service)));
        query.extend(request.scope.map(|scope| ("scope", scope)));
        let asking = match &self.login {
            Some(Auth::Identity(identity)) => {
                query.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT_ID),
                    ("refresh_token", identity),
                ]);
                self.http.post(realm).form(&query)
            }
            Some(Auth::Basic { username, password }) => {
                query.push(("account", username));
                if request.lasting {
                    query.extend([("offline_token", "true"), ("client_id", CLIENT_ID)]);
                }
                self.http.get(realm).query(&query).basic_auth(username, Some(password))
            }
            Some(Auth::Token(_)) | None => self.http.get(realm).query(&query),
        };
        let asked = Instant::now();
        let response = asking.send().await?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Token(Refusal::of(response).await));
        }
        let body = read_all(response, ANSWER_BYTES_MAX).await?;
        let nonsense = |why: &str| Failure::Nonsense(format!("its server of tokens {why}"));
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| nonsense("answered what is no answer about a token"))?;
        let text = [answer.token, answer.access_token].into_iter().flatten();
        let text = text.into_iter().find(|text| !text.is_empty());
        let text = text.ok_or_else(|| nonsense("gave no token"))?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(nonsense("gave a token that cannot be shown to anybody"));
        }
        let life = answer.expires_in.map_or(LIFE, Duration::from_secs).min(LIFE_MAX);
        // Of a very short life some is left in any case.
        let life = life.saturating_sub(MARGIN).max(life / 2);
        let identity = answer.refresh_token.filter(|text| !text.is_empty());
        Ok(Token { text, until: asked + life, identity })
    }

    /// Where tokens come from. A registry that is reached by TLS has no login sent in the clear.
    fn realm(&self, text: &str) -> Result<Url, Failure> {
        let url = Url::parse(text).ok().filter(|url| url.host().is_some());
        match url.as_ref().map(Url::scheme) {
            Some("https") => {}
            Some("http") if self.base.scheme() == "http" || self.insecure => {}
            _ => {
                return Err(Failure::Nonsense(
                    "its server of tokens is not at an address that is to be trusted".to_owned(),
                ));
            }
        }
        Ok(url.expect("it has a scheme"))
    }
}
