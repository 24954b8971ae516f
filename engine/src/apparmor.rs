//! AppArmor: whether this host has it, and the profile of containers that name none.
//!
//! The kernel takes profiles that were compiled. As Docker does, this leaves that to the host's
//! `apparmor_parser`, and does without the profile where there is none.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::config::ContainerConfig;
use crate::error::{Error, Result};

/// Docker's name of the profile that containers have by default.
pub const DEFAULT_PROFILE: &str = "docker-default";
/// No profile at all.
pub const UNCONFINED: &str = "unconfined";

const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// The kernel's list of loaded profiles.
const PROFILES: &str = "/sys/kernel/security/apparmor/profiles";
/// Where distributions have it; Docker looks at the first alone.
const PARSERS: [&str; 2] = ["/sbin/apparmor_parser", "/usr/sbin/apparmor_parser"];

/// What this host can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The kernel has no AppArmor, or it is switched off.
    Off,
    /// Profiles that are loaded already can be named; containers that name none have none.
    WithoutParser,
    /// Containers have [`DEFAULT_PROFILE`] unless they name another.
    Full,
}

pub fn support() -> Support {
    let enabled = fs::read_to_string(ENABLED).is_ok_and(|text| text.starts_with('Y'));
    match (enabled, parser()) {
        (false, _) => Support::Off,
        (true, None) => Support::WithoutParser,
        (true, Some(_)) => Support::Full,
    }
}

fn parser() -> Option<&'static Path> {
    PARSERS.iter().map(Path::new).find(|path| path.exists())
}

/// The profile of a container that may have named one; None: none. It is what Docker shows of it.
pub fn profile_of(named: Option<&str>, privileged: bool) -> Option<&str> {
    match (support(), privileged, named) {
        (Support::Off, ..) => None,
        (_, true, _) => Some(UNCONFINED),
        (_, _, Some(named)) if !named.is_empty() => Some(named),
        (Support::Full, ..) => Some(DEFAULT_PROFILE),
        (Support::WithoutParser, ..) => None,
    }
}

/// Chooses a container's profile, and loads the default one where it is not there: others may have
/// taken it out since. Blocks, the first time for as long as the compiler takes.
pub(crate) fn choose(config: &mut ContainerConfig) -> Result<()> {
    let chosen = profile_of(config.apparmor.as_deref(), config.privileged);
    if let Some(named) = chosen.filter(|it| *it != DEFAULT_PROFILE && is_missing(it)) {
        return Err(Error::Invalid(format!("AppArmor profile {named:?} is not loaded")));
    }
    if chosen == Some(DEFAULT_PROFILE) {
        ensure_default().map_err(|error| {
            Error::Invalid(format!(
                "AppArmor enabled on system but the {DEFAULT_PROFILE} profile could not be loaded: \
                 {error}"
            ))
        })?;
    }
    config.apparmor = chosen.filter(|profile| *profile != UNCONFINED).map(str::to_owned);
    Ok(())
}

fn ensure_default() -> io::Result<()> {
    static LOADING: Mutex<()> = Mutex::new(());
    if loaded(DEFAULT_PROFILE) {
        return Ok(());
    }
    let _one_at_a_time = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    if loaded(DEFAULT_PROFILE) {
        return Ok(());
    }
    let parser = parser().ok_or_else(|| io::Error::other("there is no apparmor_parser"))?;
    // Not from the cache nor into it: as it stands here, replacing what is there.
    let mut child = Command::new(parser)
        .args(["--replace", "--skip-cache"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A parser that ends before it has read all says why below.
        let _ = input.write_all(profile(&own_label()).as_bytes());
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{}: {said}", output.status)))
}

fn loaded(name: &str) -> bool {
    // Without the security file system nobody knows, and to load it again is as good.
    lists(&fs::read_to_string(PROFILES).unwrap_or_default(), name)
}

/// Whether the kernel is known not to have a profile: the container's process would only hear that
/// something does not exist. Several at once and those of other namespaces have no line of their own.
fn is_missing(name: &str) -> bool {
    let several = name.contains("//&") || name.starts_with(':');
    let profiles = fs::read_to_string(PROFILES).ok().filter(|_| name != UNCONFINED && !several);
    profiles.is_some_and(|profiles| !lists(&profiles, name))
}

/// A line is `NAME (MODE)`.
fn lists(profiles: &str, name: &str) -> bool {
    let mut names = profiles.lines().filter_map(|line| Some(line.rsplit_once(" (")?.0));
    names.any(|it| it == name)
}

/// What this process is confined by; its processes are what may signal those of containers.
fn own_label() -> String {
    let label = ["/proc/self/attr/apparmor/current", "/proc/self/attr/current"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    let label = label.trim_end_matches(['\0', '\n']);
    // `NAME (MODE)`
    label.rsplit_once(" (").map_or(label, |(name, _)| name).to_owned()
}

/// The profile's source. What it allows is what Docker's does: all files, networks and capabilities
/// that the container has, but no mounts, no kernel settings, and no processes of others.
fn profile(daemon: &str) -> String {
    // A name that cannot stand in the text is none that we were started under by a profile's name.
    let plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_./".contains(&it))
    };
    let peers = match daemon {
        UNCONFINED => String::new(),
        other if plain(other) => format!("  signal (receive) peer={other},\n"),
        _ => String::new(),
    };
    format!(
        "profile {DEFAULT_PROFILE} flags=(attach_disconnected,mediate_deleted) {{
  file,
  network,
  capability,
  umount,
  deny mount,

  # Who runs the container may signal it, and its processes one another.
  signal (receive) peer=unconfined,
{peers}  signal (send, receive) peer={DEFAULT_PROFILE},
  ptrace (trace, read, tracedby, readby) peer={DEFAULT_PROFILE},

  # In /proc only what belongs to a process is written, and the settings of shared memory.
  deny /proc/* w,
  deny /proc/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,

  # In /sys only cgroups are.
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_profile_is_found_by_its_whole_name() {
        let profiles = "docker-default (enforce)\n/usr/bin/man (complain)\na b (enforce)\n";
        for name in ["docker-default", "/usr/bin/man", "a b"] {
            assert!(lists(profiles, name), "{name}");
        }
        for name in ["docker", "default", "man", "a", ""] {
            assert!(!lists(profiles, name), "{name}");
        }
    }

    #[test]
    fn the_daemons_own_profile_may_signal_containers() {
        let source = profile("unconfined");
        assert!(source.starts_with("profile docker-default flags="), "{source}");
        assert_eq!(source.matches("signal (receive)").count(), 1);
        assert_eq!(source.matches('{').count(), source.matches('}').count());
        let confined = profile("skep.service");
        assert!(confined.contains("\n  signal (receive) peer=skep.service,\n"), "{confined}");
        assert_eq!(profile("a,\n b"), source, "what is no name does not come in");
    }
}
