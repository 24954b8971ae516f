//! What a user asks of a container, with what its image says where the user is silent. Pure.

use skep_docker_api::ApiError;
use skep_docker_api::json::{self, ContainerConfig, HostConfig, Nothing};
use skep_images::ImageConfig;

use crate::policy;

fn variable(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

/// Docker's rules for each key.
pub fn image(config: &mut ContainerConfig, image: &ImageConfig) -> Result<(), ApiError> {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    for port in &image.exposed_ports {
        config.exposed_ports.entry(port.clone()).or_insert(Nothing {});
    }
    let from_image = image.env.iter();
    let kept = from_image.filter(|it| !config.env.iter().any(|own| variable(own) == variable(it)));
    let env = kept.chain(config.env.iter().filter(|it| it.contains('='))).cloned().collect();
    config.env = env;
    for (key, value) in &image.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let none = |words: &Option<Vec<String>>| words.as_ref().is_none_or(Vec::is_empty);
    if none(&config.entrypoint) {
        if none(&config.cmd) && !image.cmd.is_empty() {
            config.cmd = Some(image.cmd.clone());
        }
        if config.entrypoint.is_none() && !image.entrypoint.is_empty() {
            config.entrypoint = Some(image.entrypoint.clone());
        }
    }
    // The command line's way to say that there shall be none.
    if config.entrypoint.as_ref().is_some_and(|words| words.iter().eq([""])) {
        config.entrypoint = None;
    }
    if none(&config.entrypoint) && none(&config.cmd) {
        return Err(ApiError::invalid("no command specified"));
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    if config.stop_signal.is_empty() {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    if !image.volumes.is_empty() {
        let volumes = config.volumes.get_or_insert_default();
        for target in &image.volumes {
            volumes.entry(target.clone()).or_insert(Nothing {});
        }
    }
    health(config, image);
    config.healthcheck.as_ref().map_or(Ok(()), check_health)
}

/// Docker's bounds, in its words; zero means its default.
fn check_health(check: &json::HealthConfig) -> Result<(), ApiError> {
    const LEAST: i64 = 1_000_000;
    for (what, ns) in [
        ("Interval", check.interval_ns),
        ("Timeout", check.timeout_ns),
        ("StartPeriod", check.start_period_ns),
        ("StartInterval", check.start_interval_ns),
    ] {
        if ns != 0 && ns < LEAST {
            let text = format!("{what} in Healthcheck cannot be less than 1ms");
            return Err(ApiError::invalid(text));
        }
    }
    if check.retries < 0 {
        return Err(ApiError::invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(())
}

fn health(config: &mut ContainerConfig, image: &ImageConfig) {
    let Some(theirs) = &image.healthcheck else { return };
    let ns = |it: std::time::Duration| i64::try_from(it.as_nanos()).unwrap_or(i64::MAX);
    let own = config.healthcheck.get_or_insert_default();
    if own.test.is_empty() {
        own.test.clone_from(&theirs.test);
    }
    let pairs = [
        (&mut own.interval_ns, theirs.interval),
        (&mut own.timeout_ns, theirs.timeout),
        (&mut own.start_period_ns, theirs.start_period),
        (&mut own.start_interval_ns, theirs.start_interval),
    ];
    for (own, theirs) in pairs {
        if *own == 0 {
            *own = ns(theirs);
        }
    }
    if own.retries == 0 {
        own.retries = theirs.retries;
    }
}

/// Whether containers have user namespaces of their own unless they ask for the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remapped {
    Yes,
    No,
}

/// What shares too much with the host to be in a user namespace, in Docker's words.
fn user_namespace(host: &HostConfig, remapped: Remapped) -> Result<(), ApiError> {
    match host.userns_mode.as_str() {
        "" if remapped == Remapped::Yes => {}
        "" | "host" => return Ok(()),
        mode => return Err(ApiError::invalid(format!("invalid user namespace mode: {mode}"))),
    }
    let refused = [
        (
            host.privileged,
            "privileged mode is incompatible with user namespaces.  You must run the container \
             in the host namespace when running privileged mode",
        ),
        (
            host.network_mode == "host",
            "cannot share the host's network namespace when user namespaces are enabled",
        ),
        (
            host.pid_mode == "host",
            "cannot share the host PID namespace when user namespaces are enabled",
        ),
    ];
    match refused.into_iter().find(|(asked, _)| *asked) {
        Some((_, why)) => Err(ApiError::invalid(why)),
        None => Ok(()),
    }
}

/// What a user asks for is told apart from what the image adds: refusals are of the first alone, in
/// Docker's words.
pub fn check(config: &ContainerConfig, host: &HostConfig) -> Result<(), ApiError> {
    let refuse = |text: &str| Err(ApiError::invalid(format!("conflicting options: {text}")));
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|it| !it.is_empty());
    let hosts = host.network_mode == "host";
    let anothers = host.network_mode.starts_with("container:");
    if host.uts_mode == "host" && !config.hostname.is_empty() {
        return refuse("hostname and the UTS mode");
    }
    if anothers && !config.hostname.is_empty() {
        return refuse("hostname and the network mode");
    }
    if (hosts || anothers) && some(&host.links) {
        let kind = if hosts { "host type networking" } else { "container type network" };
        return refuse(&format!(
            "{kind} can't be used with links. This would result in undefined behavior"
        ));
    }
    if anothers && some(&host.dns) {
        return refuse("dns and the network mode");
    }
    if anothers && some(&host.extra_hosts) {
        return refuse("custom host-to-IP mapping and the network mode");
    }
    if (hosts || anothers) && !config.mac_address.is_empty() {
        return refuse("mac-address and the network mode");
    }
    if anothers && (!host.port_bindings.is_empty() || host.publish_all_ports) {
        return refuse("port publishing and the container type network mode");
    }
    if anothers && !config.exposed_ports.is_empty() {
        return refuse("port exposing and the container type network mode");
    }
    Ok(())
}

/// Docker's defaults where nothing is said, as inspect shows them, and a refusal of what cannot be.
pub fn host(host: &mut HostConfig, remapped: Remapped) -> Result<(), ApiError> {
    const SHM_BYTES: i64 = 64 << 20;
    policy::check(host)?;
    let fill = |text: &mut String, default: &str| {
        if text.is_empty() {
            default.clone_into(text);
        }
    };
    if matches!(host.network_mode.as_str(), "" | "default") {
        "bridge".clone_into(&mut host.network_mode);
    }
    // Without a word of swap there is as much of it as memory.
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    fill(&mut host.restart_policy.name, "no");
    fill(&mut host.log_config.kind, "json-file");
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.cgroupns_mode, "private");
    fill(&mut host.runtime, "runc");
    if host.shm_size == 0 {
        host.shm_size = SHM_BYTES;
    }
    if host.shm_size < 0 {
        return Err(ApiError::invalid("SHM size can not be less than 0"));
    }
    user_namespace(host, remapped)?;
    // Docker's words on a file system that cannot count: no layer here is bounded.
    if !host.storage_opt.is_empty() {
        return Err(ApiError::system(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ));
    }
    if host.annotations.contains_key("") {
        return Err(ApiError::invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    // The second is its name with containerd.
    if !matches!(host.runtime.as_str(), "runc" | "io.containerd.runc.v2") {
        return Err(ApiError::invalid(format!(
            "unknown or invalid runtime name: {}",
            host.runtime
        )));
    }
    if !matches!(host.isolation.as_str(), "" | "default") {
        return Err(ApiError::invalid(format!("invalid isolation '{}' on linux", host.isolation)));
    }
    Ok(())
}

/// A health check as the engine's rules read it.
pub fn health_config(given: &json::HealthConfig) -> skep_types::container::HealthConfig {
    let time = |ns: i64| std::time::Duration::from_nanos(u64::try_from(ns).unwrap_or(0));
    skep_types::container::HealthConfig {
        test: given.test.clone(),
        interval: time(given.interval_ns),
        timeout: time(given.timeout_ns),
        retries: given.retries,
        start_period: time(given.start_period_ns),
        start_interval: time(given.start_interval_ns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn what_shares_with_the_host_is_in_no_user_namespace() {
        let said = |mode: &str, remapped, change: fn(&mut HostConfig)| {
            let mut config = HostConfig { userns_mode: mode.to_owned(), ..HostConfig::default() };
            change(&mut config);
            host(&mut config, remapped).err().map(|error| error.message)
        };
        type Change = fn(&mut HostConfig);
        let changes: [(Change, &str); 3] = [
            (|it| it.privileged = true, "privileged mode is incompatible with user namespaces."),
            (|it| it.network_mode = "host".to_owned(), "cannot share the host's network namespace"),
            (|it| it.pid_mode = "host".to_owned(), "cannot share the host PID namespace"),
        ];
        for (change, words) in changes {
            assert!(said("", Remapped::Yes, change).unwrap().starts_with(words));
            assert_eq!(said("host", Remapped::Yes, change), None);
            assert_eq!(said("", Remapped::No, change), None);
        }
        let bad = said("private", Remapped::No, |_| {});
        assert_eq!(bad.unwrap(), "invalid user namespace mode: private");
    }

    #[test]
    fn an_entrypoint_of_ones_own_takes_the_images_arguments_away() {
        let theirs = ImageConfig {
            entrypoint: words(&["/entry"]),
            cmd: words(&["serve"]),
            env: words(&["A=1", "B=2"]),
            ..ImageConfig::default()
        };
        let merged = |entrypoint: Option<&[&str]>, cmd: Option<&[&str]>| {
            let mut config = ContainerConfig {
                entrypoint: entrypoint.map(words),
                cmd: cmd.map(words),
                env: words(&["B=3", "C"]),
                ..ContainerConfig::default()
            };
            image(&mut config, &theirs).map(|()| {
                assert_eq!(config.env, words(&["A=1", "B=3"]));
                [config.entrypoint.unwrap_or_default(), config.cmd.unwrap_or_default()].concat()
            })
        };
        assert_eq!(merged(None, None).unwrap(), words(&["/entry", "serve"]));
        assert_eq!(merged(None, Some(&["x"])).unwrap(), words(&["/entry", "x"]));
        assert_eq!(merged(Some(&["/own"]), None).unwrap(), words(&["/own"]));
        assert_eq!(merged(Some(&[""]), Some(&["x"])).unwrap(), words(&["x"]));
        assert!(merged(Some(&[""]), None).is_err());
    }
}
