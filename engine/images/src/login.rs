//! Whether a registry knows a user.

use crate::error::Result;
use crate::reference::Reference;
use crate::registry::{Purpose, Session};
use crate::trust::{Auth, RegistryConfig};

/// What is asked about: any name does, and nobody needs to have it.
const PROBE: &str = "skep/login";

/// Asks the registry at `domain` (`host:port`) whether a login is good. One that asks nobody for a login takes all. What it gives to stand for
/// the login from then on is returned, to be used as [`Auth::Identity`].
///
/// # Errors
/// The registry cannot be reached, or, as [`crate::Error::Login`], refuses the login.
pub async fn check_login(
    domain: &str,
    registries: &RegistryConfig,
    auth: &Auth,
) -> Result<Option<String>> {
    let probe: Reference = format!("{domain}/{PROBE}").parse()?;
    let session = Session::connect(&probe, registries, Some(auth), Purpose::Login).await?;
    Ok(session.identity().await)
}
