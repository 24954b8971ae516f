//! Logs: what is asked for, one entry, and the frames that carry standard output and error in one stream.
//!
//! A frame is eight bytes (which stream, three zeroes, the length in big-endian) and the text. A terminal's log has no frames.
//! Invariant: how an entry looks on the wire is decided here alone, so no backend can frame it wrongly.

use std::fmt::Write as _;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use skep_types::Timestamp;

use crate::defaults;
use crate::error::ApiError;
use crate::json::Map;
use crate::stream::Flow;

/// Which of a container's outputs a text is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSource {
    Stdout,
    Stderr,
}

/// One line of a container, or a part of a long one; the line's end is part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub source: LogSource,
    pub at: Timestamp,
    /// Shown with `details`: what the log driver keeps beside the text, and for a service's logs the ids of node, service and task
    /// ([`service_attributes`]), which the command line cannot do without.
    pub attributes: Map,
    pub text: Bytes,
}

/// What a backend gives for logs.
pub struct Logs {
    /// The container has a terminal: its output is one stream, and goes out without frames.
    pub tty: bool,
    pub entries: Flow<LogEntry>,
}

/// What is asked of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    pub stdout: bool,
    pub stderr: bool,
    /// Go on with what comes.
    pub follow: bool,
    pub timestamps: bool,
    pub details: bool,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// So many lines from the end; none: all.
    pub tail: Option<u64>,
}

impl Default for LogOptions {
    /// Both outputs, whole, as they are.
    fn default() -> Self {
        Self {
            stdout: true,
            stderr: true,
            follow: false,
            timestamps: false,
            details: false,
            since: None,
            until: None,
            tail: None,
        }
    }
}

/// The attributes by which a service's log entry says where it is from.
pub fn service_attributes(
    node: skep_types::NodeId,
    service: skep_types::ServiceId,
    task: skep_types::TaskId,
) -> Map {
    [
        ("com.docker.swarm.node.id", node.to_string()),
        ("com.docker.swarm.service.id", service.to_string()),
        ("com.docker.swarm.task.id", task.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// `seconds[.fraction]` since 1970, as clients write moments in a query; empty and zero are none.
pub(crate) fn moment(name: &str, text: &str) -> Result<Option<Timestamp>, ApiError> {
    let invalid = || ApiError::invalid(format!("invalid value for \"{name}\": {text:?}"));
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() > 9 || !digits(fraction) || !digits(seconds) {
        return Err(invalid());
    }
    let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
    let nanos: i64 = format!("{fraction:0<9}").parse().map_err(|_| invalid())?;
    let at = seconds.checked_mul(1_000_000_000).and_then(|all| all.checked_add(nanos));
    at.map(|at| Some(Timestamp(at))).ok_or_else(invalid)
}

/// A moment for a query.
pub(crate) fn moment_text(at: Timestamp) -> String {
    format!("{}.{:09}", at.0.div_euclid(1_000_000_000), at.0.rem_euclid(1_000_000_000))
}

impl LogOptions {
    /// The query of a client's call.
    pub(crate) fn to_query(&self) -> String {
        let flag = |on| u8::from(on);
        let mut query = format!(
            "stdout={}&stderr={}&follow={}&timestamps={}&details={}",
            flag(self.stdout),
            flag(self.stderr),
            flag(self.follow),
            flag(self.timestamps),
            flag(self.details)
        );
        let tail = self.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        query.push_str("&tail=");
        query.push_str(&tail);
        for (name, at) in [("since", self.since), ("until", self.until)] {
            if let Some(at) = at {
                query.push_str(&format!("&{name}={}", moment_text(at)));
            }
        }
        query
    }
}

/// A number of lines from the end, in Docker's words where it is none.
pub(crate) fn tail(text: &str) -> Result<Option<u64>, ApiError> {
    match text {
        "" | "all" => Ok(None),
        _ if text.starts_with('-') => Err(ApiError::invalid("negative tail values not supported")),
        _ => text
            .parse()
            .map(Some)
            .map_err(|_| ApiError::invalid("tail value must be a positive integer or \"all\"")),
    }
}

/// Go's query escaping, which the command line undoes.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(byte as char);
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// Nanoseconds always with nine digits, so that lines stay in columns.
const TIMESTAMP: &[time::format_description::BorrowedFormatItem<'static>] = time::macros::format_description!(
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z"
);

/// What goes before the text: the moment and the attributes, where asked for.
fn prefix(entry: &LogEntry, options: &LogOptions) -> String {
    let mut out = String::new();
    if options.timestamps {
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(entry.at.0.into())
            .expect("64 bits of nanoseconds stay within the years 1677 to 2262");
        out.push_str(&at.format(TIMESTAMP).expect("the format has only parts that a moment has"));
        out.push(' ');
    }
    if options.details {
        for (i, (key, value)) in entry.attributes.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            escape(key, &mut out);
            out.push('=');
            escape(value, &mut out);
        }
        out.push(' ');
    }
    out
}

/// The stream number of errors of the daemon's own.
const SYSTEM: u8 = 3;

/// The number of an output's stream.
pub(crate) fn number(source: LogSource) -> u8 {
    match source {
        LogSource::Stdout => 1,
        LogSource::Stderr => 2,
    }
}

pub(crate) fn frame(stream: u8, prefix: &[u8], text: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + prefix.len() + text.len());
    let length = u32::try_from(prefix.len() + text.len()).expect("a log entry is far below 4 GiB");
    out.put_slice(&[stream, 0, 0, 0]);
    out.put_u32(length);
    out.put_slice(prefix);
    out.put_slice(text);
    out.freeze()
}

/// An entry as it goes over the wire; nothing where its output was not asked for.
pub(crate) fn encode(entry: &LogEntry, options: &LogOptions, tty: bool) -> Option<Bytes> {
    let stream = number(entry.source);
    let wanted = match entry.source {
        LogSource::Stdout => options.stdout,
        LogSource::Stderr => options.stderr,
    };
    if !wanted {
        return None;
    }
    let prefix = prefix(entry, options);
    Some(if tty {
        [prefix.as_bytes(), &entry.text].concat().into()
    } else {
        frame(stream, prefix.as_bytes(), &entry.text)
    })
}

/// An error in the middle of logs, for the status is sent already.
pub(crate) fn encode_error(error: &ApiError, tty: bool) -> Bytes {
    let text = format!("Error grabbing logs: {error}\n");
    if tty { text.into() } else { frame(SYSTEM, b"", text.as_bytes()) }
}

/// An error in the middle of a command's streams.
pub(crate) fn encode_stream_error(error: &ApiError, tty: bool) -> Bytes {
    let text = format!("{error}\r\n");
    if tty { text.into() } else { frame(SYSTEM, b"", text.as_bytes()) }
}

/// What a client receives of logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFrame {
    pub source: LogSource,
    pub text: Bytes,
}

/// Why frames could not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("error from daemon in stream: {0}")]
    Daemon(String),
    #[error("unrecognized stream: {0}")]
    Unknown(u8),
    #[error("a frame of {got} bytes is larger than {max}")]
    TooLarge { got: usize, max: usize },
}

/// Takes the first whole frame off what was received.
pub fn decode(held: &mut BytesMut) -> Result<Option<LogFrame>, FrameError> {
    let Some(header) = held.first_chunk::<8>() else { return Ok(None) };
    let stream = header[0];
    let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let (got, max) = (length as usize, defaults::LINE_BYTES_MAX);
    if got > max {
        return Err(FrameError::TooLarge { got, max });
    }
    if held.len() < 8 + got {
        return Ok(None);
    }
    held.advance(8);
    let text = held.split_to(got).freeze();
    match stream {
        // 0 is standard input, which Docker writes to standard output.
        0 | 1 => Ok(Some(LogFrame { source: LogSource::Stdout, text })),
        2 => Ok(Some(LogFrame { source: LogSource::Stderr, text })),
        SYSTEM => Err(FrameError::Daemon(String::from_utf8_lossy(&text).trim_end().to_owned())),
        other => Err(FrameError::Unknown(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: LogSource) -> LogEntry {
        LogEntry {
            source,
            at: Timestamp(1_700_000_000_120_000_000),
            attributes: [("a b".to_owned(), "x,y=é".to_owned()), ("k".into(), "v".into())].into(),
            text: Bytes::from_static(b"hello\n"),
        }
    }

    #[test]
    fn entries_are_framed_and_read_back() {
        let options = LogOptions::default();
        let bytes = encode(&entry(LogSource::Stderr), &options, false).unwrap();
        assert_eq!(&bytes[..], b"\x02\0\0\0\0\0\0\x06hello\n");
        let mut held = BytesMut::new();
        for (i, byte) in bytes.iter().enumerate() {
            assert_eq!(decode(&mut held), Ok(None), "after {i} bytes");
            held.put_u8(*byte);
        }
        let text = Bytes::from_static(b"hello\n");
        assert_eq!(decode(&mut held), Ok(Some(LogFrame { source: LogSource::Stderr, text })));
        assert_eq!(decode(&mut held), Ok(None));
    }

    #[test]
    fn what_goes_before_the_text() {
        let all = LogOptions { timestamps: true, details: true, ..Default::default() };
        let bytes = encode(&entry(LogSource::Stdout), &all, true).unwrap();
        let text = "2023-11-14T22:13:20.120000000Z a+b=x%2Cy%3D%C3%A9,k=v hello\n";
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), text);
        let only_errors = LogOptions { stdout: false, ..Default::default() };
        assert_eq!(encode(&entry(LogSource::Stdout), &only_errors, false), None);
    }

    #[test]
    fn errors_and_rubbish_end_the_reading() {
        let mut held = BytesMut::from(&encode_error(&ApiError::system("node left"), false)[..]);
        let error = decode(&mut held).unwrap_err();
        assert_eq!(error, FrameError::Daemon("Error grabbing logs: node left".into()));
        let mut held = BytesMut::from(&b"\x07\0\0\0\0\0\0\0"[..]);
        assert_eq!(decode(&mut held), Err(FrameError::Unknown(7)));
        let mut held = BytesMut::from(&b"\x01\0\0\0\xff\xff\xff\xff"[..]);
        assert!(matches!(decode(&mut held), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn moments_and_tails() {
        let at = |text| moment("since", text).map(|at| at.map(|at| at.0));
        assert_eq!(at(""), Ok(None));
        assert_eq!(at("0"), Ok(None));
        assert_eq!(at("12"), Ok(Some(12_000_000_000)));
        assert_eq!(at("12.5"), Ok(Some(12_500_000_000)));
        assert_eq!(at("12.000000001"), Ok(Some(12_000_000_001)));
        assert_eq!(moment_text(Timestamp(12_000_000_001)), "12.000000001");
        for bad in ["x", "1.x", "1.0000000001", "99999999999999", "-5", "+5"] {
            let error = at(bad).unwrap_err();
            assert_eq!(error.message, format!("invalid value for \"since\": {bad:?}"));
        }
        assert_eq!(tail("all"), Ok(None));
        assert_eq!(tail("7"), Ok(Some(7)));
        assert_eq!(tail("-1").unwrap_err().message, "negative tail values not supported");
        let error = tail("x").unwrap_err();
        assert_eq!(error.message, "tail value must be a positive integer or \"all\"");
    }
}
