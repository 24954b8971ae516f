//! A container's streams over a WebSocket (RFC 6455), for clients that live in a browser.
//!
//! Output of both kinds goes out as it comes, a message each and without frames of Docker's; what a message brings is typed.
//! Invariant: as with other sessions nothing is read ahead of what the other side has taken.

use std::pin::Pin;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::HeaderMap;
use http::header::{SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::Answer;
use crate::attach::Streams;
use crate::defaults;
use crate::detach::DetachKeys;
use crate::error::ApiError;
use crate::server::Taken;

/// What a client may say at once: as much as a person pastes.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Of the messages that go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Binary,
}

impl Form {
    fn message(self, bytes: Bytes) -> Message {
        match self {
            Self::Text => Message::text(String::from_utf8_lossy(&bytes).into_owned()),
            Self::Binary => Message::binary(bytes),
        }
    }
}

/// The answer's head to a client that opens one.
pub(super) fn head(headers: &HeaderMap) -> Answer<String> {
    let is = |name, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.eq_ignore_ascii_case(word))
    };
    let key = headers.get(SEC_WEBSOCKET_KEY);
    match key {
        Some(key) if is(UPGRADE, "websocket") && is(SEC_WEBSOCKET_VERSION, "13") => Ok(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        )),
        _ => Err(ApiError::invalid("not websocket protocol")),
    }
}

pub(super) async fn session(streams: Streams, keys: DetachKeys, form: Form, taken: Taken) {
    let (incoming, outgoing, gone) = taken.split();
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    let both = tokio::io::join(incoming, outgoing);
    let socket = WebSocketStream::from_raw_socket(both, Role::Server, Some(config)).await;
    let (mut sink, mut source) = socket.split();
    let Streams { tty, mut output, mut input } = streams;
    let mut keys = tty.then_some(keys);
    let heard = async {
        while let Some(Ok(message)) = source.next().await {
            let typed = match message {
                Message::Text(text) => Bytes::from(text),
                Message::Binary(bytes) => bytes,
                Message::Close(_) => return,
                // Pings are answered beneath.
                _ => continue,
            };
            if receive(&mut input, &mut keys, &typed).await == Heard::Detach {
                return;
            }
        }
    };
    let said = async {
        while let Some(item) = output.next().await {
            let (bytes, last) = match item {
                Ok((_, text)) if text.is_empty() => continue,
                Ok((_, text)) => (text, false),
                Err(error) => (Bytes::from(error.message), true),
            };
            if sink.send(form.message(bytes)).await.is_err() || last {
                return;
            }
        }
    };
    // Whatever is first ends the other, and lets go of the command.
    tokio::select! {
        () = gone => return,
        () = heard => {}
        () = said => {}
    }
    let farewell = async {
        let _ = sink.send(Message::Close(None)).await;
        while let Some(Ok(_)) = source.next().await {}
    };
    let _ = tokio::time::timeout(defaults::LINGER, farewell).await;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    More,
    Detach,
}

/// Types what a message brought. A command that does not listen is told no more.
async fn receive(
    input: &mut Option<Pin<Box<dyn AsyncWrite + Send>>>,
    keys: &mut Option<DetachKeys>,
    typed: &[u8],
) -> Heard {
    let mut through = Vec::new();
    let detach = match keys {
        None => {
            through.extend_from_slice(typed);
            false
        }
        Some(keys) => keys.pass(typed, &mut through),
    };
    if let Some(open) = input {
        let written = async {
            open.write_all(&through).await?;
            open.flush().await
        };
        if written.await.is_err() {
            *input = None;
        }
    }
    if detach { Heard::Detach } else { Heard::More }
}
