//! Reads a log from disk: from where a query begins to its end, or on and on while the container
//! runs. The shim is not asked; a follower finds rotated files by their identity.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use time::OffsetDateTime;
use tokio::sync::mpsc;

use super::entry::{LogEntry, Stdio, decode, rfc3339};
use super::{files, tail};
use crate::defaults::{LOG_BATCHES_MAX, LOG_CHUNK_BYTES, LOG_FOLLOW_INTERVAL};

/// Which entries are wanted.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Go on until the container ends.
    pub follow: bool,
    /// Begin this many lines before the end; None: at the beginning.
    pub tail: Option<usize>,
    pub since: Option<OffsetDateTime>,
    pub until: Option<OffsetDateTime>,
    pub stdout: bool,
    pub stderr: bool,
    /// Begin each line with its time.
    pub timestamps: bool,
}

impl Default for LogQuery {
    /// All there is of both streams.
    fn default() -> Self {
        LogQuery {
            follow: false,
            tail: None,
            since: None,
            until: None,
            stdout: true,
            stderr: true,
            timestamps: false,
        }
    }
}

/// Entries in the order in which they were written. Ends with the log, or with its container if it
/// is followed; dropping it stops the reader.
#[derive(Debug)]
pub struct LogStream {
    batches: mpsc::Receiver<io::Result<Vec<LogEntry>>>,
    ready: VecDeque<LogEntry>,
}

impl Stream for LogStream {
    type Item = io::Result<LogEntry>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            match self.batches.poll_recv(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(batch))) => self.ready.extend(batch),
            }
        }
    }
}

/// Starts reading. `ended` tells whether the container writes no more.
pub fn open(
    path: PathBuf,
    query: LogQuery,
    ended: impl Fn() -> bool + Send + 'static,
) -> io::Result<LogStream> {
    let mut reader = Reader::open(path, query)?;
    let (sender, batches) = mpsc::channel(LOG_BATCHES_MAX);
    // Owned by the stream: it ends when nobody receives.
    tokio::spawn(async move {
        loop {
            // Asked before the look at the files: what was written before the end is then seen.
            let last = !reader.query.follow || ended();
            let read = tokio::task::spawn_blocking(move || {
                let batch = reader.batch();
                (reader, batch)
            });
            let Ok((back, batch)) = read.await else { return };
            reader = back;
            match batch {
                Ok(Batch::Entries(entries)) => {
                    if !entries.is_empty() && sender.send(Ok(entries)).await.is_err() {
                        return;
                    }
                }
                Ok(Batch::Done) => return,
                Ok(Batch::NothingYet) if last => return,
                Ok(Batch::NothingYet) => {
                    tokio::select! {
                        () = sender.closed() => return,
                        () = tokio::time::sleep(LOG_FOLLOW_INTERVAL) => {}
                    }
                    if reader.query.until.is_some_and(|until| OffsetDateTime::now_utc() > until) {
                        return;
                    }
                }
                Err(error) => {
                    // Nobody to tell is as good as told.
                    let _ = sender.send(Err(error)).await;
                    return;
                }
            }
        }
    });
    Ok(LogStream { batches, ready: VecDeque::new() })
}

enum Batch {
    /// May be empty, if nothing of what was read is wanted.
    Entries(Vec<LogEntry>),
    NothingYet,
    /// What follows is too new.
    Done,
}

struct Reader {
    path: PathBuf,
    query: LogQuery,
    /// The file that is read, and those known to come after it.
    files: VecDeque<File>,
    place: u64,
    /// An entry of which the newline was not there yet.
    torn: Vec<u8>,
}

impl Reader {
    fn open(path: PathBuf, query: LogQuery) -> io::Result<Reader> {
        let files = files::open_all(&path)?;
        let (first, place) = match query.tail {
            Some(lines) => tail::start(&files, lines)?,
            None => (0, 0),
        };
        let files = files.into_iter().skip(first).collect();
        Ok(Reader { path, query, files, place, torn: Vec::new() })
    }

    fn batch(&mut self) -> io::Result<Batch> {
        loop {
            let Some(file) = self.files.front() else {
                // The log has begun since the last look, and may have rotated already.
                self.files = files::open_all(&self.path)?.into();
                if self.files.is_empty() {
                    return Ok(Batch::NothingYet);
                }
                continue;
            };
            let mut chunk = vec![0; LOG_CHUNK_BYTES];
            let length = file.read_at(&mut chunk, self.place)?;
            if length > 0 {
                self.place += length as u64;
                return Ok(self.entries(&chunk[..length]));
            }
            if !self.advance()? {
                return Ok(Batch::NothingYet);
            }
        }
    }

    /// Goes to the file after the one at hand; false if that is the newest.
    fn advance(&mut self) -> io::Result<bool> {
        if self.files.len() == 1 {
            let current = files::identity(&self.files[0])?;
            let next = match files::age_of(&self.path, current)? {
                Some(0) => return Ok(false),
                Some(age) => files::open(&self.path, age - 1)?,
                // Overtaken by the writer: its oldest file is the nearest there is.
                None => files::open_all(&self.path)?.into_iter().next(),
            };
            let Some(next) = next else { return Ok(false) };
            // Between the last look at the file and the rotation something may have been written.
            if self.files[0].metadata()?.len() > self.place {
                return Ok(true);
            }
            self.files.push_back(next);
        }
        self.files.pop_front();
        self.place = 0;
        self.torn.clear();
        Ok(true)
    }

    fn entries(&mut self, chunk: &[u8]) -> Batch {
        let mut entries = Vec::new();
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.torn.extend(piece);
            if !piece.ends_with(b"\n") {
                break;
            }
            // A line that is none was torn by a crash of the machine.
            let entry = decode(&self.torn);
            self.torn.clear();
            let Some(mut entry) = entry else { continue };
            if self.query.until.is_some_and(|until| entry.time > until) {
                // Entries after this one are not older; hand over what there is first.
                if entries.is_empty() {
                    return Batch::Done;
                }
                self.query.follow = false;
                return Batch::Entries(entries);
            }
            if self.wants(&entry) {
                if self.query.timestamps {
                    let stamped = [rfc3339(entry.time).as_bytes(), b" ", &entry.line].concat();
                    entry.line = Bytes::from(stamped);
                }
                entries.push(entry);
            }
        }
        Batch::Entries(entries)
    }

    fn wants(&self, entry: &LogEntry) -> bool {
        let stream = match entry.stdio {
            Stdio::Stdout => self.query.stdout,
            Stdio::Stderr => self.query.stderr,
        };
        stream && self.query.since.is_none_or(|since| entry.time >= since)
    }
}
