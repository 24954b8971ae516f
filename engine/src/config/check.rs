//! Refuses a configuration that could not work, in Docker's words, before anything is made.

use std::io::ErrorKind;
use std::path::{Component, Path};

use super::device::is_access;
use super::mount::{is_bind_option, is_tmpfs_option};
use super::{
    ContainerConfig, DeviceRule, MountSource, Namespace, NetworkNamespace, Rootfs, Seccomp,
    ulimit_type,
};
use crate::defaults;
use crate::error::{Error, Result};
use crate::shim::filter::Filter;
use crate::shim::seccomp;
use crate::signal::Signal;
use crate::{apparmor, capabilities};

impl ContainerConfig {
    /// Refuses what could not work, before anything is made.
    pub fn check(&self) -> Result<()> {
        check_id(&self.id)?;
        crate::logs::check(self)?;
        if self.args.first().is_none_or(|command| command.is_empty()) {
            return Err(Error::Invalid("no command specified".into()));
        }
        let strings =
            self.args.iter().chain(&self.env).chain([&self.cwd, &self.user, &self.hostname]);
        let of_hooks = self.hooks.iter().flat_map(|hook| hook.args.iter().chain(&hook.env));
        if strings.chain(&self.groups).chain(of_hooks).any(|text| text.contains('\0')) {
            return Err(Error::Invalid("a string holds a NUL byte".into()));
        }
        if let Some(bad) = self.env.iter().find(|v| v.starts_with('=') || !v.contains('=')) {
            return Err(Error::Invalid(format!("invalid environment variable: {bad}")));
        }
        if !self.cwd.is_empty() && !self.cwd.starts_with('/') {
            return Err(Error::Invalid(format!(
                "the working directory '{}' is invalid, it needs to be an absolute path",
                self.cwd
            )));
        }
        if !self.stop_signal.is_empty() && Signal::parse(&self.stop_signal).is_none() {
            return Err(Error::Invalid(format!("Invalid signal: {}", self.stop_signal)));
        }
        if !(-1000..=1000).contains(&self.oom_score_adj) {
            return Err(Error::Invalid(format!(
                "Invalid value {}, range for oom score adj is [-1000, 1000]",
                self.oom_score_adj
            )));
        }
        self.check_user_namespace()?;
        if let Some(parent) = &self.cgroup_parent
            && !(parent.is_absolute() && parent.components().all(|it| it != Component::ParentDir))
        {
            return Err(Error::Invalid(format!("invalid cgroup parent: {}", parent.display())));
        }
        self.check_privileges()?;
        self.check_paths()?;
        self.check_amounts()
    }

    /// In Docker's words.
    fn check_user_namespace(&self) -> Result<()> {
        if self.id_maps.is_none() {
            return Ok(());
        }
        let refused = [
            (
                self.privileged,
                "privileged mode is incompatible with user namespaces.  You must run the \
                 container in the host namespace when running privileged mode",
            ),
            (
                self.network == NetworkNamespace::Host,
                "cannot share the host's network namespace when user namespaces are enabled",
            ),
            (
                self.pid == Namespace::Host,
                "cannot share the host PID namespace when user namespaces are enabled",
            ),
        ];
        match refused.into_iter().find(|(asked, _)| *asked) {
            Some((_, why)) => Err(Error::Invalid(why.into())),
            None => Ok(()),
        }
    }

    fn check_privileges(&self) -> Result<()> {
        let capabilities = capabilities::of(self)?;
        if matches!(self.seccomp, Seccomp::Profile(_))
            && let Some(rules) = seccomp::rules(self, &capabilities).map_err(Error::Invalid)?
        {
            Filter::check(&rules).map_err(Error::Invalid)?;
        }
        if let Some(profile) = self.apparmor.as_deref()
            && profile != "unconfined"
            && apparmor::support() == apparmor::Support::Off
        {
            return Err(Error::Invalid(format!(
                "AppArmor is not enabled on this host: profile {profile:?} cannot be applied"
            )));
        }
        for rule in &self.device_rules {
            if DeviceRule::parse(rule).is_none() {
                return Err(Error::Invalid(format!("invalid device cgroup rule format: '{rule}'")));
            }
        }
        for device in &self.devices {
            check_target(&device.in_container)?;
            if !is_access(&device.access) {
                return Err(Error::Invalid(format!("invalid device mode: {}", device.access)));
            }
            if let Err(error) = std::fs::metadata(&device.on_host) {
                let reason = match error.kind() {
                    ErrorKind::NotFound => "no such file or directory".to_owned(),
                    _ => error.to_string(),
                };
                return Err(Error::Invalid(format!(
                    "error gathering device information while adding custom device {:?}: {reason}",
                    device.on_host
                )));
            }
        }
        for node in &self.device_nodes {
            check_target(&node.path)?;
            if !(node.access.is_empty() || is_access(&node.access)) {
                return Err(Error::Invalid(format!("invalid device mode: {}", node.access)));
            }
        }
        if let Some(hook) = self.hooks.iter().find(|hook| !hook.path.is_absolute()) {
            return Err(Error::Invalid(format!(
                "invalid {} hook: {}: the path must be absolute",
                hook.point.name(),
                hook.path.display()
            )));
        }
        let paths = self.masked_paths.iter().chain(&self.read_only_paths).flatten();
        if let Some(path) = paths.into_iter().find(|path| !path.starts_with('/')) {
            return Err(Error::Invalid(format!("invalid masked or read-only path: {path}")));
        }
        Ok(())
    }

    fn check_paths(&self) -> Result<()> {
        for mount in &self.mounts {
            check_target(&mount.target)?;
            if mount.propagation().is_none() {
                return Err(Error::Invalid(format!(
                    "invalid propagation mode: {}",
                    mount.propagation
                )));
            }
            if let MountSource::Tmpfs { options, .. } = &mount.source
                && let Some(bad) = options.iter().find(|option| !is_tmpfs_option(option))
            {
                return Err(Error::Invalid(format!("Invalid tmpfs option {bad:?}")));
            }
            if let MountSource::Bind(source) = &mount.source {
                if let Some(bad) = mount.options.iter().find(|option| !is_bind_option(option)) {
                    return Err(Error::Invalid(format!("invalid option of a bind: {bad:?}")));
                }
                if !source.is_absolute() {
                    return Err(Error::Invalid(format!(
                        "invalid mount path: '{}' mount path must be absolute",
                        source.display()
                    )));
                }
                if !source.exists() {
                    return Err(Error::Invalid(format!(
                        "invalid mount config for type \"bind\": bind source path does not exist: {}",
                        source.display()
                    )));
                }
            }
        }
        let mut targets: Vec<&Path> = self.mounts.iter().map(|m| m.target.as_path()).collect();
        for file in &self.files {
            check_target(&file.target)?;
            targets.push(&file.target);
        }
        targets.sort();
        if let Some(pair) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Invalid(format!("Duplicate mount point: {}", pair[0].display())));
        }
        let given = [&self.hosts_path, &self.hostname_path, &self.resolv_conf_path];
        for path in given.into_iter().flatten() {
            if !path.is_file() {
                return Err(Error::Invalid(format!("no such file: {}", path.display())));
            }
        }
        match &self.rootfs {
            Rootfs::Directory(path) if !path.is_dir() => {
                Err(Error::Invalid(format!("no such directory: {}", path.display())))
            }
            Rootfs::Overlay { lower, .. } if lower.is_empty() => {
                Err(Error::Invalid("an overlay needs at least one lower directory".into()))
            }
            _ => Ok(()),
        }
    }

    fn check_amounts(&self) -> Result<()> {
        self.resources.check()?;
        for ulimit in &self.ulimits {
            if ulimit_type(&ulimit.name).is_none() {
                return Err(Error::Invalid(format!("invalid ulimit type: {}", ulimit.name)));
            }
            if ulimit.hard >= 0 && (ulimit.soft > ulimit.hard || ulimit.soft < 0) {
                return Err(Error::Invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                    ulimit.soft, ulimit.hard
                )));
            }
        }
        let bytes: usize = self.files.iter().map(|file| file.content.bytes().len()).sum();
        if bytes > defaults::FILES_BYTES_MAX {
            return Err(Error::Invalid(format!(
                "files hold {bytes} bytes, at most {} are allowed",
                defaults::FILES_BYTES_MAX
            )));
        }
        if self.log.files_max == 0 || self.log.file_bytes_max < defaults::LOG_LINE_BYTES_MAX as u64
        {
            return Err(Error::Invalid("the log's limits leave no room for a line".into()));
        }
        Ok(())
    }
}

/// An id is a file's name on disk and in the cgroup tree.
pub fn check_id(id: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let first = id.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    if !first || !id.chars().all(allowed) || id.len() > defaults::ID_CHARS_MAX {
        return Err(Error::Invalid(format!("invalid container id: {id:?}")));
    }
    Ok(())
}

fn check_target(target: &Path) -> Result<()> {
    if !target.is_absolute() {
        return Err(Error::Invalid(format!(
            "invalid mount path: '{}' mount path must be absolute",
            target.display()
        )));
    }
    if target == Path::new("/") {
        return Err(Error::Invalid("invalid specification: destination can't be '/'".into()));
    }
    if target.components().any(|part| part == Component::ParentDir) {
        return Err(Error::Invalid(format!("a mount's path leads upwards: {}", target.display())));
    }
    Ok(())
}
