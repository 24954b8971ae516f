//! `/images` and `/distribution`: what is listed, shown, named and removed. What flows is in `image_flows`.

use std::collections::BTreeMap;
use std::time::Duration;

use skep_docker_api::filters::ImageFilter;
use skep_docker_api::json::{self, ImageSummary, RegistryAuth};
use skep_docker_api::{ApiError, Filters};
use skep_engine::Status;
use skep_images::{Force, Image, ImageUse, PullOptions, Reference, Removed};
use skep_types::Timestamp;
use skep_types::container::HealthConfig;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Answer, DaemonBackend, engine_error};

/// Docker's value for what nobody counted.
const NOT_COUNTED: i64 = -1;

pub(super) fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// A moment of the store's as the API's filters compare it.
pub(super) fn moment(at: OffsetDateTime) -> Timestamp {
    Timestamp(i64::try_from(at.unix_timestamp_nanos()).unwrap_or(i64::MAX))
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn health(health: &HealthConfig) -> json::HealthConfig {
    json::HealthConfig {
        test: health.test.clone(),
        interval_ns: nanos(health.interval),
        timeout_ns: nanos(health.timeout),
        start_period_ns: nanos(health.start_period),
        start_interval_ns: nanos(health.start_interval),
        retries: health.retries,
    }
}

pub(super) fn summary(image: &Image) -> ImageSummary {
    ImageSummary {
        id: image.id.to_string(),
        repo_tags: image.repo_tags(),
        repo_digests: image.repo_digests(),
        created: image.created.map_or(0, |at| at.unix_timestamp()),
        size: signed(image.size),
        shared_size: NOT_COUNTED,
        labels: image.config.labels.clone(),
        containers: NOT_COUNTED,
        ..Default::default()
    }
}

fn config(config: &skep_images::ImageConfig) -> json::ImageConfig {
    let set = |keys: &std::collections::BTreeSet<String>| -> BTreeMap<String, json::Nothing> {
        keys.iter().map(|key| (key.clone(), json::Nothing::default())).collect()
    };
    json::ImageConfig {
        user: config.user.clone(),
        exposed_ports: set(&config.exposed_ports),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: set(&config.volumes),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        healthcheck: config.healthcheck.as_ref().map(health),
        on_build: config.on_build.clone(),
        shell: config.shell.clone(),
    }
}

fn inspect(image: &Image) -> json::ImageInspect {
    json::ImageInspect {
        id: image.id.to_string(),
        repo_tags: image.repo_tags(),
        repo_digests: image.repo_digests(),
        comment: image.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
        created: image.created.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default(),
        author: image.author.clone(),
        config: Some(config(&image.config)),
        architecture: image.platform.architecture.clone(),
        variant: image.platform.variant.clone().unwrap_or_default(),
        os: image.platform.os.clone(),
        size: signed(image.size),
        // An image's layers are shared by others, and no directory holds it alone.
        graph_driver: json::DriverData { data: None, name: skep_containers::DRIVER.to_owned() },
        root_fs: json::RootFs {
            kind: "layers".to_owned(),
            layers: image.layers.iter().map(ToString::to_string).collect(),
        },
        ..Default::default()
    }
}

/// The steps that made an image, the newest first.
fn history(image: &Image) -> Answer<Vec<json::ImageHistoryItem>> {
    let mut sizes = image.layer_sizes.iter();
    let mut items = Vec::with_capacity(image.history.len());
    for step in &image.history {
        let size = match step.empty_layer {
            true => 0,
            false => *sizes
                .next()
                .ok_or_else(|| ApiError::system("too many non-empty layers in History section"))?,
        };
        items.push(json::ImageHistoryItem {
            // What a step before the last one made is no image of its own.
            id: "<missing>".to_owned(),
            created: step.created.map_or(0, |at| at.unix_timestamp()),
            created_by: step.created_by.clone(),
            comment: step.comment.clone(),
            size: signed(size),
            tags: None,
        });
    }
    items.reverse();
    if let Some(newest) = items.first_mut() {
        let tags = image.repo_tags();
        newest.id = image.id.to_string();
        newest.tags = (!tags.is_empty()).then_some(tags);
    }
    Ok(items)
}

pub(super) fn deleted_item(removed: Removed) -> json::ImageDeleteItem {
    match removed {
        Removed::Untagged(name) => {
            json::ImageDeleteItem { untagged: name.familiar(), ..Default::default() }
        }
        Removed::Deleted(digest) => {
            json::ImageDeleteItem { deleted: digest.to_string(), ..Default::default() }
        }
    }
}

pub(super) fn reference(text: &str) -> Answer<Reference> {
    text.parse()
        .map_err(|error: skep_images::ParseReferenceError| ApiError::invalid(error.to_string()))
}

impl DaemonBackend {
    /// How registries are asked, with a caller's login.
    pub(super) fn registry_options(&self, auth: Option<RegistryAuth>) -> Answer<PullOptions> {
        let auth = auth.map(skep_containers::registry_login).transpose()?.flatten();
        let registries = self.engine.registries().as_ref().clone();
        Ok(PullOptions { registries, auth, ..PullOptions::default() })
    }

    pub(super) async fn list_images(&self, filters: Filters) -> Answer<Vec<ImageSummary>> {
        let filter = ImageFilter::new(&filters)?;
        let images = self.engine.images().list().await.map_err(engine_error::image)?;
        let shown = images.iter().map(summary).filter(|image| filter.matches(image));
        Ok(shown.map(|image| filter.narrow(image)).collect())
    }

    pub(super) async fn inspect_image(&self, name: &str) -> Answer<json::ImageInspect> {
        let image = self.engine.images().inspect(name).await;
        Ok(inspect(&image.map_err(engine_error::image)?))
    }

    pub(super) async fn tag_image(&self, name: &str, request: json::TagRequest) -> Answer<()> {
        let target = match request.tag.as_str() {
            "" => request.repo,
            tag => format!("{}:{tag}", request.repo),
        };
        let target = reference(&target)?.tag_or_latest();
        let images = self.engine.images();
        images.tag(name, &target).await.map_err(engine_error::image)?;
        let id = images.inspect(&target.to_string()).await.map_err(engine_error::image)?.id;
        self.image_events().tell("tag", &id.to_string(), &target.familiar()).await;
        Ok(())
    }

    pub(super) async fn image_steps(&self, name: &str) -> Answer<Vec<json::ImageHistoryItem>> {
        let image = self.engine.images().inspect(name).await;
        history(&image.map_err(engine_error::image)?)
    }

    /// Which container stands on which image, and whether it runs.
    pub(super) async fn image_uses(&self) -> Answer<Vec<ImageUse>> {
        let users = self.engine.images().rootfs_users().await.map_err(engine_error::image)?;
        let mut uses = Vec::with_capacity(users.len());
        for (container, image) in users {
            // One in the making has a root file system before it is a container.
            let running = match self.engine.runtime().get(&container).await {
                Ok(found) => found
                    .state()
                    .await
                    .is_ok_and(|it| matches!(it.status, Status::Running | Status::Paused)),
                Err(_) => false,
            };
            uses.push(ImageUse { container, image, running });
        }
        Ok(uses)
    }

    pub(super) async fn remove_image(
        &self,
        name: &str,
        options: json::ImageRemoveOptions,
    ) -> Answer<Vec<json::ImageDeleteItem>> {
        let force = if options.force { Force::Yes } else { Force::No };
        let uses = self.image_uses().await?;
        let images = self.engine.images();
        let image = images.inspect(name).await.map_err(engine_error::image)?;
        let removed = images.remove(name, force, uses).await.map_err(engine_error::image)?;
        self.image_events().tell_removed(image.id, &image.config.labels, &removed);
        Ok(removed.into_iter().map(deleted_item).collect())
    }

    pub(super) async fn ask_registry(
        &self,
        name: &str,
        auth: Option<RegistryAuth>,
    ) -> Answer<json::DistributionInspect> {
        let options = self.registry_options(auth)?;
        let found = skep_images::resolve(&reference(name)?, &options).await;
        let found = found.map_err(engine_error::image)?;
        let platform = |platform: skep_images::Platform| json::OciPlatform {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant.unwrap_or_default(),
        };
        Ok(json::DistributionInspect {
            descriptor: json::Descriptor {
                media_type: found.media_type,
                digest: found.digest.to_string(),
                size: signed(found.size),
            },
            platforms: found.platforms.into_iter().map(platform).collect(),
        })
    }
}
