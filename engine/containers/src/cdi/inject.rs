//! What devices need is put into what a container is made from. Pure.

use skep_engine::ContainerConfig;
use skep_engine::config::{DeviceKind, DeviceNode, Hook, HookPoint, Mount, MountSource};

use super::spec::{self, Edits};

/// In the order of the devices; what is said later goes over what was said before, and over what the
/// user and the image say.
///
/// # Errors
/// It asks for what is not done here, by name.
pub fn apply(edits: &[&Edits], made: &mut ContainerConfig) -> Result<(), String> {
    for edit in edits {
        if let Some(device) = edit.net_devices.first() {
            return Err(format!(
                "a network interface of the host ({}) is not supported",
                device.host_interface_name
            ));
        }
        if edit.intel_rdt.is_some() {
            return Err("intelRdt is not supported".to_owned());
        }
        made.env.extend(edit.env.iter().cloned());
        for node in edit.device_nodes.iter().map(node) {
            let node = node?;
            made.devices.retain(|it| it.in_container != node.path);
            made.device_nodes.retain(|it| it.path != node.path);
            made.device_nodes.push(node);
        }
        for mount in &edit.mounts {
            made.mounts.retain(|it| it.target.as_os_str() != mount.container_path.as_str());
            made.mounts.push(self::mount(mount)?);
        }
        for hook in &edit.hooks {
            made.hooks.push(self::hook(hook)?);
        }
        // Root's group is no gift, as the interface's own library has it.
        let groups = edit.additional_gids.iter().filter(|gid| **gid != 0);
        made.groups.extend(groups.map(u32::to_string));
    }
    Ok(())
}

fn node(node: &spec::DeviceNode) -> Result<DeviceNode, String> {
    let number = |number: i64| {
        u32::try_from(number)
            .map_err(|_| format!("device {:?}: invalid number {number}", node.path))
    };
    let kind = match node.kind.as_str() {
        "b" => Some(DeviceKind::Block),
        "c" | "u" => Some(DeviceKind::Char),
        "p" => Some(DeviceKind::Fifo),
        _ => None,
    };
    Ok(DeviceNode {
        path: node.path.clone().into(),
        on_host: match node.host_path.as_str() {
            "" => node.path.clone().into(),
            path => path.into(),
        },
        kind,
        // Only with the major number is there one.
        number: match node.major {
            0 => None,
            major => Some((number(major)?, number(node.minor)?)),
        },
        mode: node.file_mode,
        uid: node.uid,
        gid: node.gid,
        access: node.access().to_owned(),
    })
}

fn mount(mount: &spec::Mount) -> Result<Mount, String> {
    let mut made =
        Mount::new(&mount.container_path, MountSource::Bind((&mount.host_path).into()), false);
    let mut options = Vec::new();
    made.non_recursive = !mount.options.iter().any(|it| it == "rbind");
    for option in &mount.options {
        match option.as_str() {
            "bind" | "rbind" | "rw" => {}
            "ro" => {
                made.read_only = true;
                made.read_only_non_recursive = true;
            }
            "rro" => {
                made.read_only = true;
                made.read_only_non_recursive = false;
            }
            "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" => {
                made.propagation.clone_from(option);
            }
            other => options.push(other.to_owned()),
        }
    }
    match mount.kind.as_str() {
        "" | "bind" | "none" => made.options = options,
        "tmpfs" => {
            made.source = MountSource::Tmpfs { size_bytes: 0, mode: 0, options };
        }
        kind => {
            let target = &mount.container_path;
            return Err(format!("a mount of type {kind:?} at {target} is not supported"));
        }
    }
    Ok(made)
}

fn hook(hook: &spec::Hook) -> Result<Hook, String> {
    let name = &hook.hook_name;
    let point = match name.as_str() {
        "prestart" => HookPoint::Prestart,
        "createRuntime" => HookPoint::CreateRuntime,
        "createContainer" => HookPoint::CreateContainer,
        "startContainer" => HookPoint::StartContainer,
        "poststart" => HookPoint::Poststart,
        "poststop" => HookPoint::Poststop,
        _ => return Err(format!("unknown hook name {name:?}")),
    };
    let timeout = |seconds: i64| {
        let whole = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0);
        whole.ok_or_else(|| format!("invalid timeout of hook {name:?}: {seconds}"))
    };
    Ok(Hook {
        point,
        path: hook.path.clone().into(),
        args: hook.args.clone(),
        env: hook.env.clone(),
        timeout_s: hook.timeout.map(timeout).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use skep_engine::config::{Device, Rootfs};

    use super::super::spec::{Format, parse};
    use super::*;

    fn container() -> ContainerConfig {
        let root = Rootfs::Directory("/".into());
        let mut made = ContainerConfig::new("id", root, vec!["true".to_owned()]);
        let theirs = |path: &str| Device {
            on_host: path.into(),
            in_container: path.into(),
            access: "rwm".to_owned(),
        };
        made.devices = vec![theirs("/dev/a"), theirs("/dev/b")];
        made.mounts = vec![Mount::new("/lib/v.so", MountSource::Bind("/old".into()), false)];
        made.env = vec!["A=0".to_owned()];
        made
    }

    fn edits(text: &str) -> Edits {
        let text = format!(
            "cdiVersion: 1.1.0\nkind: v.com/x\ndevices: [{{name: a, containerEdits: {{{text}}}}}]"
        );
        parse(&text, Format::Yaml).unwrap().devices[0].container_edits.clone()
    }

    #[test]
    fn edits_go_over_what_is_there() {
        let first = edits(
            "env: [A=1], additionalGids: [0, 44], \
             deviceNodes: [{path: /dev/a, hostPath: /dev/null, permissions: none, fileMode: 0600}], \
             mounts: [{hostPath: /new, containerPath: /lib/v.so, options: [ro, nosuid, bind]}]",
        );
        let second = edits(
            "deviceNodes: [{path: /dev/x, type: c, major: 1, minor: 3, uid: 7}], \
             mounts: [{hostPath: none, containerPath: /t, type: tmpfs, options: [size=4k]}], \
             hooks: [{hookName: createContainer, path: /bin/h, args: [h, -v], timeout: 3}]",
        );
        let mut made = container();
        apply(&[&first, &second], &mut made).unwrap();
        assert_eq!(made.env, ["A=0", "A=1"]);
        assert_eq!(made.groups, ["44"]);
        let left: Vec<_> = made.devices.iter().map(|it| it.in_container.to_str()).collect();
        assert_eq!(left, [Some("/dev/b")]);
        let a = &made.device_nodes[0];
        assert_eq!((a.on_host.to_str(), a.access.as_str()), (Some("/dev/null"), ""));
        assert_eq!((a.mode, a.number, a.kind), (Some(0o600), None, None));
        let x = &made.device_nodes[1];
        assert_eq!((x.kind, x.number), (Some(DeviceKind::Char), Some((1, 3))));
        assert_eq!((x.uid, x.access.as_str()), (Some(7), "rwm"));
        assert_eq!(made.mounts.len(), 2);
        let library = &made.mounts[0];
        assert!(matches!(&library.source, MountSource::Bind(path) if path.as_os_str() == "/new"));
        assert!(library.read_only && library.non_recursive);
        assert_eq!(library.options, ["nosuid"]);
        let MountSource::Tmpfs { options, .. } = &made.mounts[1].source else { panic!() };
        assert_eq!(options, &["size=4k"]);
        let hook = &made.hooks[0];
        assert_eq!((hook.point, hook.timeout_s), (HookPoint::CreateContainer, Some(3)));
        assert_eq!(hook.args, ["h", "-v"]);
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        for (text, why) in [
            ("intelRdt: {closID: a}", "intelRdt"),
            ("netDevices: [{hostInterfaceName: eth7, name: net0}]", "eth7"),
            ("mounts: [{hostPath: p, containerPath: /p, type: proc}]", "type \"proc\" at /p"),
            ("hooks: [{hookName: poststop, path: /h, timeout: 0}]", "invalid timeout"),
        ] {
            let said = apply(&[&edits(text)], &mut container()).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
