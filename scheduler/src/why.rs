//! Why a task is pending, in words: for each reason, how many nodes it holds for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::constraint::ConstraintError;
use crate::filter::{Needs, Refusal};
use crate::host::Host;

/// No node can take a task. Shared by all tasks that it holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    text: Arc<str>,
}

/// What one filter refused.
#[derive(Debug, Default, Clone, Copy)]
struct Refused {
    nodes: usize,
    most_free: Option<i64>,
}

impl Pending {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn because(reason: &str) -> Self {
        // Docker's words first: tools look for them.
        Self { text: format!("no suitable node: {reason}").into() }
    }

    pub(crate) fn unreadable(error: &ConstraintError) -> Self {
        Self::because(&error.to_string())
    }

    /// The node that a task is for is not there.
    pub(crate) fn node_gone() -> Self {
        Self::because("its node is gone")
    }

    /// Counts for each filter the nodes that it refused.
    pub(crate) fn refused<'a>(
        needs: &Needs,
        max_replicas: u64,
        refusals: impl Iterator<Item = (&'a Host, Refusal)>,
    ) -> Self {
        let mut by_reason: BTreeMap<Refusal, Refused> = BTreeMap::new();
        for (host, refusal) in refusals {
            let refused = by_reason.entry(refusal).or_default();
            refused.nodes += 1;
            let free = match refusal {
                Refusal::Cpu => Some(host.free_nano_cpus()),
                Refusal::Memory => Some(host.free_memory_bytes()),
                Refusal::Generic(place) => {
                    needs.generic.get(place).map(|(kind, _)| host.free_generic(kind))
                }
                _ => None,
            };
            refused.most_free = refused.most_free.max(free);
        }
        if by_reason.is_empty() {
            return Self::because("the swarm has no nodes");
        }
        let mut text = String::new();
        for (reason, refused) in by_reason {
            // What is counted is named once.
            let (before, after) = match (text.is_empty(), refused.nodes) {
                (true, 1) => ("", " node"),
                (true, _) => ("", " nodes"),
                (false, _) => (", ", ""),
            };
            let reason = reason_text(needs, max_replicas, reason, refused);
            text += &format!("{before}{}{after} {reason}", refused.nodes);
        }
        Self::because(&text)
    }
}

fn reason_text(needs: &Needs, max_replicas: u64, reason: Refusal, refused: Refused) -> String {
    let (do_not, are, have, lack) = match refused.nodes {
        1 => ("does not", "is", "has", "lacks"),
        _ => ("do not", "are", "have", "lack"),
    };
    let most = refused.most_free.unwrap_or(0);
    match reason {
        Refusal::Unavailable => format!("{are} not available"),
        Refusal::Cpu => {
            format!("{lack} cpu (need {}, most free {})", Cpus(needs.nano_cpus), Cpus(most))
        }
        Refusal::Memory => {
            format!("{lack} memory (need {}, most free {})", Bytes(needs.memory_bytes), Bytes(most))
        }
        Refusal::Generic(place) => match needs.generic.get(place) {
            Some((kind, need)) => format!("{lack} {kind} (need {need}, most free {})", most.max(0)),
            None => format!("{lack} a generic resource"),
        },
        Refusal::Platform => format!("{have} another platform"),
        Refusal::Plugin(place) => match needs.plugins.get(place) {
            Some((kind, name)) => format!("{lack} the {} driver {name}", kind.to_lowercase()),
            None => format!("{lack} a plugin"),
        },
        Refusal::Privilege(privilege) => format!("{do_not} allow {privilege}"),
        Refusal::Constraint(place) => match needs.constraints.get(place) {
            Some(constraint) => format!("{do_not} match {constraint}"),
            None => format!("{do_not} match a constraint"),
        },
        Refusal::HostPort(port) => format!("{have} host port {port} in use"),
        Refusal::MaxReplicas => format!("{have} the most replicas allowed ({max_replicas})"),
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
