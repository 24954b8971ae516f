//! Defaults of this crate, each with its source. Not configuration: callers pass other values.

use time::Duration;

/// SwarmKit `ca.RootCAExpiration`: 630,720,000 s.
pub const ROOT_VALIDITY: Duration = Duration::days(20 * 365);
/// SwarmKit `ca.DefaultNodeCertExpiration`.
pub const NODE_VALIDITY: Duration = Duration::days(90);
/// SwarmKit `ca.MinNodeCertExpiration`.
pub const NODE_VALIDITY_MIN: Duration = Duration::hours(1);
/// SwarmKit `ca.CertBackdate`: tolerates clocks that run behind the issuer's.
pub const BACKDATE: Duration = Duration::hours(1);
/// Common name of the root (SwarmKit `ca.rootCN`).
pub const ROOT_CN: &str = "swarm-ca";
/// Renewal falls in this part of a certificate's life (SwarmKit `calculateRandomExpiry`).
pub const RENEW_FROM: f64 = 0.5;
/// See [`RENEW_FROM`].
pub const RENEW_TO: f64 = 0.8;
