//! What a node was assigned so far: whole sets and differences, chained so that none is missed.

use std::collections::BTreeMap;

/// A set or a difference cannot be taken: the session must begin anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfOrder {
    pub applies_to: String,
    pub have: String,
}

impl std::fmt::Display for OutOfOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "assignments out of order: difference applies to {:?}, have {:?}",
            self.applies_to, self.have
        )
    }
}

impl std::error::Error for OutOfOrder {}

/// One message of the assignment stream, for one kind of item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update<K, V> {
    /// All there is: what is not in it is no longer assigned.
    Complete { items: BTreeMap<K, V>, results_in: String },
    /// Changes of the set named by `applies_to`.
    Incremental { changed: Vec<(K, V)>, removed: Vec<K>, applies_to: String, results_in: String },
}

/// The items assigned now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger<K, V> {
    items: BTreeMap<K, V>,
    /// None until the first complete set.
    name: Option<String>,
}

impl<K, V> Default for Ledger<K, V> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), name: None }
    }
}

impl<K: Ord, V> Ledger<K, V> {
    pub fn items(&self) -> &BTreeMap<K, V> {
        &self.items
    }

    /// Whether a complete set has come: before, nothing that runs may be taken for unassigned.
    pub fn is_known(&self) -> bool {
        self.name.is_some()
    }

    /// Takes a message of the stream.
    ///
    /// # Errors
    /// A difference that does not follow what came before; the items are as they were.
    pub fn take(&mut self, update: Update<K, V>) -> Result<(), OutOfOrder> {
        match update {
            Update::Complete { items, results_in } => {
                self.items = items;
                self.name = Some(results_in);
            }
            Update::Incremental { changed, removed, applies_to, results_in } => {
                if self.name.as_ref() != Some(&applies_to) {
                    let have = self.name.clone().unwrap_or_default();
                    return Err(OutOfOrder { applies_to, have });
                }
                for id in removed {
                    self.items.remove(&id);
                }
                self.items.extend(changed);
                self.name = Some(results_in);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(applies_to: &str, results_in: &str) -> Update<u8, char> {
        Update::Incremental {
            changed: vec![(2, 'b')],
            removed: vec![1],
            applies_to: applies_to.to_owned(),
            results_in: results_in.to_owned(),
        }
    }

    #[test]
    fn differences_follow_one_another() {
        let mut ledger = Ledger::default();
        assert!(ledger.take(difference("", "1")).is_err(), "nothing to differ from");
        assert!(!ledger.is_known());
        let items = BTreeMap::from([(1, 'a')]);
        ledger.take(Update::Complete { items, results_in: "1".to_owned() }).unwrap();
        let error = ledger.take(difference("0", "1")).unwrap_err().to_string();
        assert_eq!(error, "assignments out of order: difference applies to \"0\", have \"1\"");
        assert_eq!(ledger.items(), &BTreeMap::from([(1, 'a')]), "a refused one changes nothing");
        ledger.take(difference("1", "2")).unwrap();
        assert_eq!(ledger.items(), &BTreeMap::from([(2, 'b')]));
    }
}
