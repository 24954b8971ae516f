//! What can go wrong with a host's networks.

use std::io;

use skep_docker_api::ApiError;
use skep_overlay_kernel::KernelError;
use skep_overlay_net::dns::server::ADDRESS as RESOLVER;

/// A refusal in Docker's words, or a step that failed.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// The request cannot be met: kind and words are those of the API.
    #[error(transparent)]
    Refused(#[from] ApiError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error("failed to {step}")]
    Io {
        step: String,
        #[source]
        source: io::Error,
    },
    #[error("unreadable record {path}")]
    Record {
        path: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("failed to start the resolver of container {container} on {RESOLVER}")]
    Resolver {
        container: String,
        #[source]
        source: io::Error,
    },
}

impl BridgeError {
    pub(crate) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::Io { step, source }
    }
}

impl From<BridgeError> for ApiError {
    fn from(error: BridgeError) -> Self {
        match error {
            BridgeError::Refused(refused) => refused,
            other => {
                let mut text = other.to_string();
                let mut cause = std::error::Error::source(&other);
                while let Some(next) = cause {
                    text.push_str(": ");
                    text.push_str(&next.to_string());
                    cause = next.source();
                }
                ApiError::system(text)
            }
        }
    }
}
