//! A file that somebody writes and somebody else reads behind, so that a layer is unpacked while it
//! comes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Context, Result};

/// The writer's word about how far it is; dropped without an end, it has gone.
#[derive(Debug)]
pub(crate) struct Growing(Arc<Growth>);

/// How far the writer is.
#[derive(Debug)]
pub(crate) struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    bytes: u64,
    /// Nothing will follow.
    ended: bool,
    /// The writer has gone before the end.
    gone: bool,
}

impl Growing {
    pub(crate) fn of(bytes: u64) -> Self {
        let state = State { bytes, ended: false, gone: false };
        Self(Arc::new(Growth { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// For somebody who reads behind.
    pub(crate) fn watch(&self) -> Arc<Growth> {
        self.0.clone()
    }

    /// So much is written in all.
    pub(crate) fn grown(&self, bytes: u64) {
        self.0.change(|state| state.bytes = bytes);
    }

    /// Everything is written.
    pub(crate) fn end(&self) {
        self.0.change(|state| state.ended = true);
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        self.0.change(|state| state.gone = true);
    }
}

impl Growth {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Whether the writer has gone before the end.
    pub(crate) fn is_broken(&self) -> bool {
        let state = self.state();
        state.gone && !state.ended
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a growing file from its beginning to its end. It fails when the writer has gone before.
pub(crate) struct Follower {
    file: File,
    read: u64,
    growth: Arc<Growth>,
}

impl Follower {
    pub(crate) fn open(path: &Path, growth: Arc<Growth>) -> Result<Self> {
        let file = File::open(path).context(|| format!("open {}", path.display()))?;
        Ok(Self { file, read: 0, growth })
    }

    /// Waits until there is something to read; gives how much, and nothing at the end.
    fn wait(&self) -> io::Result<u64> {
        let mut state = self.growth.state();
        loop {
            if state.bytes > self.read {
                return Ok(state.bytes - self.read);
            }
            if state.ended {
                return Ok(0);
            }
            if state.gone {
                return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the writer has gone"));
            }
            state = self.growth.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = usize::try_from(self.wait()?).unwrap_or(usize::MAX);
        let want = buffer.len().min(there);
        let read = self.file.read(&mut buffer[..want])?;
        self.read += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_reader_waits_for_what_is_written_and_for_the_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let growing = Growing::of(0);
        let mut follower = Follower::open(file.path(), growing.watch()).unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            follower.read_to_string(&mut text).map(|_| text)
        });
        let mut written = 0;
        for piece in ["one, ", "two, ", "three"] {
            file.write_all(piece.as_bytes()).unwrap();
            written += piece.len() as u64;
            growing.grown(written);
        }
        growing.end();
        assert_eq!(reader.join().unwrap().unwrap(), "one, two, three");
    }

    #[test]
    fn a_writer_that_goes_is_no_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"beginning").unwrap();
        let growing = Growing::of(9);
        let growth = growing.watch();
        let mut follower = Follower::open(file.path(), growth.clone()).unwrap();
        drop(growing);
        assert!(growth.is_broken());
        assert!(follower.read_to_end(&mut Vec::new()).is_err());
    }
}
