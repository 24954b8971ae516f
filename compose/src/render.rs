//! A merged file as `docker stack config` prints it: fields in Docker's order, names sorted.

use std::cmp::Ordering;

use crate::emit;
use crate::node::Node;

const FILE: &[&str] = &["version", "name", "services", "networks", "volumes", "secrets", "configs"];

const SERVICE: &[&str] = &[
    "build",
    "cap_add",
    "cap_drop",
    "cgroupns_mode",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "credential_spec",
    "depends_on",
    "deploy",
    "devices",
    "dns",
    "dns_search",
    "dns_opt",
    "domainname",
    "entrypoint",
    "environment",
    "env_file",
    "expose",
    "external_links",
    "extra_hosts",
    "group_add",
    "hostname",
    "healthcheck",
    "image",
    "init",
    "ipc",
    "isolation",
    "labels",
    "links",
    "logging",
    "mac_address",
    "network_mode",
    "networks",
    "pid",
    "platform",
    "ports",
    "privileged",
    "profiles",
    "pull_policy",
    "read_only",
    "restart",
    "runtime",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "user",
    "oom_score_adj",
    "userns_mode",
    "volumes",
    "working_dir",
];

const OBJECT: &[&str] = &[
    "name",
    "driver",
    "driver_opts",
    "ipam",
    "file",
    "environment",
    "content",
    "external",
    "internal",
    "attachable",
    "enable_ipv6",
    "labels",
];

/// The fields at a place in Docker's order; none where names are the user's.
fn fields(path: &[&str]) -> &'static [&'static str] {
    match path {
        [] => FILE,
        ["services", _] => SERVICE,
        ["services", _, rest @ ..] => match rest {
            ["build"] => &[
                "context",
                "dockerfile",
                "args",
                "labels",
                "cache_from",
                "extra_hosts",
                "network",
                "target",
            ],
            ["configs" | "secrets", "[]"] => &["source", "target", "uid", "gid", "mode"],
            ["deploy"] => &[
                "mode",
                "replicas",
                "labels",
                "update_config",
                "rollback_config",
                "resources",
                "restart_policy",
                "placement",
                "endpoint_mode",
            ],
            ["deploy", "update_config" | "rollback_config"] => {
                &["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"]
            }
            ["deploy", "resources"] => &["limits", "reservations"],
            ["deploy", "resources", _] => &["cpus", "memory", "pids", "generic_resources"],
            ["deploy", "restart_policy"] => &["condition", "delay", "max_attempts", "window"],
            ["deploy", "placement"] => &["constraints", "preferences", "max_replicas_per_node"],
            ["healthcheck"] => &[
                "test",
                "timeout",
                "interval",
                "retries",
                "start_period",
                "start_interval",
                "disable",
            ],
            ["logging"] => &["driver", "options"],
            ["networks", _] => &["aliases", "driver_opts", "ipv4_address", "ipv6_address"],
            ["ports", "[]"] => &["mode", "target", "published", "protocol"],
            ["ulimits", _] => &["soft", "hard"],
            ["volumes", "[]"] => &[
                "type",
                "source",
                "target",
                "read_only",
                "consistency",
                "bind",
                "volume",
                "image",
                "tmpfs",
                "cluster",
            ],
            _ => &[],
        },
        ["networks", _, "ipam"] => &["driver", "config"],
        ["networks", _, "ipam", "config", "[]"] => &["subnet", "ip_range", "gateway"],
        ["networks" | "volumes" | "secrets" | "configs", _] => OBJECT,
        _ => &[],
    }
}

fn order(path: &[String], keys: &mut Vec<&String>) {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    let fields = fields(&path);
    let place = |key: &str| fields.iter().position(|field| *field == key);
    keys.sort_by(|a, b| match (place(a), place(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => natural(a, b),
    });
}

/// Names as a reader counts them, and as Docker's encoder does: `a2` before `a10`, and what is no
/// letter before letters, but after them where digits went before.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(split) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    let (x, y) = (a[split], b[split]);
    let in_number = split > 0 && a[split - 1].is_ascii_digit();
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return if in_number { Ordering::Less } else { Ordering::Greater },
        (false, true) => return if in_number { Ordering::Greater } else { Ordering::Less },
        (false, false) => {}
    }
    // Whole runs of digits are numbers: the longer, without leading zeros, is the larger.
    let start = a[..split].iter().rposition(|c| !c.is_ascii_digit()).map_or(0, |place| place + 1);
    let run = |text: &[char]| -> (usize, String) {
        let digits: String = text[start..].iter().take_while(|c| c.is_ascii_digit()).collect();
        let number = digits.trim_start_matches('0').to_owned();
        (number.len(), number)
    };
    let length = |text: &[char]| text[start..].iter().take_while(|c| c.is_ascii_digit()).count();
    run(&a).cmp(&run(&b)).then(length(&a).cmp(&length(&b))).then(x.cmp(&y))
}

/// The file as YAML.
pub(crate) fn render(file: &Node) -> String {
    emit::document(file, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_order_of_a_reader() {
        let sorted = ["", "1", "01", "2", "10", "A", "A_1", "AB", "a", "a2", "a10", "a10b", "b"];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.sort_by(|a, b| natural(a, b));
        assert_eq!(shuffled, sorted);
    }
}
