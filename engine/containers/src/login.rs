//! What a client knows to log in to a registry with, as the registry's client takes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use skep_docker_api::ApiError;
use skep_docker_api::json::RegistryAuth;
use skep_images::Auth;

/// A login as the registry's client takes it; none where it says nothing.
///
/// # Errors
/// It is malformed, or of a kind that is not known here.
pub fn registry_login(auth: RegistryAuth) -> Result<Option<Auth>, ApiError> {
    let malformed = || ApiError::invalid("invalid X-Registry-Auth header");
    if !auth.registry_token.is_empty() {
        return Ok(Some(Auth::Token(auth.registry_token)));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Some(Auth::Identity(auth.identity_token)));
    }
    if auth.username.is_empty() && !auth.auth.is_empty() {
        // As it stands in a configuration file of Docker's: both in one.
        let bytes = STANDARD.decode(&auth.auth);
        let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = zeroize::Zeroizing::new(text.ok_or_else(malformed)?);
        let (username, password) = text.split_once(':').ok_or_else(malformed)?;
        return Ok(Some(Auth::Basic { username: username.into(), password: password.into() }));
    }
    let named = !auth.username.is_empty();
    Ok(named.then_some(Auth::Basic { username: auth.username, password: auth.password }))
}
