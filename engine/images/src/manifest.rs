//! Manifests and indexes, in the OCI's and in Docker's media types.

use serde::{Deserialize, Serialize};

use crate::config::nullable;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::LAYERS_MAX;
use crate::platform::Platform;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Entries of an index: some per platform, and as many attestations.
const INDEX_ENTRIES_MAX: usize = 1_000;

/// A pointer to content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(
        default,
        deserialize_with = "nullable",
        skip_serializing_if = "serde_json::Map::is_empty"
    )]
    pub annotations: serde_json::Map<String, serde_json::Value>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: serde_json::Map::new(),
        }
    }
}

/// One image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// One image for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageIndex {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    #[serde(default, deserialize_with = "nullable")]
    pub manifests: Vec<Descriptor>,
}

/// Either of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Manifest(Box<Manifest>),
    Index(ImageIndex),
}

fn invalid(reason: impl ToString) -> Error {
    Error::Invalid { what: "image manifest".to_owned(), reason: reason.to_string() }
}

impl Document {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            schema_version: u32,
            #[serde(default)]
            media_type: Option<String>,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
        }
        let shape: Shape = serde_json::from_slice(bytes).map_err(invalid)?;
        if shape.schema_version != 2 {
            let version = shape.schema_version;
            return Err(invalid(format!("schema version {version} is not supported, only 2 is")));
        }
        // A document that is both would be read differently by different readers.
        if shape.manifests.is_some() && shape.layers.is_some() {
            return Err(invalid("it is both a manifest and an index"));
        }
        match shape.media_type.as_deref() {
            Some(OCI_INDEX | DOCKER_INDEX) => Self::index(bytes),
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => Self::manifest(bytes),
            None | Some("") if shape.manifests.is_some() => Self::index(bytes),
            None | Some("") => Self::manifest(bytes),
            Some(other) => Err(invalid(format!("unsupported media type {other}"))),
        }
    }

    fn index(bytes: &[u8]) -> Result<Self> {
        let index: ImageIndex = serde_json::from_slice(bytes).map_err(invalid)?;
        if index.manifests.len() > INDEX_ENTRIES_MAX {
            return Err(invalid(format!("an index of more than {INDEX_ENTRIES_MAX} entries")));
        }
        Ok(Self::Index(index))
    }

    fn manifest(bytes: &[u8]) -> Result<Self> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(invalid)?;
        let config = &manifest.config.media_type;
        if !matches!(config.as_str(), "" | OCI_CONFIG | DOCKER_CONFIG) {
            return Err(invalid(format!("{config} is not the configuration of an image")));
        }
        if manifest.layers.len() > LAYERS_MAX {
            return Err(Error::TooManyLayers);
        }
        if let Some(layer) = manifest.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
            return Err(invalid(format!("unsupported layer media type {}", layer.media_type)));
        }
        Ok(Self::Manifest(Box::new(manifest)))
    }
}

impl ImageIndex {
    /// The entry for a platform: the same variant first, then one that names none.
    pub(crate) fn choose(&self, wanted: &Platform) -> Result<&Descriptor> {
        let suiting = || {
            self.manifests.iter().filter(|entry| {
                matches!(entry.media_type.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
                    && entry.platform.as_ref().is_some_and(|platform| platform.suits(wanted))
            })
        };
        suiting()
            .find(|entry| entry.platform.as_ref() == Some(wanted))
            .or_else(|| suiting().next())
            .ok_or_else(|| Error::NoMatchingPlatform { platform: wanted.to_string() })
    }
}

impl Manifest {
    /// A manifest for content that came without one.
    pub(crate) fn of(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: OCI_MANIFEST.to_owned(), config, layers }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest is plain data")
    }
}

/// How a layer is packed is told by its bytes; its media type only has to be one of a layer that
/// may be distributed.
fn is_layer(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> ImageIndex {
        let entry = |platform: &&str| Descriptor {
            platform: Some(platform.parse().unwrap()),
            ..Descriptor::new(OCI_MANIFEST, Digest::of(platform.as_bytes()), 1)
        };
        ImageIndex {
            schema_version: 2,
            media_type: OCI_INDEX.to_owned(),
            manifests: platforms.iter().map(entry).collect(),
        }
    }

    #[test]
    fn an_index_gives_the_platform_asked_for() {
        let index = index(&["linux/arm/v6", "linux/arm/v7", "linux/amd64", "linux/arm64/v8"]);
        let check = |wanted: &str, expected: &str| {
            let wanted = wanted.parse().unwrap();
            assert_eq!(index.choose(&wanted).unwrap().digest, Digest::of(expected.as_bytes()));
        };
        check("linux/amd64", "linux/amd64");
        check("linux/arm", "linux/arm/v7");
        check("linux/arm/v6", "linux/arm/v6");
        check("linux/arm64", "linux/arm64/v8");
        assert_eq!(
            index.choose(&"linux/s390x".parse().unwrap()).unwrap_err().to_string(),
            "no matching manifest for linux/s390x in the manifest list entries"
        );
    }

    #[test]
    fn documents_are_told_apart_and_others_refused() {
        let check = |text: String, expected: &str| {
            let error = Document::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let bytes = serde_json::to_vec(&index(&["linux/amd64"])).unwrap();
        assert!(matches!(Document::parse(&bytes), Ok(Document::Index(_))));
        let config = Descriptor::new(OCI_CONFIG, Digest::of(b""), 0);
        let manifest = Manifest::of(config.clone(), Vec::new());
        assert_eq!(
            Document::parse(&manifest.to_bytes()).unwrap(),
            Document::Manifest(Box::new(manifest))
        );
        check(r#"{"schemaVersion":1}"#.into(), "schema version 1 is not supported");
        check(r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#.into(), "both");
        let foreign = Descriptor::new("text/plain", Digest::of(b""), 0);
        let text = |manifest: Manifest| String::from_utf8(manifest.to_bytes()).unwrap();
        check(text(Manifest::of(foreign.clone(), vec![])), "not the configuration");
        check(text(Manifest::of(config.clone(), vec![foreign])), "unsupported layer media type");
        let layer = Descriptor::new("application/vnd.oci.image.layer.v1.tar", Digest::of(b""), 0);
        check(text(Manifest::of(config, vec![layer; 126])), "max depth exceeded");
    }
}
