//! `/images/json`: the summary of a local image.

use super::Map;
use super::shape::{null_default, shape};

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
}
