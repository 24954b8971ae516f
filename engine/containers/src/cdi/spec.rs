//! A file of the Container Device Interface: which devices of one kind a host has, and what a
//! container needs for each. Read strictly: a key that nobody knows makes the file none. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The versions of the interface there are, the oldest first.
const VERSIONS: [&str; 10] =
    ["0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"];
/// What is asked for by no version older than this may stand in all.
const EARLIEST: &str = "0.3.0";
/// The access to a device's node that means none.
const NO_ACCESS: &str = "none";
const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    #[serde(rename = "cdiVersion")]
    pub version: String,
    /// `vendor/class`.
    pub kind: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    pub devices: Vec<Device>,
    /// For every container that has any of the devices.
    #[serde(default)]
    pub container_edits: Edits,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    pub name: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    pub container_edits: Edits,
}

/// What is changed of a container.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Edits {
    pub env: Vec<String>,
    pub device_nodes: Vec<DeviceNode>,
    pub net_devices: Vec<NetDevice>,
    pub hooks: Vec<Hook>,
    pub mounts: Vec<Mount>,
    pub intel_rdt: Option<IntelRdt>,
    #[serde(alias = "additionalGIDs")]
    pub additional_gids: Vec<u32>,
}

/// What is not said of it, the host's node says.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DeviceNode {
    /// In the container.
    pub path: String,
    /// Empty: as in the container.
    pub host_path: String,
    /// `b`, `c`, `u` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    pub major: i64,
    pub minor: i64,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Of `rwm`, or `none`; empty is all.
    pub permissions: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct NetDevice {
    pub host_interface_name: String,
    pub name: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hook {
    pub hook_name: String,
    pub path: String,
    /// The first is the program's own name.
    pub args: Vec<String>,
    pub env: Vec<String>,
    /// In seconds.
    pub timeout: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
    /// As mount(8) has them.
    pub options: Vec<String>,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct IntelRdt {
    #[serde(rename = "closID")]
    clos_id: String,
    l3_cache_schema: String,
    mem_bw_schema: String,
    schemata: Option<Vec<String>>,
    enable_monitoring: bool,
}

/// How a file says what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
}

/// Reads a file's text. The error is in the words of the interface's own library.
pub fn parse(text: &str, format: Format) -> Result<Spec, String> {
    let unreadable = |error: String| format!("failed to unmarshal CDI Spec: {error}");
    let spec: Spec = match format {
        Format::Json => {
            serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?
        }
        Format::Yaml => {
            let mut options = serde_saphyr::Options::default();
            // File modes are written so.
            options.legacy_octal_numbers = true;
            serde_saphyr::from_str_with_options(text, options)
                .map_err(|error| unreadable(error.without_snippet().to_string()))?
        }
    };
    spec.check().map_err(|error| format!("invalid CDI Spec: {error}"))?;
    Ok(spec)
}

impl Spec {
    /// The vendor and the class of its devices.
    fn parts(&self) -> (&str, &str) {
        match self.kind.split_once('/') {
            Some((vendor, class)) if !vendor.is_empty() && !class.is_empty() => (vendor, class),
            _ => ("", &self.kind),
        }
    }

    fn check(&self) -> Result<(), String> {
        self.check_version()?;
        let (vendor, class) = self.parts();
        word(vendor).map_err(|why| format!("invalid vendor. {why}"))?;
        word(class).map_err(|why| format!("invalid class. {why}"))?;
        self.container_edits.check()?;
        let mut names = BTreeSet::new();
        for device in &self.devices {
            let failed = |why: String| format!("failed add device {:?}: {why}", device.name);
            device_name(&device.name).map_err(failed)?;
            if device.container_edits == Edits::default() {
                return Err(failed("invalid device, empty device edits".to_owned()));
            }
            device.container_edits.check().map_err(failed)?;
            if !names.insert(&device.name) {
                return Err(format!("invalid spec, multiple device {:?}", device.name));
            }
        }
        if names.is_empty() {
            return Err("invalid spec, no devices".to_owned());
        }
        Ok(())
    }

    fn check_version(&self) -> Result<(), String> {
        let bare = self.version.strip_prefix('v').unwrap_or(&self.version);
        let place = |version: &str| VERSIONS.iter().position(|known| *known == version);
        let Some(said) = place(bare) else {
            return Err(format!("invalid version {:?}", self.version));
        };
        let least = self.least_version();
        if place(least) > Some(said) {
            return Err(format!("the spec version must be at least v{least}"));
        }
        Ok(())
    }

    /// The oldest version that has what is asked for.
    fn least_version(&self) -> &'static str {
        let all = || {
            self.devices.iter().map(|device| &device.container_edits).chain([&self.container_edits])
        };
        let annotated = !self.annotations.is_empty()
            || self.devices.iter().any(|device| !device.annotations.is_empty());
        let digit = |device: &Device| device.name.starts_with(|c: char| c.is_ascii_digit());
        let elsewhere =
            |edits: &Edits| edits.device_nodes.iter().any(|it| !it.host_path.is_empty());
        if all().any(Edits::needs_1_1) {
            "1.1.0"
        } else if all().any(|it| it.intel_rdt.is_some() || !it.additional_gids.is_empty()) {
            "0.7.0"
        } else if annotated || self.parts().1.contains('.') {
            "0.6.0"
        } else if self.devices.iter().any(digit) || all().any(elsewhere) {
            "0.5.0"
        } else if all().any(|it| it.mounts.iter().any(|mount| !mount.kind.is_empty())) {
            "0.4.0"
        } else {
            EARLIEST
        }
    }
}

impl Edits {
    fn needs_1_1(&self) -> bool {
        let rdt = |it: &IntelRdt| it.schemata.is_some() || it.enable_monitoring;
        !self.net_devices.is_empty() || self.intel_rdt.as_ref().is_some_and(rdt)
    }

    fn check(&self) -> Result<(), String> {
        variables(&self.env).map_err(|why| format!("invalid container edits: {why}"))?;
        self.device_nodes.iter().try_for_each(DeviceNode::check)?;
        for hook in &self.hooks {
            let name = &hook.hook_name;
            if !HOOKS.contains(&name.as_str()) {
                return Err(format!("invalid hook name {name:?}"));
            }
            if hook.path.is_empty() {
                return Err(format!("invalid hook {name:?} with empty path"));
            }
            variables(&hook.env).map_err(|why| format!("invalid hook {name:?}: {why}"))?;
        }
        for mount in &self.mounts {
            if mount.host_path.is_empty() {
                return Err("invalid mount, empty host path".to_owned());
            }
            if mount.container_path.is_empty() {
                return Err("invalid mount, empty container path".to_owned());
            }
        }
        Ok(())
    }
}

impl DeviceNode {
    fn check(&self) -> Result<(), String> {
        if self.path.is_empty() {
            return Err("invalid (empty) device path".to_owned());
        }
        if !["", "b", "c", "u", "p"].contains(&self.kind.as_str()) {
            return Err(format!("device {:?}: invalid type {:?}", self.path, self.kind));
        }
        if self.major < 0 || self.minor < 0 {
            let (major, minor) = (self.major, self.minor);
            let why = format!("invalid (negative) device number {major}:{minor}");
            return Err(format!("device {:?}: {why}", self.path));
        }
        if self.permissions != NO_ACCESS && !self.permissions.chars().all(|c| "rwm".contains(c)) {
            let why = format!("invalid permissions {:?}", self.permissions);
            return Err(format!("device {:?}: {why}", self.path));
        }
        Ok(())
    }

    /// Of `rwm`; empty: it may not be used.
    pub fn access(&self) -> &str {
        match self.permissions.as_str() {
            "" => "rwm",
            NO_ACCESS => "",
            some => some,
        }
    }
}

fn variables(env: &[String]) -> Result<(), String> {
    match env.iter().find(|it| it.find('=').is_none_or(|at| at == 0)) {
        Some(bad) => Err(format!("invalid environment variable {bad:?}")),
        None => Ok(()),
    }
}

/// A vendor's or a class's.
fn word(name: &str) -> Result<(), String> {
    let Some(first) = name.chars().next() else { return Err("empty name".to_owned()) };
    if !first.is_ascii_alphabetic() {
        return Err(format!("{name:?}, should start with letter"));
    }
    let known = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if let Some(bad) = name.chars().find(|c| !known(*c)) {
        return Err(format!("invalid character '{bad}' in name {name:?}"));
    }
    if !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("{name:?}, should end with a letter or digit"));
    }
    Ok(())
}

fn device_name(name: &str) -> Result<(), String> {
    let Some(first) = name.chars().next() else {
        return Err("invalid (empty) device name".to_owned());
    };
    if !first.is_ascii_alphanumeric() {
        return Err(format!("invalid class {name:?}, should start with a letter or digit"));
    }
    let known = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
    if let Some(bad) = name.chars().find(|c| !known(*c)) {
        return Err(format!("invalid character '{bad}' in device name {name:?}"));
    }
    if !name.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(format!("invalid name {name:?}, should end with a letter or digit"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let error = parse(text, Format::Yaml).map(|spec| spec.kind).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    fn of(version: &str, kind: &str, rest: &str) -> String {
        format!("cdiVersion: \"{version}\"\nkind: {kind}\n{rest}")
    }

    const ONE: &str = "devices: [{name: a, containerEdits: {env: [A=1]}}]";

    #[test]
    fn both_formats_say_the_same() {
        let yaml = r#"
cdiVersion: "1.0.0"
kind: vendor.com/net
containerEdits:
  env: [VENDOR=1]
  additionalGids: [44]
devices:
  - name: "0"
    containerEdits:
      deviceNodes:
        - { path: /dev/vendor0, hostPath: /dev/null, fileMode: 0660, permissions: rw, uid: 7 }
      mounts:
        - { hostPath: /usr/lib/v.so, containerPath: /usr/lib/v.so, options: [ro, nosuid] }
      hooks:
        - { hookName: createContainer, path: /bin/true, args: [true-ly], timeout: 5 }
"#;
        let json = r#"{ "cdiVersion": "1.0.0", "kind": "vendor.com/net",
            "containerEdits": { "env": ["VENDOR=1"], "additionalGids": [44] },
            "devices": [{ "name": "0", "containerEdits": {
                "deviceNodes": [{ "path": "/dev/vendor0", "hostPath": "/dev/null",
                    "fileMode": 432, "permissions": "rw", "uid": 7 }],
                "mounts": [{ "hostPath": "/usr/lib/v.so", "containerPath": "/usr/lib/v.so",
                    "options": ["ro", "nosuid"] }],
                "hooks": [{ "hookName": "createContainer", "path": "/bin/true",
                    "args": ["true-ly"], "timeout": 5 }] } }] }"#;
        let spec = parse(yaml, Format::Yaml).unwrap();
        assert_eq!(spec, parse(json, Format::Json).unwrap());
        let node = &spec.devices[0].container_edits.device_nodes[0];
        assert_eq!((node.file_mode, node.access()), (Some(0o660), "rw"));
    }

    #[test]
    fn versions_have_what_they_have() {
        for version in ["0.3.0", "v0.5.0", "1.1.0"] {
            parse(&of(version, "vendor.com/net", ONE), Format::Yaml).unwrap();
        }
        check(&of("2.0.0", "vendor.com/net", ONE), "invalid version \"2.0.0\"");
        let edits = |edits: &str| format!("devices: [{{name: a, containerEdits: {{{edits}}}}}]");
        for (version, rest, least) in [
            ("0.3.0", edits("mounts: [{hostPath: /a, containerPath: /a, type: bind}]"), "0.4.0"),
            ("0.4.0", edits("deviceNodes: [{path: /dev/a, hostPath: /dev/b}]"), "0.5.0"),
            ("0.4.0", ONE.replace("name: a", "name: \"0\""), "0.5.0"),
            ("0.5.0", format!("annotations: {{a: b}}\n{ONE}"), "0.6.0"),
            ("0.6.0", edits("additionalGids: [1]"), "0.7.0"),
            ("1.0.0", edits("netDevices: [{hostInterfaceName: a, name: b}]"), "1.1.0"),
        ] {
            let expected = format!("the spec version must be at least v{least}");
            check(&of(version, "vendor.com/net", &rest), &expected);
            parse(&of(least, "vendor.com/net", &rest), Format::Yaml).unwrap();
        }
    }

    #[test]
    fn what_is_no_spec_is_told() {
        for (kind, why) in [
            ("vendor.com", "invalid vendor. empty name"),
            ("1com/net", "invalid vendor. \"1com\", should start with letter"),
            ("vendor.com/n+t", "invalid class. invalid character '+' in name \"n+t\""),
            ("vendor.com/net-", "invalid class. \"net-\", should end with a letter or digit"),
        ] {
            check(&of("0.6.0", kind, ONE), why);
        }
        let edits = |edits: &str| format!("devices: [{{name: a, containerEdits: {{{edits}}}}}]");
        for (rest, why) in [
            ("devices: []".to_owned(), "invalid spec, no devices"),
            (edits(""), "empty device edits"),
            (edits("env: [A]"), "invalid environment variable \"A\""),
            (edits("deviceNodes: [{path: /dev/a, type: x}]"), "invalid type \"x\""),
            (edits("deviceNodes: [{path: /dev/a, permissions: x}]"), "invalid permissions \"x\""),
            (edits("deviceNodes: [{path: /dev/a, major: -1}]"), "invalid (negative) device number"),
            (edits("hooks: [{hookName: now, path: /a}]"), "invalid hook name \"now\""),
            (edits("mounts: [{hostPath: /a}]"), "invalid mount, empty container path"),
            (edits("env: [A=1], envs: []"), "failed to unmarshal CDI Spec"),
            (format!("{ONE}\nmore: 1"), "failed to unmarshal CDI Spec"),
        ] {
            check(&of("1.0.0", "vendor.com/net", &rest), why);
        }
    }
}
