//! Why a task is pending, in words: for each reason, how many nodes it holds for.

use std::collections::BTreeMap;
use std::fmt;

use skep_types::ServiceSpec;

use crate::constraint::ConstraintError;
use crate::filter::Refusal;
use crate::host::Host;

/// No node can take a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    text: String,
}

impl Pending {
    pub(crate) fn unreadable(error: &ConstraintError) -> Self {
        Self { text: format!("no suitable node: {error}") }
    }

    pub(crate) fn refused(spec: &ServiceSpec, refusals: &[(&Host, Refusal)]) -> Self {
        if refusals.is_empty() {
            return Self { text: "no suitable node: the swarm has no nodes".to_owned() };
        }
        let mut by_reason: BTreeMap<&Refusal, Vec<&Host>> = BTreeMap::new();
        for (host, refusal) in refusals {
            by_reason.entry(refusal).or_default().push(host);
        }
        let reserved = &spec.task.resources.reservations;
        let parts: Vec<String> = by_reason
            .into_iter()
            .map(|(reason, hosts)| {
                let count = hosts.len();
                let (nodes, do_not, are, have, lack) = if count == 1 {
                    ("node", "does not", "is", "has", "lacks")
                } else {
                    ("nodes", "do not", "are", "have", "lack")
                };
                match reason {
                    Refusal::Unavailable => format!("{count} {nodes} {are} not available"),
                    Refusal::Cpu => {
                        let most = hosts.iter().map(|host| host.free_nano_cpus).max();
                        let (need, most) = (Cpus(reserved.nano_cpus), Cpus(most.unwrap_or(0)));
                        format!("{count} {nodes} {lack} cpu (need {need}, most free {most})")
                    }
                    Refusal::Memory => {
                        let most = hosts.iter().map(|host| host.free_memory_bytes).max();
                        let (need, most) = (Bytes(reserved.memory_bytes), Bytes(most.unwrap_or(0)));
                        format!("{count} {nodes} {lack} memory (need {need}, most free {most})")
                    }
                    Refusal::Platform => format!("{count} {nodes} {have} another platform"),
                    Refusal::Constraint(text) => {
                        format!("{count} {nodes} {do_not} match {text}")
                    }
                    Refusal::HostPort(port) => {
                        format!("{count} {nodes} {have} host port {port} in use")
                    }
                    Refusal::MaxReplicas => {
                        let max = spec.task.placement.max_replicas_per_node;
                        format!("{count} {nodes} {have} the most replicas allowed ({max})")
                    }
                }
            })
            .collect();
        Self { text: format!("no suitable node: {}", parts.join(", ")) }
    }
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Billionths of a CPU, shown in CPUs with at most two decimals.
struct Cpus(i64);

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hundredths = self.0.max(0) / 10_000_000;
        decimal(f, hundredths / 100, hundredths % 100)
    }
}

/// Bytes, shown in the largest binary unit that leaves at least one, rounded down.
struct Bytes(i64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let bytes = self.0.max(0);
        let Some((size, unit)) = UNITS.into_iter().find(|(size, _)| bytes >= *size) else {
            return write!(f, "{bytes} B");
        };
        decimal(f, bytes / size, bytes % size * 100 / size)?;
        write!(f, " {unit}")
    }
}

fn decimal(f: &mut fmt::Formatter<'_>, whole: i64, hundredths: i64) -> fmt::Result {
    match (hundredths / 10, hundredths % 10) {
        (0, 0) => write!(f, "{whole}"),
        (tenths, 0) => write!(f, "{whole}.{tenths}"),
        (tenths, rest) => write!(f, "{whole}.{tenths}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (2 << 30, "2 GiB"),
            ((3 << 30) / 2, "1.5 GiB"),
            (-5, "0 B"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), expected);
        }
        assert_eq!(Cpus(1_500_000_000).to_string(), "1.5");
        assert_eq!(Cpus(250_000_000).to_string(), "0.25");
        assert_eq!(Cpus(2_000_000_000).to_string(), "2");
    }
}
