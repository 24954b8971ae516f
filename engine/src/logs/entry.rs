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

/// Appends the file's line for this entry; `time` as [`rfc3339`] writes it.
pub fn encode(time: &str, stdio: Stdio, text: &[u8], into: &mut Vec<u8>) {
    into.extend(b"{\"log\":\"");
    escape(&String::from_utf8_lossy(text), into);
    into.extend(b"\",\"stream\":\"");
    into.extend(stdio.name().as_bytes());
    into.extend(b"\",\"time\":\"");
    into.extend(time.as_bytes());
    into.extend(b"\"}\n");
}

/// The time as Docker writes it: to the nanosecond, in UTC, without trailing zeros.
pub fn rfc3339(time: OffsetDateTime) -> String {
    // Fails for years beyond 9999 alone.
    time.to_offset(time::UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// The part of a JSON string, with what a browser would take for markup escaped too, as Docker does.
fn escape(text: &str, into: &mut Vec<u8>) {
    // Most of any text is as it is, and goes in one piece from here on.
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            0x00..=0x1f | b'<' | b'>' | b'&' => "",
            // Separators of lines and paragraphs, of three bytes.
            0xe2 if text[at..].starts_with(['\u{2028}', '\u{2029}']) => "",
            _ => continue,
        };
        into.extend(&text.as_bytes()[plain..at]);
        let character = text[at..].chars().next().unwrap_or_default();
        plain = at + character.len_utf8();
        match escaped {
            // Writing to memory does not fail.
            "" => drop(write!(into, "\\u{:04x}", u32::from(character))),
            escaped => into.extend(escaped.as_bytes()),
        }
    }
    into.extend(&text.as_bytes()[plain..]);
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
        let text = b"a<b> \"q\"\t\xff\xc3\xa9\xe2\x80\xa8\xe2\x80\x93\n";
        encode(&rfc3339(at), Stdio::Stderr, text, &mut bytes);
        expect_test::expect![[r#"
            {"log":"a\u003cb\u003e \"q\"\u0009�é\u2028–\n","stream":"stderr","time":"2026-11-24T12:00:00.5Z"}
        "#]]
        .assert_eq(std::str::from_utf8(&bytes).unwrap());
        let read = decode(&bytes).unwrap();
        assert_eq!((read.time, read.stdio), (at, Stdio::Stderr));
        assert_eq!(read.line, "a<b> \"q\"\t\u{fffd}é\u{2028}–\n".as_bytes());
        assert_eq!(decode(b"{\"log\":\"torn"), None);
    }
}
