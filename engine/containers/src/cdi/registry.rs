//! The devices that a host's files describe, by their full names. A file in a later directory goes
//! over one in an earlier; two of one directory that describe the same device describe none.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::spec::{self, Edits, Format, Spec};

/// Of one file; those of drivers are some 100 KiB.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// A file that was read, or why it was not.
#[derive(Debug, Clone)]
pub struct Read {
    pub path: PathBuf,
    /// The place of its directory.
    pub priority: usize,
    pub spec: Result<Spec, String>,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    devices: BTreeMap<String, Found>,
    kinds: Vec<String>,
    /// What is wrong with which file.
    pub errors: Vec<(PathBuf, String)>,
}

#[derive(Debug, Clone)]
struct Found {
    spec: Arc<Spec>,
    /// Its place among the spec's.
    place: usize,
    path: PathBuf,
    priority: usize,
}

impl Registry {
    /// Reads the files of the directories as they are now. One that is not there has none.
    pub fn read(directories: &[PathBuf]) -> Self {
        let mut reads = Vec::new();
        let mut errors = Vec::new();
        for (priority, directory) in directories.iter().enumerate() {
            let mut paths = match list(directory) {
                Ok(paths) => paths,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => {
                    errors.push((directory.clone(), error.to_string()));
                    continue;
                }
            };
            paths.sort_by(|(one, _), (other, _)| one.cmp(other));
            let read = |(path, format): (PathBuf, Format)| {
                let spec = read(&path, format);
                Read { path, priority, spec }
            };
            reads.extend(paths.into_iter().map(read));
        }
        let mut made = Self::of(reads);
        made.errors.splice(0..0, errors);
        made
    }

    /// From the files, in the order of their directories.
    pub fn of(reads: Vec<Read>) -> Self {
        let mut made = Self::default();
        let mut conflicts = Vec::new();
        for Read { path, priority, spec } in reads {
            let spec = match spec {
                Ok(spec) => Arc::new(spec),
                Err(error) => {
                    made.errors.push((path, format!("failed to load CDI Spec {error}")));
                    continue;
                }
            };
            made.kinds.push(spec.kind.clone());
            for (place, device) in spec.devices.iter().enumerate() {
                let name = format!("{}={}", spec.kind, device.name);
                let found = Found { spec: Arc::clone(&spec), place, path: path.clone(), priority };
                match made.devices.get(&name) {
                    Some(other) if other.priority == priority => {
                        let why = format!(
                            "conflicting device {name:?} (specs {:?}, {:?})",
                            path.display(),
                            other.path.display()
                        );
                        made.errors.push((path.clone(), why));
                        conflicts.push(name);
                    }
                    _ => drop(made.devices.insert(name, found)),
                }
            }
        }
        for name in conflicts {
            made.devices.remove(&name);
        }
        made
    }

    /// The full names of all devices: `vendor.com/class=name`.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.devices.keys()
    }

    /// Whether any file describes devices of a kind.
    pub fn has_kind(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind)
    }

    /// What these devices need: of each file first what all its devices do.
    ///
    /// # Errors
    /// A device is not known, in the words of the interface's own library.
    pub fn edits(&self, names: &[String]) -> Result<Vec<&Edits>, String> {
        let unknown = names.iter().filter(|name| !self.devices.contains_key(*name));
        let unknown: Vec<&str> = unknown.map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(format!("unresolvable CDI devices {}", unknown.join(", ")));
        }
        let mut edits = Vec::new();
        let mut seen: Vec<&Arc<Spec>> = Vec::new();
        for found in names.iter().filter_map(|name| self.devices.get(name)) {
            if !seen.iter().any(|spec| Arc::ptr_eq(spec, &found.spec)) {
                seen.push(&found.spec);
                edits.push(&found.spec.container_edits);
            }
            edits.push(&found.spec.devices[found.place].container_edits);
        }
        Ok(edits)
    }
}

/// The files that may be specs.
fn list(directory: &Path) -> std::io::Result<Vec<(PathBuf, Format)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let format = match path.extension().and_then(|it| it.to_str()) {
            Some("json") => Format::Json,
            Some("yaml") => Format::Yaml,
            _ => continue,
        };
        // No pipe, which would be waited for, and nothing without an end.
        if path.is_file() {
            paths.push((path, format));
        }
    }
    Ok(paths)
}

fn read(path: &Path, format: Format) -> Result<Spec, String> {
    let unread = |why: String| format!("failed to read CDI Spec {:?}: {why}", path.display());
    let length = fs::metadata(path).map_err(|error| unread(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unread(format!("expected at most {FILE_BYTES_MAX} bytes, got {length}")));
    }
    let text = fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
    spec::parse(&text, format)
        .map_err(|why| format!("failed to parse CDI Spec {:?}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, priority: usize, kind: &str, devices: &[(&str, &str)]) -> Read {
        let devices: Vec<_> = devices
            .iter()
            .map(|(name, variable)| {
                serde_json::json!({ "name": name, "containerEdits": { "env": [variable] } })
            })
            .collect();
        let spec = serde_json::json!({
            "cdiVersion": "0.6.0", "kind": kind, "devices": devices,
            "containerEdits": { "env": [format!("OF={path}")] },
        });
        Read { path: path.into(), priority, spec: spec::parse(&spec.to_string(), Format::Json) }
    }

    fn variables(registry: &Registry, names: &[&str]) -> Result<String, String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let edits = registry.edits(&names)?;
        let env = edits.iter().flat_map(|it| &it.env).map(String::as_str);
        Ok(env.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn devices_are_found_by_their_names() {
        let registry = Registry::of(vec![
            file("a", 0, "v.com/gpu", &[("0", "GPU=0"), ("1", "GPU=1"), ("2", "GPU=2")]),
            file("b", 1, "v.com/gpu", &[("1", "GPU=one"), ("3", "GPU=3")]),
            file("c", 1, "v.com/gpu", &[("3", "GPU=three")]),
            Read { path: "d".into(), priority: 1, spec: Err("is none".to_owned()) },
        ]);
        let names: Vec<&str> = registry.names().map(String::as_str).collect();
        assert_eq!(names, ["v.com/gpu=0", "v.com/gpu=1", "v.com/gpu=2"]);
        assert!(registry.has_kind("v.com/gpu") && !registry.has_kind("v.com/net"));
        let both = ["v.com/gpu=2", "v.com/gpu=0"];
        assert_eq!(variables(&registry, &both).unwrap(), "OF=a GPU=2 GPU=0");
        assert_eq!(variables(&registry, &["v.com/gpu=1"]).unwrap(), "OF=b GPU=one");
        assert_eq!(
            variables(&registry, &["v.com/gpu=3", "v.com/gpu=0", "x"]).unwrap_err(),
            "unresolvable CDI devices v.com/gpu=3, x"
        );
        let errors: Vec<_> = registry
            .errors
            .iter()
            .map(|(path, why)| format!("{}: {why}", path.display()))
            .collect();
        assert_eq!(
            errors,
            [
                "c: conflicting device \"v.com/gpu=3\" (specs \"c\", \"b\")",
                "d: failed to load CDI Spec is none"
            ]
        );
    }

    #[test]
    fn directories_are_read_as_they_are() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let text = "cdiVersion: \"0.6.0\"\nkind: v.com/gpu\n\
                    devices: [{name: a, containerEdits: {env: [A=1]}}]\n";
        std::fs::write(at("a.yaml"), text).unwrap();
        std::fs::write(at("b.json"), "{").unwrap();
        std::fs::write(at("c.txt"), "neither").unwrap();
        std::fs::create_dir(at("d.json")).unwrap();
        let registry = Registry::read(&[at("missing"), place.path().to_owned()]);
        assert_eq!(registry.names().collect::<Vec<_>>(), ["v.com/gpu=a"]);
        assert_eq!(registry.errors.len(), 1);
        assert!(registry.errors[0].1.contains("failed to parse CDI Spec"), "{registry:?}");
    }
}
