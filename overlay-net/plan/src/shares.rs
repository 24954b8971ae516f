//! Which task a client's address leads to, where a service asks for that (`skep.session`).
//!
//! The kernel hashes the address into one of a fixed number of buckets, and each bucket is a task's:
//! of all tasks the one whose address and the bucket's number hash highest together (rendezvous
//! hashing).
//!
//! **Invariant:** the same tasks give the same buckets on every node, and with a task that comes or
//! goes only its own buckets change hands.

use std::net::IpAddr;

/// Each has to be written into the rules of every node for every such port, and once more for a
/// virtual address in every task's. With a thousand, shares differ by a tenth among ten tasks; of
/// more tasks than some two hundred, one may be left without any.
pub const BUCKETS: u32 = 1024;

/// For the kernel's hash: any number, the same on every node.
pub const SEED: u32 = 0x736b_6570;

/// For each bucket which of the addresses it leads to; of none without addresses.
pub fn shares(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let keyed: Vec<(u64, IpAddr)> = addresses.iter().map(|it| (key(*it), *it)).collect();
    let owner = |bucket| {
        let weight = |(key, address): &&(u64, IpAddr)| (mix(key ^ mix(bucket)), *address);
        keyed.iter().max_by_key(weight).map(|(_, address)| *address)
    };
    (0..u64::from(BUCKETS)).filter_map(owner).collect()
}

fn key(address: IpAddr) -> u64 {
    let bits = match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    };
    mix(mix((bits >> 64) as u64) ^ bits as u64)
}

/// The finalizer of SplitMix64: every bit of what comes in changes about half of what goes out.
fn mix(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(count: u8) -> Vec<IpAddr> {
        (0..count).map(|last| IpAddr::from([10, 0, 0, last])).collect()
    }

    #[test]
    fn only_the_share_of_a_task_that_goes_moves() {
        let all = tasks(10);
        let before = shares(&all);
        assert_eq!(before.len(), BUCKETS as usize);
        for gone in &all {
            let rest: Vec<IpAddr> = all.iter().copied().filter(|it| it != gone).collect();
            let after = shares(&rest);
            for (before, after) in before.iter().zip(&after) {
                assert!(before == after || before == gone, "{before} gave a bucket to {after}");
                assert_ne!(after, gone);
            }
            let share = before.iter().filter(|it| *it == gone).count();
            assert!((60..=150).contains(&share), "{gone} has {share} of {BUCKETS}");
        }
    }

    #[test]
    fn the_order_of_tasks_does_not_matter_and_none_give_none() {
        let mut tasks = tasks(7);
        let before = shares(&tasks);
        tasks.reverse();
        assert_eq!(shares(&tasks), before);
        assert!(shares(&[]).is_empty());
        let v6: Vec<IpAddr> =
            (1..4).map(|it| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, it])).collect();
        let owners: std::collections::BTreeSet<_> = shares(&v6).into_iter().collect();
        assert_eq!(owners.len(), 3);
    }
}
