//! What happens to a layer while an image is pulled or pushed, in Docker's words.

use std::fmt;
use std::sync::Arc;

use crate::digest::Digest;

/// One step of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The layer as it comes; `docker` shows its first 12 digits.
    pub layer: Digest,
    pub step: Step,
}

/// How far a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Waiting,
    AlreadyExists,
    Downloading {
        bytes: u64,
        total: u64,
    },
    /// An attempt failed; there will be another one.
    Retrying {
        seconds: u64,
    },
    DownloadComplete,
    Extracting,
    Complete,
    Preparing,
    Pushing {
        bytes: u64,
        total: u64,
    },
    Pushed,
    /// The registry has it.
    LayerExists,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("Pulling fs layer"),
            Self::AlreadyExists => f.write_str("Already exists"),
            Self::Downloading { .. } => f.write_str("Downloading"),
            Self::Retrying { seconds: 1 } => f.write_str("Retrying in 1 second"),
            Self::Retrying { seconds } => write!(f, "Retrying in {seconds} seconds"),
            Self::DownloadComplete => f.write_str("Download complete"),
            Self::Extracting => f.write_str("Extracting"),
            Self::Complete => f.write_str("Pull complete"),
            Self::Preparing => f.write_str("Preparing"),
            Self::Pushing { .. } => f.write_str("Pushing"),
            Self::Pushed => f.write_str("Pushed"),
            Self::LayerExists => f.write_str("Layer already exists"),
        }
    }
}

/// Is told each step, from several tasks at once; it must not block.
#[derive(Clone, Default)]
pub struct Reporter(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Reporter {
    pub fn new(report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(report)))
    }

    pub(crate) fn tell(&self, layer: Digest, step: Step) {
        if let Some(report) = &self.0 {
            report(Progress { layer, step });
        }
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reporter(set)" } else { "Reporter(none)" })
    }
}
