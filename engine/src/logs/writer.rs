//! Writes a log's files and rotates them.
//!
//! **Invariant:** a write that fails loses its entries and nothing else: they are counted, what was
//! written of them is taken back, and the container is never held up.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use time::OffsetDateTime;

use super::entry::{Stdio, encode, rfc3339};
use super::files;
use crate::config::LogLimits;

#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    limits: LogLimits,
    /// None after a failure, until it can be opened.
    file: Option<File>,
    length: u64,
    pending: Vec<u8>,
    pending_entries: u64,
    dropped: u64,
    /// The time of the last entry, and its text: entries that come together have it in common.
    stamp: (OffsetDateTime, String),
}

impl Writer {
    /// Does not fail: a log that cannot be opened now may be opened later.
    pub fn new(path: PathBuf, limits: LogLimits) -> Writer {
        Writer {
            path,
            limits,
            file: None,
            length: 0,
            pending: Vec::new(),
            pending_entries: 0,
            dropped: 0,
            stamp: (OffsetDateTime::UNIX_EPOCH, rfc3339(OffsetDateTime::UNIX_EPOCH)),
        }
    }

    /// Takes an entry; it is written by [`Writer::flush`], or sooner where the file would grow beyond
    /// its bound with it.
    pub fn add(&mut self, now: OffsetDateTime, stdio: Stdio, text: &[u8]) {
        if self.stamp.0 != now {
            self.stamp = (now, rfc3339(now));
        }
        let before = self.pending.len();
        encode(&self.stamp.1, stdio, text, &mut self.pending);
        if before > 0 && self.length + self.pending.len() as u64 > self.limits.file_bytes_max {
            let last = self.pending.split_off(before);
            self.flush();
            self.pending = last;
        }
        self.pending_entries += 1;
    }

    /// Writes what was added.
    pub fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        if self.write().is_err() {
            self.dropped += self.pending_entries;
        }
        self.pending.clear();
        self.pending_entries = 0;
    }

    /// Entries that were lost.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn write(&mut self) -> io::Result<()> {
        if self.length > 0 && self.length + self.pending.len() as u64 > self.limits.file_bytes_max {
            self.rotate()?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            closed => {
                let file = File::options().append(true).create(true).open(&self.path)?;
                self.length = file.metadata()?.len();
                closed.insert(file)
            }
        };
        if let Err(error) = file.write_all(&self.pending) {
            // A torn line would take the next one with it.
            let _ = file.set_len(self.length);
            return Err(error);
        }
        self.length += self.pending.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        self.length = 0;
        let oldest = self.limits.files_max.saturating_sub(1);
        if oldest == 0 {
            return remove(&self.path);
        }
        for age in (0..oldest).rev() {
            let from = files::name(&self.path, age);
            match fs::rename(&from, files::name(&self.path, age + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn remove(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(path: &std::path::Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let line = |line: &str| super::super::entry::decode(line.as_bytes()).unwrap().line;
        text.lines().map(|l| String::from_utf8(line(l).to_vec()).unwrap()).collect()
    }

    fn write(writer: &mut Writer, text: &str) {
        writer.add(OffsetDateTime::UNIX_EPOCH, Stdio::Stdout, text.as_bytes());
        writer.flush();
    }

    #[test]
    fn files_rotate_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("json.log");
        let limits = LogLimits { file_bytes_max: 150, files_max: 3 };
        let mut writer = Writer::new(path.clone(), limits);
        for number in 0..8 {
            write(&mut writer, &format!("line {number}\n"));
        }
        assert_eq!(entries(&path), ["line 6\n", "line 7\n"]);
        assert_eq!(entries(&files::name(&path, 1)), ["line 4\n", "line 5\n"]);
        assert_eq!(entries(&files::name(&path, 2)), ["line 2\n", "line 3\n"]);
        assert!(!files::name(&path, 3).exists());
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_burst_does_not_outgrow_the_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("json.log");
        let limits = LogLimits { file_bytes_max: 150, files_max: 2 };
        let mut writer = Writer::new(path.clone(), limits);
        for number in 0..8 {
            let text = format!("line {number}\n");
            writer.add(OffsetDateTime::UNIX_EPOCH, Stdio::Stdout, text.as_bytes());
        }
        writer.flush();
        assert_eq!(entries(&path), ["line 6\n", "line 7\n"]);
        assert_eq!(entries(&files::name(&path, 1)), ["line 4\n", "line 5\n"]);
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn a_log_of_one_file_starts_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("json.log");
        let mut writer = Writer::new(path.clone(), LogLimits { file_bytes_max: 150, files_max: 1 });
        for number in 0..5 {
            write(&mut writer, &format!("line {number}\n"));
        }
        assert_eq!(entries(&path), ["line 4\n"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_later_lines_are_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("later/json.log");
        let mut writer = Writer::new(path.clone(), LogLimits::default());
        write(&mut writer, "lost\n");
        write(&mut writer, "lost too\n");
        assert_eq!(writer.dropped(), 2);
        fs::create_dir(directory.path().join("later")).unwrap();
        write(&mut writer, "kept\n");
        assert_eq!(entries(&path), ["kept\n"]);
        assert_eq!(writer.dropped(), 2);
    }
}
