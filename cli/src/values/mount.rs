//! `--mount type=…,source=…,target=…`. What a mount means is the daemon's to judge; here only its writing is.

use skep_docker_api::json::{BindOptions, Driver, Map, Mount, TmpfsOptions, VolumeOptions};

use super::{amount, fields};

fn truth(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(other) => Err(format!(
            "invalid value for '{key}': invalid boolean value ({other:?}): must be one of \"true\", \"1\", \"false\", or \"0\" (default \"true\")"
        )),
    }
}

fn pair(map: &mut Map, text: &str) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    map.insert(key.into(), value.into());
}

pub fn parse(text: &str) -> Result<Mount, String> {
    if text.trim().is_empty() {
        return Err("value is empty".into());
    }
    let mut mount = Mount { kind: "volume".into(), ..Default::default() };
    for field in fields::split(text.trim())? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        if key.trim() != key {
            return Err(format!(
                "invalid option '{}' in '{field}': option should not have whitespace",
                key.trim()
            ));
        }
        match value {
            Some(value) if value.trim().is_empty() => {
                return Err(format!("invalid value for '{key}': value is empty"));
            }
            Some(value) if value.trim() != value => {
                return Err(format!(
                    "invalid value for '{key}' in '{field}': value should not have whitespace"
                ));
            }
            _ => {}
        }
        set(&mut mount, &field, &key.to_lowercase(), value)?;
    }
    let mixed = |options: &str| {
        Err(format!("cannot mix '{options}-*' options with mount type '{}'", mount.kind))
    };
    match mount.kind.as_str() {
        kind if kind != "bind" && mount.bind_options.is_some() => mixed("bind"),
        kind if kind != "volume" && mount.volume_options.is_some() => mixed("volume"),
        kind if kind != "tmpfs" && mount.tmpfs_options.is_some() => mixed("tmpfs"),
        kind if kind != "image" && mount.image_options.is_some() => mixed("image"),
        _ => recursion(&mount).map(|()| mount.clone()),
    }
}

/// What a read-only bind mount of mounts needs besides.
fn recursion(mount: &Mount) -> Result<(), String> {
    let Some(bind) = &mount.bind_options else { return Ok(()) };
    let needs = |mode: &str, what: &str| {
        Err(format!(
            "option 'bind-recursive={mode}' requires '{what}' to be specified in conjunction"
        ))
    };
    if bind.read_only_non_recursive && !mount.read_only {
        return needs("writable", "readonly");
    }
    if bind.read_only_force_recursive && !mount.read_only {
        return needs("readonly", "readonly");
    }
    if bind.read_only_force_recursive && bind.propagation != "rprivate" {
        return needs("readonly", "bind-propagation=rprivate");
    }
    Ok(())
}

fn set(mount: &mut Mount, field: &str, key: &str, value: Option<&str>) -> Result<(), String> {
    let bind = |mount: &mut Mount, change: &dyn Fn(&mut BindOptions)| {
        change(mount.bind_options.get_or_insert_default());
    };
    let given = match (key, value) {
        (_, Some(value)) => value,
        ("readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src", None) => "",
        _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
    };
    fn volume(mount: &mut Mount) -> &mut VolumeOptions {
        mount.volume_options.get_or_insert_default()
    }
    fn driver(mount: &mut Mount) -> &mut Driver {
        volume(mount).driver_config.get_or_insert_default()
    }
    fn tmpfs(mount: &mut Mount) -> &mut TmpfsOptions {
        mount.tmpfs_options.get_or_insert_default()
    }
    match key {
        "type" => mount.kind = given.to_lowercase(),
        "source" | "src" => {
            mount.source = match given.strip_prefix('.') {
                Some(_) => std::path::absolute(given)
                    .map_err(|error| format!("invalid value for '{key}': {error}"))?
                    .components()
                    .collect::<std::path::PathBuf>()
                    .to_string_lossy()
                    .into_owned(),
                None => given.into(),
            }
        }
        "target" | "dst" | "destination" => mount.target = given.into(),
        "readonly" | "ro" => mount.read_only = truth(key, value)?,
        "consistency" => mount.consistency = given.to_lowercase(),
        "bind-propagation" => {
            let propagation = given.to_lowercase();
            bind(mount, &|options| options.propagation = propagation.clone());
        }
        "bind-nonrecursive" => {
            let on = truth(key, value)?;
            bind(mount, &|options| options.non_recursive = on);
        }
        "bind-recursive" => match given {
            "enabled" => {}
            "disabled" => bind(mount, &|options| options.non_recursive = true),
            "writable" => bind(mount, &|options| options.read_only_non_recursive = true),
            "readonly" => bind(mount, &|options| options.read_only_force_recursive = true),
            _ => {
                return Err(format!(
                    "invalid value for {key}: {given} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                ));
            }
        },
        "bind-create-src" => {
            let on = truth(key, value)?;
            bind(mount, &|options| options.create_mountpoint = on);
        }
        "volume-subpath" => volume(mount).subpath = given.into(),
        "volume-nocopy" => volume(mount).no_copy = truth(key, value)?,
        "volume-label" => pair(&mut volume(mount).labels, given),
        "volume-driver" => driver(mount).name = given.into(),
        "volume-opt" => pair(&mut driver(mount).options, given),
        "image-subpath" => mount.image_options.get_or_insert_default().subpath = given.into(),
        "tmpfs-size" => {
            tmpfs(mount).size_bytes =
                amount::bytes(given).map_err(|_| format!("invalid value for {key}: {given}"))?;
        }
        "tmpfs-mode" => {
            tmpfs(mount).mode = u32::from_str_radix(given, 8)
                .map_err(|_| format!("invalid value for {key}: {given}"))?;
        }
        _ => return Err(format!("unknown option '{key}' in '{field}'")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let mount = parse("type=bind,src=/a,dst=/b,ro,bind-propagation=rshared").unwrap();
        assert_eq!(
            (mount.source.as_str(), mount.target.as_str(), mount.read_only),
            ("/a", "/b", true)
        );
        assert_eq!(mount.bind_options.unwrap().propagation, "rshared");
        let mount = parse(r#"src=v,dst=/b,volume-driver=nfs,"volume-opt=o=addr=1,rw""#).unwrap();
        let driver = mount.volume_options.unwrap().driver_config.unwrap();
        assert_eq!((driver.name.as_str(), driver.options["o"].as_str()), ("nfs", "addr=1,rw"));
        assert_eq!(
            parse("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777")
                .unwrap()
                .tmpfs_options
                .unwrap()
                .mode,
            0o1777
        );
        for (bad, words) in [
            (
                "type=bind,volume-nocopy,dst=/b",
                "cannot mix 'volume-*' options with mount type 'bind'",
            ),
            ("target", "invalid field 'target' must be a key=value pair"),
            ("nope=1", "unknown option 'nope' in 'nope=1'"),
            ("dst=/b,ro=maybe", "invalid value for 'ro'"),
            ("dst=", "invalid value for 'dst': value is empty"),
        ] {
            assert!(parse(bad).unwrap_err().contains(words), "{bad}: {:?}", parse(bad));
        }
    }
}
