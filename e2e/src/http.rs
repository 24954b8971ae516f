//! A plain HTTP/1.1 exchange over a daemon's socket, for tests that send what no client library
//! would: broken JSON, bodies that are too long, clients that leave. It reads whole answers and no
//! streams without an end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::limits;

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics where the answer is no JSON: a test's finding.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in answer {}: {}", self.status, self.text()))
    }

    /// What an error's answer says; empty where it says nothing in Docker's form.
    pub fn message(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        value["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// Connect, with a bound on every read and write after.
pub fn connect(socket: &Path) -> Result<UnixStream> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("failed to connect to {}", socket.display()))?;
    stream.set_read_timeout(Some(limits::COMMAND_WITHIN)).context("failed to bound reads")?;
    stream.set_write_timeout(Some(limits::COMMAND_WITHIN)).context("failed to bound writes")?;
    Ok(stream)
}

/// One request, one answer. `path` is sent as it is.
pub fn exchange(
    socket: &Path,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let mut stream = connect(socket)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: skep\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).context("failed to send a request")?;
    // A daemon that refuses early closes while we still write; its answer is there to read.
    let _ = stream.write_all(body);
    read_answer(&mut BufReader::new(stream), method == "HEAD")
}

/// Reads an answer to its end.
pub fn read_answer(from: &mut impl BufRead, bodiless: bool) -> Result<Answer> {
    let mut line = String::new();
    from.read_line(&mut line).context("failed to read an answer")?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status: u16 = status.with_context(|| format!("no status in {line:?}"))?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).context("failed to read headers")?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    let length = headers.get("content-length").and_then(|value| value.parse::<u64>().ok());
    if bodiless || status == 204 || status == 304 {
    } else if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        read_chunks(from, &mut body)?;
    } else {
        let bound = length.unwrap_or(limits::OUTPUT_BYTES_MAX).min(limits::OUTPUT_BYTES_MAX);
        from.take(bound).read_to_end(&mut body).context("failed to read a body")?;
    }
    Ok(Answer { status, headers, body })
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> Result<()> {
    loop {
        let mut line = String::new();
        from.read_line(&mut line).context("failed to read a chunk's size")?;
        let size = u64::from_str_radix(line.trim(), 16)
            .with_context(|| format!("bad chunk size {line:?}"))?;
        if body.len() as u64 + size > limits::OUTPUT_BYTES_MAX {
            bail!("an answer is longer than {} bytes", limits::OUTPUT_BYTES_MAX);
        }
        from.take(size).read_to_end(body).context("failed to read a chunk")?;
        let mut end = String::new();
        from.read_line(&mut end).context("failed to read a chunk's end")?;
        if size == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        let text =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbee\r\n1\r\ns\r\n0\r\n\r\n";
        let answer = read_answer(&mut &text[..], false).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "bees"));
    }

    #[test]
    fn an_error_tells_its_message() {
        let text =
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 22\r\n\r\n{\"message\":\"no such\"}\n";
        let answer = read_answer(&mut &text[..], false).unwrap();
        assert_eq!((answer.status, answer.message().as_str()), (404, "no such"));
    }
}
