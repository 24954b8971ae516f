//! The leader's view of what will be: what is applied, and what is in flight on top of it.
//!
//! Transactions are checked against this view before they are proposed, so that reconcilers can go
//! on without waiting for the log. A rejection or a new leadership throws the view away.

use std::collections::VecDeque;

use crate::action::Transaction;
use crate::rejection::Rejection;
use crate::state::State;

/// Names a transaction in flight; ascending in the order of proposing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A transaction cannot be put in flight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("too many transactions in flight: at most {max}")]
    Full { max: usize },
}

/// Applied state, transactions in flight, and the two together.
#[derive(Debug)]
pub struct Speculation {
    epoch: u64,
    view: State,
    in_flight: VecDeque<Ticket>,
    in_flight_max: usize,
    next: u64,
}

impl Speculation {
    /// Starts a leadership: nothing is in flight, and `applied` holds everything committed before.
    pub fn new(epoch: u64, applied: State, in_flight_max: usize) -> Self {
        Self { epoch, view: applied, in_flight: VecDeque::new(), in_flight_max, next: 0 }
    }

    /// What will be once everything in flight is applied.
    pub fn view(&self) -> &State {
        &self.view
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Checks a transaction, stamps it with the epoch, and counts it as in flight.
    ///
    /// # Errors
    /// It breaks a rule against the view, or the bound on transactions in flight is reached; the
    /// view is as it was.
    pub fn propose(&mut self, transaction: &mut Transaction) -> Result<Ticket, Refused> {
        if self.in_flight.len() >= self.in_flight_max {
            return Err(Refused::Full { max: self.in_flight_max });
        }
        transaction.epoch = self.epoch;
        self.view.apply(transaction)?;
        let ticket = Ticket(self.next);
        self.next += 1;
        self.in_flight.push_back(ticket);
        Ok(ticket)
    }

    /// The oldest transaction in flight was applied. Entries are applied in the order of
    /// proposing, so any other ticket says that the view is wrong: the caller starts anew.
    #[must_use]
    pub fn applied(&mut self, ticket: Ticket) -> bool {
        let oldest = self.in_flight.front() == Some(&ticket);
        if oldest {
            self.in_flight.pop_front();
        }
        oldest
    }
}
