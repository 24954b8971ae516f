//! A fast hash for ids. They are minted at random by managers, so nobody can choose ones that
//! collide; one multiplication spreads even the small ones of tests over the bits that a table uses.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Takes in integers only; each id and place is one.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

/// 2^64 divided by the golden ratio: odd, and with bits set all over.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value) * u128::from(SPREAD);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_u128(&mut self, value: u128) {
        self.write_u64((value as u64) ^ ((value >> 64) as u64).rotate_left(32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::hash::Hash;

    /// Tables take the place from the low bits, and tell neighbours apart by the high ones.
    fn check<T: Hash>(what: &str, keys: impl Iterator<Item = T>) {
        let hash = |key: T| {
            let mut hasher = IdHasher::default();
            key.hash(&mut hasher);
            hasher.finish()
        };
        let hashes: Vec<u64> = keys.map(hash).collect();
        let distinct = |of: &dyn Fn(u64) -> u64| {
            hashes.iter().map(|hash| of(*hash)).collect::<BTreeSet<_>>().len()
        };
        assert_eq!(distinct(&|hash| hash), hashes.len(), "{what}");
        // By chance it is 63 in a hundred.
        assert!(distinct(&|hash| hash % 4096) > 4096 / 2, "{what}, low bits");
        assert_eq!(distinct(&|hash| hash >> 57), 128, "{what}, high bits");
    }

    #[test]
    fn ids_and_places_are_spread_over_the_bits_that_tables_use() {
        check("small numbers", (0..4096u128).map(|it| it + 1));
        check("large numbers", (0..4096u128).map(|it| it << 64));
        check("in both halves", (0..4096u128).map(|it| it << 64 | it));
        check("all bits", (0..4096u128).map(|it| u128::MAX - it));
        check("multiples", (0..4096u128).map(|it| it << 32));
        check("places", 1..=4096u32);
        check("pairs", (0..4096u64).map(|it| (it / 64, it % 64)));
        check("bytes", (0..4096u16).map(|it| [(it / 256) as u8, (it % 256) as u8]));
    }
}
