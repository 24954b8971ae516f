//! The lowest free number of a range, without a look at those that are taken.

use std::collections::BTreeSet;

/// Where free numbers are to be sought. **Invariant:** every free number of the range is in `freed`
/// or not below `next`; which of them really are free, the state says.
#[derive(Debug, Clone, Default)]
pub struct Book {
    next: u32,
    freed: BTreeSet<u32>,
}

impl Book {
    /// The lowest number from `first` to `last` that is not taken. It stays free until it is seen to
    /// be taken, so one that is not used after all is given again.
    pub fn lowest(&mut self, first: u32, last: u32, taken: impl Fn(u32) -> bool) -> Option<u32> {
        while let Some(&number) = self.freed.first() {
            if (first..=last).contains(&number) && !taken(number) {
                return Some(number);
            }
            self.freed.pop_first();
        }
        self.next = self.next.max(first);
        while self.next <= last {
            if !taken(self.next) {
                return Some(self.next);
            }
            self.next = self.next.checked_add(1)?;
        }
        None
    }

    /// A number may be free again.
    pub fn release(&mut self, number: u32) {
        if number < self.next {
            self.freed.insert(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_given_whatever_was_taken_and_released() {
        let mut book = Book::default();
        let mut taken = BTreeSet::from([10, 11, 13]);
        // Until it is taken it is given again.
        assert_eq!(book.lowest(10, 15, |it| taken.contains(&it)), Some(12));
        assert_eq!(book.lowest(10, 15, |it| taken.contains(&it)), Some(12));
        taken.extend([12, 14, 15]);
        assert_eq!(book.lowest(10, 15, |it| taken.contains(&it)), None);
        for number in [14, 11] {
            taken.remove(&number);
            book.release(number);
        }
        assert_eq!(book.lowest(10, 15, |it| taken.contains(&it)), Some(11));
        taken.insert(11);
        assert_eq!(book.lowest(10, 15, |it| taken.contains(&it)), Some(14));
    }
}
