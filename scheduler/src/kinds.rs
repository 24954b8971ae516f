//! Needs that services share, each kept once under a small number.

use std::collections::HashMap;
use std::sync::Arc;

use crate::filter::Needs;

/// Stands for one [`Needs`] while any version of a service has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(u32);

impl Kind {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug, Default)]
pub struct Kinds {
    by_needs: HashMap<Arc<Needs>, Kind>,
    needs: Vec<(Arc<Needs>, usize)>,
    vacant: Vec<Kind>,
}

impl Kinds {
    pub fn needs(&self, kind: Kind) -> &Arc<Needs> {
        &self.needs[kind.index()].0
    }

    /// One more has these needs.
    pub fn enter(&mut self, needs: Needs) -> Kind {
        if let Some(kind) = self.by_needs.get(&needs) {
            self.needs[kind.index()].1 += 1;
            return *kind;
        }
        let needs = Arc::new(needs);
        let kind = match self.vacant.pop() {
            Some(kind) => {
                self.needs[kind.index()] = (Arc::clone(&needs), 1);
                kind
            }
            None => {
                let next = u32::try_from(self.needs.len()).expect("fewer kinds than 2^32");
                self.needs.push((Arc::clone(&needs), 1));
                Kind(next)
            }
        };
        self.by_needs.insert(needs, kind);
        kind
    }

    /// One fewer has the needs of this kind.
    pub fn leave(&mut self, kind: Kind) {
        let (needs, users) = &mut self.needs[kind.index()];
        *users -= 1;
        if *users == 0 {
            self.by_needs.remove(needs);
            self.vacant.push(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_kept_once_and_as_long_as_anybody_has_them() {
        let of = |nano_cpus| Needs { nano_cpus, ..Needs::default() };
        let mut kinds = Kinds::default();
        let (one, other) = (kinds.enter(of(1)), kinds.enter(of(2)));
        assert_eq!(kinds.enter(of(1)), one);
        assert_ne!(one, other);
        kinds.leave(one);
        assert_eq!(kinds.enter(of(1)), one, "the second user had it still");
        kinds.leave(one);
        kinds.leave(one);
        assert_eq!(kinds.by_needs.len(), 1);
        // The number is given again, to other needs.
        assert_eq!(kinds.enter(of(3)), one);
        assert_eq!(kinds.needs(one).nano_cpus, 3);
        assert_eq!((kinds.needs.len(), kinds.vacant.len()), (2, 0));
    }
}
