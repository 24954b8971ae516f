//! The HTTP of the distribution specification: requests to one registry, with what it wants to be
//! shown, and with bounds. What an answer means is [`crate::registry`]'s.
//!
//! **Invariant:** no answer is read into memory without a bound. A login is shown to nobody but the
//! registry and the server of tokens that it names, and a token to the registry alone, wherever
//! answers redirect to.

mod challenge;
mod refusal;
mod token;

use std::time::Instant;

use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Mutex;

use self::challenge::Challenge;
pub(crate) use self::refusal::Refusal;
use self::token::{Request, Token};
use crate::error::{Error, Result as StoreResult};
use crate::trust::{Auth, RegistryConfig};

/// Docker follows as many.
const REDIRECTS_MAX: usize = 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Nobody answered, or not to the end.
    #[error(transparent)]
    Transport(#[from] reqwest::Error),
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The server of tokens refused.
    #[error("{}", .0.message)]
    Token(Refusal),
    /// What was said has no meaning.
    #[error("{0}")]
    Nonsense(String),
    /// More was said than such an answer can have.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
}

/// What a registry is asked for, as it grants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    Pull,
    PullAndPush,
    /// Nothing but to say whether it knows a login.
    Nothing,
}

/// What is shown to the registry.
#[derive(Clone)]
enum Pass {
    Nothing,
    Login,
    Token { token: Token, challenge: Challenge },
}

/// A registry at one address, for one repository.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    insecure: bool,
    login: Option<Auth>,
    repository: String,
    grant: Grant,
    /// Held while a token is fetched, so that all who wait for it share it.
    pass: Mutex<Pass>,
}

/// Where a registry is, and what is asked of it.
pub(crate) struct Target<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    pub host: &'a str,
    pub insecure: bool,
    pub repository: &'a str,
    pub grant: Grant,
}

impl Client {
    pub(crate) fn new(
        target: &Target<'_>,
        config: &RegistryConfig,
        login: Option<Auth>,
    ) -> StoreResult<Self> {
        let Target { scheme, host, insecure, repository, grant } = *target;
        let base = Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|error| {
            Error::Invalid { what: format!("registry host {host:?}"), reason: error.to_string() }
        })?;
        let redirects = Policy::custom(move |attempt| {
            let before = attempt.previous();
            if before.len() > REDIRECTS_MAX {
                return attempt.error("too many redirects");
            }
            let secure = before.last().is_some_and(|url| url.scheme() == "https");
            if secure && attempt.url().scheme() != "https" && !insecure {
                return attempt.error("a redirect from TLS to none");
            }
            attempt.follow()
        });
        let http = config
            .http_client(host, insecure)?
            .redirect(redirects)
            .connect_timeout(config.patience.connect)
            .read_timeout(config.patience.read)
            .build()
            .map_err(|error| Error::Registry(skep_types::error_chain(&error)))?;
        let pass = Mutex::new(match login {
            Some(Auth::Token(_)) => Pass::Login,
            _ => Pass::Nothing,
        });
        Ok(Self { http, base, insecure, login, repository: repository.to_owned(), grant, pass })
    }

    /// A request for something of the repository; `path` is such as `manifests/latest`.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{}/{path}", self.base, self.repository);
        self.http.request(method, url)
    }

    /// A request to where an answer has pointed; None, if that is no address.
    pub(crate) fn request_to(&self, method: Method, location: &str) -> Option<RequestBuilder> {
        Some(self.http.request(method, self.base.join(location).ok()?))
    }

    /// Asks whether there is a registry that lets the login in.
    pub(crate) async fn greet(&self) -> Result<Response, Failure> {
        self.send(self.http.get(self.base.clone())).await
    }

    /// A token that stands for the login from now on, where the registry's server gave one.
    pub(crate) async fn identity(&self) -> Option<String> {
        match &*self.pass.lock().await {
            Pass::Token { token, .. } => token.identity.clone(),
            Pass::Nothing | Pass::Login => None,
        }
    }

    /// Sends a request, with what the registry wants to be shown. An answer that is no success is a
    /// failure. What has a body that cannot be sent twice is shown what was wanted before.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let again = request.try_clone();
        let (request, shown) = self.show(request).await?;
        let response = request.send().await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return successful(response).await;
        }
        let challenge = Challenge::best(response.headers());
        let (Some(again), Some(challenge)) = (again, challenge) else {
            return successful(response).await;
        };
        if !self.answer(challenge, &shown).await? {
            return successful(response).await;
        }
        let (request, _) = self.show(again).await?;
        successful(request.send().await?).await
    }

    /// Adds what the registry wants to see, if the request goes to it. Tokens that are about to end
    /// are renewed.
    async fn show(&self, request: RequestBuilder) -> Result<(RequestBuilder, Pass), Failure> {
        let (client, request) = request.build_split();
        let request = request?;
        let own = request.url().origin() == self.base.origin();
        let request = RequestBuilder::from_parts(client, request);
        if !own {
            return Ok((request, Pass::Nothing));
        }
        let mut pass = self.pass.lock().await;
        if let Pass::Token { token, challenge } = &*pass
            && token.until <= Instant::now()
        {
            let token = self.token_for(challenge).await?;
            *pass = Pass::Token { token, challenge: challenge.clone() };
        }
        let request = match (&*pass, &self.login) {
            (Pass::Token { token, .. }, _) => request.bearer_auth(&token.text),
            (Pass::Login, Some(Auth::Basic { username, password })) => {
                request.basic_auth(username, Some(password))
            }
            (Pass::Login, Some(Auth::Token(token))) => request.bearer_auth(token),
            _ => request,
        };
        Ok((request, pass.clone()))
    }

    /// Gets what a challenge asks for; false, if there is nothing more to show than was shown.
    async fn answer(&self, challenge: Challenge, shown: &Pass) -> Result<bool, Failure> {
        let mut pass = self.pass.lock().await;
        match (&challenge, &self.login) {
            (_, Some(Auth::Token(_))) => Ok(false),
            (Challenge::Basic, Some(Auth::Basic { .. })) => {
                let new = !matches!(shown, Pass::Login);
                *pass = Pass::Login;
                Ok(new)
            }
            (Challenge::Basic, _) => Ok(false),
            (Challenge::Bearer { .. }, _) => {
                let text = |pass: &Pass| match pass {
                    Pass::Token { token, .. } => Some(token.text.clone()),
                    Pass::Nothing | Pass::Login => None,
                };
                // Somebody else may have fetched one meanwhile.
                if text(&pass) == text(shown) {
                    let token = self.token_for(&challenge).await?;
                    *pass = Pass::Token { token, challenge };
                }
                Ok(true)
            }
        }
    }

    async fn token_for(&self, challenge: &Challenge) -> Result<Token, Failure> {
        let Challenge::Bearer { realm, service, scope } = challenge else {
            return Err(Failure::Nonsense("a token was wanted where none is known".to_owned()));
        };
        let actions = match self.grant {
            Grant::Pull => Some("pull"),
            Grant::PullAndPush => Some("pull,push"),
            Grant::Nothing => None,
        };
        // The registry's own word is only taken where there is none of one's own.
        let own = actions.map(|actions| format!("repository:{}:{actions}", self.repository));
        let request = Request {
            realm,
            service: service.as_deref(),
            scope: own.as_deref().or(scope.as_deref()),
            lasting: self.grant == Grant::Nothing,
        };
        self.fetch_token(&request).await
    }
}

async fn successful(response: Response) -> Result<Response, Failure> {
    match response.status().is_success() {
        true => Ok(response),
        false => Err(Failure::Refused(Refusal::of(response).await)),
    }
}

/// An answer's whole body, if it is no larger.
pub(crate) async fn read_all(mut response: Response, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if (bytes.len() + piece.len()) as u64 > bytes_max {
            return Err(Failure::TooLarge(bytes_max));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// As much of an answer's body as comes and is allowed.
async fn read_some(mut response: Response, bytes_max: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < bytes_max
        && let Ok(Some(piece)) = response.chunk().await
    {
        bytes.extend_from_slice(&piece[..piece.len().min(bytes_max - bytes.len())]);
    }
    bytes
}
