//! What each CPU tells of its heat, by which containers could learn what others compute: masked in
//! every container, as in Docker.

use std::fs;
use std::path::Path;

pub const CPUS: &str = "/sys/devices/system/cpu";

/// `cpu0/thermal_throttle` and its kin that a host has, in the order of their names.
pub fn paths(cpus: &Path) -> Vec<String> {
    let entries = fs::read_dir(cpus).into_iter().flatten().flatten();
    let named = entries.filter(|it| it.file_name().to_string_lossy().starts_with("cpu"));
    let counters = named.map(|it| it.path().join("thermal_throttle")).filter(|it| it.exists());
    let mut paths: Vec<String> = counters.map(|it| it.to_string_lossy().into_owned()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_with_counters_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cpu1/thermal_throttle", "cpu0/thermal_throttle", "cpu2", "cpufreq", "power"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let expected = ["cpu0", "cpu1"].map(|it| dir.path().join(it).join("thermal_throttle"));
        assert_eq!(paths(dir.path()), expected.map(|it| it.to_str().unwrap().to_owned()));
        assert!(paths(Path::new("/not/there")).is_empty());
    }
}
