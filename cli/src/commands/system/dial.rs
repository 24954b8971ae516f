//! `skep system dial-stdio`: our standard streams are a connection to the daemon; the far end of `ssh://`.

use tokio::io::AsyncWriteExt;

use crate::commands::Session;
use crate::failure::{Failure, Outcome};
use crate::terminal::input;

pub async fn run(session: &Session) -> Outcome {
    let stream = session.client.dial().await?;
    let (mut from, mut to) = tokio::io::split(stream);
    let failed = |error: std::io::Error| Failure::new(format!("failed to pass bytes on: {error}"));
    let upward = async {
        let mut chunks = input::chunks();
        while let Some(chunk) = chunks.recv().await {
            to.write_all(&chunk).await?;
            to.flush().await?;
        }
        to.shutdown().await
    };
    let downward = async {
        let mut out = tokio::io::stdout();
        tokio::io::copy(&mut from, &mut out).await?;
        out.flush().await
    };
    tokio::pin!(upward, downward);
    tokio::select! {
        // The daemon still answers what it was asked last.
        done = &mut upward => {
            done.map_err(failed)?;
            downward.await.map_err(failed)
        }
        done = &mut downward => done.map_err(failed),
    }
}
