//! Images that come and go as streams: pulled, pushed, imported, loaded, saved.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use skep_docker_api::json::{ImportRequest, Progress, PullRequest, PushRequest};
use skep_docker_api::{ApiError, ByteStream, Flow, Kind};
use skep_images::{
    Digest, ImportOptions, LAYERS_MAX, PullOptions, PushOptions, Reference, Reporter, Step,
};
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
/// Tags pushed in one call: room for their lines is kept.
const TAGS_MAX: usize = 64;
/// Lines of an import or a load: a few, and one for each image.
const LINES_MAX: usize = 16;
/// What is read from an archive being saved at once, and pieces of it on their way.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 4;

/// Tells a pull's steps as Docker's lines; it never waits.
fn reporter(sender: Sender<Answer<Progress>>, heading: Option<Progress>) -> Reporter {
    struct State {
        heading: Option<Progress>,
        told: HashMap<Digest, Instant>,
    }
    let state = Mutex::new(State { heading, told: HashMap::new() });
    Reporter::new(move |progress| {
        let mut state = state.lock().expect("no holder panics");
        // A reader that is gone, or a flood beyond every layer's steps, loses lines and no more.
        let send = |line| drop(sender.try_send(Ok(line)));
        if let Some(heading) = state.heading.take() {
            send(heading);
        }
        let id = progress.layer.short();
        match progress.step {
            Step::Downloading { bytes, total } | Step::Pushing { bytes, total } => {
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
        let (store, events) = (self.engine.images().clone(), self.image_events());
        begun(flow(STEP_LINES_MAX + BYTE_LINES_MAX, |sender| async move {
            let progress = reporter(sender.clone(), Some(heading(&wanted)));
            let pulled = store.pull(&wanted, &PullOptions { progress, ..options }).await;
            let pulled = pulled.map_err(engine_error::image)?;
            events.tell_moved("pull", &wanted.clone().tag_or_latest()).await;
            say(&sender, Progress::status(format!("Digest: {}", pulled.digest))).await;
            let said = if pulled.newer { "Downloaded newer image" } else { "Image is up to date" };
            say(&sender, Progress::status(format!("Status: {said} for {}", wanted.familiar())))
                .await;
            Ok(())
        }))
        .await
    }

    /// One tag, or, where none is named, every tag that the repository has here.
    pub(super) async fn push_image(&self, request: PushRequest) -> Answer<Flow<Progress>> {
        if !request.platform.is_empty() {
            return Err(ApiError::new(
                Kind::NotImplemented,
                "pushing one platform of an image is not supported: an image here has one",
            ));
        }
        let wanted = reference(&request.reference)?;
        let tags = match (wanted.tag(), wanted.digest()) {
            (None, None) => self.tags_of(&wanted).await?,
            _ => vec![wanted.clone()],
        };
        let PullOptions { registries, auth, .. } = self.registry_options(request.auth)?;
        let (store, events) = (self.engine.images().clone(), self.image_events());
        let room = STEP_LINES_MAX * tags.len() + BYTE_LINES_MAX;
        begun(flow(room, |sender| async move {
            let heading = format!("The push refers to repository [{}]", wanted.name());
            let mut heading = Some(Progress::status(heading));
            for tag in tags {
                let progress = reporter(sender.clone(), heading.take());
                let options =
                    PushOptions { registries: registries.clone(), auth: auth.clone(), progress };
                let pushed = store.push(&tag, &options).await.map_err(engine_error::image)?;
                let name = tag.tag().unwrap_or_default();
                let (digest, size) = (pushed.digest, pushed.size);
                let text = format!("{name}: digest: {digest} size: {size}");
                say(&sender, Progress::status(text)).await;
                let aux = serde_json::json!({
                    "Tag": name, "Digest": digest.to_string(), "Size": size,
                });
                say(&sender, Progress { aux: Some(aux), ..Default::default() }).await;
                events.tell_moved("push", &tag).await;
            }
            Ok(())
        }))
        .await
    }

    async fn tags_of(&self, repository: &Reference) -> Answer<Vec<Reference>> {
        let images = self.engine.images().list().await.map_err(engine_error::image)?;
        let names = images.into_iter().flat_map(|image| image.references);
        let mut tags: Vec<Reference> =
            names.filter(|name| name.tag().is_some() && name.name() == repository.name()).collect();
        if tags.is_empty() {
            let name = repository.familiar_name();
            let text = format!("An image does not exist locally with the tag: {name}");
            return Err(ApiError::not_found(text));
        }
        tags.sort();
        if tags.len() > TAGS_MAX {
            let text = format!("{} tags are too many to push at once", tags.len());
            return Err(ApiError::invalid(text));
        }
        Ok(tags)
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
        let (store, events) = (self.engine.images().clone(), self.image_events());
        let named = options.reference.clone().map(|name| name.tag_or_latest().familiar());
        begun(flow(LINES_MAX, |sender| async move {
            let id = store.import(reader(tar), options).await.map_err(engine_error::image)?;
            let id = id.to_string();
            if let Some(name) = named {
                events.tell("tag", &id, &name).await;
            }
            events.tell("import", &id, &id).await;
            say(&sender, Progress::status(id)).await;
            Ok(())
        }))
        .await
    }

    pub(super) async fn load_images(&self, tar: ByteStream) -> Answer<Flow<Progress>> {
        let (store, events) = (self.engine.images().clone(), self.image_events());
        begun(flow(LINES_MAX, |sender| async move {
            for loaded in store.load(reader(tar)).await.map_err(engine_error::image)? {
                let id = loaded.id.to_string();
                events.tell("load", &id, &id).await;
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
        let (store, events) = (self.engine.images().clone(), self.image_events());
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
            tokio::try_join!(write, read)?;
            for name in &names {
                // One that was removed while it was saved is known no more.
                if let Ok(image) = store.inspect(name).await {
                    let id = image.id.to_string();
                    events.tell("save", &id, &id).await;
                }
            }
            Ok(())
        }))
        .await
    }
}
