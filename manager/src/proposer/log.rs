//! The wall to the log: the Raft node, or what a test puts in its place.

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use skep_raft::{ProposeError, Proposed, RaftNode};

/// Takes entries, and applies those of one term in the order in which they were submitted.
#[async_trait]
pub(crate) trait Log: Send + Sync {
    /// Puts an entry under way as the leader of `term`; what comes back waits until it is applied.
    ///
    /// # Errors
    /// Nothing was written.
    async fn submit(
        &self,
        term: u64,
        command: Bytes,
    ) -> Result<BoxFuture<'static, Result<Proposed, ProposeError>>, ProposeError>;
}

#[async_trait]
impl Log for RaftNode {
    async fn submit(
        &self,
        term: u64,
        command: Bytes,
    ) -> Result<BoxFuture<'static, Result<Proposed, ProposeError>>, ProposeError> {
        Ok(self.submit(term, command).await?.applied().boxed())
    }
}
