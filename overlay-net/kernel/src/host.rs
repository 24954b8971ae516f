//! What the host's own namespace is set to.

use crate::{HostNs, KernelError, sysctl};

const FORWARDING: &str = "ipv4/ip_forward";

pub async fn enable_forwarding(host: &HostNs) -> Result<(), KernelError> {
    sysctl::write(host, vec![(FORWARDING.into(), "1")]).await
}

pub async fn forwards(host: &HostNs) -> Result<bool, KernelError> {
    sysctl::is_set(host, FORWARDING).await
}
