//! Unpacks a layer while its archive comes.

use std::sync::Arc;

use crate::blobs::Spool;
use crate::error::Result;
use crate::growth::{Follower, Growth};
use crate::layers::Aside;
use crate::store::Store;

/// Work that follows what is written; dropped, what it made goes with it.
pub(crate) struct Behind {
    growth: Arc<Growth>,
    work: tokio::task::JoinHandle<Result<Aside>>,
}

impl Store {
    /// Begins to unpack what is written into a spool; None, if there is no turn for it now. It is
    /// nobody's layer before its archive was checked.
    pub(crate) fn unpack_behind(&self, spool: &Spool) -> Result<Option<Behind>> {
        let Ok(turn) = self.inner.follows.clone().try_acquire_owned() else { return Ok(None) };
        let growth = spool.growth();
        let follower = Follower::open(spool.path(), growth.clone())?;
        let inner = self.inner.clone();
        let work = tokio::task::spawn_blocking(move || {
            let aside = inner.unpack_aside(follower);
            drop(turn);
            aside
        });
        Ok(Some(Behind { growth, work }))
    }
}

impl Behind {
    /// Whether the writer has gone, so that this comes to nothing.
    pub(crate) fn is_broken(&self) -> bool {
        self.growth.is_broken()
    }

    /// What was unpacked; None, if the writer went meanwhile, and it is to be done again.
    pub(crate) async fn end(self) -> Result<Option<Aside>> {
        let result = self.work.await;
        if self.growth.is_broken() {
            return Ok(None);
        }
        match result {
            Ok(aside) => aside.map(Some),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(None),
            },
        }
    }
}
