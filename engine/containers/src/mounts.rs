//! Which mounts a container has: what `-v`, `--mount`, `--tmpfs`, `--volumes-from` and the image's
//! volumes come to. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use skep_docker_api::ApiError;
use skep_docker_api::json::{self, ContainerConfig, HostConfig, Map};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A path on the host.
    Bind {
        path: String,
        create: bool,
    },
    /// An empty name is one that is still to be made up.
    Volume {
        name: String,
        labels: Map,
        no_copy: bool,
        subpath: String,
        anonymous: bool,
    },
    Tmpfs {
        size_bytes: u64,
        mode: u32,
        options: Vec<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub source: Source,
    pub target: String,
    pub read_only: bool,
    /// The mode as it was written (`z`, `ro`).
    pub mode: String,
    pub propagation: String,
    pub non_recursive: bool,
    pub read_only_non_recursive: bool,
    /// Asked for by `HostConfig.Tmpfs`, which inspect does not show among the mounts.
    pub hidden: bool,
}

impl Mount {
    fn new(source: Source, target: &str) -> Mount {
        Mount {
            source,
            target: clean(target),
            read_only: false,
            mode: String::new(),
            propagation: String::new(),
            non_recursive: false,
            read_only_non_recursive: false,
            hidden: false,
        }
    }

    pub fn volume(&self) -> Option<&str> {
        match &self.source {
            Source::Volume { name, .. } => Some(name),
            Source::Bind { .. } | Source::Tmpfs { .. } => None,
        }
    }

    pub fn anonymous(&self) -> Option<&str> {
        match &self.source {
            Source::Volume { name, anonymous: true, .. } => Some(name),
            _ => None,
        }
    }
}

fn unnamed(labels: Map, no_copy: bool) -> Source {
    Source::Volume { name: String::new(), labels, no_copy, subpath: String::new(), anonymous: true }
}

/// Without doubled and trailing slashes.
fn clean(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    let joined = parts.collect::<Vec<_>>().join("/");
    if path.starts_with('/') { format!("/{joined}") } else { joined }
}

fn check_target(kind: &str, target: &str) -> Result<(), String> {
    let wrong = |why: String| Err(format!("invalid mount config for type \"{kind}\": {why}"));
    if target.is_empty() {
        return wrong("field Target must not be empty".to_owned());
    }
    if !target.starts_with('/') {
        return wrong(format!("invalid mount path: '{target}' mount path must be absolute"));
    }
    if clean(target) == "/" {
        return wrong("invalid specification: destination can't be '/'".to_owned());
    }
    if target.split('/').any(|part| part == "..") {
        return wrong(format!("invalid mount path: '{target}' leads upwards"));
    }
    Ok(())
}

const PROPAGATIONS: [&str; 6] = ["shared", "rshared", "slave", "rslave", "private", "rprivate"];

/// `source:target[:mode]`.
fn bind(spec: &str) -> Result<Mount, ApiError> {
    let invalid = |why: &str| {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        ApiError::invalid(format!("invalid volume specification: '{spec}'{why}"))
    };
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(invalid("")),
    };
    if parts.iter().any(|part| part.is_empty()) {
        return Err(invalid(""));
    }
    let of_host = source.starts_with('/');
    let kind = if of_host { "bind" } else { "volume" };
    check_target(kind, target).map_err(|why| invalid(&why))?;
    if !of_host && source.contains('/') {
        return Err(invalid(&format!(
            "invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must be absolute"
        )));
    }
    let mut no_copy = false;
    let mut mount = Mount::new(unnamed(Map::new(), false), target);
    mount.mode = mode.to_owned();
    for word in mode.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => mount.read_only = true,
            "rw" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nocopy" if !of_host => no_copy = true,
            word if of_host && PROPAGATIONS.contains(&word) => {
                mount.propagation = word.to_owned();
            }
            _ => return Err(ApiError::invalid(format!("invalid mode: {mode}"))),
        }
    }
    mount.source = match (of_host, source) {
        (true, path) => Source::Bind { path: clean(path), create: true },
        (false, "") => unnamed(Map::new(), no_copy),
        (false, name) => Source::Volume {
            name: name.to_owned(),
            labels: Map::new(),
            no_copy,
            subpath: String::new(),
            anonymous: false,
        },
    };
    Ok(mount)
}

fn check_driver(name: &str) -> Result<(), ApiError> {
    match name {
        "" | "local" => Ok(()),
        // Clients take "not found" to be said of the image, and pull it.
        _ => Err(ApiError::invalid(format!(
            "error looking up volume plugin {name}: plugin \"{name}\" not found"
        ))),
    }
}

/// One of `HostConfig.Mounts`.
fn long_form(given: &json::Mount) -> Result<Mount, ApiError> {
    let refused = |why: String| {
        ApiError::invalid(format!("invalid mount config for type \"{}\": {why}", given.kind))
    };
    check_target(&given.kind, &given.target).map_err(ApiError::invalid)?;
    let mut mount = Mount::new(unnamed(Map::new(), false), &given.target);
    mount.read_only = given.read_only;
    match given.kind.as_str() {
        "bind" => {
            let options = given.bind_options.clone().unwrap_or_default();
            if !given.source.starts_with('/') {
                return Err(refused(format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    given.source
                )));
            }
            if !options.propagation.is_empty()
                && !PROPAGATIONS.contains(&options.propagation.as_str())
            {
                return Err(refused(format!("invalid propagation mode: {}", options.propagation)));
            }
            mount.propagation = options.propagation;
            mount.non_recursive = options.non_recursive;
            mount.read_only_non_recursive = options.read_only_non_recursive;
            mount.source =
                Source::Bind { path: clean(&given.source), create: options.create_mountpoint };
        }
        "volume" => {
            let options = given.volume_options.clone().unwrap_or_default();
            if let Some(driver) = &options.driver_config {
                check_driver(&driver.name)?;
                if let Some(option) = driver.options.keys().next() {
                    return Err(refused(format!("volume option {option:?} is not supported yet")));
                }
            }
            if options.subpath.split('/').any(|part| part == "..")
                || options.subpath.starts_with('/')
            {
                return Err(refused(format!("invalid subpath {:?}", options.subpath)));
            }
            mount.source = Source::Volume {
                anonymous: given.source.is_empty(),
                name: given.source.clone(),
                labels: options.labels,
                no_copy: options.no_copy,
                subpath: options.subpath,
            };
        }
        "tmpfs" => {
            if !given.source.is_empty() {
                return Err(refused("field Source must not be specified".to_owned()));
            }
            let options = given.tmpfs_options.clone().unwrap_or_default();
            let size_bytes = u64::try_from(options.size_bytes)
                .map_err(|_| refused("size must not be negative".to_owned()))?;
            let words = options.options.iter().map(|words| words.join("=")).collect();
            mount.source = Source::Tmpfs { size_bytes, mode: options.mode, options: words };
        }
        other => {
            return Err(ApiError::invalid(format!("mount type unknown: {other:?}")));
        }
    }
    Ok(mount)
}

/// Mounts that are taken over from another container, with `ro` or `rw` where it is said.
pub struct From<'a> {
    pub mounts: &'a [Mount],
    pub mode: &'a str,
}

/// `CONTAINER[:MODE]` of `--volumes-from`.
pub fn from_word(text: &str) -> Result<(&str, &str), ApiError> {
    match text.split_once(':') {
        None => Ok((text, "")),
        Some((container, mode @ ("ro" | "rw" | "z" | "Z"))) => Ok((container, mode)),
        Some((_, mode)) => Err(ApiError::invalid(format!("invalid mode: {mode}"))),
    }
}

/// All mounts of a container; what is asked for goes over what is taken over, and both over the
/// image's.
pub fn plan(
    config: &ContainerConfig,
    host: &HostConfig,
    from: &[From<'_>],
) -> Result<Vec<Mount>, ApiError> {
    let mut asked: BTreeMap<String, Mount> = BTreeMap::new();
    let mut ask = |mount: Mount| {
        let target = mount.target.clone();
        match asked.insert(target.clone(), mount) {
            Some(_) => Err(ApiError::invalid(format!("Duplicate mount point: {target}"))),
            None => Ok(()),
        }
    };
    for spec in host.binds.iter().flatten() {
        let mount = bind(spec)?;
        if mount.volume().is_some() {
            check_driver(&host.volume_driver)?;
        }
        ask(mount)?;
    }
    for mount in &host.mounts {
        ask(long_form(mount)?)?;
    }
    for (target, options) in &host.tmpfs {
        check_target("tmpfs", target).map_err(ApiError::invalid)?;
        let words = options.split(',').filter(|word| !word.is_empty()).map(str::to_owned);
        let source = Source::Tmpfs { size_bytes: 0, mode: 0, options: words.collect() };
        ask(Mount { hidden: true, ..Mount::new(source, target) })?;
    }
    for taken in from.iter() {
        for mount in taken.mounts.iter().filter(|mount| !mount.hidden) {
            let mut mount = mount.clone();
            match taken.mode {
                "ro" => mount.read_only = true,
                "rw" => mount.read_only = false,
                _ => {}
            }
            // It is the other's to remove.
            if let Source::Volume { anonymous, .. } = &mut mount.source {
                *anonymous = false;
            }
            asked.entry(mount.target.clone()).or_insert(mount);
        }
    }
    for target in config.volumes.iter().flatten().map(|(target, _)| target) {
        check_driver(&host.volume_driver)?;
        check_target("volume", target).map_err(ApiError::invalid)?;
        asked
            .entry(clean(target))
            .or_insert_with(|| Mount::new(unnamed(Map::new(), false), target));
    }
    Ok(asked.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(binds: &[&str]) -> HostConfig {
        let binds = binds.iter().map(|it| (*it).to_owned()).collect();
        HostConfig { binds: Some(binds), ..HostConfig::default() }
    }

    #[test]
    fn binds_in_every_form() {
        let config = ContainerConfig::default();
        let one = |spec| plan(&config, &host(&[spec]), &[]).map(|mut it| it.remove(0));
        let mount = one("/srv//x/:/data/:ro,rslave").unwrap();
        assert_eq!(mount.target, "/data");
        assert_eq!(mount.source, Source::Bind { path: "/srv/x".to_owned(), create: true });
        assert!(mount.read_only && mount.propagation == "rslave");
        let mount = one("db:/data:nocopy").unwrap();
        assert!(
            matches!(mount.source, Source::Volume { ref name, no_copy: true, anonymous: false, .. } if name == "db")
        );
        assert!(one("/data").unwrap().anonymous().is_some());
        for bad in
            ["a:b", "/a:/", "a:/b:what", ":/x", "/a::ro", "a/b:/c", "/a:/b:ro:x", "/a:/x/../y"]
        {
            assert!(one(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_asked_for_goes_over_what_is_taken_over() {
        let volumes = ["/a", "/b", "/c"].map(|it| (it.to_owned(), json::Nothing {}));
        let config = ContainerConfig { volumes: Some(volumes.into()), ..Default::default() };
        let others = plan(&config, &host(&["x:/b", "y:/d"]), &[]).unwrap();
        let from = From { mounts: &others, mode: "ro" };
        let mounts = plan(&config, &host(&["/srv:/d"]), &[from]).unwrap();
        let targets: Vec<&str> = mounts.iter().map(|it| it.target.as_str()).collect();
        assert_eq!(targets, ["/a", "/b", "/c", "/d"]);
        assert!(mounts[1].read_only && !mounts[3].read_only);
        assert!(plan(&config, &host(&["x:/b", "y:/b"]), &[]).is_err());
    }
}
