//! The way out of HTTP: a request that takes its whole connection for itself.
//!
//! It does not go by HTTP's own upgrade, for Docker's old clients take a connection without asking for one, and its answer is in
//! Docker's words. Invariant: what takes a connection runs as the connection's own task, within its bounds, and ends with the server.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::socket::Taken;

/// What goes on on a connection that was taken.
pub(crate) struct Session {
    /// The answer's head, as it is.
    pub head: String,
    pub run: Box<dyn FnOnce(Taken) -> BoxFuture<'static, ()> + Send>,
}

/// Goes with each request; one of them may go through it.
#[derive(Clone)]
pub(crate) struct Door(Arc<Mutex<Option<oneshot::Sender<Session>>>>);

impl Door {
    pub(super) fn new() -> (Self, oneshot::Receiver<Session>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// Leaves HTTP: the request's handler, which is where this is waited for, is dropped. Back only where nobody would let it out.
    pub async fn leave(&self, session: Session) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if sender.is_some_and(|sender| sender.send(session).is_ok()) {
            std::future::pending::<()>().await;
        }
    }
}
