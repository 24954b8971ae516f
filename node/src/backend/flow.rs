//! Long work whose answer flows: it runs by itself, and ends when nobody reads any more.

use std::future::Future;

use futures::{StreamExt, stream};
use skep_docker_api::{ApiError, Flow};
use tokio::sync::mpsc::{self, Sender};
use tokio_util::task::AbortOnDropHandle;

use super::Answer;

/// Runs `work`, which sends its answer in pieces; its error is the last of them. Between work and
/// reader stand at most `held` pieces.
pub fn flow<T, W, F>(held: usize, work: W) -> Flow<T>
where
    T: Send + 'static,
    W: FnOnce(Sender<Answer<T>>) -> F,
    F: Future<Output = Answer<()>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(held);
    let running = work(sender.clone());
    let task = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = running.await {
            // A reader that is gone needs no error.
            let _gone = sender.send(Err(error)).await;
        }
    }));
    stream::unfold((receiver, task), |(mut receiver, task)| async move {
        let item = receiver.recv().await?;
        Some((item, (receiver, task)))
    })
    .boxed()
}

/// Waits for the first piece, so that work that fails at once answers with its own status.
pub async fn begun<T: Send + 'static>(mut flow: Flow<T>) -> Answer<Flow<T>> {
    match flow.next().await {
        None => Ok(flow),
        Some(first) => Ok(stream::iter([Ok::<T, ApiError>(first?)]).chain(flow).boxed()),
    }
}
