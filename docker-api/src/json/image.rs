//! `/images` and `/distribution`: what is here, what a registry has, and the requests that bring, name and remove images.

use std::collections::BTreeMap;

use super::shape::{null_default, omitempty, shape};
use super::{ContainerConfig, DriverData, HealthConfig, Map, Nothing, RegistryAuth};
use crate::error::ApiError;

shape! {
    /// `Created` is seconds since 1970; `Containers` is -1 where nobody counted.
    ImageSummary {
        "Id" id: String,
        "ParentId" parent_id: String,
        "RepoTags" repo_tags: Vec<String>,
        "RepoDigests" repo_digests: Vec<String>,
        "Created" created: i64,
        "Size" size: i64,
        "SharedSize" shared_size: i64,
        "Labels" labels: Map,
        "Containers" containers: i64,
    }

    ImageConfig {
        "User" user: String => "omitempty",
        "ExposedPorts" exposed_ports: BTreeMap<String, Nothing> => "omitempty",
        "Env" env: Vec<String> => "omitempty",
        "Entrypoint" entrypoint: Vec<String> => "omitempty",
        "Cmd" cmd: Vec<String> => "omitempty",
        "Volumes" volumes: BTreeMap<String, Nothing> => "omitempty",
        "WorkingDir" working_dir: String => "omitempty",
        "Labels" labels: Map => "omitempty",
        "StopSignal" stop_signal: String => "omitempty",
        "Healthcheck" healthcheck: Option<HealthConfig> => "omitempty",
        "OnBuild" on_build: Vec<String> => "omitempty",
        "Shell" shell: Vec<String> => "omitempty",
    }

    RootFs { "Type" kind: String => "omitempty", "Layers" layers: Vec<String> => "omitempty" }

    ImageMetadata { "LastTagTime" last_tag_time: String => "omitempty" }

    /// `GET /images/{name}/json`; `Created` is RFC 3339.
    ImageInspect {
        "Id" id: String,
        "RepoTags" repo_tags: Vec<String>,
        "RepoDigests" repo_digests: Vec<String>,
        "Parent" parent: String,
        "Comment" comment: String,
        "Created" created: String => "omitempty",
        "DockerVersion" docker_version: String,
        "Author" author: String,
        "Config" config: Option<ImageConfig>,
        "Architecture" architecture: String,
        "Variant" variant: String => "omitempty",
        "Os" os: String,
        "Size" size: i64,
        "GraphDriver" graph_driver: DriverData,
        "RootFS" root_fs: RootFs,
        "Metadata" metadata: ImageMetadata,
    }

    /// One of the two: a name was taken off, or an image is gone.
    ImageDeleteItem { "Untagged" untagged: String => "omitempty", "Deleted" deleted: String => "omitempty" }

    /// One step of `GET /images/{name}/history`; `Created` is seconds since 1970.
    ImageHistoryItem {
        "Id" id: String,
        "Created" created: i64,
        "CreatedBy" created_by: String,
        "Tags" tags: Option<Vec<String>>,
        "Size" size: i64,
        "Comment" comment: String,
    }

    /// One find of `GET /images/search`.
    SearchResult {
        "star_count" star_count: i64,
        "is_official" is_official: bool,
        "name" name: String,
        "is_automated" is_automated: bool,
        "description" description: String,
    }

    Descriptor { "mediaType" media_type: String, "digest" digest: String, "size" size: i64 }

    OciPlatform {
        "architecture" architecture: String,
        "os" os: String,
        "variant" variant: String => "omitempty",
    }

    /// `GET /distribution/{name}/json`: what a registry has under a name.
    DistributionInspect { "Descriptor" descriptor: Descriptor, "Platforms" platforms: Vec<OciPlatform> }
}

impl From<ImageConfig> for ContainerConfig {
    /// What a container made of it would have, with every key that a container's has.
    fn from(image: ImageConfig) -> Self {
        let some = |words: Vec<String>| (!words.is_empty()).then_some(words);
        Self {
            user: image.user,
            exposed_ports: image.exposed_ports,
            env: image.env,
            entrypoint: some(image.entrypoint),
            cmd: some(image.cmd),
            volumes: (!image.volumes.is_empty()).then_some(image.volumes),
            working_dir: image.working_dir,
            labels: image.labels,
            stop_signal: image.stop_signal,
            healthcheck: image.healthcheck,
            on_build: some(image.on_build),
            shell: some(image.shell),
            ..Self::default()
        }
    }
}

/// What is to be pulled: `POST /images/create?fromImage=…`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PullRequest {
    /// Name with tag or digest; without either, every tag of it.
    pub reference: String,
    /// `os[/architecture[/variant]]`; empty: the host's.
    pub platform: String,
    pub auth: Option<RegistryAuth>,
}

impl PullRequest {
    /// Joins what the query has apart; a tag with a colon is a digest.
    pub(crate) fn join(image: &str, tag: &str) -> String {
        // What "pull --all-tags" of old clients sends.
        let image = image.strip_suffix(':').unwrap_or(image);
        match tag {
            "" => image.to_owned(),
            _ if tag.contains(':') => format!("{image}@{tag}"),
            _ => format!("{image}:{tag}"),
        }
    }

    /// Whether every tag is meant: a colon before the last slash is a registry's port.
    pub fn all_tags(&self) -> bool {
        let last = self.reference.rsplit('/').next().unwrap_or_default();
        !last.contains([':', '@'])
    }
}

/// What is to be pushed: `POST /images/{name}/push`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PushRequest {
    /// Name with its tag; without one, every tag of it.
    pub reference: String,
    /// Empty: all that is here.
    pub platform: String,
    pub auth: Option<RegistryAuth>,
}

/// What a stream of a root file system becomes: `POST /images/create?fromSrc=-`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportRequest {
    /// Name of the image, with its tag where given; empty: none.
    pub reference: String,
    pub message: String,
    pub platform: String,
    /// Dockerfile instructions (`CMD …`, `ENV …`), one each.
    pub changes: Vec<String>,
}

/// A new name of an image: `POST /images/{name}/tag`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagRequest {
    pub repo: String,
    /// Empty: `latest`.
    pub tag: String,
}

impl TagRequest {
    pub(crate) fn new(repo: String, tag: String) -> Result<Self, ApiError> {
        if repo.is_empty() {
            return Err(ApiError::invalid("repository name must have at least one component"));
        }
        Ok(Self { repo, tag })
    }
}

/// The query of `DELETE /images/{name}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImageRemoveOptions {
    pub force: bool,
    /// Keep parents that have no name.
    pub no_prune: bool,
}
