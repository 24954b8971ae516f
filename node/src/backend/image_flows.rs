//! Images that come and go as streams: pulled, imported, loaded, saved.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use skep_docker_api::json::{ImportRequest, Progress, PullRequest};
use skep_docker_api::{ApiError, ByteStream, Flow, Kind};
use skep_images::{Digest, ImportOptions, LAYERS_MAX, PullOptions, Reference, Reporter, Step};
use time::OffsetDateTime;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::Sender;
use tokio_util::io::StreamReader;

use super::flow::{begun, flow};
use super::images::reference;
use super::{Answer, DaemonBackend, engine_error};

/// Lines of one layer's steps: seven, and four that tell of another attempt.
const LAYER_LINES_MAX: usize = 11;
/// What is kept for them, so that a reader that is slow loses none.
const STEP_LINES_MAX: usize = LAYERS_MAX * LAYER_LINES_MAX + 8;
/// Further room for lines of bytes; where it is used up, they are left out.
const BYTE_LINES_MAX: usize = 64;
/// A layer says how far it is no oftener: Docker's pace.
const BYTES_PACE: Duration = Duration::from_millis(100);
/// Lines of an import or a load: a few, and one for each image.
const LINES_MAX: usize = 16;
/// What is read from an archive being saved at once, and pieces of it on their way.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 4;

/// Tells a pull's steps as Docker's lines; it never waits.
fn reporter(sender: Sender<Answer<Progress>>, heading: Progress) -> Reporter {
    struct State {
        heading: Option<Progress>,
        told: HashMap<Digest, Instant>,
    }
    let state = Mutex::new(State { heading: Some(heading), told: HashMap::new() });
    Reporter::new(move |progress| {
        let mut state = state.lock().expect("no holder panics");
        // A reader that is gone, or a flood beyond every layer's steps, loses lines and no more.
        let send = |line| drop(sender.try_send(Ok(line)));
        if let Some(heading) = state.heading.take() {
            send(heading);
        }
        let id = progress.layer.short();
        match progress.step {
            Step::Downloading { bytes, total } => {
                let now = Instant::now();
                let paced = state
                    .told
                    .get(&progress.layer)
                    .is_some_and(|last| now.duration_since(*last) < BYTES_PACE);
                if !paced && sender.capacity() > STEP_LINES_MAX {
                    state.told.insert(progress.layer, now);
                    send(Progress::bytes(id, progress.step.to_string(), bytes, total));
                }
            }
            step => send(Progress {
                detail: Some(Default::default()),
                ..Progress::part(id, step.to_string())
            }),
        }
    })
}

fn heading(reference: &Reference) -> Progress {
    let digest = reference.digest().map(|digest| digest.to_string());
    let version = digest.or_else(|| reference.tag().map(str::to_owned));
    let path = match reference.domain() {
        "docker.io" => reference.path().to_owned(),
        _ => reference.name(),
    };
    Progress::part(version.unwrap_or_default(), format!("Pulling from {path}"))
}

async fn say(sender: &Sender<Answer<Progress>>, line: Progress) {
    // A reader that is gone ends the work elsewhere.
    let _gone = sender.send(Ok(line)).await;
}

fn reader(tar: ByteStream) -> impl tokio::io::AsyncRead + Send {
    StreamReader::new(tar.map_err(|error| std::io::Error::other(error.message)))
}

impl DaemonBackend {
    pub(super) async fn pull_image(&self, request: PullRequest) -> Answer<Flow<Progress>> {
        let wanted = reference(&request.reference)?;
        if request.all_tags() {
            return Err(ApiError::new(
                Kind::NotImplemented,
                format!("pulling all tags of {} is not supported: name one", request.reference),
            ));
        }
        let platform = match request.platform.as_str() {
            "" => None,
            text => Some(text.parse().map_err(engine_error::image)?),
        };
        let options = PullOptions { platform, ..self.registry_options(request.auth)? };
        let store = self.engine.images().clone();
        begun(flow(STEP_LINES_MAX + BYTE_LINES_MAX, |sender| async move {
            let progress = reporter(sender.clone(), heading(&wanted));
            let pulled = store.pull(&wanted, &PullOptions { progress, ..options }).await;
            let pulled = pulled.map_err(engine_error::image)?;
            say(&sender, Progress::status(format!("Digest: {}", pulled.digest))).await;
            let said = if pulled.newer { "Downloaded newer image" } else { "Image is up to date" };
            say(&sender, Progress::status(format!("Status: {said} for {}", wanted.familiar())))
                .await;
            Ok(())
        }))
        .await
    }

    pub(super) async fn import_image(
        &self,
        request: ImportRequest,
        tar: ByteStream,
    ) -> Answer<Flow<Progress>> {
        let name = match request.reference.as_str() {
            "" => None,
            text => Some(reference(text)?),
        };
        let mut options = ImportOptions::new(name, OffsetDateTime::now_utc());
        options.changes = request.changes;
        options.message = request.message;
        if !request.platform.is_empty() {
            options.platform = request.platform.parse().map_err(engine_error::image)?;
        }
        let store = self.engine.images().clone();
        begun(flow(LINES_MAX, |sender| async move {
            let id = store.import(reader(tar), options).await.map_err(engine_error::image)?;
            say(&sender, Progress::status(id.to_string())).await;
            Ok(())
        }))
        .await
    }

    pub(super) async fn load_images(&self, tar: ByteStream) -> Answer<Flow<Progress>> {
        let store = self.engine.images().clone();
        begun(flow(LINES_MAX, |sender| async move {
            for loaded in store.load(reader(tar)).await.map_err(engine_error::image)? {
                if loaded.references.is_empty() {
                    say(&sender, Progress::stream(format!("Loaded image ID: {}\n", loaded.id)))
                        .await;
                }
                for name in loaded.references {
                    say(&sender, Progress::stream(format!("Loaded image: {}\n", name.familiar())))
                        .await;
                }
            }
            Ok(())
        }))
        .await
    }

    pub(super) async fn save_images(&self, names: Vec<String>) -> Answer<ByteStream> {
        let store = self.engine.images().clone();
        begun(flow(PIECES_MAX, |sender| async move {
            let (writer, mut archive) = tokio::io::duplex(PIECE_BYTES);
            let write = async {
                // The writer goes with it, which ends the reading.
                store.save(&names, writer).await.map_err(engine_error::image)
            };
            let read = async {
                loop {
                    let mut piece = bytes::BytesMut::with_capacity(PIECE_BYTES);
                    let read = archive.read_buf(&mut piece).await;
                    let read = read.map_err(|error| ApiError::system(error.to_string()))?;
                    if read == 0 || sender.send(Ok(piece.freeze())).await.is_err() {
                        return Ok(());
                    }
                }
            };
            tokio::try_join!(write, read).map(drop)
        }))
        .await
    }
}
