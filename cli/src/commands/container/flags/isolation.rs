//! Flags about what a container may do and see of its host.

use clap::Args;
use skep_docker_api::json::{ContainerCreateRequest, DeviceRequest};

use super::process::some;
use super::refuse;
use crate::failure::{Failure, Outcome};
use crate::values::{capability, device, pairs};

#[derive(Debug, Args)]
pub struct IsolationFlags {
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    cgroup_parent: String,
    /// Cgroup namespace to use (host|private)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    cgroupns: String,
    /// Add a host device to the container
    #[arg(long, value_name = "list")]
    device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "list", value_parser = device::rule)]
    device_cgroup_rule: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs)
    #[arg(long, value_name = "gpu-request", value_parser = device::gpus)]
    gpus: Vec<DeviceRequest>,
    /// IPC mode to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ipc: String,
    /// Container isolation technology
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    isolation: String,
    /// PID namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    pid: String,
    /// Give extended privileges to this container
    #[arg(long)]
    privileged: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    read_only: bool,
    /// Security Options
    #[arg(long, value_name = "list")]
    security_opt: Vec<String>,
    /// Sysctl options
    #[arg(long, value_name = "map", value_parser = sysctl)]
    sysctl: Vec<String>,
    /// User namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    userns: String,
    /// UTS namespace to use
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    uts: String,
}

/// Those that belong to a container's namespaces (Docker's list); others would be the host's.
fn sysctl(text: &str) -> Result<String, String> {
    const NAMES: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let refused = || format!("sysctl '{text}' is not allowed");
    let (name, _) = text.split_once('=').ok_or_else(refused)?;
    let allowed =
        NAMES.contains(&name) || name.starts_with("net.") || name.starts_with("fs.mqueue.");
    if allowed { Ok(text.into()) } else { Err(refused()) }
}

/// A profile that is a file is sent as what stands in it.
fn security_option(text: &str) -> Outcome<String> {
    let parted = text.split_once('=').or_else(|| match text.starts_with("no-new-privileges") {
        true => None,
        false => text.split_once(':'),
    });
    let (key, value) = match parted {
        Some((key, value)) => (key, value),
        None if text == "no-new-privileges" || text.starts_with("no-new-privileges:") => {
            return Ok(text.into());
        }
        None => return refuse(format!("Invalid --security-opt: {text:?}")),
    };
    if value.is_empty() && key != "no-new-privileges" {
        return refuse(format!("Invalid --security-opt: {text:?}"));
    }
    if key != "seccomp" || matches!(value, "builtin" | "unconfined") {
        return Ok(text.into());
    }
    let failed = |what: &str, why: String| {
        Failure::new(format!("{what} seccomp profile ({value}) failed: {why}"))
    };
    let file = std::fs::read(value).map_err(|error| {
        let why = pairs::io_words(&error);
        failed("opening", format!("open {value}: {why}"))
    })?;
    let profile: serde_json::Value = serde_json::from_slice(&file)
        .map_err(|error| failed("compacting json for", error.to_string()))?;
    Ok(format!("seccomp={profile}"))
}

/// `container:` must name one.
fn mode(flag: &str, kind: &str, value: &str, words: &[&str], joins: bool) -> Outcome<String> {
    let joined = value.strip_prefix("container:").is_some_and(|name| joins && !name.is_empty());
    if value.is_empty() || words.contains(&value) || joined {
        return Ok(value.into());
    }
    refuse(format!("--{flag}: invalid {kind} mode"))
}

impl IsolationFlags {
    pub fn apply(&self, request: &mut ContainerCreateRequest) -> Outcome {
        let host = &mut request.host_config;
        host.pid_mode = mode("pid", "PID", &self.pid, &["host"], true)?;
        host.uts_mode = mode("uts", "UTS", &self.uts, &["host"], false)?;
        host.userns_mode = mode("userns", "USER", &self.userns, &["host"], false)?;
        host.cgroupns_mode =
            mode("cgroupns", "CGROUP", &self.cgroupns, &["host", "private"], false)?;
        host.ipc_mode = self.ipc.clone();
        host.isolation = self.isolation.clone();
        host.cap_add = some(&capability::list(&self.cap_add));
        host.cap_drop = some(&capability::list(&self.cap_drop));
        host.cgroup_parent = self.cgroup_parent.clone();
        host.privileged = self.privileged;
        host.readonly_rootfs = self.read_only;
        host.sysctls = pairs::map(&self.sysctl);
        host.device_cgroup_rules = some(&self.device_cgroup_rule);
        let (described, plain): (Vec<&String>, Vec<&String>) =
            self.device.iter().partition(|device| device::is_cdi(device));
        let mappings: Result<Vec<_>, _> = plain.iter().map(|text| device::mapping(text)).collect();
        host.devices = Some(mappings.map_err(Failure::new)?);
        let mut requests = self.gpus.clone();
        if !described.is_empty() {
            requests.push(DeviceRequest {
                driver: "cdi".into(),
                device_ids: Some(described.into_iter().cloned().collect()),
                ..Default::default()
            });
        }
        host.device_requests = (!requests.is_empty()).then_some(requests);
        // Known to the command line alone: lists that are there and empty hide nothing.
        let open = self.security_opt.iter().any(|option| option == "systempaths=unconfined");
        host.masked_paths = open.then(Vec::new);
        host.readonly_paths = open.then(Vec::new);
        let options: Outcome<Vec<String>> = self
            .security_opt
            .iter()
            .filter(|option| *option != "systempaths=unconfined")
            .map(|option| security_option(option))
            .collect();
        let options = options?;
        host.security_opt = (!self.security_opt.is_empty()).then_some(options);
        Ok(())
    }
}
