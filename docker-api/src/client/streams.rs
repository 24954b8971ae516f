//! The calls whose answers, or bodies, flow.
//!
//! Only the answer's head is waited for with a bound, and where a body is sent, not even that: the daemon may want all of it first.

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http::{Method, Response, header};
use http_body_util::{BodyExt, BodyStream, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::{Answer, Body, Client, ClientError, encode, whole};
use crate::defaults;
use crate::filters::Filters;
use crate::json::*;
use crate::logs::{LogFrame, LogOptions, LogSource, decode};
use crate::stream::documents;

/// Lines of progress; one that tells of failure comes as [`ClientError::Failed`] and is the last.
pub type ProgressLines = BoxStream<'static, Answer<Progress>>;

/// Bytes of an answer as they come.
pub type Download = BoxStream<'static, Answer<Bytes>>;

/// What is read of a file and sent at once.
const UPLOAD_CHUNK_BYTES: usize = 64 * 1024;

pub(super) fn upload(reader: impl AsyncRead + Send + 'static) -> Body {
    let chunks = ReaderStream::with_capacity(reader, UPLOAD_CHUNK_BYTES);
    StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync()
}

impl Client {
    pub(super) fn bytes_of(&self, response: Response<Incoming>) -> Download {
        let host = self.host.clone();
        BodyStream::new(response.into_body())
            .try_filter_map(|frame| std::future::ready(Ok(frame.into_data().ok())))
            .map_err(move |error| ClientError::Transport {
                host: host.clone(),
                reason: error.to_string(),
            })
            .boxed()
    }

    pub(super) fn documents_of<T>(
        &self,
        response: Response<Incoming>,
    ) -> BoxStream<'static, Answer<T>>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let host = self.host.clone();
        documents(self.bytes_of(response))
            .map_err(move |error| ClientError::Transport {
                host: host.clone(),
                reason: error.to_string(),
            })
            .boxed()
    }

    pub(super) fn progress_of(&self, response: Response<Incoming>) -> ProgressLines {
        self.documents_of::<Progress>(response)
            .and_then(|line| {
                std::future::ready(match line.failure() {
                    Some(message) => Err(ClientError::Failed { message: message.to_owned() }),
                    None => Ok(line),
                })
            })
            .boxed()
    }

    /// Pulls an image; the work ends with the stream.
    pub async fn image_pull(&self, request: &PullRequest) -> Answer<ProgressLines> {
        // A tag left out means every tag, so the name goes as it is: the daemon reads both alike.
        let path = format!(
            "/images/create?fromImage={}&platform={}",
            encode(&request.reference),
            encode(&request.platform)
        );
        let sent = self.send(Method::POST, &path, request.auth.as_ref(), whole(Vec::new()));
        Ok(self.progress_of(self.timely(&path, sent).await?))
    }

    /// Makes an image of a root file system; its id is the last line's status.
    pub async fn image_import(
        &self,
        request: &ImportRequest,
        tar: impl AsyncRead + Send + 'static,
    ) -> Answer<ProgressLines> {
        let mut path = format!(
            "/images/create?fromSrc=-&repo={}&message={}&platform={}",
            encode(&request.reference),
            encode(&request.message),
            encode(&request.platform)
        );
        for change in &request.changes {
            path.push_str(&format!("&changes={}", encode(change)));
        }
        Ok(self.progress_of(self.send(Method::POST, &path, None, upload(tar)).await?))
    }

    /// Brings back what [`Self::image_save`] gave.
    pub async fn image_load(
        &self,
        quiet: bool,
        tar: impl AsyncRead + Send + 'static,
    ) -> Answer<ProgressLines> {
        let path = format!("/images/load?quiet={}", u8::from(quiet));
        Ok(self.progress_of(self.send(Method::POST, &path, None, upload(tar)).await?))
    }

    /// A tar archive of images with all their layers and names.
    pub async fn image_save(&self, names: &[&str]) -> Answer<Download> {
        let names: Vec<_> = names.iter().map(|name| format!("names={}", encode(name))).collect();
        let path = format!("/images/get?{}", names.join("&"));
        let sent = self.send(Method::GET, &path, None, whole(Vec::new()));
        Ok(self.bytes_of(self.timely(&path, sent).await?))
    }

    pub async fn service_logs(
        &self,
        id: &str,
        options: &LogOptions,
    ) -> Answer<BoxStream<'static, Answer<LogFrame>>> {
        let terminal = async {
            let service = self.service(id, false).await?;
            let container = service.spec.task_template.container_spec;
            Ok(container.is_some_and(|container| container.tty))
        };
        self.logs("services", id, options, terminal).await
    }

    pub async fn task_logs(
        &self,
        id: &str,
        options: &LogOptions,
    ) -> Answer<BoxStream<'static, Answer<LogFrame>>> {
        let terminal = async {
            let container = self.task(id).await?.spec.container_spec;
            Ok(container.is_some_and(|container| container.tty))
        };
        self.logs("tasks", id, options, terminal).await
    }

    pub async fn container_logs(
        &self,
        id: &str,
        options: &LogOptions,
    ) -> Answer<BoxStream<'static, Answer<LogFrame>>> {
        let terminal = async { Ok(self.container(id, false).await?.config.tty) };
        self.logs("containers", id, options, terminal).await
    }

    /// `terminal` finds out whether what is logged has one: daemons before API 1.42 do not tell
    /// with the logs whether they are in frames.
    async fn logs(
        &self,
        of: &str,
        id: &str,
        options: &LogOptions,
        terminal: impl Future<Output = Answer<bool>>,
    ) -> Answer<BoxStream<'static, Answer<LogFrame>>> {
        let path = format!("/{of}/{}/logs?{}", encode(id), options.to_query());
        let sent = self.send(Method::GET, &path, None, whole(Vec::new()));
        let response = self.timely(&path, sent).await?;
        let kind = response.headers().get(header::CONTENT_TYPE);
        let framed = match kind.map(|kind| kind.as_bytes()) {
            Some(b"application/vnd.docker.multiplexed-stream") => true,
            _ if self.tells_frames() => false,
            _ => !terminal.await?,
        };
        let bytes = self.bytes_of(response);
        if !framed {
            // A terminal has but one output.
            return Ok(bytes.map_ok(|text| LogFrame { source: LogSource::Stdout, text }).boxed());
        }
        let frames = stream::try_unfold((bytes, BytesMut::new()), |(mut bytes, mut held)| async {
            loop {
                let frame = decode(&mut held)
                    .map_err(|error| ClientError::Failed { message: error.to_string() })?;
                if let Some(frame) = frame {
                    return Ok(Some((frame, (bytes, held))));
                }
                match bytes.try_next().await? {
                    Some(more) => held.extend_from_slice(&more),
                    None if held.is_empty() => return Ok(None),
                    None => {
                        return Err(ClientError::Failed {
                            message: "the logs ended in the middle of a frame".to_owned(),
                        });
                    }
                }
            }
        });
        Ok(frames.boxed())
    }

    /// What happened since a moment and what happens, up to another moment or for ever.
    pub async fn events(
        &self,
        options: &EventOptions,
    ) -> Answer<BoxStream<'static, Answer<Event>>> {
        let mut path = format!("/events?filters={}", filters(&options.filters));
        for (name, at) in [("since", options.since), ("until", options.until)] {
            if let Some(at) = at {
                path.push_str(&format!("&{name}={}", crate::logs::moment_text(at)));
            }
        }
        let sent = self.send(Method::GET, &path, None, whole(Vec::new()));
        Ok(self.documents_of(self.timely(&path, sent).await?))
    }

    /// What a registry has under a name.
    pub async fn distribution(
        &self,
        name: &str,
        auth: Option<&RegistryAuth>,
    ) -> Answer<DistributionInspect> {
        let path = format!("/distribution/{}/json", encode(name));
        let answer = async {
            let response = self.send(Method::GET, &path, auth, whole(Vec::new())).await?;
            let limited = Limited::new(response.into_body(), defaults::LINE_BYTES_MAX);
            let bytes = limited.collect().await;
            let bytes = bytes.map_err(|error| self.transport(error))?.to_bytes();
            serde_json::from_slice(&bytes)
                .map_err(|source| ClientError::Answer { path: path.clone(), source })
        };
        self.timely(&path, answer).await
    }
}

fn filters(filters: &Filters) -> String {
    if filters.is_empty() { String::new() } else { encode(&filters.to_json()) }
}
