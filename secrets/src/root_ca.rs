//! The swarm's root: makes, loads and digests it, and signs node certificates.
//!
//! Invariant: subject, names and usage of a certificate come from the issuer, never from the CSR.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
    SubjectPublicKeyInfo,
};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509CertificationRequest};
use zeroize::Zeroizing;

use crate::Role;
use crate::defaults::{BACKDATE, NODE_VALIDITY_MIN, ROOT_CN, ROOT_VALIDITY};

#[derive(Debug, thiserror::Error)]
pub enum CaError {
    #[error("failed to make root certificate")]
    Make(#[source] rcgen::Error),
    #[error("failed to load root certificate and key")]
    Load(#[source] rcgen::Error),
    #[error("root certificate does not belong to the root key")]
    KeyMismatch,
    #[error("malformed certificate signing request: expected one PEM block of PKCS#10")]
    MalformedCsr,
    #[error("signature of certificate signing request does not verify")]
    CsrSignature,
    #[error("failed to sign node certificate")]
    Sign(#[source] rcgen::Error),
    #[error("node certificate validity too short: expected at least {minimum}, got {got}")]
    TooShort { minimum: Duration, got: Duration },
}

/// What the issuer says about the node whose key it signs.
#[derive(Clone, Copy, Debug)]
pub struct NodeSubject<'a> {
    pub node_id: &'a str,
    pub role: Role,
    pub cluster_id: &'a str,
}

/// The root certificate with the key that signs.
pub struct RootCa {
    cert_pem: String,
    key_pem: Zeroizing<String>,
    issuer: Issuer<'static, KeyPair>,
}

/// SHA-256 of the root's PEM bytes, exactly as they travel (SwarmKit's digest).
pub fn digest(root_pem: &[u8]) -> [u8; 32] {
    Sha256::digest(root_pem).into()
}

/// The subject and the public key of a root (DER), as clients show them; none if it is no
/// certificate.
pub fn issuer(root_pem: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let block = pem::parse(root_pem).ok()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(block.contents()).ok()?;
    Some((certificate.subject().as_raw().to_vec(), certificate.public_key().raw.to_vec()))
}

impl RootCa {
    /// A new self-signed P-256 root, valid for 20 years from `now` (backdated an hour).
    pub fn generate(now: OffsetDateTime) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Make)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, ROOT_CN);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - BACKDATE;
        params.not_after = now + ROOT_VALIDITY;
        params.serial_number = Some(random_serial());
        let cert_pem = params.self_signed(&key).map_err(CaError::Make)?.pem();
        let key_pem = Zeroizing::new(key.serialize_pem());
        Self::load(&cert_pem, &key_pem)
    }

    /// A root from its PEM certificate and PKCS#8 key, which must belong together.
    pub fn load(cert_pem: &str, key_pem: &str) -> Result<Self, CaError> {
        let key = KeyPair::from_pem(key_pem).map_err(CaError::Load)?;
        let block = pem::parse(cert_pem)
            .map_err(|_| CaError::Load(rcgen::Error::CouldNotParseCertificate))?;
        let (_, certificate) = x509_parser::parse_x509_certificate(block.contents())
            .map_err(|_| CaError::Load(rcgen::Error::CouldNotParseCertificate))?;
        if certificate.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(CaError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_pem(cert_pem, key).map_err(CaError::Load)?;
        Ok(Self {
            cert_pem: cert_pem.to_owned(),
            key_pem: Zeroizing::new(key_pem.to_owned()),
            issuer,
        })
    }

    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    pub fn key_pem(&self) -> &Zeroizing<String> {
        &self.key_pem
    }

    /// See [`digest`].
    pub fn digest(&self) -> [u8; 32] {
        digest(self.cert_pem.as_bytes())
    }

    /// Verifies the CSR's signature and signs its key for `subject`; gives the certificate's PEM.
    pub fn sign(
        &self,
        csr_pem: &[u8],
        subject: NodeSubject<'_>,
        now: OffsetDateTime,
        validity: Duration,
    ) -> Result<String, CaError> {
        if validity < NODE_VALIDITY_MIN {
            return Err(CaError::TooShort { minimum: NODE_VALIDITY_MIN, got: validity });
        }
        let block = pem::parse(csr_pem).map_err(|_| CaError::MalformedCsr)?;
        let (rest, csr) = X509CertificationRequest::from_der(block.contents())
            .map_err(|_| CaError::MalformedCsr)?;
        if !rest.is_empty() {
            return Err(CaError::MalformedCsr);
        }
        csr.verify_signature().map_err(|_| CaError::CsrSignature)?;
        let key = SubjectPublicKeyInfo::from_der(csr.certification_request_info.subject_pki.raw)
            .map_err(CaError::Sign)?;

        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, subject.cluster_id);
        params.distinguished_name.push(DnType::OrganizationalUnitName, subject.role.ou());
        params.distinguished_name.push(DnType::CommonName, subject.node_id);
        let mut names = vec![subject.role.ou(), subject.node_id];
        if subject.role == Role::Manager {
            names.push(ROOT_CN); // the name that joining nodes dial
        }
        for name in names {
            params
                .subject_alt_names
                .push(SanType::DnsName(name.try_into().map_err(CaError::Sign)?));
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = now - BACKDATE;
        params.not_after = now + validity;
        params.serial_number = Some(random_serial());
        Ok(params.signed_by(&key, &self.issuer).map_err(CaError::Sign)?.pem())
    }
}

/// 16 random bytes, positive and not zero (RFC 5280, 4.1.2.2). By default rcgen hashes the public
/// key, which would give a renewed certificate of the same key the same serial.
fn random_serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csr;
    use crate::identity::Identity;
    use x509_parser::extensions::GeneralName;

    const WORKER: NodeSubject<'_> =
        NodeSubject { node_id: "n1", role: Role::Worker, cluster_id: "c1" };
    const MANAGER: NodeSubject<'_> = NodeSubject { role: Role::Manager, ..WORKER };

    fn now() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
    }

    /// What a certificate says: names, server and client usage, whether it is a CA, its life.
    fn read(pem_text: &str, subject: NodeSubject<'_>, names: &[&str]) {
        let der = pem::parse(pem_text).unwrap().into_contents();
        let identity = Identity::from_der(&der).unwrap();
        assert_eq!(identity.node_id, subject.node_id);
        assert_eq!(identity.role, subject.role);
        assert_eq!(identity.cluster_id, subject.cluster_id);
        assert_eq!(identity.expires, now() + Duration::days(90));
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(certificate.validity().not_before.to_datetime(), now() - BACKDATE);
        assert_eq!(certificate.subject().iter_attributes().count(), 3);
        assert!(!certificate.is_ca());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth && !usage.any && usage.other.is_empty());
        let san = certificate.subject_alternative_name().unwrap().unwrap().value;
        let expected: Vec<_> = names.iter().map(|name| GeneralName::DNSName(name)).collect();
        assert_eq!(san.general_names, expected);
    }

    #[test]
    fn subject_names_and_usage_come_from_the_issuer() {
        let root = RootCa::generate(now()).unwrap();
        // A request that asks for all it can: another node, manager, a CA, the managers' name.
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec![ROOT_CN.to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "c2");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "swarm-manager");
        params.distinguished_name.push(DnType::CommonName, "other");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let greedy = params.serialize_request(&key).unwrap().pem().unwrap();
        let plain = csr::generate().unwrap().csr_pem;
        for csr in [greedy, plain] {
            let sign =
                |subject| root.sign(csr.as_bytes(), subject, now(), Duration::days(90)).unwrap();
            read(&sign(WORKER), WORKER, &["swarm-worker", "n1"]);
            read(&sign(MANAGER), MANAGER, &["swarm-manager", "n1", "swarm-ca"]);
            assert_ne!(sign(WORKER), sign(WORKER), "a certificate issued again has a new serial");
        }
    }

    #[test]
    fn refuses_a_request_with_a_changed_byte() {
        let root = RootCa::generate(now()).unwrap();
        let csr = csr::generate().unwrap().csr_pem;
        let block = pem::parse(&csr).unwrap();
        let sign_changed = |place: usize| {
            let mut der = block.contents().to_vec();
            der[place] ^= 1;
            let text = pem::encode(&pem::Pem::new(block.tag(), der));
            root.sign(text.as_bytes(), WORKER, now(), Duration::days(90))
        };
        // All that is signed and the signature; what lies between only names the algorithm.
        let (_, request) = X509CertificationRequest::from_der(block.contents()).unwrap();
        let end = block.contents().len();
        let signed = request.certification_request_info.raw;
        let info = signed.as_ptr() as usize - block.contents().as_ptr() as usize;
        let signature = end - request.signature_value.data.len();
        for place in (info..info + signed.len()).chain(signature..end) {
            assert!(sign_changed(place).is_err(), "byte {place} of {end}");
        }
        assert!(matches!(sign_changed(end - 1), Err(CaError::CsrSignature)));
        for garbage in ["", "nonsense", root.cert_pem()] {
            let result = root.sign(garbage.as_bytes(), WORKER, now(), Duration::days(90));
            assert!(matches!(result, Err(CaError::MalformedCsr)));
        }
    }

    #[test]
    fn refuses_a_life_under_an_hour() {
        let root = RootCa::generate(now()).unwrap();
        let csr = csr::generate().unwrap().csr_pem;
        let sign = |validity| root.sign(csr.as_bytes(), WORKER, now(), validity);
        assert!(matches!(sign(Duration::minutes(59)), Err(CaError::TooShort { .. })));
        sign(NODE_VALIDITY_MIN).unwrap();
    }

    #[test]
    fn loads_only_a_certificate_with_its_own_key() {
        let (one, other) = (RootCa::generate(now()).unwrap(), RootCa::generate(now()).unwrap());
        let loaded = RootCa::load(one.cert_pem(), one.key_pem()).unwrap();
        assert_eq!(loaded.digest(), one.digest());
        assert_ne!(one.digest(), other.digest());
        let mixed = RootCa::load(one.cert_pem(), other.key_pem());
        assert!(matches!(mixed, Err(CaError::KeyMismatch)));
        assert!(matches!(RootCa::load("nonsense", one.key_pem()), Err(CaError::Load(_))));
        assert!(matches!(RootCa::load(one.cert_pem(), "nonsense"), Err(CaError::Load(_))));
    }
}
