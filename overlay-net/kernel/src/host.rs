//! What the host's own namespace is set to.

use std::fs;
use std::io;
use std::path::Path;

pub use skep_overlay_plan::observed::Forwarding;

use crate::netlink::flatten;
use crate::{HostNs, KernelError, sysctl};

const FORWARDING_V4: &str = "ipv4/ip_forward";
const FORWARDING_V6: &str = "ipv6/conf/all/forwarding";
/// Absent where the kernel was built or booted without IPv6 (`ipv6.disable=1`).
const SETTINGS_V6: &str = "/proc/sys/net/ipv6/conf";

/// Has the host pass packets on. A host that passes IPv6 on heeds no router's word any more, and
/// would lose its own default route; interfaces that heeded it are told to go on.
pub async fn enable_forwarding(host: &HostNs, families: Forwarding) -> Result<(), KernelError> {
    if families.v4 {
        sysctl::write(host, vec![(FORWARDING_V4.into(), "1")]).await?;
    }
    if families.v6 {
        let step = format!("read {SETTINGS_V6} in {host}");
        let heeding = flatten(host.run(heeding_routers).await).map_err(KernelError::io(step))?;
        let keep = heeding.into_iter().map(|it| (format!("ipv6/conf/{it}/accept_ra"), "2"));
        let keep = keep.chain([(FORWARDING_V6.to_owned(), "1")]).collect();
        sysctl::write(host, keep).await?;
    }
    Ok(())
}

/// Interfaces that heed routers as long as they pass nothing on.
fn heeding_routers() -> io::Result<Vec<String>> {
    let mut heeding = Vec::new();
    for entry in fs::read_dir(SETTINGS_V6)? {
        let entry = entry?;
        let setting = fs::read_to_string(entry.path().join("accept_ra"));
        // An interface may have gone meanwhile.
        if setting.is_ok_and(|it| it.trim() == "1") {
            heeding.extend(entry.file_name().into_string());
        }
    }
    Ok(heeding)
}

pub async fn forwards(host: &HostNs) -> Result<Forwarding, KernelError> {
    let v4 = sysctl::is_set(host, FORWARDING_V4).await?;
    let v6 = speaks_v6() && sysctl::is_set(host, FORWARDING_V6).await?;
    Ok(Forwarding { v4, v6 })
}

/// Whether the kernel has IPv6 at all.
pub fn speaks_v6() -> bool {
    Path::new(SETTINGS_V6).exists()
}
