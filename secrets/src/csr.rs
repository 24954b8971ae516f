//! A node's key and its certificate signing request.
//!
//! The request names nobody: the CA alone decides the subject.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use zeroize::Zeroizing;

/// A new P-256 key with the request for its certificate.
pub struct NodeRequest {
    pub key_pem: Zeroizing<String>,
    pub csr_pem: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CsrError {
    #[error("failed to make node key and signing request")]
    Make(#[source] rcgen::Error),
}

/// Makes a key from the system's entropy and signs a request with it.
pub fn generate() -> Result<NodeRequest, CsrError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CsrError::Make)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr_pem =
        params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(CsrError::Make)?;
    Ok(NodeRequest { key_pem: Zeroizing::new(key.serialize_pem()), csr_pem })
}
