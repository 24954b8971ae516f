//! The `X-Registry-Auth` header: what a client knows to log in to a registry with.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE};

use super::shape::{null_default, omitempty, shape};
use crate::error::ApiError;

shape! {
    /// Either a user and password, or a token.
    RegistryAuth {
        "username" username: String => "omitempty",
        [redacted] "password" password: String => "omitempty",
        [redacted] "auth" auth: String => "omitempty",
        "serveraddress" server_address: String => "omitempty",
        [redacted] "identitytoken" identity_token: String => "omitempty",
        [redacted] "registrytoken" registry_token: String => "omitempty",
    }
}

shape! {
    /// The answer to `POST /auth`.
    AuthResponse { "Status" status: String, [redacted] "IdentityToken" identity_token: String => "omitempty" }
}

/// Go's clients write the URL alphabet with padding, others without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl RegistryAuth {
    /// Reads the header; an empty one is no login. The error never repeats it.
    pub fn from_header(text: &str) -> Result<Option<Self>, ApiError> {
        let invalid = || ApiError::invalid("invalid X-Registry-Auth header");
        if text.is_empty() {
            return Ok(None);
        }
        let bytes = LENIENT.decode(text).map_err(|_| invalid())?;
        let auth: Self = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        Ok((auth != Self::default()).then_some(auth))
    }

    pub fn to_header(&self) -> String {
        URL_SAFE.encode(serde_json::to_vec(self).expect("API documents always serialise"))
    }
}
