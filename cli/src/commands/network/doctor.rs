//! `skep network doctor`: what every node found of its networks, and how full each pool is.

use skep_docker_api::json::{AddressPool, NetworkDoctor, NodeNetworks};

use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::output::human::duration;
use crate::output::print;

/// Nodes look every ten seconds, larger ones less often; who was silent for so long is not well.
const SILENT_AFTER_MS: u64 = 120_000;
/// A pool that has given so much of what it has is worth a word (percent).
const NEARLY_FULL: u64 = 80;

pub async fn run(session: &Session) -> Outcome {
    let told = session.client.networks_doctor().await?;
    print(&text(&told))?;
    match troubles(&told) {
        0 => Ok(()),
        1 => Err(Failure::new("1 thing is not as it should be")),
        many => Err(Failure::new(format!("{many} things are not as they should be"))),
    }
}

fn text(told: &NetworkDoctor) -> String {
    let mut lines = Vec::new();
    for node in &told.nodes {
        lines.push(format!("{}: {}", name(node), standing(node)));
        for finding in &node.found {
            lines.push(match finding.error.as_str() {
                "" => format!("  mended {} ago: {}", since(finding.age_ms), finding.what),
                error => format!("  wrong: {}\n    {error}", finding.what),
            });
        }
    }
    lines.extend(told.pools.iter().map(pool));
    lines.join("\n")
}

fn name(node: &NodeNetworks) -> &str {
    if node.hostname.is_empty() { &node.id } else { &node.hostname }
}

fn standing(node: &NodeNetworks) -> String {
    let open = node.found.iter().filter(|finding| !finding.error.is_empty()).count();
    match node.age_ms {
        _ if node.down => "is down".to_owned(),
        None => "has not said yet how its networks are".to_owned(),
        Some(age) if age > SILENT_AFTER_MS => {
            format!("has not said for {} how its networks are", since(age))
        }
        Some(_) if !node.error.is_empty() => format!("could not look: {}", node.error),
        Some(age) if open == 0 => format!("as it should be, {} ago", since(age)),
        Some(age) => format!("{open} not as it should be, {} ago", since(age)),
    }
}

fn since(milliseconds: u64) -> String {
    let text = duration(i128::from(milliseconds) * 1_000_000);
    // In the middle of a sentence.
    text.replace("Less than", "less than").replace("About", "about")
}

fn is_nearly_full(pool: &AddressPool) -> bool {
    pool.used.saturating_mul(100) >= pool.size.saturating_mul(NEARLY_FULL)
}

fn pool(pool: &AddressPool) -> String {
    let AddressPool { network, subnet, used, size } = pool;
    let (of, what) = match network.as_str() {
        "" => (format!("pool {subnet}"), "subnets"),
        network => (format!("network {network}, {subnet}"), "addresses"),
    };
    let warning = match is_nearly_full(pool) {
        true if used >= size => ": full",
        true => ": nearly full",
        false => "",
    };
    format!("{of}: {used} of {size} {what} used{warning}")
}

/// What somebody has to do something about. A node that is down is in `node ls`.
fn troubles(told: &NetworkDoctor) -> usize {
    let of_node = |node: &NodeNetworks| {
        let open = node.found.iter().filter(|finding| !finding.error.is_empty()).count();
        let silent = node.age_ms.is_none_or(|age| age > SILENT_AFTER_MS);
        if node.down { 0 } else { open + usize::from(silent || !node.error.is_empty()) }
    };
    let full = told.pools.iter().filter(|pool| is_nearly_full(pool)).count();
    told.nodes.iter().map(of_node).sum::<usize>() + full
}

#[cfg(test)]
mod tests {
    use skep_docker_api::json::NetworkFinding;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_and_counted() {
        let finding = |what: &str, error: &str| NetworkFinding {
            what: what.into(),
            error: error.into(),
            age_ms: 3_000,
        };
        let node = |hostname: &str, age_ms, found| NodeNetworks {
            hostname: hostname.into(),
            age_ms,
            found,
            ..NodeNetworks::default()
        };
        let pool = |network: &str, used, size| AddressPool {
            network: network.into(),
            subnet: "10.0.0.0/24".into(),
            used,
            size,
        };
        let mut told = NetworkDoctor {
            nodes: vec![
                node("one", Some(2_000), vec![finding("this host: rules are left over", "")]),
                node("two", Some(2_000), vec![finding("network front: no bridge", "no module")]),
                node("three", None, vec![]),
                NodeNetworks { down: true, ..node("four", None, vec![]) },
                NodeNetworks { error: "no netlink".into(), ..node("five", Some(0), vec![]) },
                node("six", Some(200_000), vec![]),
            ],
            pools: vec![pool("", 79, 100), pool("front", 253, 253), pool("back", 210, 253)],
        };
        assert_eq!(
            text(&told),
            "one: as it should be, 2 seconds ago\n  \
               mended 3 seconds ago: this host: rules are left over\n\
             two: 1 not as it should be, 2 seconds ago\n  \
               wrong: network front: no bridge\n    \
                 no module\n\
             three: has not said yet how its networks are\n\
             four: is down\n\
             five: could not look: no netlink\n\
             six: has not said for 3 minutes how its networks are\n\
             pool 10.0.0.0/24: 79 of 100 subnets used\n\
             network front, 10.0.0.0/24: 253 of 253 addresses used: full\n\
             network back, 10.0.0.0/24: 210 of 253 addresses used: nearly full"
        );
        assert_eq!(troubles(&told), 6);
        told.nodes.truncate(1);
        told.pools.truncate(1);
        assert_eq!(troubles(&told), 0);
    }
}
