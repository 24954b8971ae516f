//! What a container sees of the cgroup tree below /sys/fs/cgroup. Pure.

use std::path::Path;

use serde_json::{Value, json};

use super::spec::Cgroups;
use crate::config::Namespace;

const ROOT: &str = "/sys/fs/cgroup";

/// The mounts, in order. `access` is `ro` or `rw`.
///
/// Mounted by libcontainer, but on version 1 for a container in another's namespace of process ids:
/// libcontainer then looks itself up in the host's /proc by its number in that namespace, and finds
/// another process or none. There each hierarchy is the container's own cgroup, bound.
pub fn mounts(cgroups: &Cgroups, cgroup: &Path, pid: &Namespace, access: &str) -> Vec<Value> {
    let (Cgroups::Legacy(names), Namespace::Of(_)) = (cgroups, pid) else {
        let options = [access, "nosuid", "noexec", "nodev"];
        return vec![mount(ROOT, "cgroup", "cgroup", &options)];
    };
    let options = ["nosuid", "noexec", "nodev", "mode=755"];
    let mut all = vec![mount(ROOT, "tmpfs", "tmpfs", &options)];
    // The others hold no limits, and no group of the container's.
    for name in names.iter().filter(|name| !matches!(**name, "systemd" | "unified")) {
        let source = Path::new(ROOT).join(name).join(cgroup.strip_prefix("/").unwrap_or(cgroup));
        for target in targets(name) {
            let source = source.display().to_string();
            all.push(mount(&target, "bind", &source, &["rbind", "nosuid", "noexec", "nodev"]));
        }
    }
    all
}

/// Where the container's root could raise its own limits: libcontainer mounts each hierarchy
/// writable, whatever the mount's options say.
pub fn read_only(cgroups: &Cgroups, pid: &Namespace) -> Vec<String> {
    let Cgroups::Legacy(names) = cgroups else { return Vec::new() };
    let below = names.iter().flat_map(|name| match pid {
        Namespace::Of(_) => targets(name),
        _ => vec![format!("{ROOT}/{name}")],
    });
    [ROOT.to_owned()].into_iter().chain(below).collect()
}

/// A hierarchy of several controllers is there by all of their names (`cpu,cpuacct`, `cpu`, `cpuacct`).
fn targets(name: &str) -> Vec<String> {
    let each = name.split(',').filter(|one| *one != name);
    [name].into_iter().chain(each).map(|one| format!("{ROOT}/{one}")).collect()
}

fn mount(target: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": kind, "source": source, "options": options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_anothers_processes_the_own_cgroup_is_bound() {
        let cgroups = Cgroups::Legacy(vec!["memory", "systemd", "cpu,cpuacct"]);
        let shown = |pid: Namespace| {
            let all = mounts(&cgroups, Path::new("/skep/x"), &pid, "ro");
            let text = |it: &Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
            let one = |it: &Value| format!("{} {}", text(it, "source"), text(it, "destination"));
            all.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(shown(Namespace::Private), ["cgroup /sys/fs/cgroup"]);
        assert_eq!(
            shown(Namespace::Of(7)),
            [
                "tmpfs /sys/fs/cgroup",
                "/sys/fs/cgroup/memory/skep/x /sys/fs/cgroup/memory",
                "/sys/fs/cgroup/cpu,cpuacct/skep/x /sys/fs/cgroup/cpu,cpuacct",
                "/sys/fs/cgroup/cpu,cpuacct/skep/x /sys/fs/cgroup/cpu",
                "/sys/fs/cgroup/cpu,cpuacct/skep/x /sys/fs/cgroup/cpuacct",
            ]
        );
        assert_eq!(read_only(&Cgroups::Unified, &Namespace::Private), [""; 0]);
    }
}
