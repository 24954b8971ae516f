//! A container's terminal is kept as large as ours.

use std::time::Duration;

use skep_docker_api::Client;
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::raw;

/// Whose terminal.
#[derive(Debug, Clone)]
pub enum Of {
    Container(String),
    Exec(String),
}

/// A container that has just been started may not have its terminal yet (Docker's number).
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// Ends the following when it is dropped.
pub struct Following(tokio::task::JoinHandle<()>);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn set(client: &Client, of: &Of, (rows, columns): (u16, u16)) -> bool {
    match of {
        Of::Container(id) => client.container_resize(id, rows, columns).await.is_ok(),
        Of::Exec(id) => client.exec_resize(id, rows, columns).await.is_ok(),
    }
}

/// Sets a size once; a program that is attached to again draws itself anew when its size changes.
pub async fn nudge(client: &Client, of: &Of) {
    if let Some((rows, columns)) = raw::size().filter(|size| *size != (0, 0)) {
        set(client, of, (rows.saturating_add(1), columns.saturating_add(1))).await;
    }
}

/// Follows our terminal from now on; none where standard output is no terminal.
pub fn follow(client: &Client, of: Of) -> Option<Following> {
    raw::size()?;
    let mut changes = signal(SignalKind::window_change()).ok()?;
    let client = client.clone();
    Some(Following(tokio::spawn(async move {
        for attempt in 1..=TRIES {
            match raw::size().filter(|size| *size != (0, 0)) {
                Some(size) if !set(&client, &of, size).await => {
                    tokio::time::sleep(PAUSE * attempt).await;
                }
                _ => break,
            }
        }
        while changes.recv().await.is_some() {
            if let Some(size) = raw::size() {
                set(&client, &of, size).await;
            }
        }
    })))
}
