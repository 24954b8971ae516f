//! Who a certificate says its holder is, and a node's own credentials on disk.
//!
//! Parsing proves nothing: the chain is verified by TLS before a certificate comes here.
//! Invariant: key, certificate and root lie in one file, so a crash cannot pair old with new.

use std::io;
use std::path::Path;

use time::OffsetDateTime;
use x509_parser::x509::X509Name;
use zeroize::Zeroizing;

use crate::Role;
use crate::defaults::{RENEW_FROM, RENEW_TO};
use crate::durable::write_private;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub node_id: String,
    pub role: Role,
    pub cluster_id: String,
    pub expires: OffsetDateTime,
}

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("malformed certificate: expected X.509")]
    Malformed,
    #[error("certificate subject: expected exactly one {field}")]
    Subject { field: &'static str },
    #[error("certificate subject: expected OU swarm-manager or swarm-worker, got {got}")]
    UnknownRole { got: String },
    #[error("failed to read node credentials")]
    Read(#[source] io::Error),
    #[error("failed to write node credentials")]
    Write(#[source] io::Error),
    #[error("malformed node credentials: expected key, certificate and root")]
    MalformedFile,
}

impl Identity {
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        let (_, certificate) =
            x509_parser::parse_x509_certificate(der).map_err(|_| IdentityError::Malformed)?;
        let subject = certificate.subject();
        let ou = only(subject.iter_organizational_unit(), "OU")?;
        let role =
            Role::from_ou(&ou).ok_or_else(|| IdentityError::UnknownRole { got: ou.clone() })?;
        Ok(Self {
            node_id: only(X509Name::iter_common_name(subject), "CN")?,
            role,
            cluster_id: only(subject.iter_organization(), "O")?,
            expires: certificate.validity().not_after.to_datetime(),
        })
    }
}

/// A subject with two values of a field could be read one way here and another elsewhere.
fn only<'a>(
    mut values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
    field: &'static str,
) -> Result<String, IdentityError> {
    let error = IdentityError::Subject { field };
    match (values.next(), values.next()) {
        (Some(value), None) => match value.as_str() {
            Ok(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

/// A node's certificate, key and the root it trusts, all PEM.
pub struct NodeCredentials {
    pub cert_pem: String,
    pub key_pem: Zeroizing<String>,
    pub root_pem: String,
}

// Text between PEM blocks is ignored by other tools, so the file stays readable to openssl; the
// parts are kept byte for byte because the root's digest is over its PEM bytes.
const KEY_MARK: &str = "# node key\n";
const CERT_MARK: &str = "# node certificate\n";
const ROOT_MARK: &str = "# root certificate\n";

impl NodeCredentials {
    /// Writes all three in one durable step, mode 0600.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        let text = Zeroizing::new(format!(
            "{KEY_MARK}{}{CERT_MARK}{}{ROOT_MARK}{}",
            *self.key_pem, self.cert_pem, self.root_pem
        ));
        write_private(path, text.as_bytes()).map_err(IdentityError::Write)
    }

    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(IdentityError::Read)?);
        let parts = text.strip_prefix(KEY_MARK).and_then(|rest| {
            let (key, rest) = rest.split_once(CERT_MARK)?;
            let (cert, root) = rest.split_once(ROOT_MARK)?;
            Some((key, cert, root))
        });
        let (key, cert, root) = parts.ok_or(IdentityError::MalformedFile)?;
        let credentials = Self {
            cert_pem: cert.to_owned(),
            key_pem: Zeroizing::new(key.to_owned()),
            root_pem: root.to_owned(),
        };
        credentials.identity()?;
        Ok(credentials)
    }

    pub fn identity(&self) -> Result<Identity, IdentityError> {
        let block = pem::parse(&self.cert_pem).map_err(|_| IdentityError::Malformed)?;
        Identity::from_der(block.contents())
    }

    /// When to renew: between 50 and 80 % of the certificate's life, by `fraction` in 0..=1 that
    /// the caller draws so that nodes do not renew all at once. Never before `now`.
    pub fn renew_at(
        &self,
        now: OffsetDateTime,
        fraction: f64,
    ) -> Result<OffsetDateTime, IdentityError> {
        let block = pem::parse(&self.cert_pem).map_err(|_| IdentityError::Malformed)?;
        let (_, certificate) = x509_parser::parse_x509_certificate(block.contents())
            .map_err(|_| IdentityError::Malformed)?;
        let from = certificate.validity().not_before.to_datetime();
        let life = certificate.validity().not_after.to_datetime() - from;
        let share = RENEW_FROM + (RENEW_TO - RENEW_FROM) * fraction.clamp(0.0, 1.0);
        Ok((from + life * share).max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::csr;
    use crate::defaults::BACKDATE;
    use crate::root_ca::{NodeSubject, RootCa};
    use std::os::unix::fs::PermissionsExt;
    use time::Duration;

    fn now() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
    }

    fn credentials(life: Duration) -> NodeCredentials {
        let root = RootCa::generate(now()).unwrap();
        let request = csr::generate().unwrap();
        let subject = NodeSubject { node_id: "n1", role: Role::Manager, cluster_id: "c1" };
        NodeCredentials {
            cert_pem: root.sign(request.csr_pem.as_bytes(), subject, now(), life).unwrap(),
            key_pem: request.key_pem,
            root_pem: root.cert_pem().to_owned(),
        }
    }

    #[test]
    fn saves_and_loads_byte_for_byte_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.pem");
        std::fs::write(&path, "older").unwrap();
        let saved = credentials(Duration::days(90));
        saved.save(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
        let loaded = NodeCredentials::load(&path).unwrap();
        assert_eq!(loaded.cert_pem, saved.cert_pem);
        assert_eq!(*loaded.key_pem, *saved.key_pem);
        assert_eq!(loaded.root_pem, saved.root_pem);
        assert_eq!(loaded.identity().unwrap().node_id, "n1");
    }

    #[test]
    fn refuses_what_is_missing_or_malformed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.pem");
        assert!(matches!(NodeCredentials::load(&path), Err(IdentityError::Read(_))));
        std::fs::write(&path, "nonsense").unwrap();
        assert!(matches!(NodeCredentials::load(&path), Err(IdentityError::MalformedFile)));
        let broken = NodeCredentials { cert_pem: "x\n".into(), ..credentials(Duration::days(90)) };
        broken.save(&path).unwrap();
        assert!(matches!(NodeCredentials::load(&path), Err(IdentityError::Malformed)));
        let nowhere = directory.path().join("absent").join("node.pem");
        assert!(matches!(broken.save(&nowhere), Err(IdentityError::Write(_))));
    }

    #[test]
    fn refuses_a_subject_that_is_no_nodes() {
        // The root's own certificate has a common name only.
        let root = credentials(Duration::days(90)).root_pem;
        let der = pem::parse(root).unwrap().into_contents();
        assert!(matches!(Identity::from_der(&der), Err(IdentityError::Subject { field: "OU" })));

        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "swarm-admin");
        let der = params.self_signed(&key).unwrap();
        let refused = Identity::from_der(der.der());
        assert!(matches!(refused, Err(IdentityError::UnknownRole { got }) if got == "swarm-admin"));
    }

    #[test]
    fn renews_between_half_and_four_fifths_of_its_life() {
        let credentials = credentials(Duration::days(90));
        let from = now() - BACKDATE;
        let life = Duration::days(90) + BACKDATE;
        let at = |fraction| credentials.renew_at(now(), fraction).unwrap();
        // Shares are floating point: a second of rounding is nothing here.
        let close = |a: OffsetDateTime, b: OffsetDateTime| (a - b).abs() < Duration::SECOND;
        assert!(close(at(0.0), from + life * 0.5) && close(at(1.0), from + life * 0.8));
        assert!(at(0.0) < at(0.5) && at(0.5) < at(1.0));
        assert_eq!((at(-3.0), at(7.0)), (at(0.0), at(1.0)));
        let late = now() + Duration::days(89);
        assert_eq!(credentials.renew_at(late, 0.5).unwrap(), late);
    }
}
