//! The leader's view of what will be: what is applied, and what is in flight on top of it.
//!
//! Transactions are checked against this view before they are proposed, so that reconcilers can go
//! on without waiting for the log. A rejection or a new leadership throws the view away.

use std::collections::VecDeque;

use crate::action::{Action, Transaction};
use crate::event::Event;
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
    /// None: more than [`NEWS_MAX`], or the view is a new one.
    news: Option<Vec<Event>>,
}

/// Changes that are kept for whoever follows the view; who is further behind takes the view, which
/// is cheaper then.
const NEWS_MAX: usize = 1 << 17;

impl Speculation {
    /// Starts a leadership: nothing is in flight, and `applied` holds everything committed before.
    pub fn new(epoch: u64, applied: State, in_flight_max: usize) -> Self {
        Self {
            epoch,
            view: applied,
            in_flight: VecDeque::new(),
            in_flight_max,
            next: 0,
            news: None,
        }
    }

    /// What will be once everything in flight is applied.
    pub fn view(&self) -> &State {
        &self.view
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// What changed in the view since the last call, in order; none where whoever follows it is to
    /// begin anew with the view. Plans' changes are left out: who planned them has them.
    pub fn take_news(&mut self) -> Option<Vec<Event>> {
        self.news.replace(Vec::new())
    }

    /// Checks a transaction, stamps it with the epoch, and counts it as in flight.
    ///
    /// # Errors
    /// It breaks a rule against the view, or the bound on transactions in flight is reached; the
    /// view is as it was.
    pub fn propose(&mut self, transaction: &mut Transaction) -> Result<Ticket, Refused> {
        self.has_room()?;
        transaction.epoch = self.epoch;
        let events = self.view.apply(transaction)?;
        match &mut self.news {
            Some(news) if news.len() + events.len() <= NEWS_MAX => news.extend(events),
            news => *news = None,
        }
        Ok(self.put_in_flight())
    }

    /// Counts those actions of a plan as in flight that still hold, and gives the others back: what
    /// they were decided from was changed meanwhile. Without a ticket there is nothing to propose.
    ///
    /// # Errors
    /// The bound on transactions in flight is reached; the view is as it was.
    pub fn propose_plan(
        &mut self,
        transaction: &mut Transaction,
    ) -> Result<(Option<Ticket>, Vec<Action>), Refused> {
        self.has_room()?;
        transaction.epoch = self.epoch;
        let (mut kept, mut refused) = (Vec::with_capacity(transaction.actions.len()), Vec::new());
        for action in std::mem::take(&mut transaction.actions) {
            match self.view.act(&action, transaction.now) {
                Ok(_) => kept.push(action),
                Err(_) => refused.push(action),
            }
        }
        let ticket = (!kept.is_empty()).then(|| self.put_in_flight());
        transaction.actions = kept;
        Ok((ticket, refused))
    }

    fn has_room(&self) -> Result<(), Refused> {
        match self.in_flight.len() < self.in_flight_max {
            true => Ok(()),
            false => Err(Refused::Full { max: self.in_flight_max }),
        }
    }

    fn put_in_flight(&mut self) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.in_flight.push_back(ticket);
        ticket
    }

    /// With nothing in flight, what is applied is what will be: takes it for the view, so that both
    /// are one in memory, and gives back what the view was. The caller drops that where it holds
    /// nobody up; with something in flight it is what was given.
    pub fn adopt(&mut self, applied: State) -> State {
        match self.in_flight.is_empty() {
            true => std::mem::replace(&mut self.view, applied),
            false => applied,
        }
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
