//! Where what a container says is kept, and how much of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::defaults;

/// Where what a container says is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogDriver {
    #[default]
    JsonFile,
    None,
    /// With Docker's options (`syslog-address`, `tag` …). The names in a tag are those of the
    /// annotations [`crate::logs::NAME_ANNOTATION`] and [`crate::logs::IMAGE_ANNOTATION`].
    Syslog(BTreeMap<String, String>),
    /// With Docker's options.
    Journald(BTreeMap<String, String>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    pub file_bytes_max: u64,
    pub files_max: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        LogLimits {
            file_bytes_max: defaults::LOG_FILE_BYTES_MAX,
            files_max: defaults::LOG_FILES_MAX,
        }
    }
}
