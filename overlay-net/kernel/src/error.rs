//! What can go wrong at the kernel's door.

use std::io;

/// A step that the kernel refused. The text names step and object; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    #[error("failed to {step}")]
    Netlink {
        step: String,
        #[source]
        source: rtnetlink::Error,
    },
    #[error("failed to {step}")]
    Io {
        step: String,
        #[source]
        source: io::Error,
    },
    #[error("link {link} is missing in {place}")]
    LinkMissing { link: String, place: String },
    #[error("no bridge in {place} has room for another task: leave some to other nodes")]
    BridgesFull { place: String },
    #[error("nft refused the rules of {place}: {message}")]
    Rules { place: String, message: String },
    #[error("nft did not finish within {seconds} s in {place}")]
    RulesTimeout { place: String, seconds: u64 },
    #[error("unexpected answer of nft in {place}")]
    RulesAnswer {
        place: String,
        #[source]
        source: serde_json::Error,
    },
}

impl KernelError {
    pub(crate) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::Io { step, source }
    }

    pub(crate) fn netlink(step: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Self {
        let step = step.into();
        move |source| Self::Netlink { step, source }
    }
}
