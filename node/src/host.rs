//! The host as the swarm sees it: name, platform, means.

use nix::sys::sysinfo::sysinfo;
use nix::sys::utsname::uname;
use skep_types::node::NodeDescription;
use skep_types::{Resources, privilege};

use crate::config_file::Settings;

/// What Docker calls the machine's architecture is the kernel's name of it.
fn machine() -> String {
    uname().map(|it| it.machine().to_string_lossy().into_owned()).unwrap_or_default()
}

/// The host's name, as `docker node ls` shows it.
pub fn hostname() -> String {
    nix::unistd::gethostname().map(|it| it.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The kernel's release.
pub fn kernel() -> String {
    uname().map(|it| it.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// `PRETTY_NAME` of the distribution; empty where it does not say.
pub fn distribution() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.unwrap_or_default().trim_matches('"').to_owned()
}

/// Bytes of memory.
pub fn memory() -> u64 {
    sysinfo().map(|it| it.ram_total()).unwrap_or_default()
}

/// CPUs that this process may run on.
pub fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |it| it.get() as u64)
}

/// Looks at the host anew.
pub fn describe(settings: &Settings) -> NodeDescription {
    let mut engine_labels = settings.labels_by_name();
    // A label of this name that somebody wrote allows nothing.
    engine_labels.remove(privilege::ALLOWED);
    let allowed = privilege::label_of(&settings.allowed);
    engine_labels.extend(allowed.map(|words| (privilege::ALLOWED.to_owned(), words)));
    NodeDescription {
        hostname: hostname(),
        os: "linux".to_owned(),
        architecture: machine(),
        engine_version: crate::VERSION.to_owned(),
        engine_labels,
        plugins: [
            ("Log", "journald"),
            ("Log", "json-file"),
            ("Log", "local"),
            ("Log", "syslog"),
            ("Network", "bridge"),
            ("Network", "host"),
            ("Network", "null"),
            ("Network", "overlay"),
            ("Volume", "local"),
        ]
        .map(|(kind, name)| (kind.to_owned(), name.to_owned()))
        .to_vec(),
        resources: Resources {
            nano_cpus: i64::try_from(cpus()).unwrap_or(1) * 1_000_000_000,
            memory_bytes: i64::try_from(memory()).unwrap_or(i64::MAX),
            generic: settings.generic.clone(),
            ..Resources::default()
        },
    }
}
