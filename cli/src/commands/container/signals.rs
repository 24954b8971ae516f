//! Signals that arrive here and are meant for the container.

use skep_docker_api::Client;
use tokio::signal::unix::{SignalKind, signal};

/// A signal as the API calls it, and as it is caught.
type Named = (&'static str, fn() -> SignalKind);

/// Those that are passed on. Not the ones that stop or tell of our own reading and writing, nor what cannot be caught.
const SIGNALS: [Named; 9] = [
    ("HUP", SignalKind::hangup),
    ("INT", SignalKind::interrupt),
    ("QUIT", SignalKind::quit),
    ("USR1", SignalKind::user_defined1),
    ("USR2", SignalKind::user_defined2),
    ("ALRM", SignalKind::alarm),
    ("TERM", SignalKind::terminate),
    ("WINCH", SignalKind::window_change),
    ("IO", SignalKind::io),
];

/// Ends the passing on when it is dropped.
pub struct Proxy(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// From now on signals go to the container.
pub fn proxy(client: &Client, container: &str) -> Proxy {
    let task = |(name, kind): Named| {
        // A signal that cannot be caught keeps what it does to a process by itself.
        let mut signals = signal(kind()).ok()?;
        let (client, container) = (client.clone(), container.to_owned());
        Some(tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // It may have just ended, which its status will tell.
                let _ = client.container_kill(&container, name).await;
            }
        }))
    };
    Proxy(SIGNALS.into_iter().filter_map(task).collect())
}
