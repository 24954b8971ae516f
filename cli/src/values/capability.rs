//! Linux capabilities to add and to drop. Invariant: none is in both lists, and both are sorted.

use std::collections::BTreeSet;

/// Every capability there is.
const ALL: &str = "ALL";
/// In an update: forget what stood in the list before.
const RESET: &str = "RESET";

fn normal(list: &[String]) -> BTreeSet<String> {
    list.iter()
        .map(|name| {
            let name = name.trim().to_uppercase();
            if name == ALL || name == RESET || name.starts_with("CAP_") {
                name
            } else {
                format!("CAP_{name}")
            }
        })
        .collect()
}

/// As the daemon has them: in full, each once, in order.
pub fn list(names: &[String]) -> Vec<String> {
    normal(names).into_iter().collect()
}

/// `ALL` stands for the others of its list.
fn reduced(set: BTreeSet<String>) -> BTreeSet<String> {
    if set.contains(ALL) { BTreeSet::from([ALL.into()]) } else { set }
}

/// The lists after a change of those that stood before. It takes a capability out of the other list first, and only then into its own.
pub fn updated(
    have: (&[String], &[String]),
    add: &[String],
    drop: &[String],
) -> (Vec<String>, Vec<String>) {
    let (mut added, mut dropped) = (normal(have.0), normal(have.1));
    let (mut add, mut drop) = (normal(add), normal(drop));
    if add.remove(RESET) {
        added.clear();
    }
    if drop.remove(RESET) {
        dropped.clear();
    }
    for name in drop.iter().filter(|name| !add.contains(*name)) {
        if !added.remove(name) {
            dropped.insert(name.clone());
        }
    }
    for name in add {
        if !dropped.remove(&name) {
            added.insert(name);
        }
    }
    let added = reduced(added);
    let dropped = reduced(dropped).into_iter().filter(|name| !added.contains(name)).collect();
    (added.into_iter().collect(), dropped)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn adding_wins() {
        let (add, drop) =
            updated((&[], &[]), &list(&["net_admin", "CAP_CHOWN"]), &list(&["chown", "kill"]));
        assert_eq!((add, drop), (list(&["CAP_CHOWN", "CAP_NET_ADMIN"]), list(&["CAP_KILL"])));
        let (add, drop) = updated((&[], &list(&["CAP_KILL"])), &list(&["kill"]), &[]);
        assert_eq!((add, drop), (vec![], vec![]));
        let (add, drop) =
            updated((&list(&["CAP_KILL"]), &[]), &list(&["RESET", "ALL"]), &list(&["chown"]));
        assert_eq!((add, drop), (list(&["ALL"]), list(&["CAP_CHOWN"])));
    }
}
