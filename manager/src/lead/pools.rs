//! Says in the log when a pool of subnets or addresses is nearly or quite used up, before a network
//! cannot be made or a task finds no address.

use std::collections::BTreeMap;
use std::sync::Arc;

use skep_state::pools::{AddressPool, Fullness};

use crate::core::Core;
use crate::defaults::POOLS_INTERVAL;

/// A pool, by whose and which.
type Key = (Option<String>, String);

pub async fn run(core: &Arc<Core>) {
    let mut said = BTreeMap::new();
    loop {
        let view = core.observer.view();
        // Every address is looked at.
        match tokio::task::spawn_blocking(move || view.address_pools()).await {
            Ok(pools) => warn(pools, &mut said),
            Err(error) => tracing::error!(%error, "the pools of addresses could not be looked at"),
        }
        tokio::time::sleep(POOLS_INTERVAL).await;
    }
}

/// Once for each step that a pool goes up; a pool that emptied says it again.
fn warn(pools: Vec<AddressPool>, said: &mut BTreeMap<Key, Fullness>) {
    let mut now = BTreeMap::new();
    for pool in pools {
        let key = (pool.network.clone(), pool.subnet.to_string());
        let fullness = pool.fullness();
        let before = said.get(&key).copied().unwrap_or(Fullness::Roomy);
        if fullness > before {
            let full = fullness == Fullness::Full;
            tracing::warn!("{}", words(&pool, full));
        }
        now.insert(key, fullness);
    }
    *said = now;
}

/// What is used up, and what to do.
fn words(pool: &AddressPool, full: bool) -> String {
    let AddressPool { network, subnet, used, size } = pool;
    let how = if full { "is used up" } else { "is nearly used up" };
    match network {
        Some(name) => format!(
            "network {name}: its subnet {subnet} {how}: {used} of {size} addresses have an owner: tasks \
             without one wait: make a network with a larger subnet, or with several (--subnet), for its \
             services"
        ),
        None => format!(
            "the swarm's address pool {subnet} {how}: {used} of {size} subnets are in use: remove networks \
             that nobody needs, or give new ones a --subnet of their own"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(used: u64) -> AddressPool {
        let subnet = "10.0.1.0/29".parse().unwrap();
        AddressPool { network: Some("front".to_owned()), subnet, used, size: 5 }
    }

    #[test]
    fn each_step_is_said_once_until_the_pool_has_room_again() {
        let mut said = BTreeMap::new();
        let key = (Some("front".to_owned()), "10.0.1.0/29".to_owned());
        for (used, expected) in [
            (3, Fullness::Roomy),
            (4, Fullness::NearlyFull),
            (5, Fullness::Full),
            (1, Fullness::Roomy),
        ] {
            warn(vec![pool(used)], &mut said);
            assert_eq!(said[&key], expected);
        }
        warn(Vec::new(), &mut said);
        assert!(said.is_empty(), "pools that went are forgotten");
        let begin =
            "network front: its subnet 10.0.1.0/29 is used up: 5 of 5 addresses have an owner";
        assert!(words(&pool(5), true).starts_with(begin));
        let of_swarm = AddressPool { network: None, ..pool(4) };
        let begin =
            "the swarm's address pool 10.0.1.0/29 is nearly used up: 4 of 5 subnets are in use";
        assert!(words(&of_swarm, false).starts_with(begin));
    }
}
