//! One entry of a log, and its line in the file: `{"log":"…\n","stream":"stdout","time":"…"}`.

use std::io::Write;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stdio {
    Stdout,
    Stderr,
}

impl Stdio {
    fn name(self) -> &'static str {
        match self {
            Stdio::Stdout => "stdout",
            Stdio::Stderr => "stderr",
        }
    }
}

/// A line, or a part of one that is longer than
/// [`LOG_LINE_BYTES_MAX`](crate::defaults::LOG_LINE_BYTES_MAX).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub time: OffsetDateTime,
    pub stdio: Stdio,
    /// With its newline, unless more of the line follows in the next entry or the output ended
    /// without one. Begins with the time and a space where the query asked for timestamps.
    pub line: Bytes,
}

/// Appends the file's line for this entry.
pub fn encode(time: OffsetDateTime, stdio: Stdio, text: &[u8], into: &mut Vec<u8>) {
    into.extend(b"{\"log\":\"");
    escape(&String::from_utf8_lossy(text), into);
    into.extend(b"\",\"stream\":\"");
    into.extend(stdio.name().as_bytes());
    into.extend(b"\",\"time\":\"");
    into.extend(rfc3339(time).as_bytes());
    into.extend(b"\"}\n");
}

/// The time as Docker writes it: to the nanosecond, in UTC, without trailing zeros.
pub fn rfc3339(time: OffsetDateTime) -> String {
    // Fails for years beyond 9999 alone.
    time.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// The part of a JSON string, with what a browser would take for markup escaped too, as Docker does.
fn escape(text: &str, into: &mut Vec<u8>) {
    for character in text.chars() {
        match character {
            '"' => into.extend(b"\\\""),
            '\\' => into.extend(b"\\\\"),
            '\n' => into.extend(b"\\n"),
            '\r' => into.extend(b"\\r"),
            '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to memory does not fail.
                let _ = write!(into, "\\u{:04x}", u32::from(character));
            }
            other => into.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads a line of the file; None if it is not one (torn by a crash).
pub fn decode(line: &[u8]) -> Option<LogEntry> {
    #[derive(Deserialize)]
    struct Line {
        log: String,
        stream: Stdio,
        #[serde(with = "time::serde::rfc3339")]
        time: OffsetDateTime,
    }
    let line: Line = serde_json::from_slice(line).ok()?;
    Some(LogEntry { time: line.time, stdio: line.stream, line: line.log.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn entries_are_written_as_docker_writes_them_and_read_back() {
        let mut bytes = Vec::new();
        let at = datetime!(2026-11-24 12:00:00.5 UTC);
        encode(at, Stdio::Stderr, b"a<b> \"q\"\t\xff\xc3\xa9\n", &mut bytes);
        expect_test::expect![[r#"
            {"log":"a\u003cb\u003e \"q\"\u0009�é\n","stream":"stderr","time":"2026-11-24T12:00:00.5Z"}
        "#]]
        .assert_eq(std::str::from_utf8(&bytes).unwrap());
        let read = decode(&bytes).unwrap();
        assert_eq!((read.time, read.stdio), (at, Stdio::Stderr));
        assert_eq!(read.line, "a<b> \"q\"\t\u{fffd}é\n".as_bytes());
        assert_eq!(decode(b"{\"log\":\"torn"), None);
    }
}
