//! The lowest free number of a range, without a look at those that are taken.

use std::collections::BTreeSet;

/// Where free numbers are to be sought. **Invariant:** every free number of the range is in `freed`
/// or not below `next`; which of them really are free, the state says.
#[derive(Debug, Clone, Default)]
pub struct Book {
    next: u32,
    freed: BTreeSet<u32>,
}

/// Gaps among taken numbers that a new book notes down, at four bytes each and some; behind them it
/// seeks number by number.
const GAPS_MAX: usize = 1 << 16;

impl Book {
    /// A book of the numbers from `first` on of which these are taken, ascending: one walk past
    /// what is taken instead of a question for each number.
    pub fn of(first: u32, taken: impl Iterator<Item = u32>) -> Self {
        let mut book = Self { next: first, freed: BTreeSet::new() };
        for number in taken.skip_while(|number| *number < first) {
            let gap = number.saturating_sub(book.next) as usize;
            let Some(next) = number.checked_add(1).filter(|_| book.freed.len() + gap <= GAPS_MAX)
            else {
                break;
            };
            book.freed.extend(book.next..number);
            book.next = book.next.max(next);
        }
        book
    }

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
    fn a_book_of_what_is_taken_gives_what_one_gives_that_asks() {
        let many = |step: u32| (100..100 + 400_000).filter(move |it| it % step != 0);
        let cases: [(u32, Vec<u32>); 6] = [
            (10, vec![]),
            (10, vec![3, 10, 11, 13, 20]),
            (10, vec![12, u32::MAX]),
            (100, many(1_000_000).collect()),
            // More gaps than are noted, from the first number on and behind what is taken.
            (100, many(3).collect()),
            (100, many(200_000).chain([90_000_000]).collect()),
        ];
        for (first, taken) in cases {
            let mut taken: BTreeSet<u32> = taken.into_iter().collect();
            let mut book = Book::of(first, taken.iter().copied());
            assert!(book.freed.len() <= GAPS_MAX);
            let mut asking = Book::default();
            for _ in 0..5 {
                let found = book.lowest(first, u32::MAX, |it| taken.contains(&it));
                assert_eq!(found, asking.lowest(first, u32::MAX, |it| taken.contains(&it)));
                taken.extend(found);
            }
        }
    }

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
