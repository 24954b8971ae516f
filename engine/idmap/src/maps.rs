//! Which ids of a container are which of the host. Pure.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What the kernel shows where an id has no counterpart: `nobody`.
pub const OVERFLOW_ID: u32 = 65534;

/// Consecutive ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first as the container counts.
    pub inside: u32,
    /// The first as the host counts.
    pub outside: u32,
    pub count: u32,
}

/// The maps of a user namespace; empty ones leave every id as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMaps {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
}

impl IdMaps {
    pub fn is_identity(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// The container's root as the host counts: user and group.
    pub fn root(&self) -> (u32, u32) {
        (self.uid_outside(0).unwrap_or(OVERFLOW_ID), self.gid_outside(0).unwrap_or(OVERFLOW_ID))
    }

    /// None: the container has no such user.
    pub fn uid_outside(&self, uid: u32) -> Option<u32> {
        outside(&self.uids, uid)
    }

    pub fn gid_outside(&self, gid: u32) -> Option<u32> {
        outside(&self.gids, gid)
    }

    /// None: the container knows nothing of this user of the host.
    pub fn uid_inside(&self, uid: u32) -> Option<u32> {
        inside(&self.uids, uid)
    }

    pub fn gid_inside(&self, gid: u32) -> Option<u32> {
        inside(&self.gids, gid)
    }
}

fn outside(ranges: &[IdRange], id: u32) -> Option<u32> {
    if ranges.is_empty() {
        return Some(id);
    }
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.inside).filter(|offset| *offset < range.count)?;
        range.outside.checked_add(offset)
    })
}

fn inside(ranges: &[IdRange], id: u32) -> Option<u32> {
    if ranges.is_empty() {
        return Some(id);
    }
    ranges.iter().find_map(|range| {
        let offset = id.checked_sub(range.outside).filter(|offset| *offset < range.count)?;
        range.inside.checked_add(offset)
    })
}

/// As `/proc/PID/uid_map` takes it.
pub(crate) fn table(ranges: &[IdRange]) -> String {
    let mut text = String::new();
    for range in ranges {
        let _ = writeln!(text, "{} {} {}", range.inside, range.outside, range.count);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_out_and_come_back() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let uids = vec![range(0, 100_000, 1000), range(1000, 300_000, 10)];
        let maps = IdMaps { uids, gids: vec![range(0, 200_000, 65536)] };
        assert_eq!(maps.root(), (100_000, 200_000));
        for (inside, outside) in [(0, 100_000), (999, 100_999), (1000, 300_000), (1009, 300_009)] {
            assert_eq!(maps.uid_outside(inside), Some(outside));
            assert_eq!(maps.uid_inside(outside), Some(inside));
        }
        assert_eq!((maps.uid_outside(1010), maps.uid_inside(0)), (None, None));
        assert_eq!(maps.gid_outside(65536), None);
        assert_eq!(table(&maps.uids), "0 100000 1000\n1000 300000 10\n");
        let none = IdMaps::default();
        assert!(none.is_identity());
        assert_eq!(
            (none.root(), none.uid_inside(7), none.gid_outside(7)),
            ((0, 0), Some(7), Some(7))
        );
    }
}
