//! What arrives on standard input, read by a thread of its own: a read that waits for a key cannot be called off, and must not hold
//! up the command's end.

use std::io::Read;

use tokio::sync::mpsc;

/// What is read at once.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks that wait for the daemon; whoever writes more waits too.
const CHUNKS_MAX: usize = 8;

/// Chunks until the input ends. The thread ends with it, or with the process.
pub fn chunks() -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match stdin.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => {
                    if sender.blocking_send(chunk[..length].to_vec()).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}
