//! What flows instead of being sent at once: bodies of bytes, JSON documents one a line.
//!
//! Invariant: nothing here holds a whole stream; a peer that stops sending in the middle is given up, a document has a largest size.

use axum::body::Body;
use bytes::{Buf, Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::defaults;
use crate::error::{ApiError, Kind};

/// Items that arrive over time; the first error ends it.
pub type Flow<T> = BoxStream<'static, Result<T, ApiError>>;

/// A body as it arrives or leaves.
pub type ByteStream = Flow<Bytes>;

/// A list whose items are made while it is sent, a few at a time: of a long one there is never more.
pub struct List<T>(Box<dyn Iterator<Item = Vec<T>> + Send>);

impl<T> List<T> {
    /// A list in pieces, each made when it is asked for. A piece may be empty; to make one shall take
    /// a moment only, for nothing else goes on meanwhile on its thread.
    pub fn of_pieces(pieces: impl Iterator<Item = Vec<T>> + Send + 'static) -> Self {
        Self(Box::new(pieces))
    }

    pub(crate) fn next_piece(&mut self) -> Option<Vec<T>> {
        self.0.next()
    }
}

impl<T: Send + 'static> From<Vec<T>> for List<T> {
    fn from(items: Vec<T>) -> Self {
        Self::of_pieces(std::iter::once(items))
    }
}

/// A request's body as a stream that ends with an error where the client says nothing for too long.
pub(crate) fn from_request(body: Body) -> ByteStream {
    stream::try_unfold(body.into_data_stream(), |mut data| async move {
        match tokio::time::timeout(defaults::BODY_IDLE_TIMEOUT, data.next()).await {
            Ok(None) => Ok(None),
            Ok(Some(Ok(bytes))) => Ok(Some((bytes, data))),
            Ok(Some(Err(_))) => Err(ApiError::invalid("request body ended early")),
            Err(_) => Err(ApiError::new(
                Kind::Timeout,
                format!("request body stalled for {:?}", defaults::BODY_IDLE_TIMEOUT),
            )),
        }
    })
    .boxed()
}

/// One document and the line's end that Docker puts behind each.
pub(crate) fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).expect("API documents always serialise");
    text.extend_from_slice(b"\r\n");
    text.into()
}

/// Why a stream of documents could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    #[error("a document is larger than {max} bytes")]
    TooLarge { max: usize },
    #[error("a document cannot be read: {0}")]
    Json(serde_json::Error),
    #[error("{0}")]
    Body(String),
}

/// Reads documents separated by line ends, as they come.
pub(crate) fn documents<T, S, E>(body: S) -> BoxStream<'static, Result<T, LineError>>
where
    T: DeserializeOwned + Send + 'static,
    S: futures::Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: std::fmt::Display,
{
    let max = defaults::LINE_BYTES_MAX;
    let body = body.map_err(|error| LineError::Body(error.to_string()));
    stream::try_unfold(
        (body, BytesMut::new(), 0),
        move |(mut body, mut held, mut seen)| async move {
            loop {
                if let Some(end) = held[seen..].iter().position(|byte| *byte == b'\n') {
                    let text = held.split_to(seen + end);
                    held.advance(1);
                    seen = 0;
                    if text.trim_ascii().is_empty() {
                        continue;
                    }
                    let value = serde_json::from_slice(&text).map_err(LineError::Json)?;
                    return Ok(Some((value, (body, held, seen))));
                }
                seen = held.len();
                if seen > max {
                    return Err(LineError::TooLarge { max });
                }
                match body.try_next().await? {
                    Some(bytes) => held.extend_from_slice(&bytes),
                    None if held.trim_ascii().is_empty() => return Ok(None),
                    // The last one may end with the stream.
                    None => held.extend_from_slice(b"\n"),
                }
            }
        },
    )
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parts: Vec<&'static str>) -> Vec<Result<u32, String>> {
        let parts =
            stream::iter(parts.into_iter().map(|part| {
                Ok::<_, std::convert::Infallible>(Bytes::from_static(part.as_bytes()))
            }));
        let read = documents::<u32, _, _>(parts).map_err(|error| error.to_string());
        futures::executor::block_on(read.collect())
    }

    #[test]
    fn documents_come_however_the_bytes_are_cut() {
        let whole = vec![Ok(1), Ok(23), Ok(4)];
        assert_eq!(read(vec!["1\r\n23\r\n\r\n4"]), whole);
        assert_eq!(read(vec!["1", "\r", "\n2", "3\n", "4\n"]), whole);
        assert_eq!(read(vec![]), vec![]);
        let broken = read(vec!["1\nx\n2\n"]);
        assert!(broken[0] == Ok(1) && broken[1].is_err() && broken.len() == 2, "{broken:?}");
    }

    #[test]
    fn an_endless_line_is_given_up() {
        let long: &'static str = Box::leak("9".repeat(defaults::LINE_BYTES_MAX + 1).into());
        assert!(read(vec![long])[0].as_ref().unwrap_err().contains("larger than"));
    }
}
