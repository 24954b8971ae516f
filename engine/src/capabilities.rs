//! Which capabilities a container has: Docker's default set, what is added, what is dropped.

use std::collections::BTreeSet;

use crate::config::ContainerConfig;
use crate::error::{Error, Result};

/// What Docker gives when nothing is said.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// Every capability of Linux, by number.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The set after additions and drops. A capability that is both added and dropped: with `ALL` on
/// one side the other is the exception; otherwise the drop is done first, as in Docker.
pub fn resolve(add: &[String], drop: &[String]) -> Result<BTreeSet<&'static str>> {
    let (add_all, add) = read(add)?;
    let (drop_all, drop) = read(drop)?;
    let mut set: BTreeSet<&'static str> = match (add_all, drop_all) {
        (true, _) => ALL.into_iter().filter(|name| !drop.contains(name)).collect(),
        (false, true) => BTreeSet::new(),
        (false, false) => DEFAULT.into_iter().filter(|name| !drop.contains(name)).collect(),
    };
    if !add_all {
        set.extend(add);
    }
    Ok(set)
}

/// The set of a container: a privileged one has them all, whatever it drops, as in Docker. "All" is
/// what this process may give; what it may not is refused only where it is named.
pub fn of(config: &ContainerConfig) -> Result<Vec<&'static str>> {
    let set = resolve(&config.capability_add, &config.capability_drop)?;
    let set = if config.privileged { ALL.into_iter().collect() } else { set };
    let own = own();
    let (_, named) = read(&config.capability_add)?;
    if let Some(lacks) = named.into_iter().find(|name| !own.contains(name)) {
        return Err(Error::Invalid(format!("capability {lacks} is not available on this host")));
    }
    Ok(set.into_iter().filter(|name| own.contains(name)).collect())
}

/// What this process can hand on: none that the kernel does not know, or that was taken from it.
fn own() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bound = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bound = bound.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    let bound = bound.unwrap_or(u64::MAX);
    ALL.into_iter()
        .enumerate()
        .filter(|(number, _)| bound >> number & 1 == 1)
        .map(|it| it.1)
        .collect()
}

fn read(names: &[String]) -> Result<(bool, BTreeSet<&'static str>)> {
    let mut all = false;
    let mut set = BTreeSet::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        if upper == "ALL" || upper == "CAP_ALL" {
            all = true;
            continue;
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        match ALL.into_iter().find(|known| *known == full) {
            Some(known) => set.insert(known),
            None => return Err(Error::Invalid(format!("unknown capability: \"{full}\""))),
        };
    }
    Ok((all, set))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(add: &[&str], drop: &[&str]) -> usize {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        resolve(&own(add), &own(drop)).unwrap().len()
    }

    #[test]
    fn sets_are_dockers() {
        assert_eq!(count(&[], &[]), 14);
        assert_eq!(count(&["NET_ADMIN"], &[]), 15);
        assert_eq!(count(&["cap_net_admin"], &["chown"]), 14);
        assert_eq!(count(&[], &["ALL"]), 0);
        assert_eq!(count(&["CHOWN"], &["ALL"]), 1);
        assert_eq!(count(&["ALL"], &[]), 41);
        assert_eq!(count(&["ALL"], &["SYS_ADMIN"]), 40);
        assert!(resolve(&["NOPE".to_owned()], &[]).is_err());
    }
}
